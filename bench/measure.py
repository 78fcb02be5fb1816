"""Timing of programs and small statistics.

A program is started with posix_spawn, its output thrown away, and timed with the monotonic clock from just before
the start until its end is collected: what a shell's user waits for.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

DEADLINE = 120.0


class CommandFailed(Exception):
    """A program that must succeed did not: the figure would be worthless."""


class Timer:
    """Runs programs in one environment, each to its end, and tells how long that took."""

    __slots__ = ("_environment", "_log")

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = dict(environment)
        self._log = log

    def start(self, argv: Sequence[str], stdout: str = os.devnull) -> int:
        """Start a program found on PATH; its standard error goes to the log file. Returns its pid."""
        actions: list[tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, str(self._log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        ]
        return os.posix_spawnp(argv[0], list(argv), self._environment, file_actions=actions)

    def finish(self, pid: int, argv: Sequence[str]) -> None:
        """Collect a started program. Raises CommandFailed when it did not end with 0."""
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            lines = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
            raise CommandFailed(f"{' '.join(argv)} ended with {status}: {lines[-1] if lines else 'no message'}")

    def time(self, argv: Sequence[str]) -> float:
        """Seconds from the start of a program to its end."""
        begin = time.monotonic()
        pid = self.start(argv)
        self.finish(pid, argv)
        return time.monotonic() - begin

    def output(self, argv: Sequence[str]) -> str:
        """What a program prints."""
        path = self._log.with_suffix(".out")
        self.finish(self.start(argv, str(path)), argv)
        return path.read_text(errors="replace").strip()


def interleaved(rounds: int, actions: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Each action once in each round, so that whatever else the machine does meets all alike. One round is thrown
    away first: caches are warm afterwards."""
    values: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        order = list(actions)[:: 1 if turn % 2 else -1]
        for name in order:
            value = actions[name]()
            if turn:
                values[name].append(value)
    return values


def median(values: Sequence[float]) -> float:
    """The median; not a number when there is none."""
    return statistics.median(values) if values else float("nan")


def until(condition: Callable[[], bool], what: str, pause: float = 0.002) -> None:
    """Wait for something that only looking tells. Raises TimeoutError after two minutes."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {DEADLINE:.0f} s")
        time.sleep(pause)


def pss(pid: int) -> int:
    """Proportional set size of a process in bytes (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise CommandFailed(f"process {pid} has no Pss line")


def cpu_time(pid: int) -> int:
    """Nanoseconds of processor time that a process has used (schedstat of each of its threads)."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def processes_of(program: str, word: str) -> list[int]:
    """Processes that execute a file of this name and have an argument that contains `word`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "exe").readlink().name == program and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile, or is none of ours
            continue
    return found
