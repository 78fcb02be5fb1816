"""What `top` can show of a process: Podman's descriptors (podman-top(1)) and the names of ps (ps(1), AIX and standard).

Ids and names are the container's own: through its id maps and its /etc/passwd. hpid, huser, hgroup, hgroups are the
host's.
"""

from __future__ import annotations

import os
import time

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remora.frontend.container.processes import Process

NS = 1_000_000_000
DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")
PTS_MAJORS = range(136, 144)
TTY_MAJOR = 4
SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}


class View:
    """A container as its processes see it. pids: host → container; depth: of its PID namespace below ours."""

    __slots__ = ("pids", "depth", "now_ticks", "hertz", "uid_map", "gid_map", "_names", "_init", "processes")

    def __init__(self, init: int, processes: Sequence[Process]) -> None:
        self._init = init
        self.processes = processes
        first = next((process for process in processes if process.pid == init), processes[0])
        self.depth = max(len(first.ids("NSpid")) - 1, 0)
        self.pids = {process.pid: self.inner(process, "NSpid", process.pid) for process in processes}
        self.hertz = os.sysconf("SC_CLK_TCK")
        self.now_ticks = time.clock_gettime_ns(time.CLOCK_BOOTTIME) * self.hertz // NS
        self.uid_map = _read_map(f"/proc/{init}/uid_map")
        self.gid_map = _read_map(f"/proc/{init}/gid_map")
        self._names: dict[str, dict[int, str]] = {}

    def inner(self, process: Process, key: str, otherwise: int) -> int:
        """A pid or group as the container's namespace numbers it."""
        numbers = process.ids(key)
        return numbers[self.depth] if len(numbers) > self.depth else otherwise

    def elapsed(self, process: Process) -> int:
        """Nanoseconds since it started."""
        return max(self.now_ticks - process.start_ticks, 0) * NS // self.hertz

    def name(self, kind: str, number: int) -> str:
        """The container's name of a host's uid (`passwd`) or gid (`group`), else the number in the container."""
        number = _mapped(self.uid_map if kind == "passwd" else self.gid_map, number)
        if not self._names:
            self._names = _names(self._init)
        return self._names[kind].get(number, str(number))


def _read_map(path: str) -> list[tuple[int, int, int]]:
    try:
        with open(path, encoding="ascii") as file:
            rows = [[int(word) for word in line.split()] for line in file]
    except OSError:
        return []
    return [(row[0], row[1], row[2]) for row in rows]


def _mapped(table: list[tuple[int, int, int]], number: int) -> int:
    for inside, outside, count in table:
        if outside <= number < outside + count:
            return inside + number - outside
    return number


