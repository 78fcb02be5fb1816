"""SIGKILL for a monitor's processes at any moment: the container goes on, its output and its exit code are kept.

The worker is killed before and after each of its first system calls in each phase, and some instructions later. What
holds for a call that fails (phases.py) holds here, too, and more: the log is whole.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from remora.monitor import Connection, MonitorGone, core
from tests.support import host
from tests.support.box import DEADLINE, Box
from tests.support.waiting import eventually
from tests.survival.conftest import BoxFactory
from tests.survival.grounds import PHASES, OrphanedBox, run_phase
from tests.survival.numbered import BURST, CHUNK, LINE, Drain, Printer, logged
from tests.survival.parts import KeeperGone, Parts, settled_descriptors
from tests.survival.phases import CODE, Gate, Trial, exec_once, one_log, parts_of, verdict
from tests.survival.report import REPORT
from tests.survival.tracing import Kill

AGAIN = 0.1  # seconds after a kill within which attach has to work; asserted ten times as long
CALLS_MOST = 400  # a phase ends before so many calls
WIDTH = 4  # containers at a time, for most of the time is waiting
ENOUGH = 3  # problems, each of which may take a minute to be told from patience
STEPS = (0, 3, 40)  # instructions after a call


class Sweep:
    """The kills of one phase: the Nth call, before it, after it, and some instructions later."""

    def __init__(self, folder: Path, root: Path, phase: str, part: str) -> None:
        self._folder, self._root = folder, root
        self.phase, self.part = phase, part

    def kill(self, nth: int, after: bool, steps: int) -> tuple[bool, str]:
        """Run the phase with one kill: whether it struck, and the problem as text."""
        kills: list[Kill] = []

        def strike(parts: Parts) -> Kill:
            kills.append(Kill(parts.pid(self.part), nth, after=after, steps=steps))
            return kills[-1]

        trial = Trial(strike, client_slack=CHUNK, log_slack=False)
        try:
            kind = OrphanedBox if self.part == "keeper" else Box
            outcome = run_phase(self.phase, self._folder, self._root, trial, kind)
        except Exception as problem:
            where = f"{'after' if after else 'before'} call {nth} (+{steps})"
            number = kills[0].call if kills else -1
            REPORT.row(self.phase, self.part, "SIGKILL", "wrong")
            return True, f"{self.phase}: {self.part} killed {where}, system call {number}: {problem!r:.300}"
        struck = bool(kills) and kills[0].struck
        REPORT.row(self.phase, self.part, "SIGKILL", outcome if struck else "unmade")
        return struck, ""

    def run(self, step: int) -> None:
        """Every `step`th moment of the phase, some at a time, until one comes after its end."""
        problems: list[str] = []
        over = False

        def kill(moment: tuple[int, bool]) -> None:
            nonlocal over
            nth, after = moment
            if over or len(problems) >= ENOUGH:
                return
            struck, problem = self.kill(nth, after, random.choice(STEPS) if after else 0)
            if problem:
                problems.append(problem)
            over = over or not struck

        with ThreadPoolExecutor(WIDTH) as pool:
            list(pool.map(kill, itertools.islice(self._moments(), 0, None, step)))
        assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)

    def _moments(self) -> Iterator[tuple[int, bool]]:
        return itertools.product(range(1, CALLS_MOST), (False, True))


@pytest.mark.parametrize("phase", PHASES)
def test_a_worker_killed_in_any_phase_costs_nothing(tmp_path: Path, busybox_root: Path, phase: str) -> None:
    Sweep(tmp_path, busybox_root, phase, "worker").run(step=7)


@pytest.mark.soak
@pytest.mark.parametrize("phase", PHASES)
def test_a_worker_killed_at_any_call_costs_nothing(tmp_path: Path, busybox_root: Path, phase: str) -> None:
    Sweep(tmp_path, busybox_root, phase, "worker").run(step=1)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "all"])
@pytest.mark.parametrize("phase", ["running", "rotating", "attach", "exec", "stop", "exit", "undoing"])
def test_a_keeper_killed_at_calls_of_a_phase_costs_no_exit_code(
    tmp_path: Path, busybox_root: Path, phase: str, step: int
) -> None:
    Sweep(tmp_path, busybox_root, phase, "keeper").run(step)


def attach_again(box: Box, killed: float) -> None:
    """Attach as soon as it goes, and put down how long after the kill that was."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with box.connect() as client:
                client.send({"op": "attach"})
                assert client.reply("attach", DEADLINE)["ok"] is True
                break
        except MonitorGone:
            assert time.monotonic() < deadline, "attach does not work again"
    took = time.monotonic() - killed
    REPORT.figure("attach works again after a kill", took * 1000)
    assert took < 10 * AGAIN, f"{took:.3f} s until attach worked again"


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "tty"])
def test_attach_works_at_once_after_the_worker_of_an_idle_container_was_killed(box: Box, tty: bool) -> None:
    spawner = box.started("cat", tty=tty, stdin=True, attach={"stdin": True})
    drain = Drain(spawner)
    parts = parts_of(box)
    before = settled_descriptors(parts.keeper)
    for round_ in range(20):
        dead = parts.worker
        killed = time.monotonic()
        host.send(dead, 9)
        attach_again(box, killed)
        assert parts.await_successor(dead) != dead
        line = f"round {round_}".encode()
        spawner.send_packet(core.STDIN, line + b"\n")
        drain.await_text(line)  # who was attached before still is
    assert parts.zombies() == []
    after = settled_descriptors(parts.keeper, before)
    assert after == before
    with box.connect() as client:
        client.send({"op": "stop", "timeout": 0})
        verdict(client.reply("stop", DEADLINE)["record"], 137)
    drain.end()
    spawner.close()
    assert drain.record is not None and drain.record["code"] == 137
    box.assert_gone()


