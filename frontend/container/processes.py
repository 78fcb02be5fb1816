"""The processes of a running container, read from the host's /proc: nothing is executed in the container.

With a PID namespace of its own they are all that live in it or below it; else those in its cgroup; without one of its
own those that descend from its first process. Formats: proc_pid_stat(5), proc_pid_status(5). A process that
ends while it is looked at is left out.
"""

from __future__ import annotations

import os

from remora.frontend.container import cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Process:
    """One process. stat: fields of /proc/PID/stat from `state` on; status: the lines of /proc/PID/status."""

    __slots__ = ("pid", "comm", "stat", "status")

    def __init__(self, pid: int) -> None:
        """Raises OSError when it is gone."""
        self.pid = pid
        name, _, rest = _read(pid, "stat").partition("(")[2].rpartition(")")
        self.comm = name
        self.stat = rest.split()
        self.status: dict[str, str] = {}
        for line in _read(pid, "status").splitlines():
            key, _, value = line.partition(":")
            self.status[key] = value.strip()
        if len(self.stat) < 22:
            raise ProcessLookupError

    @property
    def parent(self) -> int:
        """Pid of the parent, on the host."""
        return int(self.stat[1])

    @property
    def cpu_ticks(self) -> int:
        """Time on the CPU, user's and system's."""
        return int(self.stat[11]) + int(self.stat[12])

    @property
    def threads(self) -> int:
        return int(self.stat[17])

    @property
    def start_ticks(self) -> int:
        """When it started, since boot."""
        return int(self.stat[19])

    @property
    def rss(self) -> int:
        """Bytes in memory."""
        return int(self.stat[21]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def command_line(self) -> str:
        """Its arguments; `[name]` where it has none."""
        try:
            words = _read(self.pid, "cmdline").rstrip("\0").replace("\0", " ")
        except OSError:
            words = ""
        return words or f"[{self.comm}]"

    def ids(self, key: str) -> list[int]:
        """The numbers of a status line: `Uid`, `Gid`, `Groups`, `NSpid`, `NSpgid`."""
        return [int(word) for word in self.status.get(key, "").split()]


def _read(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def of_container(init: int, container_id: str) -> list[Process]:
    """All of them, by pid; empty when the container has ended. init: its first process, on the host."""
    found: dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                found[int(name)] = Process(int(name))
            except (OSError, ValueError):
                continue
    if init not in found:
        return []
    belongs = _belongs(init, container_id)
    inside: dict[int, bool] = {init: True}

    def is_inside(pid: int) -> bool:
        trail = []
        while pid not in inside:
            if pid not in found:
                inside[pid] = False
                break
            if belongs(pid):
                inside[pid] = True
                break
            trail.append(pid)
            pid = found[pid].parent
        answer = inside[pid]
        inside.update(dict.fromkeys(trail, answer))
        return answer

    return [found[pid] for pid in sorted(found) if is_inside(pid)]


def _belongs(init: int, container_id: str) -> Callable[[int], bool]:
    """What tells that a process is the container's without a look at its parents."""
    own, host = _namespace(init), _namespace(os.getpid())
    shared = not own or own == host or not _is_first(init)
    if not shared:
        return lambda pid: _namespace(pid) == own
    paths = set(cgroup.own_paths(init, container_id).items())
    if paths:
        return lambda pid: bool(paths.intersection(cgroup.own_paths(pid, container_id).items()))
    return lambda pid: False


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _is_first(pid: int) -> bool:
    """Whether it is the init of its PID namespace, so that the namespace is this container's alone."""
    try:
        return Process(pid).ids("NSpid")[-1:] == [1]
    except OSError:
        return False
