"""Modes of namespaces: whose they are, what comes with them, and what is said when they can't be had."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.commands import SLEEP, said, state
from tests.support.waiting import eventually

# Option and file in /proc/PID/ns.
KINDS = [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net"), ("cgroupns", "cgroup")]


def own(file: str) -> str:
    return os.readlink(f"/proc/self/ns/{file}")


def namespace(remora: Remora, file: str, *options: str) -> str:
    """The namespace that a container with these options is in."""
    return remora("run", "--rm", *options, "busybox", "readlink", f"/proc/self/ns/{file}")


def ids(remora: Remora) -> set[str]:
    return set(remora("ps", "-aq", "--no-trunc").split())


@pytest.fixture
def other(remora: Remora) -> str:
    """A container that others join."""
    remora("run", "-d", "--name", "other", "--hostname", "elsewhere", *SLEEP)
    return "other"


@pytest.fixture
def foreign() -> Iterator[int]:
    """A process in namespaces that are nobody's container; its pid."""
    process = subprocess.Popen(["unshare", "--uts", "--ipc", "--net", "--cgroup", "sleep", "1000"])
    eventually(lambda: host.command_line(process.pid)[:1] == ["sleep"], "it is in its namespaces")
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize(("option", "file"), KINDS)
def test_host_is_the_hosts_own_and_private_is_not(remora: Remora, option: str, file: str) -> None:
    assert namespace(remora, file, f"--{option}", "host") == own(file)
    assert namespace(remora, file, f"--{option}", "none" if option == "network" else "private") != own(file)


@pytest.mark.parametrize(("option", "file"), KINDS)
def test_another_containers_namespace_is_joined(remora: Remora, other: str, option: str, file: str) -> None:
    theirs = remora("exec", other, "readlink", f"/proc/self/ns/{file}")
    if option != "cgroupns":  # private only where cgroups are v2
        assert theirs != own(file)
    assert namespace(remora, file, f"--{option}", f"container:{other}") == theirs


@pytest.mark.parametrize(("option", "file"), KINDS[1:])
def test_a_namespace_is_joined_by_path(remora: Remora, foreign: int, option: str, file: str) -> None:
    theirs = os.readlink(f"/proc/{foreign}/ns/{file}")
    assert namespace(remora, file, f"--{option}", f"ns:/proc/{foreign}/ns/{file}") == theirs != own(file)


def test_processes_of_another_container_are_seen_and_reached(remora: Remora, other: str) -> None:
    words = remora("run", "--rm", "--pid", f"container:{other}", "busybox", "ps", "-o", "args")
    assert "sleep 1000" in words
    remora("run", "-d", "--name", "inside", "--pid", f"container:{other}", *SLEEP)
    assert "sleep 1000" in remora("exec", "inside", "cat", "/proc/1/cmdline").replace("\0", " ")
    remora("kill", other)
    assert remora("wait", other) == "137"
    assert remora("wait", "inside") == "137"  # a pid namespace ends with its first process


def test_the_hosts_processes_are_seen_with_the_hosts_pids(remora: Remora) -> None:
    assert f"{os.getpid()}" in remora("run", "--rm", "--pid", "host", "busybox", "ps", "-o", "pid").split()


@pytest.mark.parametrize("mode", ["host", "container:other"])
def test_processes_left_behind_in_a_shared_pid_namespace_are_gone_at_the_end(
    remora: Remora, other: str, mode: str
) -> None:
    remora("run", "-d", "--name", "one", "--pid", mode, "busybox", "sh", "-c", "sleep 4711 & sleep 4711 & exit 3")
    assert remora("wait", "one") == "3"
    one = ids(remora) - {remora("inspect", "-f", "{{.Id}}", other)}
    eventually(lambda: not host.processes_of(remora, one) and not host.cgroups_of(one), "nothing of it is left")
    assert state(remora, other, "Running") == "true"
    # and so when it is stopped
    remora("run", "-d", "--name", "two", "--pid", mode, "busybox", "sh", "-c", "sleep 4711 & exec sleep 4711")
    two = {remora("inspect", "-f", "{{.Id}}", "two")}
    remora("stop", "-t", "0", "two")
    eventually(lambda: not host.processes_of(remora, two) and not host.cgroups_of(two), "nothing of it is left")


def test_shared_memory_is_shared_with_who_shares_ipc(remora: Remora, other: str) -> None:
    remora("exec", other, "sh", "-c", "echo mine > /dev/shm/segment")
    assert remora("run", "--rm", "--ipc", f"container:{other}", "busybox", "cat", "/dev/shm/segment") == "mine"
    remora("run", "--rm", "--ipc", f"container:{other}", "busybox", "sh", "-c", "echo yours > /dev/shm/segment")
    assert remora("exec", other, "cat", "/dev/shm/segment") == "yours"
    assert remora("run", "--rm", "busybox", "ls", "/dev/shm") == ""


