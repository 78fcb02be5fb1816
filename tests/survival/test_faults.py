"""The fault table: each system call that a monitor makes, made to fail once with each plausible error, in each phase.

A run without faults finds out which calls keeper and worker make in a phase and how often; from that the rows are
made. The table with its counts is printed when the tests are over. `make soak` runs all of it, `make test` a spread.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remora import monitor
from remora.monitor import MonitorGone, RequestFailed
from tests.support.box import DEADLINE, Box, boxes
from tests.support.waiting import eventually
from tests.survival.errors import INFALLIBLE, PLAUSIBLE
from tests.survival.grounds import PHASES, run_phase
from tests.survival.parts import Parts
from tests.survival.phases import CHANGING, SCRIPT, Gate, Trial, started_right
from tests.survival.report import REPORT
from tests.survival.tracing import Fault, Strace

pytestmark = pytest.mark.skipif(
    subprocess.run(["strace", "-V"], capture_output=True, check=False).returncode != 0, reason="strace is not installed"
)

CASES = [(phase, part) for phase in PHASES for part in (["both"] if phase in CHANGING else ["keeper", "worker"])]
SPREAD = 10  # rows of a phase and a process in `make test`
ENOUGH = 5  # problems, each of which may take a minute to be told from patience
NTH_MOST = 3  # the first so many calls of a kind, and the last
# Phases in which pipes are read and written. An error that no pipe gives is taken for the end of the stream.
STREAMS = {"read": ("running", "rotating", "attach", "exec"), "write": ("attach",)}
NEVER_OF_PIPES = ("EIO", "ENOSPC", "EDQUOT")
CALL = re.compile(r"^(\d+ +)?(\w+)\(")

Row = tuple[str, str, int]


def most_calls(lines: list[str]) -> Counter[str]:
    """How often each call is made by the process that makes it most often."""
    by_process: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        match = CALL.match(line)
        if match is not None:
            by_process[match[1] or ""][match[2]] += 1
    most: Counter[str] = Counter()
    for counts in by_process.values():
        most |= counts
    return most


class Table:
    """Runs rows, each with a container of its own; `width` of them at a time, for most of the time is waiting."""

    width = 4

    def __init__(self, folder: Path, root: Path, phase: str, part: str) -> None:
        self._folder, self._root = folder, root
        self.phase, self.part = phase, part
        self.follow = part == "both"

    def _pid(self, parts: Parts) -> int:
        return parts.keeper if self.follow else parts.pid(self.part)

    def _run(self, fault: Callable[[Parts], Strace]) -> str:
        return run_phase(self.phase, self._folder, self._root, Trial(fault))

    def calls(self) -> Counter[str]:
        """How often each call is made when nothing fails."""
        traces: list[Strace] = []

        def trace(parts: Parts) -> Strace:
            traces.append(Strace(self._pid(parts), "-e", "trace=all", follow=self.follow))
            return traces[-1]

        assert self._run(trace) == "right", "the phase fails without a fault"
        return most_calls(traces[0].kept)

    def row(self, call: str, error: str, nth: int) -> str:
        """Run one row; the problem as text, or nothing."""
        faults: list[Fault] = []

        def inject(parts: Parts) -> Fault:
            faults.append(Fault(self._pid(parts), call, error, nth, follow=self.follow))
            return faults[-1]

        try:
            outcome = self._run(inject)
        except Exception as problem:
            REPORT.row(self.phase, self.part, call, "wrong")
            return f"{self.phase}, {self.part}: {call} {error} {nth}: {type(problem).__name__}: {problem}"
        REPORT.row(self.phase, self.part, call, outcome if faults and faults[0].hit else "unmade")
        return ""


class LaunchTable(Table):
    """Rows of the first steps of a monitor, each with strace from its first instruction on.

    strace follows keeper and worker, and lets go of the runtime as soon as that is executed.
    """

    width = 1  # there is but one environment that names the program

    def __init__(self, folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, root, "launch", "both")
        self._output, self._program = folder / "trace", folder / "monitor"
        self._real = monitor.monitor_program()
        monkeypatch.setenv("REMORA_MONITOR", str(self._program))

    def _launch(self, *options: str) -> str:
        """Run it; `right` or `told`."""
        self._output.unlink(missing_ok=True)
        words = [shutil.which("strace") or "strace", "-D", "-f", "-b", "execve", "-qqq", "-o", str(self._output)]
        line = shlex.join([*words, *options, self._real])
        self._program.write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        self._program.chmod(0o755)
        with boxes(self._folder, self._root) as made:
            box = Box(self._folder, self._root)
            made.append(box)
            with Gate(box) as gate:
                try:
                    spawner = box.start(*SCRIPT, attach={})
                except OSError:
                    return "told"  # it ended before it was a monitor; the run folder is the caller's then
                try:
                    spawner.started(DEADLINE)
                except MonitorGone:
                    if not monitor.wait_unlocked(str(box.run), 2):  # only the connection is: the monitor goes on
                        return started_right(box, spawner, gate)
                    return self._untouched(box)
                except RequestFailed:
                    return self._untouched(box)
                return started_right(box, spawner, gate)

    @staticmethod
    def _untouched(box: Box) -> str:
        # Where not even the configuration can be read, the run folder is the caller's.
        eventually(lambda: set(box.leftovers()) <= {"run folder"}, "nothing else is left", timeout=10)
        assert not box.run.exists() or os.listdir(box.run) == ["lock"]
        return "told"

    def calls(self) -> Counter[str]:
        assert self._launch("-e", "trace=all") == "right"
        return most_calls(self._output.read_text().splitlines())

    def row(self, call: str, error: str, nth: int) -> str:
        try:
            outcome = self._launch("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={nth}")
        except Exception as problem:
            REPORT.row(self.phase, self.part, call, "wrong")
            return f"launch: {call} {error} {nth}: {type(problem).__name__}: {problem}"
        hit = self._output.exists() and "(INJECTED)" in self._output.read_text()
        REPORT.row(self.phase, self.part, call, outcome if hit else "unmade")
        return ""


def rows_of(phase: str, calls: Counter[str]) -> Iterator[Row]:
    """All rows for calls that are made so often."""
    for call, count in sorted(calls.items()):
        for error in PLAUSIBLE.get(call, ()):
            if error in NEVER_OF_PIPES and call in ("read", "write") and phase.split()[-1] in STREAMS.get(call, ()):
                continue
            for nth in sorted({*range(1, min(count, NTH_MOST) + 1), count}):
                yield call, error, nth


def spread(rows: list[Row], size: int) -> list[Row]:
    """A part of the rows in which each call is met before any is met twice."""
    by_call: dict[str, list[Row]] = {}
    for row in rows:
        by_call.setdefault(row[0], []).append(row)
    chosen: list[Row] = []
    turn = 0
    while len(chosen) < min(size, len(rows)):
        for group in by_call.values():
            if turn < len(group):
                # Not the first rows of each call, which are alike: another place each time.
                chosen.append(group[(turn * 7 + len(chosen)) % len(group)])
        turn += 1
    return list(dict.fromkeys(chosen))[:size]


def run_rows(table: Table, most: int | None) -> None:
    """Run the rows of a phase and a process, and fail with all that is wrong."""
    calls = table.calls()
    unknown = set(calls) - set(PLAUSIBLE) - INFALLIBLE
    assert not unknown, f"calls that the table knows no errors for: {unknown}"
    rows = list(rows_of(table.phase, calls))
    if most is not None:
        rows = spread(rows, most)
    problems: list[str] = []

    def run(row: Row) -> None:
        if len(problems) < ENOUGH and (problem := table.row(*row)):
            problems.append(problem)

    with ThreadPoolExecutor(table.width) as pool:
        list(pool.map(run, rows))
    assert not problems, f"{len(problems)} of {len(rows)} rows:\n" + "\n".join(problems)


@pytest.mark.parametrize(("phase", "part"), CASES)
def test_a_call_that_fails_once_costs_no_exit_code(tmp_path: Path, busybox_root: Path, phase: str, part: str) -> None:
    run_rows(Table(tmp_path, busybox_root, phase, part), SPREAD)


@pytest.mark.soak
@pytest.mark.parametrize(("phase", "part"), CASES)
def test_no_call_of_the_whole_table_that_fails_costs_an_exit_code(
    tmp_path: Path, busybox_root: Path, phase: str, part: str
) -> None:
    run_rows(Table(tmp_path, busybox_root, phase, part), None)


def test_a_call_that_fails_as_a_monitor_is_launched_is_told(
    tmp_path: Path, busybox_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_rows(LaunchTable(tmp_path, busybox_root, monkeypatch), 3 * SPREAD)


@pytest.mark.soak
def test_no_call_that_fails_as_a_monitor_is_launched_goes_untold(
    tmp_path: Path, busybox_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_rows(LaunchTable(tmp_path, busybox_root, monkeypatch), None)