class Assassin:
    """Kills the worker again and again while the block is run by the caller's loop."""

    def __init__(self, parts: Parts, seed: int) -> None:
        self._parts, self._random = parts, random.Random(seed)
        self.kills = 0

    def strike(self, most_ms: float) -> None:
        """Kill the present worker after a random time; waits for the next one."""
        time.sleep(self._random.uniform(0, most_ms) / 1000)  # the moment is what is random
        dead = self._parts.worker
        host.send(dead, 9)
        self.kills += 1
        self._parts.await_successor(dead)


@pytest.mark.parametrize("rotation", [{}, {"max_size": 262144, "max_files": 1000}], ids=["one file", "rotating"])
def test_a_worker_killed_again_and_again_under_full_output_loses_no_line_of_the_log(
    box: Box, rotation: dict[str, object]
) -> None:
    count, kills = 400_000, 25
    printer = Printer(box)
    spawner = box.started(*printer.argv, attach={"block": True}, log=one_log(box, **rotation))
    drain = Drain(spawner)
    parts = parts_of(box)
    before = settled_descriptors(parts.keeper)
    assassin = Assassin(parts, 1)
    printer.print(count)
    while assassin.kills < kills:
        size = drain.size
        assassin.strike(30)
        if drain.size + CHUNK * kills >= count * LINE:
            break
        drain.await_size(size + 1, timeout=10)  # it goes on
    eventually(lambda: drain.size + assassin.kills * CHUNK >= count * LINE, "the output comes to its end")
    after = settled_descriptors(parts.keeper, before)
    assert after == before
    assert parts.zombies() == []
    printer.exit(CODE)
    record = drain.end()
    printer.close()
    assert verdict(box.record()) == "right"
    box.assert_gone()
    findings = logged(box.data / "log", count)
    assert findings.complete, f"after {assassin.kills} kills: {findings}"
    told = drain.findings(count)
    REPORT.note(f"under full output, {assassin.kills} kills: log {findings}; client {told}")
    told.assert_within(CHUNK * assassin.kills)
    assert record is not None and verdict(record) == "right"
    spawner.close()