def test_shared_memory_of_the_host_comes_with_the_hosts_ipc(remora: Remora) -> None:
    seen = remora("run", "--rm", "--ipc", "host", "busybox", "stat", "-c", "%d:%i", "/dev/shm")
    status = os.stat("/dev/shm")
    assert seen == f"{status.st_dev}:{status.st_ino}"


def test_size_of_shared_memory(remora: Remora) -> None:
    script = "df -k /dev/shm | tail -n 1 | awk '{print $2}'"
    assert remora("run", "--rm", "busybox", "sh", "-c", script) == "65536"
    assert remora("run", "--rm", "--shm-size", "3m", "busybox", "sh", "-c", script) == "3072"
    remora("create", "--name", "sized", "--shm-size", "1000000", "busybox")
    assert remora("inspect", "-f", "{{.HostConfig.ShmSize}}", "sized") == "1000000"


def test_ipc_none_has_no_shared_memory_and_others_may_join(remora: Remora) -> None:
    remora("run", "-d", "--name", "bare", "--ipc", "none", *SLEEP)
    assert "No such file" in remora.run("exec", "bare", "ls", "/dev/shm", status=1).stderr
    theirs = remora("exec", "bare", "readlink", "/proc/self/ns/ipc")
    assert namespace(remora, "ipc", "--ipc", "container:bare") == theirs


def test_the_host_name_is_that_of_the_uts_namespace(remora: Remora, other: str) -> None:
    script = "hostname; echo $HOSTNAME; cat /etc/hostname"
    assert remora("run", "--rm", "--uts", f"container:{other}", "busybox", "sh", "-c", script).split() == (
        ["elsewhere"] * 3
    )
    mine = os.uname().nodename
    assert remora("run", "--rm", "--uts", "host", "busybox", "sh", "-c", script).split() == [mine] * 3
    remora("run", "-d", "--name", "joined", "--uts", f"container:{other}", *SLEEP)
    assert remora("exec", "joined", "sh", "-c", "echo $HOSTNAME") == "elsewhere"


def test_a_network_is_shared_with_its_names(remora: Remora) -> None:
    remora("run", "-d", "--name", "server", "busybox", "sh", "-c", "while true; do echo served | nc -l -p 8000; done")
    script = "until nc 127.0.0.1 8000 </dev/null 2>/dev/null; do :; done"
    assert remora("run", "--rm", "--network", "container:server", "busybox", "sh", "-c", script) == "served"
    assert "server" in remora("run", "--rm", "--network", "container:server", "busybox", "cat", "/etc/hosts").split()


def test_a_joined_namespace_keeps_its_own_settings(remora: Remora, foreign: int) -> None:
    words = ["nsenter", "-t", str(foreign), "-n", "cat", "/proc/sys/net/ipv4/ping_group_range"]
    before = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    remora("run", "--rm", "--network", f"ns:/proc/{foreign}/ns/net", "busybox", "true")
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == before


def test_a_restart_by_the_monitor_finds_the_same_namespaces_again(remora: Remora, other: str) -> None:
    script = "readlink /proc/self/ns/ipc; readlink /proc/self/ns/net; cat /dev/shm/segment; echo end; sleep 1000"
    remora("exec", other, "sh", "-c", "echo kept > /dev/shm/segment")
    joined = ["--ipc", f"container:{other}", "--network", f"container:{other}"]
    remora("run", "-d", "--name", "again", "--restart", "always", *joined, "busybox", "sh", "-c", script)
    eventually(lambda: remora("logs", "again").endswith("end"), "it has told where it is")
    first = remora("logs", "again")
    assert "kept" in first
    remora("rm", "-f", "-t", "0", other)
    host.send(int(state(remora, "again", "Pid")), 9)
    eventually(lambda: remora("logs", "again").count("end") == 2, "it was started again")
    assert remora("logs", "again") == f"{first}\n{first}"


def test_a_start_needs_the_other_container_to_run(remora: Remora, other: str) -> None:
    remora("create", "--name", "late", "--pid", f"container:{other}", *SLEEP)
    remora("stop", "-t", "0", other)
    line = said(remora, "start", "late")
    assert f"joining the pid namespace of container {other}, which is exited" in line
    assert f"`remora start {other}`" in line
    remora("start", other)
    remora("start", "late")
    assert state(remora, "late", "Running") == "true"
    remora("rm", "-f", "-t", "0", "late", other)
    remora("run", "-d", "--name", other, *SLEEP)
    remora("create", "--name", "late", "--ipc", f"container:{other}", *SLEEP)
    remora("rm", "-f", "-t", "0", other)
    assert "no such container (it was removed: remove late" in said(remora, "start", "late")


def test_nothing_is_left_of_joined_namespaces(remora: Remora, other: str) -> None:
    joined = [word for option, _ in KINDS for word in (f"--{option}", f"container:{other}")]
    remora("run", "-d", "--name", "all", *joined, *SLEEP)
    remora("run", "--rm", *joined, "busybox", "true")
    known = ids(remora)
    remora("rm", "-f", "-t", "0", "all", other)
    host.assert_nothing_left(remora, known)


