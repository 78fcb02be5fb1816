"""A monitor's processes: which they are, what they hold, what they cost, and killing them.

A monitor is a keeper and its worker. Both are told apart by looking at the host alone, so that this works for a native
monitor and for one in conmon's place: the worker is that child of the keeper which runs the keeper's own program.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from tests.support import host
from tests.support.waiting import eventually

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")


def program(pid: int) -> tuple[int, int]:
    """Device and inode of what a process executes; (0, 0) for a zombie or no process."""
    try:
        status = os.stat(f"/proc/{pid}/exe")
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def children(pid: int) -> list[int]:
    """The children of a process, zombies too."""
    try:
        return [int(word) for word in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
    except OSError:
        return []


def zombies(pid: int) -> list[int]:
    """The children of a process that have ended and that it has not reaped."""
    return [child for child in children(pid) if host.state(child) == "Z"]


def worker_of(keeper: int) -> int:
    """The pid of a keeper's worker; 0 when there is none just now."""
    own = program(keeper)
    for child in children(keeper):
        if own != (0, 0) and program(child) == own and host.command_line(child):
            return child
    return 0


class KeeperGone(Exception):
    """The keeper has ended, so that no further worker is to be expected."""


class Parts:
    """The processes of one monitor. `keeper` stays the same; the worker is looked up each time."""

    def __init__(self, keeper: int) -> None:
        self.keeper = keeper

    @property
    def worker(self) -> int:
        """The present worker; waits for one. Raises KeeperGone."""
        return self.await_successor(0)

    @property
    def is_split(self) -> bool:
        """Whether there is a worker just now."""
        return worker_of(self.keeper) > 0

    def pid(self, part: str) -> int:
        """The pid of `keeper` or `worker`."""
        return self.keeper if part == "keeper" else self.worker

    def pids(self) -> list[int]:
        """All of them that live."""
        return [pid for pid in (self.keeper, worker_of(self.keeper)) if pid and host.alive(pid)]

    def kill(self, part: str) -> int:
        """SIGKILL one of them; returns the pid it had."""
        pid = self.pid(part)
        host.send(pid, signal.SIGKILL)
        return pid

    def await_successor(self, dead: int) -> int:
        """The worker that came after the one with this pid. Raises KeeperGone."""

        def other() -> int:
            if not host.alive(self.keeper):
                raise KeeperGone
            now = worker_of(self.keeper)
            return now if now != dead and host.alive(now) else 0

        return eventually(other, f"a worker after {dead}", timeout=10)

    def cpu_seconds(self) -> float:
        """Processor time that keeper and present worker have used."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def zombies(self) -> list[int]:
        """Unreaped children of either."""
        return [zombie for pid in self.pids() for zombie in zombies(pid)]

    def descriptors(self) -> list[str]:
        """What the descriptors that both share lead to, without numbers that differ from one time to the next."""
        return descriptors(self.keeper if host.alive(self.keeper) else worker_of(self.keeper))


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, in seconds; 0 when it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def descriptors(pid: int) -> list[str]:
    """What each descriptor of a process leads to, sorted; a log is a log by whatever name it goes just now."""
    found = []
    folder = PROC / str(pid) / "fd"
    for entry in os.listdir(folder):
        try:
            found.append(re.sub(r":\[\d+\]|/\d+|(?<=/log)(\.\d+$| \(deleted\)$)", "", os.readlink(folder / entry)))
        except OSError:
            continue
    return sorted(found)


def settled_descriptors(pid: int, wanted: list[str] | None = None, timeout: float = 10.0) -> list[str]:
    """The descriptors once they are `wanted`, or whatever they are after `timeout` seconds.

    Without `wanted`: once two looks, a moment apart, agree. A keeper that was killed has none to be looked at.
    """
    if wanted is not None and not host.alive(pid):
        return wanted
    deadline = time.monotonic() + timeout
    before = descriptors(pid)
    while time.monotonic() < deadline:
        time.sleep(0.02)
        now = descriptors(pid)
        if now == wanted or (wanted is None and now == before):
            return now
        before = now
    return before


class Spin:
    """Bounds the processor time of a monitor over a `with` block."""

    def __init__(self, parts: Parts, limit: float = 1.0) -> None:
        self._parts, self._limit = parts, limit

    def __enter__(self) -> Spin:
        self._before = self._parts.cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        used = self._parts.cpu_seconds() - self._before
        assert used < self._limit, f"the monitor used {used:.2f} s of processor time"


def switches(pid: int) -> int:
    """How often a process has gone to sleep by itself."""
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])
