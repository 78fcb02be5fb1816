"""Parts of the OCI configuration that Podman can't be asked about: limits of this process, hostile files, sizes."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from remora.frontend.errors import RemoraError
from remora.frontend.oci import capabilities, environment, rlimits, seccomp, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Ulimit

EVERYTHING = (1 << 41) - 1


class Root:
    """A root folder with passwd and group files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "etc").mkdir()
        (path / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\n"
            "broken line\n"
            "1000:x:55:56::/named-by-digits:/bin/sh\n"
            "user:x:1000:1001::/home/user:/bin/sh\n"
            "big:x:4294967296:0::/:/bin/sh\n"
            "bare:x:7:8::\n"
        )
        (path / "etc/group").write_text("root:x:0:\nuser:x:1001:\nextra:x:2000:root,user\nmore:x:2001:user\nsix:x:6\n")
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    made = Root(tmp_path)
    yield made
    os.close(made.fd)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("user", (1000, 1001, [1001, 2000, 2001], "/home/user")),
        ("root", (0, 0, [0, 2000], "/root")),
        ("55", (55, 56, [56], "/named-by-digits")),
        ("1000", (55, 56, [56], "/named-by-digits")),
        ("4321", (4321, 0, [0], "/")),
        ("user:extra", (1000, 2000, [2000], "/home/user")),
        ("user:77", (1000, 77, [77], "/home/user")),
        ("4321:77", (4321, 77, [77], "/")),
        (":7", (0, 7, [7], "/root")),
        ("bare:six", (7, 6, [6], "/")),
    ],
)
def test_user_is_looked_up_in_the_roots_files(root: Root, given: str, expected: object) -> None:
    found = user.resolve(root.fd, given)
    assert (found.uid, found.gid, found.groups, found.home) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("big", "unable to find user big"),
        ("user:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("99999999999", "too large"),
        ("-1", "unable to find user -1"),
        ("٣", "unable to find user"),
    ],
)
def test_unknown_user_is_named(root: Root, given: str, message: str) -> None:
    with pytest.raises(RemoraError, match=message):
        user.resolve(root.fd, given)


