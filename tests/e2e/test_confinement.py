"""What a default container can't do: each line of the table in docs/security.md, tried from inside.

All attempts of a container are made by one run of tests/support/attempts.py with the host's Python; a test looks at one
line. What shows that an attempt means something is the option that gives the right: with it the attempt gets through.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import attempts
from tests.support.village import Village, import_image

TREE = Path(__file__).parent.parent.parent
KEY = "remora-test-key"
PYTHON = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro")
CELL = re.compile(r"`([^`]+)`")


class Line:
    """One line of the table: what is tried, what comes of it (as root, as a user), the options that allow it."""

    def __init__(self, cells: list[str]) -> None:
        self.name = cells[0]
        results = CELL.findall(cells[1])
        self.results = {"root": results[:1], "user": results[1:] or results, "root with crun": results[:1]}
        self.allowed_by = CELL.findall(cells[3])
        path = re.search(r"\((/[^)]*)\)", cells[0])
        # A kernel may be built without a file; then there is nothing to be kept from.
        self.absent = path is not None and not os.path.exists(path[1])


def table(title: str) -> list[Line]:
    """The lines of the table below this heading of the document."""
    section = (TREE / "docs" / "security.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [Line([cell.strip() for cell in row]) for row in rows[1:]]


CANNOT = table("What a default container can't do")
CAN = table("What a default container can do")


class Host:
    """Things of the host that a container might reach: a process, a key of the session, an abstract socket."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.name = f"remora-test-{os.getpid()}"
        self.socket.bind("\0" + self.name)
        self.socket.listen()
        self.keys = {
            ring: attempts.call("add_key", b"user", KEY.encode(), b"secret", 6, ring)
            for ring in (attempts.KEY_SESSION, attempts.KEY_USER)
        }

    def environment(self) -> list[str]:
        pairs = {"HOST_PID": os.getpid(), "HOST_KEY": KEY, "HOST_SOCKET": self.name}
        return [word for name, value in pairs.items() for word in ("-e", f"{name}={value}")]

    def close(self) -> None:
        for ring, key in self.keys.items():
            attempts.call("keyctl", 9, key, ring)  # KEYCTL_UNLINK
        self.socket.close()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def outcomes(remora: Remora, host: Host, *options: str, names: tuple[str, ...] = ()) -> dict[str, str]:
    """What came of the attempts in a container with these options."""
    script = Path(attempts.__file__).read_text()
    network = () if "--network" in options else ("--network", "none")
    words = [*PYTHON, *host.environment(), *network, *options, "busybox", "/usr/bin/python3", "-", *names]
    result = remora.run("run", "--rm", "-i", *words, input=script, status=None)
    found = dict(line.split("\t", 1) for line in result.stdout.splitlines() if "\t" in line)
    assert found, result.stderr
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, storage_conf: Path) -> Iterator[Remora]:
    """The command for all tests of this module."""
    made = Remora(tmp_path_factory.mktemp("confinement"), storage_conf)
    yield made
    made.clear()


@pytest.fixture(scope="module")
def user(busybox_tar: Path) -> Iterator[Remora]:
    """The same for an ordinary user."""
    with Village() as village:
        made = village.person("alice")
        import_image(made, busybox_tar)
        yield made
        made.clear()


@pytest.fixture(scope="module")
def crun(tmp_path_factory: pytest.TempPathFactory, storage_conf: Path) -> Iterator[Remora | None]:
    """The same where crun works, which Remora then takes: it refuses a v2 hierarchy beside those of v1."""
    if shutil.which("crun") is None:
        yield None
        return
    made = Remora(tmp_path_factory.mktemp("crun"), storage_conf)
    hide = 'if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec "$@"'
    made.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", hide, "sh"]
    yield made
    made.clear()


@pytest.fixture(scope="module")
def seen(program: Remora, user: Remora, crun: Remora | None, host: Host) -> dict[str, dict[str, str]]:
    """What came of all attempts in a default container: of root, of a user, of root with crun."""
    found = {"root": outcomes(program, host), "user": outcomes(user, host)}
    return {**found, "root with crun": outcomes(crun, host)} if crun else found


def test_crun_was_taken_where_it_works(crun: Remora | None, seen: dict[str, dict[str, str]]) -> None:
    if crun is None:
        pytest.skip("crun is not installed")
    assert seen["root with crun"]
    assert "/crun" in (crun.runroot / "runtime-choice").read_text().split("\n")[1]


def test_the_document_names_every_attempt() -> None:
    named = [line.name for line in CANNOT + CAN]
    assert sorted(named) == sorted(attempts.ATTEMPTS)


@pytest.mark.parametrize("who", ["root", "user", "root with crun"])
@pytest.mark.parametrize("line", CANNOT, ids=lambda line: line.name)
def test_a_default_container_can_t(line: Line, who: str, seen: dict[str, dict[str, str]]) -> None:
    if who not in seen:
        pytest.skip("crun is not installed")
    assert seen[who][line.name] in (["ENOENT"] if line.absent else line.results[who])


