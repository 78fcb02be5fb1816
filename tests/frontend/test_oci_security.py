"""Parts of the security options that need no container: profiles, paths, parameters, devices, accounts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remora.frontend.container import spec as specs
from remora.frontend.errors import RemoraError
from remora.frontend.oci import accounts, capabilities, devices, seccomp, seccomp_check, security, sysctls, user

if TYPE_CHECKING:
    from remora.frontend.container.spec import Spec


def make_spec(**values: object) -> Spec:
    made = {**specs.defaults(), "user": "", "mounts": [], "workdir": "/", "privileged": False, **values}
    return cast("Spec", made)


# ---- profiles ---------------------------------------------------------------------------------

RULE = '{"names": ["read"], "action": "SCMP_ACT_ALLOW"%s}'


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "expecting value"),
        ("[]", 1, 1, "an object is expected"),
        ("{}", 1, 1, "defaultAction is missing"),
        ('{"defaultAction": "SCMP_ACT_ALLOW",}', 1, 36, ""),
        ('{\n "defaultAction": "SCMP_ACT_ALOW"}', 2, 19, "did you mean SCMP_ACT_ALLOW?"),
        ('{"defaultAction": "SCMP_ACT_ALLOW",\n\n  "sycalls": []}', 3, 14, "did you mean syscalls?"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [5]}', 1, 50, "an object is expected"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}}', 1, 49, "syscalls must be a list"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}', 1, 50, "names is missing"),
        ('{"defaultAction": "SCMP_ACT_ALLOW",\n"syscalls": [\n' + RULE % "" + ",\n" + RULE % ', "args": [{}]' + "]}",
         4, 58, "index is missing"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrno": "EPREM"}', 1, 53, "did you mean EPERM?"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X66"]}', 1, 72,
         "unknown architecture"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [1], "action": "SCMP_ACT_LOG"}]}', 1, 61,
         "a text is expected"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"]}]}', 1, 50, "action is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_profile_is_told_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(RemoraError) as caught:
        seccomp_check.check("/p.json", text.encode())
    assert f"/p.json, line {line}, column {column}: " in caught.value.message
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("op", ["SCMP_CMP_EQ", "SCMP_CMP_QE"])
@pytest.mark.parametrize("index", [5, 6, -1, True])
def test_arguments_of_a_rule_are_checked(op: str, index: object) -> None:
    rule = {"name": "read", "action": "SCMP_ACT_LOG", "args": [{"index": index, "value": 1 << 63, "op": op}]}
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}).encode()
    if op == "SCMP_CMP_EQ" and index == 5:
        seccomp_check.check("/p", text)
        return
    with pytest.raises(RemoraError, match="unknown comparison" if index == 5 else "from 0 to 5"):
        seccomp_check.check("/p", text)


def test_a_place_is_found_behind_strings_that_look_like_the_end(tmp_path: Path) -> None:
    text = '{"defaultAction": "SCMP_ACT_ALLOW",\n "listenerMetadata": "}],{\\"\\\\",\n\t"flags": [ "a" , 7 ]}'
    with pytest.raises(RemoraError, match="line 3, column 19"):
        seccomp_check.check("/p", text.encode())


def test_bytes_that_are_no_text_have_a_place() -> None:
    with pytest.raises(RemoraError, match="line 2, column 4: not UTF-8"):
        seccomp_check.check("/p", b'{\n  "\xff"}')


def test_the_default_profile_passes_the_check() -> None:
    path = seccomp.profile_path()
    seccomp_check.check(path, seccomp.read(path))


def test_a_profile_is_a_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/zero", str(tmp_path / "fifo"), str(tmp_path)):
        with pytest.raises(RemoraError, match="not a plain file"):
            seccomp.read(path)


# ---- paths ------------------------------------------------------------------------------------


def masked(*given: str, privileged: bool = False) -> tuple[set[str], set[str]]:
    found = security.paths(make_spec(privileged=privileged), security.SecurityOptions(given))
    return set(found[0]), set(found[1])


def test_paths_are_masked_and_unmasked() -> None:
    every, fixed = set(security.MASKED), set(security.READ_ONLY)
    assert masked() == (every, fixed)
    assert masked("mask=/a:/b") == (every | {"/a", "/b"}, fixed)
    assert masked("unmask=ALL") == masked("unmask=all") == masked("systempaths=unconfined") == (set(), set())
    assert masked("unmask=/proc/kcore:/proc/sys") == (every - {"/proc/kcore"}, fixed - {"/proc/sys"})
    left = {"/sys/firmware", "/sys/fs/selinux", "/sys/dev/block"}
    assert masked("unmask=/proc/*") == (left, set())
    assert masked("unmask=/sys/*") == (every - {"/sys/firmware"}, fixed)
    assert masked("mask=/a", privileged=True) == ({"/a"}, set())


def test_options_are_told_apart() -> None:
    options = security.SecurityOptions(
        ["seccomp:/a=b", "seccomp=/c:d", "no-new-privileges:true", "apparmor=x", "proc-opts=a,b", "label=user:u:r"]
    )
    assert (options.seccomp, options.apparmor, options.no_new_privileges) == ("/c:d", "x", True)
    assert (options.proc_options, options.labels) == (["a", "b"], ["user:u:r"])
    assert not security.SecurityOptions(["no-new-privileges", "no-new-privileges=false"]).no_new_privileges


# ---- parameters and devices -------------------------------------------------------------------


def test_a_parameter_belongs_to_a_namespace() -> None:
    assert sysctls.namespace("net.ipv4.ip_forward") == "network"
    assert sysctls.namespace("kernel.msgmax") == sysctls.namespace("fs.mqueue.msg_max") == "ipc"
    assert sysctls.namespace("kernel.domainname") == "uts"
    assert [sysctls.namespace(name) for name in ("kernel.panic", "vm.swappiness", "kernel.hostname", "")] == [""] * 4


def test_defaults_of_foreign_namespaces_are_left_out() -> None:
    given = ["net.core.somaxconn=5", "kernel.sem = 1 2 3 4"]
    assert sysctls.defaults("x", given, {}) == {"net.core.somaxconn": "5", "kernel.sem": "1 2 3 4"}
    assert sysctls.defaults("x", given, {"network": "host"}) == {"kernel.sem": "1 2 3 4"}


@pytest.mark.parametrize("mode", ["host", "container:abc", "ns:/x"])
def test_a_parameter_of_a_foreign_namespace_is_refused(mode: str) -> None:
    with pytest.raises(RemoraError, match=f"network namespace.*--network {mode}"):
        sysctls.parse("--sysctl", ["net.core.somaxconn=1"], {"network": mode})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/null", ("/dev/null", "/dev/null", "rwm")),
        ("/dev/null:r", ("/dev/null", "/dev/null", "r")),
        ("/dev/null:/dev/x", ("/dev/null", "/dev/x", "rwm")),
        ("/dev/null:/dev/x/../y:wm", ("/dev/null", "/dev/y", "wm")),
        ("/dev/null::m", ("/dev/null", "/dev/null", "m")),
    ],
)
def test_a_device_is_named_in_three_ways(text: str, expected: tuple[str, str, str]) -> None:
    found = devices.parse("--device", text)
    assert (found["source"], found["target"], found["access"]) == expected


def test_a_link_stands_for_its_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    found = devices.parse("--device", str(tmp_path / "link"))
    assert (found["source"], found["target"]) == ("/dev/null", str(tmp_path / "link"))


def test_in_a_user_namespace_devices_are_bound() -> None:
    spec = make_spec(devices=[{"source": "/dev/null", "target": "/dev/x", "access": "r"}])
    made = devices.build(spec, bind=True)
    assert made.nodes == [] and len(made.rules) == 2  # where root made the namespace, the device cgroup counts, too
    assert [(item["destination"], item["source"]) for item in made.binds] == [("/dev/x", "/dev/null")]  # type: ignore[call-overload,index]
    made = devices.build(spec, bind=False)
    assert made.binds == [] and made.rules[1] == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


def test_rules_take_numbers_or_stars() -> None:
    assert devices.rule("x", "c  1:3   rw") == "c 1:3 rw"
    spec = make_spec(device_cgroup_rules=["b *:* m", "a 5:* r"])
    assert devices.build(spec, bind=False).rules[1:] == [
        {"allow": True, "type": "b", "access": "m"},
        {"allow": True, "type": "a", "access": "r", "major": 5},
    ]
    for text in ("", "c", "d 1:3 r", "c 1 r", "c x:1 r", "c 1:3 q", "c 1:3 r w", "c -1:3 r"):
        with pytest.raises(RemoraError):
            devices.rule("x", text)


def test_a_nearest_name_is_offered_for_a_capability() -> None:
    with pytest.raises(RemoraError, match="did you mean SYS_PTRACE"):
        capabilities.parse("--cap-add", ["SYS_PTRAC"])
    with pytest.raises(RemoraError, match=r"a name of capabilities\(7\)"):
        capabilities.parse("--cap-add", ["QQQQ"])


# ---- accounts ---------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh")
    (tmp_path / "root/etc/group").write_text("root:x:0:\n")
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def additions(root: int, **values: object) -> tuple[list[str], list[str]]:
    spec = make_spec(**values)
    made = accounts.Accounts(spec, root)
    try:
        found = user.resolve(made.sources, spec["user"])
        made.add_missing(spec, found)
        return made.passwd, made.group
    finally:
        made.close()


def test_only_an_unknown_number_is_added(root: int) -> None:
    for known in ("user", "1000", "root", "0", "1000:0", ""):
        assert additions(root, user=known) == ([], [])
    assert additions(root, user="55") == (["55:*:55:0:container user:/:/bin/sh"], [])
    assert additions(root, user="1000:56") == ([], ["56:x:56:1000"])
    assert additions(root, user="55", passwd=False) == ([], [])


def test_a_file_that_is_mounted_is_not_touched(root: int, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("me:x:55:56::/:/bin/sh\n")
    bind = {"type": "bind", "source": str(tmp_path / "mine"), "target": "/etc/passwd", "options": []}
    assert additions(root, user="77:78", mounts=[bind]) == ([], ["78:x:78:77"])
    assert additions(root, user="me", mounts=[bind]) == ([], [])
    tmpfs = {"type": "tmpfs", "source": "tmpfs", "target": "/etc", "options": []}
    assert additions(root, user="77:78", mounts=[tmpfs]) == ([], [])


def added(root: int, folder: Path, in_place: bool) -> list[tuple[str, str]]:
    made = accounts.Accounts(make_spec(user="55"), root)
    try:
        made.add_missing(make_spec(user="55"), user.resolve(made.sources, "55"))
        return made.write(str(folder), in_place)
    finally:
        made.close()


LINES = ["root:x:0:0::/root:/bin/sh", "user:x:1000:1000::/:/bin/sh", "55:*:55:0:container user:/:/bin/sh", ""]


def test_entries_go_into_the_container_s_own_file_once(root: int, tmp_path: Path) -> None:
    for _ in range(2):
        assert added(root, tmp_path / "out", in_place=True) == []
        assert (tmp_path / "root/etc/passwd").read_text().split("\n") == LINES


@pytest.mark.parametrize("in_the_way", ["fifo", "folder"])
def test_what_is_no_file_is_covered(root: int, tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / "root/etc/passwd"
    path.unlink()
    os.mkfifo(path) if in_the_way == "fifo" else path.mkdir()
    assert added(root, tmp_path / "out", in_place=True) == [("/etc/passwd", str(tmp_path / "out/passwd"))]
    assert (tmp_path / "out/passwd").read_text().split("\n") == LINES[2:]


def test_a_copy_has_the_image_s_lines_and_is_made_once(root: int, tmp_path: Path) -> None:
    copy = tmp_path / "out/passwd"
    for round in range(2):
        assert added(root, tmp_path / "out", in_place=False) == [("/etc/passwd", str(copy))]
        assert copy.read_text().split("\n")[:3] == LINES[:3]
        if not round:
            copy.write_text(copy.read_text() + "new:x:9:9::/:/bin/sh\n")
    assert copy.read_text().endswith("new:x:9:9::/:/bin/sh\n")
    assert "55" not in (tmp_path / "root/etc/passwd").read_text()


# ---- anything at all --------------------------------------------------------------------------

PROFILE = """{
    "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["a", "b"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8", "arches": ["amd64"]}},
        {"name": "c", "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_KILL"]},
         "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}
    ]
}"""
VALUES = ["null", "true", "[]", "{}", "[[]]", '""', "-1", "1e999", '"x"', '{"a": 1}', ""]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_profile_is_taken_or_refused_with_a_place(data: st.DataObject, tmp_path: Path) -> None:
    tokens = [(match.start(), match.end()) for match in re.finditer(r'"[^"]*"|\d+|[\[\]{},:]', PROFILE)]
    text = PROFILE
    start, end = data.draw(st.sampled_from(tokens))
    text = text[:start] + data.draw(st.sampled_from(VALUES) | st.text(max_size=3)) + text[end:]
    path = tmp_path / "profile.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    complaint = ""
    try:
        seccomp_check.check(str(path), seccomp.read(str(path)))
    except RemoraError as error:
        complaint = error.message
    if not complaint:
        seccomp.section(str(path), ["CAP_KILL"], "x86_64")  # what passes the check can be converted
        return
    found = re.search(r", line (\d+), column (\d+): ", complaint)
    assert found, complaint
    lines = path.read_bytes().decode(errors="replace").split("\n")
    assert 1 <= int(found[1]) <= len(lines) and 1 <= int(found[2]) <= len(lines[int(found[1]) - 1]) + 1


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30), st.sampled_from(["", "net.", "kernel.", "/dev/null:", "c 1:3 ", "seccomp=", "mask="]))
def test_any_text_is_taken_or_refused(text: str, start: str) -> None:
    for act in (
        lambda: sysctls.parse("x", [start + text], {}),
        lambda: devices.parse("x", start + text),
        lambda: devices.rule("x", start + text),
        lambda: capabilities.parse("x", [start + text]),
        lambda: accounts.check_entry("x", start + text, 4),
        lambda: security.SecurityOptions([start + text]),
    ):
        try:
            act()
        except RemoraError:
            pass
