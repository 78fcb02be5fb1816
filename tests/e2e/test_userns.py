"""Root's containers with a user namespace of their own: maps, whose files are whose, joining another's namespace."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.commands import SLEEP, said, state
from tests.support.people import as_user
from tests.support.waiting import eventually

FIRST = 1200000
MAP = ("--uidmap", f"0:{FIRST}:65536")


def shell(remora: Remora, *options: str, script: str) -> str:
    """Output of a script in a container with a map."""
    return remora("run", "--rm", *(options or MAP), "busybox", "sh", "-c", script)


def test_a_container_has_the_map_and_root_of_its_own(remora: Remora) -> None:
    both = shell(remora, script="cat /proc/self/uid_map /proc/self/gid_map; id -u")
    assert [line.split() for line in both.splitlines()] == [["0", str(FIRST), "65536"]] * 2 + [["0"]]
    assert host.leftovers(remora, set()) == {}


def test_the_maps_of_users_and_groups_may_differ(remora: Remora) -> None:
    options = ("--uidmap", f"0:{FIRST}:10", "--uidmap", f"10:{FIRST + 50}:5", "--gidmap", f"0:{FIRST + 100}:70000")
    lines = shell(remora, *options, script="cat /proc/self/uid_map; echo; cat /proc/self/gid_map").split("\n\n")
    assert lines[0].split() == ["0", str(FIRST), "10", "10", str(FIRST + 50), "5"]
    assert lines[1].split() == ["0", str(FIRST + 100), "70000"]


def test_files_of_the_image_belong_to_whom_they_belong_in_the_image(remora: Remora) -> None:
    script = "stat -c %u:%g / /bin/busybox; touch /made; chown 33:44 /made; stat -c %u:%g /made; rm /bin/ls"
    remora("run", "--name", "files", *MAP, "busybox", "sh", "-c", script)
    lines = remora("logs", "files").splitlines()
    assert lines[:3] == ["0:0", "0:0", "33:44"]
    upper = remora.root / "containers" / remora("inspect", "-f", "{{.Id}}", "files") / "upper"
    status = (upper / "made").stat()
    assert (status.st_uid, status.st_gid) == (FIRST + 33, FIRST + 44)


def test_its_own_files_are_its_roots(remora: Remora) -> None:
    script = "stat -c %u:%g /etc/hosts /etc/hostname /run/.containerenv /dev/shm /dev/pts; echo 1.2.3.4 x >>/etc/hosts"
    assert set(shell(remora, script=script).splitlines()) == {"0:0"}


def test_files_of_the_host_are_seen_through_the_map(remora: Remora, tmp_path: Path) -> None:
    folder = tmp_path / "bound"
    folder.mkdir()
    (folder / "own").write_text("own")
    os.chown(folder / "own", FIRST + 5, FIRST + 6)
    (folder / "foreign").write_text("secret")
    (folder / "foreign").chmod(0o600)
    script = "stat -c %u:%g /b/own /b/foreign; cat /b/foreign || echo refused; touch /b/x || echo refused"
    output = remora.run("run", "--rm", *MAP, "-v", f"{folder}:/b", "busybox", "sh", "-c", script).stdout
    assert output.splitlines() == ["5:6", "65534:65534", "refused", "refused"]
    os.chown(folder, FIRST, FIRST)
    shell(remora, *MAP, "-v", f"{folder}:/b", script="touch /b/made; chown 7:8 /b/made")
    status = (folder / "made").stat()
    assert (status.st_uid, status.st_gid) == (FIRST + 7, FIRST + 8)


def test_the_owner_of_a_bound_folder_can_be_changed_to_the_containers_user(remora: Remora, tmp_path: Path) -> None:
    folder = tmp_path / "bound"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text("x")
    (folder / "link").symlink_to("/etc/shadow")
    before = os.stat("/etc/shadow")
    volume = ("-v", f"{folder}:/b:U", "--user", "33:44")
    assert (
        shell(remora, *MAP, *volume, script="stat -c %u:%g /b /b/sub/file /b/link; touch /b/new").splitlines()
        == ["33:44"] * 3
    )
    status = (folder / "sub/file").stat()
    assert (status.st_uid, status.st_gid) == (FIRST + 33, FIRST + 44)
    assert os.stat("/etc/shadow").st_uid == before.st_uid


def test_without_a_map_the_owner_is_changed_as_well(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    remora("run", "--rm", "--user", "33:44", "-v", f"{tmp_path / 'link'}:/f:U", "busybox", "true")
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (33, 44)


def test_a_tmpfs_is_the_containers(remora: Remora) -> None:
    script = "stat -c %u:%g:%a /t /u; touch /t/x"
    output = shell(remora, *MAP, "--tmpfs", "/t", "--tmpfs", "/u:uid=7,gid=8,mode=700", script=script)
    assert output.splitlines() == ["0:0:1777", "7:8:700"]


def test_another_user_writes_to_its_streams(remora: Remora) -> None:
    script = "id -u; echo out >/dev/stdout; echo err >/dev/stderr"
    result = remora.run("run", "--rm", *MAP, "--user", "1000:1000", "busybox", "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("1000\nout\n", "err\n")


def test_exec_is_in_the_same_namespace(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *MAP, *SLEEP)
    pid = state(remora, "one", "Pid")
    assert os.stat(f"/proc/{pid}").st_uid == FIRST
    inside = os.readlink(f"/proc/{pid}/ns/user")
    assert remora("exec", "one", "readlink", "/proc/self/ns/user") == inside
    assert remora("exec", "--user", "1000", "one", "sh", "-c", "id -u; echo x >/dev/stdout") == "1000\nx"
    assert remora("exec", "one", "cat", "/proc/self/uid_map").split() == ["0", str(FIRST), "65536"]


def test_a_stopped_container_finds_its_files_again(remora: Remora) -> None:
    script = "[ -e /kept ] || { touch /kept; chown 5:5 /kept; }; stat -c %u:%g /kept"
    remora("run", "--name", "one", *MAP, "busybox", "sh", "-c", script)
    remora("start", "-a", "one")
    assert remora("logs", "one").splitlines() == ["5:5", "5:5"]


def test_the_monitor_starts_it_again_with_the_same_map(remora: Remora) -> None:
    script = "cat /proc/self/uid_map; [ -e /second ] && exec sleep 1000; touch /second; exit 1"
    remora("run", "-d", "--name", "one", "--restart", "always", *MAP, "busybox", "sh", "-c", script)
    eventually(lambda: remora("logs", "one").count("\n") == 1, "the second run has written its line")
    assert [line.split() for line in remora("logs", "one").splitlines()] == [["0", str(FIRST), "65536"]] * 2


def test_a_monitor_that_was_upgraded_or_lost_its_worker_goes_on(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", "--restart", "always", *MAP, *SLEEP)
    remora("monitor", "upgrade", "one")
    keeper = int(state(remora, "one", "ConmonPid"))
    host.send(host.monitor_processes(keeper)[1], signal.SIGKILL)
    assert remora("exec", "--user", "7", "one", "sh", "-c", "id -u; stat -c %u /bin/busybox") == "7\n0"
    before = state(remora, "one", "Pid")
    host.send(int(before), signal.SIGKILL)
    eventually(lambda: state(remora, "one", "Pid") not in ("0", before), "it is started again")
    assert remora("exec", "one", "cat", "/proc/self/uid_map").split() == ["0", str(FIRST), "65536"]


@pytest.mark.parametrize(
    "options",
    [
        ("--privileged",),
        ("--read-only",),
        ("--network", "host"),
        ("--init",),
        ("--cap-drop", "all"),
        ("--memory", "64m", "--pids-limit", "50"),
        ("-v", "/boot:/boot:ro"),
        ("-v", "/:/host:ro"),
    ],
)
def test_it_goes_with_other_options(remora: Remora, options: tuple[str, ...]) -> None:
    assert shell(remora, *MAP, *options, script="id -u; ls /sys/class >/dev/null && ls /proc/1/status") == (
        "0\n/proc/1/status"
    )


def test_its_root_has_no_rights_outside(remora: Remora) -> None:
    script = "mknod /n c 1 3 2>&1; cat /proc/kmsg 2>&1; mkdir /m; mount -t tmpfs mine /m && grep -c ' /m ' /proc/mounts"
    lines = shell(remora, *MAP, "--cap-add", "all", script=script).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["Operation not permitted", "Permission denied", "1"]


def test_inspect_tells_the_map(remora: Remora) -> None:
    remora("create", "--name", "one", *MAP, "busybox")
    found = json.loads(remora("inspect", "one"))[0]["HostConfig"]
    assert found["UsernsMode"] == "private"
    assert found["IDMappings"] == {"UidMap": [f"0:{FIRST}:65536"], "GidMap": [f"0:{FIRST}:65536"]}
    remora("create", "--name", "two", "busybox")
    assert json.loads(remora("inspect", "two"))[0]["HostConfig"]["UsernsMode"] == ""


def test_another_container_shares_the_namespace(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *MAP, *SLEEP)
    inside = os.readlink(f"/proc/{state(remora, 'one', 'Pid')}/ns/user")
    script = "readlink /proc/self/ns/user; stat -c %u /bin/busybox; touch /x; stat -c %u /x; stat -c %u /etc/hosts"
    assert shell(remora, "--userns", "container:one", script=script).splitlines() == [inside, "0", "0", "0"]
    remora("create", "--name", "two", "--userns", "container:one", "busybox", "true")
    remora("stop", "-t", "0", "one")
    assert "one, which is exited" in said(remora, "start", "two")
    remora("start", "one")
    remora("start", "-a", "two")
    remora("stop", "-t", "0", "one")
    remora("rm", "one")
    assert "no such container" in said(remora, "start", "two")


def test_a_namespace_by_path_is_joined(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *MAP, *SLEEP)
    path = f"/proc/{state(remora, 'one', 'Pid')}/ns/user"
    script = "readlink /proc/self/ns/user; stat -c %u /bin/busybox"
    assert shell(remora, "--userns", f"ns:{path}", script=script).splitlines() == [os.readlink(path), "0"]
    assert "no user namespace" in said(remora, "run", "--userns", "ns:/proc/self/ns/net", "busybox")
    assert "no such file" in said(remora, "run", "--userns", "ns:/nowhere", "busybox")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--userns", "keep-id"), "only for containers of ordinary users"),
        (("--userns", "nomap"), "only for containers of ordinary users"),
        (("--userns", "private"), "the map is missing"),
        (("--userns", "kepid"), "did you mean keep-id?"),
        (("--userns", "auto", *MAP), "exclude each other"),
        (("--subuidname", "x", *MAP), "exclude each other"),
        (("--uidmap", "0:x:1"), 'invalid value "0:x:1" for --uidmap'),
        (("--uidmap", "1:100000:10"), "container's id 0"),
        (("--uidmap", "0:100000:10", "--uidmap", "5:200000:10"), "container's id 5"),
        (("--uidmap", "0:4294967290:10"), "none above"),
        (("--subuidname", "nosuchname"), 'no line for "nosuchname" in /etc/subuid'),
        (("--userns", "auto:size=none"), "auto:size=N"),
        (("--userns", "container:nosuch"), "no such container"),
        ((*MAP, "--user", "70000"), "user 70000"),
        (("-v", "/etc:/e:U"), "the owner of /etc is the system's business"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line_and_leaves_nothing(
    remora: Remora, options: tuple[str, ...], message: str
) -> None:
    line = said(remora, "run", "--rm", *options, "busybox", "true")
    assert message in line
    assert host.leftovers(remora, set()) == {}


def test_nobody_else_can_enter_its_folders(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *MAP, *SLEEP)
    folder = remora.root / "containers" / remora("inspect", "-f", "{{.Id}}", "one")
    assert as_user(FIRST, lambda: os.listdir(folder)) == "EACCES"