def test_link_out_of_the_root_is_not_followed(root: Root, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_text("spy:x:4000:4000::/spy:/bin/sh\n")
    (root.path / "etc/passwd").unlink()
    (root.path / "etc/passwd").symlink_to(f"../../../../../../../../../..{outside}")
    with pytest.raises(RemoraError, match="unable to find user spy"):
        user.resolve(root.fd, "spy")


def test_absolute_link_stays_inside_the_root(root: Root) -> None:
    (root.path / "usr").mkdir()
    (root.path / "etc/passwd").rename(root.path / "usr/passwd")
    (root.path / "etc/passwd").symlink_to("/usr/passwd")
    assert user.resolve(root.fd, "user").uid == 1000


def test_fifo_in_the_place_of_passwd_does_not_block(root: Root) -> None:
    (root.path / "etc/passwd").unlink()
    os.mkfifo(root.path / "etc/passwd")
    assert user.resolve(root.fd, "5").uid == 5


def test_a_device_in_the_place_of_passwd_is_not_opened(root: Root) -> None:
    """What opening does is seen with a device that nobody may open: number 0:0 has no driver (ENXIO)."""
    (root.path / "etc/passwd").unlink()
    os.mknod(root.path / "etc/passwd", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    assert user.resolve(root.fd, "5").uid == 5
    with pytest.raises(OSError, match="no plain file"):
        user.open_regular(root.fd, "/etc/passwd", os.O_RDONLY)


def test_without_files_only_numbers_work(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        found = user.resolve(fd, "")
        assert (found.uid, found.gid, found.groups, found.home) == (0, 0, [], "/root")
        with pytest.raises(RemoraError):
            user.resolve(fd, "root")
    finally:
        os.close(fd)


def test_defaults_are_lowered_silently_and_wishes_with_a_warning() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    warnings: list[str] = []
    unable = EVERYTHING & ~capabilities.SYS_RESOURCE
    limits = {item["type"]: item for item in rlimits.build([], 0, unable, warnings)}  # type: ignore[index,call-overload]
    assert limits["RLIMIT_NOFILE"]["hard"] == min(hard, rlimits.DEFAULT)  # type: ignore[index,call-overload]
    assert not warnings
    wish: list[Ulimit] = [{"name": "nofile", "soft": 5, "hard": hard + 1}]
    found = rlimits.build(wish, 0, unable, warnings)
    assert {"type": "RLIMIT_NOFILE", "soft": 5, "hard": hard} in found
    assert len(warnings) == 1 and "nofile" in warnings[0]


def test_privileged_caller_may_raise_hard_limits() -> None:
    warnings: list[str] = []
    wish: list[Ulimit] = [{"name": "nproc", "soft": -1, "hard": -1}]
    found = rlimits.build(wish, 0, EVERYTHING, warnings)
    assert {"type": "RLIMIT_NPROC", "soft": (1 << 64) - 1, "hard": (1 << 64) - 1} in found
    assert not warnings


def test_large_environment_raises_the_stack_limit() -> None:
    assert environment.stack_needed(["true"], ["A=b"]) == 0
    three = [f"V{number}={'x' * 100_000}" for number in range(31)]
    needed = environment.stack_needed(["true"], three)
    assert needed // 4 > sum(map(len, three))
    assert any(item["type"] == "RLIMIT_STACK" for item in rlimits.build([], needed, EVERYTHING, []))  # type: ignore[index,call-overload]


def test_variable_beyond_the_kernels_bound_is_named() -> None:
    with pytest.raises(RemoraError, match="environment variable HUGE has 131077 bytes"):
        environment.stack_needed(["true"], ["HUGE=" + "x" * 131072])
    with pytest.raises(RemoraError, match="together"):
        environment.stack_needed(["true"], [f"V{number}={'x' * 100_000}" for number in range(70)])


def test_own_bounds_filter_the_capabilities() -> None:
    some = 1 << capabilities.NAMES.index("CAP_KILL") | 1 << capabilities.NAMES.index("CAP_NET_RAW")
    assert capabilities.bounding_set([], [], False, some) == ["CAP_KILL"]
    assert capabilities.bounding_set([], [], True, some) == ["CAP_KILL", "CAP_NET_RAW"]
    assert capabilities.bounding_set(["CAP_SYS_ADMIN"], ["ALL"], False, some) == []


def test_seccomp_conditions() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrno": "ENOSYS",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["always"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"names": ["not64"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
            {"name": "cap", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_KILL", "CAP_CHOWN"]}},
            {"names": ["uncap"], "action": "SCMP_ACT_ERRNO", "errno": "EPERM", "excludes": {"caps": ["CAP_KILL"]}},
            {"names": ["future"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
        ],
    }

    def kept(*have: str) -> list[str]:
        rules = seccomp.convert(profile, frozenset(have), "x86_64")["syscalls"]
        return [rule["names"][0] for rule in rules]  # type: ignore[index,union-attr,call-overload,misc]

    assert kept() == ["always", "uncap"]
    assert kept("CAP_KILL") == ["always"]
    assert kept("CAP_KILL", "CAP_CHOWN") == ["always", "cap"]
    result = seccomp.convert(profile, frozenset(), "x86_64")
    assert result["defaultErrnoRet"] == 38
    assert result["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]


def test_the_default_profile_leaves_x32_out_and_keeps_32_bit_programs() -> None:
    whole = seccomp.section(seccomp.profile_path(), [], "x86_64")
    default = seccomp.default_section([], "x86_64")
    assert whole["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert default == {**whole, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"defaultAction": 1, "syscalls": [5]}', '{"defaultAction": "X", "syscalls": [{}]}']
)
def test_broken_profile_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(RemoraError, match=str(path)):
        seccomp.section(str(path), [], "x86_64")
