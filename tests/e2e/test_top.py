"""top: the processes of a container, as Podman's descriptors and as ps tell them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.commands import SLEEP, said, state
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def somebody(busybox_tar: Path) -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as village:
        made = village.person("alice")
        import_image(made, busybox_tar)
        yield made


def lines(remora: Remora, *words: str) -> list[list[str]]:
    return [line.split() for line in remora("top", *words).splitlines()]


def test_top_shows_podmans_columns_with_the_containers_own_pids_and_names(remora: Remora) -> None:
    script = "mkdir -p /etc; echo root:x:0:0::/:/bin/sh >/etc/passwd; sleep 2000 & exec sleep 1000"
    remora("run", "-d", "--name", "two", "busybox", "sh", "-c", script)
    eventually(lambda: len(lines(remora, "two")) == 3, "both processes are there")
    table = lines(remora, "two")
    assert table[0] == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    assert [line[1:3] for line in table[1:]] == [["1", "0"], [table[2][1], "1"]]
    assert {line[0] for line in table[1:]} == {"root"}
    assert {" ".join(line[7:]) for line in table[1:]} == {"sleep 1000", "sleep 2000"}
    assert {line[5] for line in table[1:]} == {"?"}


def test_top_takes_podmans_descriptors_aixs_codes_and_pss_names(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", "--user", "54321:7", "busybox", *SLEEP[1:])
    pid = state(remora, "one", "Pid")
    heading, line = lines(remora, "one", "hpid", "pid,ppid", "%p", "huser", "user", "state", "uid", "gid", "nlwp")
    assert heading == ["HPID", "PID", "PPID", "PID", "HUSER", "USER", "STATE", "UID", "GID", "NLWP"]
    assert line == [pid, "1", "0", "1", "54321", "54321", "S", "54321", "7", "1"]
    assert lines(remora, "one", "seccomp", "capeff")[1] == ["filter", "none"]
    assert "CHOWN" in lines(remora, "one", "capbnd")[1][0]
    assert int(lines(remora, "one", "vsz")[1][0]) >= int(lines(remora, "one", "rss")[1][0]) > 0
    assert said(remora, "top", "one", "pidd").startswith('Error: unknown descriptor "pidd" (did you mean pid')
    remora("run", "-d", "--name", "all", "--privileged", "busybox", *SLEEP[1:])
    assert "SYS_ADMIN" in remora("top", "all", "capeff") or "full" in remora("top", "all", "capeff")


def test_each_descriptor_of_podman_has_its_heading(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *SLEEP)
    podman = {
        "args": "COMMAND", "capamb": "AMBIENT CAPS", "capbnd": "BOUNDING CAPS", "capeff": "EFFECTIVE CAPS",
        "capinh": "INHERITED CAPS", "capprm": "PERMITTED CAPS", "comm": "COMMAND", "etime": "ELAPSED",
        "group": "GROUP", "groups": "GROUPS", "hgroup": "HGROUP", "hgroups": "HGROUPS", "hpid": "HPID",
        "huser": "HUSER", "label": "LABEL", "nice": "NI", "pcpu": "%CPU", "pgid": "PGID", "pid": "PID",
        "ppid": "PPID", "rgroup": "RGROUP", "rss": "RSS", "ruser": "RUSER", "seccomp": "SECCOMP", "state": "STATE",
        "stime": "STIME", "time": "TIME", "tty": "TTY", "user": "USER", "vsz": "VSZ",
    }  # fmt: skip
    heading, line = remora("top", "one", *podman).splitlines()
    assert heading.split() == " ".join(podman.values()).split()
    assert " UTC" in line or time.tzname[0] in line
    assert re.search(r"  [0-9.]+m?s  ", line), line


def test_top_takes_options_of_ps_and_shows_only_the_containers_processes(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *SLEEP)
    pid = state(remora, "one", "Pid")
    for words in (["-eo", "pid,args"], ["-o", "pid,args"]):
        assert lines(remora, "one", *words) == [["PID", "COMMAND"], [pid, "sleep", "1000"]]
    assert [line[1] for line in lines(remora, "one", "aux")] == ["PID", pid]
    assert "no column PID" in said(remora, "top", "one", "-eo", "args")
    assert "top: ps: " in said(remora, "top", "one", "-o", "nosuch")


def test_top_shows_what_exec_started_and_the_terminal(remora: Remora) -> None:
    remora("run", "-dt", "--name", "one", *SLEEP)
    assert lines(remora, "one", "tty")[1][0].startswith("pts/")
    remora("exec", "-d", "one", "sleep", "500")
    eventually(lambda: "sleep 500" in remora("top", "--latest", "args"), "the second process is listed")
    assert sorted(remora("top", "one", "args").splitlines()[1:]) == ["sleep 1000", "sleep 500"]


def test_top_of_a_container_with_the_hosts_pids_shows_only_its_own(remora: Remora) -> None:
    remora("run", "-d", "--name", "other", *SLEEP)
    remora("run", "-d", "--name", "host", "--pid", "host", "busybox", "sh", "-c", "sleep 700 & exec sleep 600")
    pid = state(remora, "host", "Pid")
    eventually(lambda: len(lines(remora, "host", "pid")) == 3, "both processes are there")
    assert pid in [line[0] for line in lines(remora, "host", "pid")]
    assert sorted(remora("top", "host", "args").splitlines()[1:]) == ["sleep 600", "sleep 700"]


def test_top_refuses_a_container_that_does_not_run(remora: Remora) -> None:
    remora("create", "--name", "made", *SLEEP)
    assert "made is created: top can only be used on running containers" in said(remora, "top", "made")
    assert "no such container" in said(remora, "top", "nosuch")
    assert "missing" in said(remora, "top")


def test_a_user_sees_the_containers_ids_and_those_of_the_host(somebody: Person) -> None:
    with staying(somebody) as alice:
        alice("run", "-d", "--name", "one", "busybox", *SLEEP[1:])
        heading, line = lines(alice, "one", "hpid", "pid", "uid", "huser", "args")
        assert heading == ["HPID", "PID", "UID", "HUSER", "COMMAND"]
        assert line == [state(alice, "one", "Pid"), "1", "0", "alice", "sleep", "1000"]
        alice("exec", "-d", "--user", "1000", "one", "sleep", "500")
        eventually(lambda: "sleep 500" in alice("top", "one", "args"), "the second process is listed")
        assert sorted(line[0] for line in lines(alice, "one", "uid")[1:]) == ["0", "1000"]
        alice("run", "-d", "--name", "host", "--pid", "host", "busybox", *SLEEP[1:])
        assert [line[0] for line in lines(alice, "host", "pid")[1:]] == [state(alice, "host", "Pid")]