@pytest.mark.parametrize("part", ["keeper", "worker"])
def test_a_process_killed_as_the_container_ends_costs_no_exit_code(new_box: BoxFactory, part: str) -> None:
    """A race: the kill comes some fraction of a millisecond before or after the end."""
    chance = random.Random(2)
    for _ in range(10):
        box = new_box()
        code = chance.randrange(256)
        spawner = box.started("sh", "-c", f"read line; exit {code}", stdin=True, attach={"stdin": True})
        parts = parts_of(box)
        victim = parts.pid(part)
        spawner.send_packet(core.STDIN, b"\n")
        time.sleep(chance.uniform(0, 0.004))  # the moment is what is random
        try:
            host.send(victim, 9)
        except ProcessLookupError:
            pass
        record = box.wait()
        assert (record["known"], record["code"]) == (True, code), record
        spawner.close()
        assert box.record()["code"] == code


def test_a_killed_keeper_costs_neither_output_nor_exit_code(new_box: BoxFactory) -> None:
    """Idle, under full output, with a client attached."""
    for count in (0, 100, 100_000):
        box = new_box()
        printer = Printer(box)
        spawner = box.started(*printer.argv, attach={"block": True}, log=one_log(box))
        drain = Drain(spawner)
        parts = parts_of(box)
        if count:
            printer.print(count)
            drain.await_size(LINE)
        killed = time.monotonic()
        parts.kill("keeper")
        attach_again(box, killed)
        drain.await_size(count * LINE)
        printer.print(50)
        drain.await_size((count + 50) * LINE)
        with box.connect() as waiter:
            waiter.send({"op": "wait"})
            printer.exit(CODE)
            assert verdict(waiter.reply("wait", DEADLINE)["record"]) == "right"
        record = drain.end()
        printer.close()
        spawner.close()
        assert record is not None and verdict(record) == "right"
        assert verdict(box.record()) == "right"
        assert logged(box.data / "log", count + 50).complete
        assert drain.findings(count + 50).complete


def test_both_killed_leaves_a_container_whose_end_says_that_its_code_is_unknown(box: Box) -> None:
    spawner = box.started("sleep", "1000", attach={})
    parts = parts_of(box)
    pid = box.status()["pid"]
    assert isinstance(pid, int)
    keeper, worker = parts.keeper, parts.worker
    host.send(keeper, 9)
    host.send(worker, 9)
    eventually(lambda: not host.alive(keeper) and not host.alive(worker), "both are gone")
    assert host.alive(pid), "the container runs on"
    host.send(pid, 9)
    spawner.close()


def test_a_worker_killed_at_any_moment_of_an_exec_leaves_the_container_alone(box: Box) -> None:
    spawner: Connection = box.started("sh", "-c", "read line; exit 7", stdin=True, attach={"stdin": True})
    parts = parts_of(box)
    before = settled_descriptors(parts.keeper)
    for nth in range(1, 60, 3):
        with Kill(parts.worker, nth, after=True):
            try:
                with box.connect() as client:
                    exec_once(box, client, f"e{nth}", CHUNK)
            except MonitorGone:
                pass
    assert parts.zombies() == []
    after = settled_descriptors(parts.keeper, before)
    assert after == before
    spawner.send_packet(core.STDIN, b"\n")
    assert Drain(spawner).end() is not None
    spawner.close()
    assert verdict(box.record()) == "right"
    box.assert_gone()


def parts_there(box: Box) -> Parts | None:
    """The processes of a monitor that may not listen yet."""
    try:
        return parts_of(box)
    except MonitorGone:
        return None


def test_a_short_lived_container_under_a_hail_of_kills_keeps_code_and_output(new_box: BoxFactory) -> None:
    """From the start to the removal of the run folder, each worker lives some milliseconds."""
    chance = random.Random(3)
    for _ in range(5):
        box = new_box()
        code, count = chance.randrange(256), chance.randrange(20_000)
        with Gate(box) as gate:
            script = "read line </tmp/gate/go; " + BURST.format(count=count, code=code)
            spawner = box.start("sh", "-c", script, log=one_log(box))
            assassin = Assassin(eventually(partial(parts_there, box), "the monitor listens"), chance.randrange(1 << 30))
            gate.open()
            try:
                while True:
                    assassin.strike(10)
            except (KeeperGone, ProcessLookupError):
                pass  # there is no worker left to kill
        record = box.record()
        assert (record["known"], record["code"]) == (True, code), record
        findings = logged(box.data / "log", count)
        assert findings.complete, findings
        spawner.close()
        box.assert_gone()