def test_the_modes_are_shown(remora: Remora, other: str) -> None:
    shown = "{{.HostConfig.PidMode}} {{.HostConfig.IpcMode}} {{.HostConfig.UTSMode}} {{.HostConfig.NetworkMode}}"
    assert remora("inspect", "-f", shown, other) == "private shareable private none"
    full = remora("inspect", "-f", "{{.Id}}", other)
    remora("create", "--name", "c", "--pid", "container:other", "--ipc", "private", "--uts", "host", "busybox")
    assert remora("inspect", "-f", shown, "c") == f"container:{full} private host none"
    remora("create", "--name", "d", "--cgroupns", "private", "busybox")
    assert remora("inspect", "-f", "{{.HostConfig.CgroupMode}}", "d") == "private"


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "network"])
def test_a_container_with_other_ids_can_not_join_but_one_with_the_same_can(
    remora: Remora, other: str, kind: str
) -> None:
    mapped = ["--uidmap", "0:200000:65536"]
    line = said(remora, "run", "--rm", *mapped, f"--{kind}", f"container:{other}", "busybox", "true")
    assert "does not belong to the user namespace that this container has (leave out --userns" in line
    remora("run", "-d", "--name", "mapped", *mapped, *SLEEP)
    file = dict(KINDS)[kind]
    theirs = remora("exec", "mapped", "readlink", f"/proc/self/ns/{file}")
    same = ["--userns", "container:mapped", f"--{kind}", "container:mapped"]
    assert namespace(remora, file, *same) == theirs


@pytest.mark.parametrize("options", [["--pid"], ["--ipc"], ["--uts"], ["--network"]])
def test_host_modes_go_with_a_user_namespace(remora: Remora, options: list[str]) -> None:
    words = ["--uidmap", "0:200000:65536", *options, "host", "busybox", "sh", "-c"]
    script = "cat /proc/self/uid_map; ls -d /dev/shm /sys/class/net"
    assert remora("run", "--rm", *words, script).split() == [
        "0", "200000", "65536", "/dev/shm", "/sys/class/net"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pid", "hots"], 'unknown mode "hots" for --pid (did you mean host?'),
        (["--pid", "shareable"], 'unknown mode "shareable" for --pid'),
        (["--ipc", "container:nobody"], 'no container with name or ID "nobody" found'),
        (["--ipc", "container:closed"], "the IPC namespace of container closed is private"),
        (["--uts", "ns:/nowhere/uts"], "--uts ns:/nowhere/uts: no such file or directory"),
        (["--ipc", "ns:/etc/passwd"], "the file is no namespace (name a file such as /proc/PID/ns/ipc)"),
        (["--uts", "ns:/proc/self/ns/ipc"], "the file is a namespace, but no uts namespace"),
        (["--uts", "host", "--hostname", "mine"], "--hostname mine: with --uts host the host name is not"),
        (["--ipc", "host", "--shm-size", "1m"], "--shm-size 1m: with --ipc host the container has no /dev/shm"),
        (["--shm-size", "large"], 'invalid size "large" for --shm-size'),
        (["--network", "container:nobody"], 'no container with name or ID "nobody" found'),
        (["--tz", "Nowhere/City"], 'unknown time zone "Nowhere/City" for --tz'),
    ],
)
def test_a_mode_that_can_not_be_is_one_line_and_leaves_nothing(
    remora: Remora, options: list[str], expected: str
) -> None:
    remora("create", "--name", "closed", "--ipc", "private", "busybox")
    before = ids(remora)
    assert expected in said(remora, "run", *options, "busybox", "true")
    assert ids(remora) == before


def test_the_defaults_are_those_of_the_configuration(remora: Remora) -> None:
    remora.configuration.write_text(
        '[containers]\npidns = "host"\nipcns = "host"\nutsns = "host"\ncgroupns = "host"\nnetns = "host"\n'
    )
    script = "for name in pid ipc uts cgroup net; do readlink /proc/self/ns/$name; done"
    expected = [own(name) for name in ("pid", "ipc", "uts", "cgroup", "net")]
    assert remora("run", "--rm", "busybox", "sh", "-c", script).split() == expected
    assert namespace(remora, "pid", "--pid", "private") != own("pid")
    remora.configuration.write_text('[containers]\nnetns = "none"\npidns = "hots"\n')
    line = said(remora, "run", "--rm", "busybox", "true")
    assert f'unknown mode "hots" for [containers] pidns in {remora.configuration} (did you mean host?' in line


def test_a_private_cgroup_namespace_shows_the_containers_own_cgroup_as_the_root(remora: Remora) -> None:
    lines = remora("run", "--rm", "--cgroupns", "private", "busybox", "cat", "/proc/self/cgroup").splitlines()
    assert lines and all(line.endswith(":/") for line in lines)
    lines = remora("run", "--rm", "--cgroupns", "host", "busybox", "cat", "/proc/self/cgroup").splitlines()
    assert not all(line.endswith(":/") for line in lines)
