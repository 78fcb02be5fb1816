"""The fault table: each system call that a monitor makes, made to fail once with each plausible error, in each phase.

A run without faults finds out which calls keeper and worker make in a phase and how often; from that the rows are
made. The table with its counts is printed when the tests are over. `make soak` runs all of it, `make test` a spread.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.survival.errors import INFALLIBLE, PLAUSIBLE
from tests.survival.grounds import PHASES, run_phase
from tests.survival.parts import Parts
from tests.survival.phases import Trial
from tests.survival.report import REPORT
from tests.survival.tracing import Fault, Strace

pytestmark = pytest.mark.skipif(
    subprocess.run(["strace", "-V"], capture_output=True, check=False).returncode != 0, reason="strace is not installed"
)

PARTS = ("keeper", "worker")
SPREAD = 10  # rows of a phase and a process in `make test`
NTH_MOST = 4  # the first so many calls of a kind, and the last
STREAMS = ("running", "rotating", "attach", "exec")  # phases in which streams are read
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")

Row = tuple[str, str, int]


class Table:
    """Runs rows, each with a container of its own."""

    def __init__(self, folder: Path, root: Path, phase: str, part: str) -> None:
        self._folder, self._root = folder, root
        self.phase, self.part = phase, part

    def _run(self, fault: Callable[[Parts], Strace]) -> str:
        return run_phase(self.phase, self._folder, self._root, Trial(fault))

    def calls(self) -> Counter[str]:
        """How often each call is made when nothing fails."""
        traces: list[Strace] = []

        def trace(parts: Parts) -> Strace:
            traces.append(Strace(parts.pid(self.part), "-e", "trace=all"))
            return traces[-1]

        assert self._run(trace) == "right", "the phase fails without a fault"
        matches = (CALL.match(line) for line in traces[0].kept)
        return Counter(match[1] for match in matches if match is not None)

    def row(self, call: str, error: str, nth: int) -> str:
        """Run one row; the problem as text, or nothing."""
        faults: list[Fault] = []

        def inject(parts: Parts) -> Fault:
            faults.append(Fault(parts.pid(self.part), call, error, nth))
            return faults[-1]

        try:
            outcome = self._run(inject)
        except Exception as problem:
            REPORT.row(self.phase, self.part, call, "wrong")
            return f"{self.phase}, {self.part}: {call} {error} {nth}: {type(problem).__name__}: {problem}"
        REPORT.row(self.phase, self.part, call, outcome if faults and faults[0].hit else "unmade")
        return ""


def rows_of(phase: str, calls: Counter[str]) -> Iterator[Row]:
    """All rows for calls that are made so often."""
    for call, count in sorted(calls.items()):
        for error in PLAUSIBLE.get(call, ()):
            if call == "read" and error == "EIO" and phase.split()[-1] in STREAMS:
                continue  # of a pipe it means nothing, of a pty its end: no fault that passes
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
    problems = [problem for row in rows if (problem := table.row(*row))]
    assert not problems, f"{len(problems)} of {len(rows)} rows:\n" + "\n".join(problems)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("phase", PHASES)
def test_a_call_that_fails_once_costs_no_exit_code(tmp_path: Path, busybox_root: Path, phase: str, part: str) -> None:
    run_rows(Table(tmp_path, busybox_root, phase, part), SPREAD)


@pytest.mark.soak
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("phase", PHASES)
def test_no_call_of_the_whole_table_that_fails_costs_an_exit_code(
    tmp_path: Path, busybox_root: Path, phase: str, part: str
) -> None:
    run_rows(Table(tmp_path, busybox_root, phase, part), None)
