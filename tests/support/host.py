"""A look at the host: processes (zombies apart), mounts, cgroups, and everything a set of containers could leave."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import time
import tomllib
from pathlib import Path
from typing import Protocol

# recvfrom, recvmsg, ppoll, poll, epoll_wait by number (asm/unistd_64.h; asm-generic/unistd.h for arm64).
RECEIVE_CALLS = {"x86_64": ("45", "47", "271", "7", "232"), "aarch64": ("207", "212", "73", "22")}[platform.machine()]


class Folders(Protocol):
    """Where one Remora keeps its things."""

    @property
    def root(self) -> Path: ...
    @property
    def runroot(self) -> Path: ...
    @property
    def environment(self) -> dict[str, str]: ...


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie (init may take a second to reap one)."""
    return state(pid) not in ("", "Z", "X")


def dead(pid: int) -> bool:
    return not alive(pid)


def state(pid: int) -> str:
    """R, S, D, T, Z … of /proc/PID/stat; "" without such a process."""
    return _stat(pid, 0)


def parent(pid: int) -> int:
    """The parent's pid; 0 without such a process."""
    return int(_stat(pid, 1) or 0)


def _stat(pid: int, field: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[field]


def command_line(pid: int) -> list[str]:
    """argv of a process; empty for a zombie or no process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descriptors(pid: int) -> int:
    """How many descriptors a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def monitor_processes(keeper: int) -> list[int]:
    """The keeper of a monitor and its worker."""
    program = os.readlink(f"/proc/{keeper}/exe")
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return [keeper] + [int(pid) for pid in children if _executes(int(pid), program)]


def _executes(pid: int, program: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/exe") == program
    except (FileNotFoundError, ProcessLookupError):
        return False


def own_memory_kb(keeper: int) -> int:
    """Memory that a monitor's processes have for themselves alone, in kilobytes: unlike their share of the program's
    pages (Pss), this does not change with the number of other monitors that run the same program."""
    return sum(_private_dirty_kb(pid) for pid in monitor_processes(keeper))


def _private_dirty_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    raise AssertionError("no Private_Dirty in smaps_rollup")


def init_of_orphans() -> int:
    """Who inherits the orphans of this process: the nearest living subreaper above, else 1.

    Found by experiment, for nothing in /proc tells a subreaper: an orphan made here is asked for its parent.
    """
    read, write = os.pipe()
    middle = os.fork()
    if middle == 0:
        first = os.getpid()
        if os.fork() == 0:
            while os.getppid() == first:
                pass
            os.write(write, str(os.getppid()).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(middle, 0)
    answer = os.read(read, 20)
    os.close(read)
    return int(answer)


def processes_of(folders: Folders, ids: set[str]) -> list[str]:
    """Living processes that have to do with these folders or containers: monitors, runtimes, the containers' own."""
    found = []
    short = {container_id[:12] for container_id in ids}
    paths = (str(folders.root), str(folders.runroot))
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid() or not alive(int(entry)):
            continue
        argv = command_line(int(entry))
        mine = any(path in word for path in paths for word in argv) or (
            len(argv) > 1 and argv[0] == "remora-monitor" and argv[1] in short
        )
        if not mine and ids:
            try:
                groups = Path(f"/proc/{entry}/cgroup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            mine = any(container_id in groups for container_id in ids)
        if mine:
            found.append(f"{entry}: {' '.join(argv)[:200]}")
    return found


def mounts_of(folders: Folders) -> list[str]:
    """Mounts of the host's own mount namespace below these folders."""
    paths = (str(folders.root), str(folders.runroot))
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if any(path in line for path in paths)]


def cgroups_of(ids: set[str]) -> list[str]:
    """cgroup folders of these containers, in every hierarchy."""
    return [
        str(folder)
        for pattern in ("*/remora/*", "remora/*", "machine.slice/*")
        for folder in Path("/sys/fs/cgroup").glob(pattern)
        if any(container_id in folder.name for container_id in ids)
    ]


def guards_of(folders: Folders) -> list[str]:
    """Entries of these folders' guards in the image store."""
    conf = tomllib.loads(Path(folders.environment["CONTAINERS_STORAGE_CONF"]).read_text())
    path = Path(conf["storage"]["graphroot"]) / "overlay-containers" / "containers.json"
    if not path.exists():
        return []
    suffix = _guard_suffix(folders)
    return [name for entry in json.loads(path.read_text() or "[]") for name in entry["names"] if name.endswith(suffix)]


def _guard_suffix(folders: Folders) -> str:
    return "-" + hashlib.sha256(str(folders.root).encode()).hexdigest()[:8]


def below(folder: Path) -> list[str]:
    """Entries of a folder, sorted; none when it is absent."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def known_ids(folders: Folders) -> set[str]:
    """Ids that have left any trace in the folders."""
    names = below(folders.root / "containers") + below(folders.runroot) + below(folders.runroot / "runtime")
    return {name for name in names if len(name) == 64}


MEANT_TO_STAY = ("runtime", "runtime-choice", "limits-told", "ended", "networks")


def leftovers(folders: Folders, ids: set[str]) -> dict[str, list[str]]:
    """Everything that is left of containers, by kind; empty when there is nothing at all.

    ids: the containers that were there. The runtime's choice and the records of `--rm` containers are meant to stay.
    """
    found = {
        "processes": processes_of(folders, ids),
        "mounts": mounts_of(folders),
        "cgroups": cgroups_of(ids),
        "names": below(folders.root / "names"),
        "folders": below(folders.root / "containers"),
        "image uses": below(folders.root / "images"),
        "run folders": [name for name in below(folders.runroot) if name not in MEANT_TO_STAY],
        "runtime state": below(folders.runroot / "runtime"),
        "guards": guards_of(folders),
    }
    return {kind: list(what) for kind, what in found.items() if what}


def waits_on_a_socket(pid: int) -> bool:
    """Whether a process sleeps in a receive call (its request has been sent then)."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return call[0] in RECEIVE_CALLS


def send(pid: int, number: int) -> None:
    """Send a signal through a pidfd."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def kill_monitor(keeper: int) -> None:
    """SIGKILL to all processes of a monitor: the keeper first, so that no other worker follows."""
    for pid in monitor_processes(keeper):
        try:
            send(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def assert_nothing_left(folders: Folders, ids: set[str], timeout: float = 10.0) -> None:
    """Everything of these containers is gone, at the latest when their last monitors have ended."""
    deadline = time.monotonic() + timeout
    while (found := leftovers(folders, ids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found == {}, f"left behind: {found}"
