"""Modes of namespaces for an ordinary user: what can be joined is that user's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROGRAM
from tests.support import host
from tests.support.commands import SLEEP, said, state
from tests.support.village import Person
from tests.support.waiting import eventually

KINDS = [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("network", "net"), ("cgroupns", "cgroup")]
NONE = ("--network", "none")


@pytest.fixture
def other(alice: Person) -> str:
    alice("run", "-d", "--name", "other", "--hostname", "elsewhere", *NONE, *SLEEP)
    return "other"


def outside(alice: Person, file: str) -> str:
    """The namespace that alice herself is in."""
    return alice.do("readlink", f"/proc/self/ns/{file}").strip()


def network(option: str) -> tuple[str, ...]:
    return () if option == "network" else NONE


@pytest.mark.parametrize(("option", "file"), KINDS)
def test_host_is_the_hosts_own(alice: Person, option: str, file: str) -> None:
    words = (f"--{option}", "host", *network(option), "busybox", "readlink", f"/proc/self/ns/{file}")
    assert alice("run", "--rm", *words) == outside(alice, file)


@pytest.mark.parametrize(("option", "file"), KINDS)
def test_a_namespace_of_an_own_container_is_joined(alice: Person, other: str, option: str, file: str) -> None:
    theirs = alice("exec", other, "readlink", f"/proc/self/ns/{file}")
    words = (f"--{option}", f"container:{other}", *network(option), "busybox", "readlink", f"/proc/self/ns/{file}")
    assert alice("run", "--rm", *words) == theirs


def test_with_the_hosts_pids_the_hosts_processes_are_seen_in_proc(alice: Person) -> None:
    words = ("run", "--rm", "--pid", "host", *NONE, "busybox", "sh", "-c", "ls /proc; echo 1 > /proc/sys/vm/swappiness")
    result = alice.run(*words, status=1)
    assert str(os.getpid()) in result.stdout.split()


def test_shared_memory_and_processes_are_shared(alice: Person, other: str) -> None:
    alice("exec", other, "sh", "-c", "echo mine > /dev/shm/segment")
    joined = ("--ipc", f"container:{other}", "--pid", f"container:{other}", "--uts", f"container:{other}", *NONE)
    script = "cat /dev/shm/segment; hostname; ps -o args | grep -c '^sleep 1000'"
    assert alice("run", "--rm", *joined, "busybox", "sh", "-c", script).split() == ["mine", "elsewhere", "1"]


def test_it_is_joined_again_by_start_and_restart(alice: Person, other: str) -> None:
    alice("create", "--name", "late", "--ipc", f"container:{other}", *NONE, *SLEEP)
    alice("start", "late")
    theirs = alice("exec", other, "readlink", "/proc/self/ns/ipc")
    assert alice("exec", "late", "readlink", "/proc/self/ns/ipc") == theirs
    alice("restart", "-t", "0", "late")
    assert alice("exec", "late", "readlink", "/proc/self/ns/ipc") == theirs
    keepers = [int(state(alice, name, "ConmonPid")) for name in (other, "late")]
    assert len({os.readlink(f"/proc/{keeper}/ns/user") for keeper in keepers}) == 1
    # The user namespace lives on with the second monitor.
    alice("rm", "-f", "-t", "0", other)
    assert alice("exec", "late", "readlink", "/proc/self/ns/ipc") == theirs


def test_processes_left_behind_with_the_hosts_pids_are_gone_at_the_end(alice: Person) -> None:
    before = set(alice.processes())
    alice("run", "-d", "--name", "one", "--pid", "host", *NONE, "busybox", "sh", "-c", "sleep 4711 & exit 3")
    assert alice("wait", "one") == "3"
    eventually(lambda: set(alice.processes()) <= before, "no process of it is left")


def test_the_login_uid_is_the_users_all_along_the_chain(alice: Person) -> None:
    script = f'echo {alice.uid} > /proc/self/loginuid && exec "$@"'
    words = [*alice.entering(script), str(PROGRAM), "run", "-d", "--name", "kept", "--restart", "always", *NONE, *SLEEP]
    subprocess.run(words, env=alice.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
    keeper = int(state(alice, "kept", "ConmonPid"))

    def login_uids() -> set[str]:
        pids = [*host.monitor_processes(keeper), int(state(alice, "kept", "Pid"))]
        return {Path(f"/proc/{pid}/loginuid").read_text() for pid in pids}

    assert login_uids() == {str(alice.uid)}
    first = int(state(alice, "kept", "Pid"))
    host.send(first, 9)
    eventually(lambda: state(alice, "kept", "Pid") not in ("0", str(first)), "it was started again")
    assert login_uids() == {str(alice.uid)}
    # In the container the user's number is root's.
    assert alice("exec", "kept", "cat", "/proc/self/loginuid") == "0"


def test_a_namespace_of_the_host_can_not_be_joined_by_path(alice: Person) -> None:
    path = f"/proc/{os.getpid()}/ns/uts"
    alice.village.folder.joinpath("uts").touch()
    line = said(alice, "run", "--rm", "--uts", f"ns:{path}", *NONE, "busybox", "true")
    assert "uts" in line and ("permission denied" in line or "another user namespace" in line)
    assert alice("ps", "-aq") == ""
    pid = alice.processes()
    assert not pid or host.alive(pid[0])


def test_settings_are_the_machines_and_the_users_own_above_them(alice: Person) -> None:
    system = alice.village.etc / "containers"
    own = alice.home / ".config/containers"
    script = "umask; df -k /dev/shm | tail -n 1 | awk '{print $2}'; echo $FROM"
    words = ("run", "--rm", *NONE, "busybox", "sh", "-c", script)
    before = alice(*words).split()
    (system / "containers.conf").write_text('[containers]\numask = "0027"\nshm_size = "2m"\nenv = ["FROM=machine"]\n')
    (system / "containers.conf.d").mkdir()
    (system / "containers.conf.d/50.conf").write_text('[containers]\nshm_size = "3m"\n')
    own.mkdir(parents=True, exist_ok=True)
    (own / "containers.conf").write_text('[containers]\nenv = ["FROM=user"]\n')
    try:
        assert before == ["0022", "65536"]
        assert alice(*words).split() == ["0027", "3072", "user"]
        (own / "containers.conf").write_text('[containers]\numask = "wrong"\n')
        line = said(alice, *words)
        assert f'invalid mask "wrong" for [containers] umask in {own}/containers.conf' in line
        (own / "containers.conf").chmod(0)
        assert f"Permission denied: {own}/containers.conf (make it readable)" in said(alice, *words)
    finally:
        (system / "containers.conf").unlink()
        (system / "containers.conf.d/50.conf").unlink()
        (own / "containers.conf").unlink()
