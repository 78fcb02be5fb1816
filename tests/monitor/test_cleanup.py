"""Clean-up: what is to be undone outside at a container's end is undone once, after its record and before its lock."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from remora import monitor
from remora.frontend.container import cleanup
from remora.monitor import RequestFailed
from tests.support import host
from tests.support.box import DEADLINE, Box, received
from tests.support.waiting import eventually

SLEEP = ("sh", "-c", "while :; do sleep 0.1; done")


class Outside:
    """Something outside that a start makes, and the steps that undo it."""

    def __init__(self, box: Box) -> None:
        self.lease = box.folder / "lease"
        self.lease.touch()
        self.journal = box.folder / "journal"
        self._file = Path(cleanup.path(str(box.run)))
        self.steps: list[list[str]] = [self.note("one"), ["unlink", str(self.lease)], self.note("two")]

    def note(self, word: str, then: str = "") -> list[str]:
        """A step that notes its input, and whether what has to come before it has come."""
        script = f'cat >>"{self.journal}"; echo noise; echo noise >&2; {then}'
        return ["execute", f"{word} \u00fc\n", "/bin/sh", "-c", script]

    @property
    def configured(self) -> list[list[str]]:
        return [*self.steps, ["unlink", str(self._file)]]

    def write(self) -> None:
        """As a frontend does before it makes anything."""
        cleanup.write(str(self._file.parent), self.steps, [])

    @property
    def noted(self) -> list[str]:
        return self.journal.read_text().split("\n")[:-1] if self.journal.exists() else []

    def assert_undone(self) -> None:
        assert self.noted == ["one \u00fc", "two \u00fc"]
        assert not self.lease.exists() and not self._file.exists()


def stop(box: Box) -> None:
    with box.connect() as connection:
        connection.request({"op": "stop", "timeout": 0})


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "removed"])
def test_all_is_undone_in_its_order_when_the_container_has_ended(box: Box, kept: bool) -> None:
    outside = Outside(box)
    remove = [] if kept else [["tree", str(box.data)]]
    spawner = box.start("true", attach={}, cleanup=outside.configured, remove=remove)
    outside.write()
    assert received(spawner)[1] is not None
    box.assert_gone()
    outside.assert_undone()


def test_between_runs_nothing_is_undone(box: Box) -> None:
    outside = Outside(box)
    spawner = box.started(
        "sh",
        "-c",
        "read line; exit 3",
        stdin=True,
        attach={"stdin": True},
        restart={"policy": "on-failure", "max": 1},
        cleanup=outside.configured,
    )
    spawner.send_packet(monitor.core.STDIN, b"\n")
    eventually(lambda: box.status()["restarts"] == 1 and box.status()["pid"], "it runs again", timeout=DEADLINE)
    assert outside.noted == [] and outside.lease.exists()
    spawner.send_packet(monitor.core.STDIN, b"\n")
    received(spawner)
    box.assert_gone()
    outside.assert_undone()


def test_a_stop_between_two_runs_undoes_it(box: Box) -> None:
    outside = Outside(box)
    box.started("false", restart={"policy": "always", "max": 0}, cleanup=outside.configured).close()
    eventually(lambda: box.status()["status"] == "restarting", "it waits for its next run", timeout=DEADLINE)
    stop(box)
    box.assert_gone()
    outside.assert_undone()


def test_the_end_is_told_before_and_the_lock_is_free_after(box: Box) -> None:
    gate = box.folder / "gate"
    outside = Outside(box)
    outside.steps.insert(0, ["execute", "", "/bin/sh", "-c", f'until [ -e "{gate}" ]; do sleep 0.02; done'])
    spawner = box.start("sh", "-c", "exit 7", attach={}, cleanup=outside.configured)
    record = None
    while record is None:
        packet = spawner.receive(DEADLINE)
        record = packet.message() if packet.kind == monitor.core.EXIT else None
    assert record["code"] == 7
    durable = monitor.read_record(str(box.data))
    assert durable is not None and durable["code"] == 7
    assert box.status()["status"] == "exited", "it answers meanwhile"
    assert monitor.lock_held(str(box.run)) and outside.lease.exists()
    gate.touch()
    spawner.close()
    box.assert_gone()
    outside.assert_undone()


def test_a_container_that_could_not_be_started_is_undone_before_that_is_told(box: Box) -> None:
    outside = Outside(box)
    spawner = box.start("/no/such/program", cleanup=outside.configured)
    with pytest.raises(RequestFailed):
        spawner.started(DEADLINE)
    spawner.close()
    outside.assert_undone()
    box.assert_gone()


@pytest.mark.parametrize("then", ["exit 3", "kill -9 $$"])
def test_a_step_that_fails_does_not_keep_the_others_from_being_taken(box: Box, then: str) -> None:
    outside = Outside(box)
    outside.steps[0] = outside.note("one", then)
    outside.steps.insert(1, ["execute", "", "/no/such/program"])
    outside.steps.insert(1, ["unlink", "/no/such/file"])
    box.start("true", cleanup=outside.configured).close()
    box.assert_gone()
    outside.assert_undone()


def test_a_step_that_does_not_end_is_killed_after_ten_seconds(box: Box) -> None:
    outside = Outside(box)
    outside.steps.insert(0, ["execute", "", "/bin/sleep", "1000"])
    box.start("true", cleanup=outside.configured).close()
    assert monitor.wait_unlocked(str(box.run), 30)
    box.assert_gone()
    outside.assert_undone()


def test_a_program_of_a_step_has_no_descriptor_but_its_stdio(box: Box) -> None:
    seen = box.folder / "seen"
    step = ["execute", "text", "/bin/sh", "-c", f'exec 4>"{seen}"; ls /proc/self/fd >&4; cat >&4']
    box.start("true", cleanup=[step]).close()
    box.assert_gone()
    # 4 is the test's own, 3 the folder that ls reads.
    assert seen.read_text().split() == ["0", "1", "2", "3", "4", "text"]


@pytest.mark.parametrize("victims", ["keeper", "both"])
def test_what_a_killed_monitor_could_not_undo_is_left_to_others(box: Box, victims: str) -> None:
    outside = Outside(box)
    box.started(*SLEEP, cleanup=outside.configured).close()
    outside.write()
    with box.connect() as connection:
        status = connection.request({"op": "status"})
    init = box.status()["pid"]
    keeper, worker = status["keeper_pid"], status["worker_pid"]
    assert isinstance(keeper, int) and isinstance(worker, int) and isinstance(init, int)
    host.send(keeper, signal.SIGKILL)
    if victims == "both":
        host.send(worker, signal.SIGKILL)
    host.send(init, signal.SIGKILL)
    assert monitor.wait_unlocked(str(box.run), DEADLINE)
    assert outside.noted == [] and outside.lease.exists()
    cleanup.finish(str(box.run))
    outside.assert_undone()
    cleanup.finish(str(box.run))


def test_a_worker_killed_while_a_step_is_taken_leaves_it_to_the_next_one(box: Box) -> None:
    gate = box.folder / "gate"
    outside = Outside(box)
    outside.steps.insert(1, ["execute", "", "/bin/sh", "-c", f'until [ -e "{gate}" ]; do sleep 0.02; done'])
    box.started(*SLEEP, cleanup=outside.configured).close()
    stop(box)
    eventually(lambda: outside.noted, "the first step is taken", timeout=DEADLINE)
    for _ in range(3):
        with box.connect() as connection:
            worker = connection.request({"op": "status"})["worker_pid"]
        assert isinstance(worker, int)
        host.send(worker, signal.SIGKILL)
        eventually(partial(host.dead, worker), "it is dead", timeout=DEADLINE)
    gate.touch()
    box.assert_gone()
    outside.assert_undone()


def test_a_file_that_was_half_written_undoes_nothing(tmp_path: Path) -> None:
    file = Path(cleanup.path(str(tmp_path)))
    file.write_bytes(b"\x83\xa7version")
    cleanup.finish(str(tmp_path))
    assert not file.exists()