@pytest.mark.parametrize("who", ["root", "user", "root with crun"])
@pytest.mark.parametrize("line", CAN, ids=lambda line: line.name)
def test_a_default_container_can(line: Line, who: str, seen: dict[str, dict[str, str]]) -> None:
    if who not in seen:
        pytest.skip("crun is not installed")
    assert seen[who][line.name] in line.results[who]


@pytest.mark.parametrize("line", [line for line in CANNOT if line.allowed_by], ids=lambda line: line.name)
def test_the_option_that_the_document_names_gives_it(line: Line, program: Remora, host: Host) -> None:
    options = [word for text in line.allowed_by for word in text.split()]
    if "SYS_RESOURCE" in options and not holds_sys_resource():
        pytest.skip("nobody has CAP_SYS_RESOURCE here")
    if line.absent:
        pytest.skip("this kernel does not have it")
    found = outcomes(program, host, *options, names=(line.name,))[line.name]
    assert found not in (*line.results["root"], "EPERM"), f"with {' '.join(options)}: still {found}"


def holds_sys_resource() -> bool:
    bounding = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    return bool(int(bounding.split()[1], 16) >> 24 & 1)


def test_a_profile_decides_about_user_namespaces(program: Remora, host: Host, tmp_path: Path) -> None:
    """The default profile lets containers nest, as Podman's does; one that does not is the default less some calls."""
    import json

    from remora.frontend.oci import seccomp

    profile = json.loads(Path(seccomp.profile_path()).read_text())
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != "unshare"]
    profile["syscalls"] = [rule for rule in profile["syscalls"] if rule["names"]]
    path = tmp_path / "flat.json"
    path.write_text(json.dumps(profile))
    name = "make a user namespace"
    assert outcomes(program, host, names=(name,))[name] == "done"
    assert outcomes(program, host, "--security-opt", f"seccomp={path}", names=(name,))[name] == "ENOSYS"


def test_a_container_sees_no_descriptor_of_the_host(program: Remora) -> None:
    script = "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> \\(.*\\)/\\1 \\2/p'"
    listed = dict(line.split(" ", 1) for line in program("run", "--rm", "busybox", "sh", "-c", script).split("\n"))
    listed.pop("3", None)  # the folder that ls reads
    assert sorted(listed) == ["0", "1", "2"]
    assert listed["0"] == "/dev/null" and listed["1"].startswith("pipe:") and listed["2"].startswith("pipe:")


@pytest.mark.parametrize("which", ["runc", "crun"])
def test_the_host_s_null_device_stays_as_it_is(which: str, program: Remora, crun: Remora | None) -> None:
    """It is the standard input of an exec without -i; crun gives it away, and its owner may change its mode."""
    one = program if which == "runc" else crun
    if one is None:
        pytest.skip("crun is not installed")
    before = os.stat("/dev/null")
    one.run("run", "--rm", "--user", "5", "busybox", "sh", "-c", "echo x >&0; chmod 666 /proc/self/fd/0", status=None)
    one("run", "-d", "--name", "null", "busybox", "sleep", "1000")
    for user in ("0", "7"):
        script = "readlink /proc/self/fd/0; echo x >&0 && chmod 666 /proc/self/fd/0"
        result = one.run("exec", "--user", user, "null", "sh", "-c", script, status=1)
        assert result.stdout == "/dev/null\n"
        assert "Read-only file system" in result.stderr
    one("rm", "-f", "-t", "0", "null")
    words = ["--log-driver", "passthrough", "--user", "5", "busybox", "sh", "-c", "echo x >&0; echo through"]
    assert one("run", "--rm", *words) == "through"
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_no_more_than_2048_processes_by_default(program: Remora) -> None:
    paths = "/sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max"
    assert program("run", "--rm", "busybox", "sh", "-c", f"cat {paths} 2>/dev/null; true") == "2048"


PRIVILEGED = table("What --privileged still does not give")
USERS = table("What --privileged does not give to a user")


@pytest.fixture(scope="module")
def seen_privileged(program: Remora, user: Remora, host: Host) -> dict[str, dict[str, str]]:
    names = tuple(line.name for line in PRIVILEGED + USERS)  # not all: what succeeds may be in the way of the next
    return {who: outcomes(one, host, "--privileged", names=names) for who, one in (("root", program), ("user", user))}


@pytest.mark.parametrize("who", ["root", "user"])
@pytest.mark.parametrize("line", PRIVILEGED, ids=lambda line: line.name)
def test_a_privileged_container_can_t(line: Line, who: str, seen_privileged: dict[str, dict[str, str]]) -> None:
    assert seen_privileged[who][line.name] in line.results[who]


@pytest.mark.parametrize("line", USERS, ids=lambda line: line.name)
def test_a_privileged_container_of_a_user_can_t(line: Line, seen_privileged: dict[str, dict[str, str]]) -> None:
    assert seen_privileged["user"][line.name] in (["ENOENT"] if line.absent else line.results["user"])
