"""What a running container uses, read from its cgroup (versions 1 and 2), its network namespace and /proc.

Memory is what can't be given back at once: without the page cache that has not been used lately (`inactive_file`).
Where a container has no cgroup of its own (a user's, with cgroups v1), CPU, memory and blocks are the sums over its
processes; so are the blocks where version 1 counts none. Files: the kernel's admin-guide/cgroup-v1 and
admin-guide/cgroup-v2.
"""

from __future__ import annotations

import os

from remora.frontend.container import cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from remora.frontend.container.processes import Process

NS = 1_000_000_000


class Usage:
    """cpu_ns: time on all CPUs; system_ns: in the kernel. The others in bytes, but for pids: a count of tasks."""

    __slots__ = (
        "block_in",
        "block_out",
        "cpu_ns",
        "memory",
        "memory_limit",
        "net_in",
        "net_out",
        "pids",
        "system_ns",
    )

    def __init__(self) -> None:
        self.cpu_ns = 0
        self.system_ns = 0
        self.memory = 0
        self.memory_limit = 0
        self.net_in = 0
        self.net_out = 0
        self.block_in = 0
        self.block_out = 0
        self.pids = 0


def read(init: int, container_id: str, own_network: bool) -> Usage:
    """What the container of this first process (its pid on the host) uses; what can't be read counts as nothing.

    own_network: its interfaces are not the host's.
    """
    usage = Usage()
    paths, at = cgroup.own_paths(init, container_id), cgroup.mounts()
    unified = cgroup.folder(paths, at, cgroup.UNIFIED)
    if unified and os.path.exists(unified + "/memory.current"):
        read_v2(usage, unified)
    elif cgroup.folder(paths, at, "memory"):
        folders = {name: cgroup.folder(paths, at, name) for name in ("cpuacct", "memory", "blkio", "pids")}
        read_v1(usage, folders)
        if not usage.block_in and not usage.block_out:
            for pid in _members(folders["memory"]):
                _add_blocks(usage, pid)
    else:
        from remora.frontend.container import processes

        add_processes(usage, processes.of_container(init, container_id))
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    usage.memory_limit = min(usage.memory_limit or total, total)
    if own_network:
        usage.net_in, usage.net_out = network(_text(f"/proc/{init}/net/dev"))
    return usage


def read_v1(usage: Usage, folders: dict[str, str]) -> None:
    """From the folders of the controllers cpuacct, memory, blkio and pids; "" = there is none."""
    usage.cpu_ns = _number(folders["cpuacct"], "cpuacct.usage")
    ticks = _pairs(folders["cpuacct"], "cpuacct.stat").get("system", 0)
    usage.system_ns = ticks * NS // os.sysconf("SC_CLK_TCK")
    cache = _pairs(folders["memory"], "memory.stat").get("total_inactive_file", 0)
    usage.memory = max(_number(folders["memory"], "memory.usage_in_bytes") - cache, 0)
    usage.memory_limit = _number(folders["memory"], "memory.limit_in_bytes")
    usage.pids = _number(folders["pids"], "pids.current")
    for name in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"):
        text = _text(f"{folders['blkio']}/{name}") if folders["blkio"] else ""
        if text:
            break
    for line in text.splitlines():
        words = line.split()  # `8:0 Read 4096`; `Total 4096` at the end
        if len(words) == 3 and words[2].isdecimal():
            if words[1] == "Read":
                usage.block_in += int(words[2])
            elif words[1] == "Write":
                usage.block_out += int(words[2])


def read_v2(usage: Usage, folder: str) -> None:
    """From the container's folder of the unified hierarchy."""
    cpu = _pairs(folder, "cpu.stat")
    usage.cpu_ns, usage.system_ns = cpu.get("usage_usec", 0) * 1000, cpu.get("system_usec", 0) * 1000
    usage.memory = max(_number(folder, "memory.current") - _pairs(folder, "memory.stat").get("inactive_file", 0), 0)
    usage.memory_limit = _number(folder, "memory.max")
    usage.pids = _number(folder, "pids.current")
    for line in _text(folder + "/io.stat").splitlines():  # `8:0 rbytes=1 wbytes=2 rios=3 …`
        for word in line.split()[1:]:
            key, _, value = word.partition("=")
            if key == "rbytes" and value.isdecimal():
                usage.block_in += int(value)
            elif key == "wbytes" and value.isdecimal():
                usage.block_out += int(value)


def add_processes(usage: Usage, found: Iterable[Process]) -> None:
    """The sums over processes; the CPU time of children that have ended and were waited for is their parent's."""
    hertz = os.sysconf("SC_CLK_TCK")
    for process in found:
        user, system, child_user, child_system = (int(process.stat[at]) for at in (11, 12, 13, 14))
        usage.cpu_ns += (user + system + child_user + child_system) * NS // hertz
        usage.system_ns += (system + child_system) * NS // hertz
        usage.memory += process.rss
        usage.pids += process.threads
        _add_blocks(usage, process.pid)


def _add_blocks(usage: Usage, pid: int) -> None:
    """What a process, and those of its children that it has waited for, had disks do (proc_pid_io(5))."""
    for line in _text(f"/proc/{pid}/io").splitlines():
        key, _, value = line.partition(": ")
        if key == "read_bytes":
            usage.block_in += int(value)
        elif key == "write_bytes":
            usage.block_out += int(value)


def _members(folder: str) -> list[int]:
    """The processes in a group and in those below it."""
    return [int(pid) for path, _, _ in os.walk(folder) for pid in _text(path + "/cgroup.procs").split()]


def network(text: str) -> tuple[int, int]:
    """Bytes received and sent by all interfaces of /proc/PID/net/dev but the loopback."""
    received = sent = 0
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and name.strip() != "lo" and len(words) > 8:
            received += int(words[0])
            sent += int(words[8])
    return received, sent


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _number(folder: str, name: str) -> int:
    """The number in a file; 0 for none, and for `max`."""
    text = _text(f"{folder}/{name}").strip() if folder else ""
    return int(text) if text.isdecimal() else 0


def _pairs(folder: str, name: str) -> dict[str, int]:
    """`key value` lines."""
    found = {}
    for line in (_text(f"{folder}/{name}") if folder else "").splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found