def _names(init: int) -> dict[str, dict[int, str]]:
    """Names by number, from the container's files; nothing where they can't be had."""
    from remora.frontend.oci import user as users

    found: dict[str, dict[int, str]] = {"passwd": {}, "group": {}}
    try:
        root = os.open(f"/proc/{init}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return found
    try:
        sources = users.Sources(root)
        for kind, lines in (("passwd", sources.passwd()), ("group", sources.group())):
            for line in lines:
                fields = line.split(":")
                if len(fields) > 2 and fields[2].isdecimal():
                    found[kind].setdefault(int(fields[2]), fields[0])
    except (OSError, RemoraError):
        pass
    finally:
        os.close(root)
    return found


def go_duration(ns: int) -> str:
    """`1h2m3.5s`, as Go prints a duration of a second or more; below that `250ms`."""
    if ns <= 0:
        return "0s"
    if ns < NS:
        return f"{ns / 1e6:.6f}".rstrip("0").rstrip(".") + "ms"
    minutes, rest = divmod(ns, 60 * NS)
    seconds = f"{rest / NS:.9f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else "") + seconds


def clock(seconds: int) -> str:
    """`[DD-]HH:MM:SS`, as ps has it."""
    days, rest = divmod(seconds, 86400)
    shown = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{shown}" if days else shown


def _capabilities(key: str) -> Callable[[View, Process], str]:
    def show(view: View, process: Process) -> str:
        from remora.frontend.oci import capabilities

        bits = int(process.status.get(key, "0") or "0", 16)
        if not bits:
            return "none"
        known = capabilities.NAMES
        names = [name.removeprefix("CAP_") for at, name in enumerate(known) if bits >> at & 1]
        return "full" if len(names) == len(known) else ",".join(names)

    return show


def _tty(view: View, process: Process) -> str:
    number = int(process.stat[4])
    if not number:
        return "?"
    major, minor = os.major(number), os.minor(number)
    if major in PTS_MAJORS:
        return f"pts/{(major - PTS_MAJORS[0]) * 256 + minor}"
    return f"tty{minor}" if major == TTY_MAJOR else f"{major}:{minor}"


def _cpu(view: View, process: Process) -> str:
    elapsed = view.elapsed(process) * view.hertz / NS
    return f"{100 * process.cpu_ticks / elapsed if elapsed else 0:.3f}"


def _memory_share(view: View, process: Process) -> str:
    return f"{100 * process.rss / (os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')):.1f}"


def _host_name(kind: str, number: int) -> str:
    import grp
    import pwd

    try:
        return pwd.getpwuid(number).pw_name if kind == "passwd" else grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _label(view: View, process: Process) -> str:
    try:
        with open(f"/proc/{process.pid}/attr/current", encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n") or "?"
    except OSError:
        return "?"


def _started(view: View, process: Process) -> str:
    from remora.frontend.output.text import moment

    return moment((time.time_ns() - view.elapsed(process)) // NS * NS).go


def _started_shortly(view: View, process: Process) -> str:
    """As ps has it: the time of day, the day when it was not today's."""
    at = time.time() - view.elapsed(process) / NS
    return time.strftime("%H:%M" if time.time() - at < 86400 else "%b%d", time.localtime(at))


def _user(at: int) -> Callable[[View, Process], str]:
    return lambda view, process: view.name("passwd", process.ids("Uid")[at])


def _group(at: int) -> Callable[[View, Process], str]:
    return lambda view, process: view.name("group", process.ids("Gid")[at])


def _number(kind: str, at: int) -> Callable[[View, Process], str]:
    key = "Uid" if kind == "uid" else "Gid"
    return lambda view, process: str(_mapped(view.uid_map if kind == "uid" else view.gid_map, process.ids(key)[at]))


def _groups(view: View, process: Process) -> str:
    return ",".join(view.name("group", gid) for gid in process.ids("Groups"))


# Name → heading, and what makes the text.
TABLE: dict[str, tuple[str, Callable[[View, Process], str]]] = {
    "args": ("COMMAND", lambda view, process: process.command_line),
    "capamb": ("AMBIENT CAPS", _capabilities("CapAmb")),
    "capbnd": ("BOUNDING CAPS", _capabilities("CapBnd")),
    "capeff": ("EFFECTIVE CAPS", _capabilities("CapEff")),
    "capinh": ("INHERITED CAPS", _capabilities("CapInh")),
    "capprm": ("PERMITTED CAPS", _capabilities("CapPrm")),
    "comm": ("COMMAND", lambda view, process: process.comm),
    "etime": ("ELAPSED", lambda view, process: go_duration(view.elapsed(process))),
    "etimes": ("ELAPSED", lambda view, process: str(view.elapsed(process) // NS)),
    "gid": ("GID", _number("gid", 1)),
    "group": ("GROUP", _group(1)),
    "groups": ("GROUPS", _groups),
    "hgroup": ("HGROUP", lambda view, process: _host_name("group", process.ids("Gid")[1])),
    "hgroups": ("HGROUPS", lambda view, process: ",".join(_host_name("group", gid) for gid in process.ids("Groups"))),
    "hpid": ("HPID", lambda view, process: str(process.pid)),
    "huser": ("HUSER", lambda view, process: _host_name("passwd", process.ids("Uid")[1])),
    "label": ("LABEL", _label),
    "nice": ("NI", lambda view, process: process.stat[16]),
    "nlwp": ("NLWP", lambda view, process: str(process.threads)),
    "pcpu": ("%CPU", _cpu),
    "pgid": ("PGID", lambda view, process: str(view.inner(process, "NSpgid", int(process.stat[2])))),
    "pid": ("PID", lambda view, process: str(view.pids[process.pid])),
    "pmem": ("%MEM", _memory_share),
    "ppid": ("PPID", lambda view, process: str(view.pids.get(process.parent, 0))),
    "pri": ("PRI", lambda view, process: str(39 - int(process.stat[15]))),
    "rgid": ("RGID", _number("gid", 0)),
    "rgroup": ("RGROUP", _group(0)),
    "rss": ("RSS", lambda view, process: str(process.rss // 1024)),
    "ruid": ("RUID", _number("uid", 0)),
    "ruser": ("RUSER", _user(0)),
    "seccomp": ("SECCOMP", lambda view, process: SECCOMP.get(process.status.get("Seccomp", ""), "?")),
    "sid": ("SID", lambda view, process: str(view.inner(process, "NSsid", int(process.stat[3])))),
    "start": ("START", _started_shortly),
    "state": ("STATE", lambda view, process: process.stat[0]),
    "stime": ("STIME", _started),
    "time": ("TIME", lambda view, process: go_duration(process.cpu_ticks * NS // view.hertz)),
    "cputime": ("TIME", lambda view, process: clock(process.cpu_ticks // view.hertz)),
    "tty": ("TTY", _tty),
    "uid": ("UID", _number("uid", 1)),
    "user": ("USER", _user(1)),
    "vsz": ("VSZ", lambda view, process: str(int(process.stat[20]) // 1024)),
}
# Codes of AIX's ps, and further names that ps has for the same.
ALIASES = {
    "%C": "pcpu", "%G": "group", "%P": "ppid", "%U": "user", "%a": "args", "%c": "comm", "%g": "rgroup", "%n": "nice",
    "%p": "pid", "%r": "pgid", "%t": "etime", "%u": "ruser", "%x": "time", "%y": "tty", "%z": "vsz", "%cpu": "pcpu",
    "%mem": "pmem", "cmd": "args", "command": "args", "egid": "gid", "egroup": "group", "euid": "uid", "euser": "user",
    "ni": "nice", "pgrp": "pgid", "rssize": "rss", "rsz": "rss", "s": "state", "sess": "sid", "session": "sid",
    "start_time": "start", "thcount": "nlwp", "tname": "tty", "tt": "tty", "ucmd": "comm", "ucomm": "comm",
    "uname": "user", "vsize": "vsz",
}  # fmt: skip


def parse(words: Sequence[str]) -> list[str]:
    """Names of columns as typed (with blanks or commas between them) as keys of TABLE; none: the default ones.

    Raises RemoraError for one that is not known.
    """
    found = []
    for text in words:
        for name in text.replace(",", " ").split():
            known = ALIASES.get(name, name)
            if known not in TABLE:
                from difflib import get_close_matches

                near = get_close_matches(name, [*TABLE, *ALIASES], 1, 0.6)
                hint = f"did you mean {near[0]}?" if near else "`remora top --help` lists them"
                raise RemoraError(f'unknown descriptor "{name}"', hint)
            found.append(known)
    return found or list(DEFAULT)


def rows(init: int, processes: Sequence[Process], names: Sequence[str]) -> list[list[str]]:
    """A heading and a line for each process; one whose ids can't be read any more is left out."""
    table = [[TABLE[name][0] for name in names]]
    if not processes:
        return table
    view = View(init, processes)
    for process in processes:
        try:
            table.append([TABLE[name][1](view, process) for name in names])
        except (OSError, IndexError):
            continue
    return table
