"""Namespaces handed over as descriptors: bound by the keeper for the runtime, seen by nobody else, gone with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from remora import monitor
from remora.monitor import RequestFailed
from tests.conftest import TREE
from tests.support import host
from tests.support.box import DEADLINE, Box, received
from tests.support.namespaces import Holder, identity, of_process
from tests.support.waiting import eventually

SLEEP = ("sh", "-c", "while :; do sleep 0.1; done")
KINDS = ("network", "ipc", "uts")


@contextlib.contextmanager
def handed_over(box: Box, *kinds: str) -> Iterator[dict[str, tuple[int, int]]]:
    """Give the box fresh namespaces that nobody else holds once it is started; which they are."""
    with Holder(*kinds) as holder:
        box.namespaces = {kind: holder.open(kind) for kind in kinds}
        found = {kind: identity(fd) for kind, fd in box.namespaces.items()}
        try:
            yield found
        finally:
            for fd in box.namespaces.values():
                os.close(fd)


def init_of(box: Box) -> int:
    pid = box.status()["pid"]
    assert isinstance(pid, int)
    return pid


def keeper_of(box: Box) -> int:
    with box.connect() as connection:
        pid = connection.request({"op": "status"})["keeper_pid"]
    assert isinstance(pid, int)
    return pid


def test_the_container_is_in_the_namespaces_that_were_handed_over(box: Box) -> None:
    with handed_over(box, *KINDS) as wanted:
        box.started(*SLEEP).close()
    assert {kind: of_process(init_of(box), kind) for kind in KINDS} == wanted


def test_others_find_them_through_the_keeper_and_not_in_their_own_mount_namespace(box: Box) -> None:
    with handed_over(box, *KINDS) as wanted:
        box.started(*SLEEP).close()
    keeper = keeper_of(box)
    for kind, which in wanted.items():
        path = box.namespace_path(kind)
        assert identity(f"/proc/{keeper}/root{path}") == which
        assert Path(path).read_bytes() == b"", "for us an ordinary empty file"
    assert str(box.data) not in Path("/proc/self/mountinfo").read_text()
    held = [os.readlink(f"/proc/{keeper}/fd/{fd}") for fd in os.listdir(f"/proc/{keeper}/fd")]
    assert not [name for name in held if name.startswith(("net:", "ipc:", "uts:"))]


def test_they_outlive_the_container_as_long_as_it_is_restarted(box: Box) -> None:
    script = "read line; [ $line = again ] && exit 1; exit 0"
    with handed_over(box, "network") as wanted:
        spawner = box.started(
            "sh", "-c", script, stdin=True, attach={"stdin": True}, restart={"policy": "on-failure", "max": 1}
        )
    first = init_of(box)
    spawner.send_packet(monitor.core.STDIN, b"again\n")
    eventually(lambda: box.status()["restarts"] == 1 and init_of(box), "it runs again", timeout=DEADLINE)
    assert init_of(box) != first
    assert of_process(init_of(box), "network") == wanted["network"]
    spawner.send_packet(monitor.core.STDIN, b"end\n")
    assert received(spawner)[1] is not None
    box.assert_gone()


class Wire:
    """A network namespace at the other end of a cable: it shows whether the one at this end is there still."""

    def __init__(self, other: Holder) -> None:
        self._here = Holder("network")
        self._here.run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(other.pid))

    def is_whole(self) -> bool:
        return "near" in self._here.run("ip", "-o", "link")

    def close(self) -> None:
        self._here.close()


@pytest.mark.parametrize("victims", ["none", "worker", "keeper", "both"])
def test_they_are_gone_with_the_container_whatever_is_killed(box: Box, victims: str) -> None:
    with Holder("network") as holder:
        wire = Wire(holder)
        box.namespaces = {"network": holder.open("network")}
        box.started(*SLEEP).close()
        os.close(box.namespaces["network"])
    try:
        assert wire.is_whole()
        with box.connect() as connection:
            told = connection.request({"op": "status"})
        keeper, worker, init = told["keeper_pid"], told["worker_pid"], init_of(box)
        assert isinstance(keeper, int) and isinstance(worker, int)
        if victims in ("keeper", "both"):
            os.kill(keeper, signal.SIGKILL)
        if victims in ("worker", "both"):
            os.kill(worker, signal.SIGKILL)
        assert wire.is_whole(), "the container is still in it"
        host.send(init, signal.SIGKILL)
        eventually(lambda: not wire.is_whole(), "the namespace is gone", timeout=DEADLINE)
    finally:
        wire.close()


def test_a_container_that_goes_takes_the_files_along(box: Box) -> None:
    with handed_over(box, "network", "ipc"):
        spawner = box.started("true", attach={}, remove=[["tree", str(box.data)]])
    assert received(spawner)[1] is not None
    box.assert_gone()
    assert not box.data.exists()


def test_they_come_between_the_containers_own_stdio_and_what_is_preserved_for_it(box: Box, tmp_path: Path) -> None:
    said, given = tmp_path / "said", tmp_path / "given"
    given.write_text("from a descriptor\n")
    files = [os.open("/dev/null", os.O_RDONLY), os.open(said, os.O_WRONLY | os.O_CREAT), os.open(given, os.O_RDONLY)]
    box.stdio = (files[0], files[1], files[1])
    box.preserved = [files[2]]
    try:
        with handed_over(box, "network", "uts") as wanted:
            box.started("sh", "-c", "cat <&3; readlink /proc/self/ns/net; ls /proc/self/fd | wc -l").close()
    finally:
        for fd in files:
            os.close(fd)
    assert box.record()["code"] == 0
    lines = said.read_text().splitlines()
    assert lines[:2] == ["from a descriptor", f"net:[{wanted['network'][1]}]"]
    assert int(lines[2]) == 5, "stdio, the preserved one, and the folder that ls reads"


@pytest.mark.parametrize("what", ["another kind", "a file", "nowhere to bind it"])
def test_what_cannot_be_taken_over_is_told_and_leaves_nothing(box: Box, what: str) -> None:
    with Holder("network", "ipc") as holder:
        box.namespaces = {"network": holder.open("network")}
        if what == "another kind":
            os.dup2(holder.open("ipc"), box.namespaces["network"])
        elif what == "a file":
            fd = os.open("/dev/null", os.O_RDONLY)
            os.dup2(fd, box.namespaces["network"])
            os.close(fd)
        else:
            (box.data / "ns").write_text("no folder")
        connection = box.start(*SLEEP)
        with pytest.raises(RequestFailed) as failed:
            connection.started(DEADLINE)
        connection.close()
        os.close(box.namespaces["network"])
    assert (failed.value.phase, failed.value.object) == ("take over the namespace", box.namespace_path("network"))
    box.assert_gone()


def test_a_worker_that_takes_over_closes_strange_descriptors_at_their_old_numbers(box: Box) -> None:
    """The descriptors they came as are closed at once; what has their numbers later is treated like any other."""
    with handed_over(box, *KINDS):
        box.started(*SLEEP).close()
    keeper = keeper_of(box)
    before = len(os.listdir(f"/proc/{keeper}/fd"))
    for _ in range(3):
        with box.connect() as connection:
            worker = connection.request({"op": "status"})["worker_pid"]
            assert isinstance(worker, int)
            os.kill(worker, signal.SIGKILL)
        eventually(partial(host.dead, worker), "it is dead")
        assert box.status()["status"] == "running"
    eventually(lambda: len(os.listdir(f"/proc/{keeper}/fd")) == before, "as many descriptors as before")


ELSEWHERE = """
import sys
from pathlib import Path
from tests.support.box import Box, boxes
from tests.support.namespaces import Holder, of_process

with boxes(Path(sys.argv[1]), Path(sys.argv[2])) as made, Holder("network") as holder:
    box = Box(Path(sys.argv[1]), Path(sys.argv[2]))
    made.append(box)
    box.namespaces = {"network": holder.open("network")}
    box.started("sleep", "1000").close()
    assert of_process(box.status()["pid"], "network") == of_process(holder.pid, "network")
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(box.data) not in mounts
"""


@pytest.mark.parametrize(
    "options",
    [("--mount", "--propagation", "shared"), ("--user", "--map-root-user", "--mount", "--propagation", "unchanged")],
    ids=["shared mounts", "user namespace"],
)
def test_it_is_the_same_elsewhere(tmp_path: Path, busybox_root: Path, options: tuple[str, ...]) -> None:
    """A host that shares its mounts, as one with systemd does, gets none of ours; and all works the same where keeper,
    worker and runtime are in a user namespace, as an ordinary user's are."""
    result = subprocess.run(
        ["unshare", *options, sys.executable, "-c", ELSEWHERE, tmp_path, busybox_root],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert result.returncode == 0, result.stderr
