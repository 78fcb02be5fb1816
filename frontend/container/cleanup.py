"""What has to be undone at a container's end, and is not gone with its processes: <run>/<id>/cleanup.

The monitor does it. When it can't any more (it was killed, or never came to be), whoever meets the container next does:
`start`, `rm`, commands about networks. The file is written before anything is made and goes with the last step, so
steps may meet what was never done, or is undone already. All of it needs the container's lock.
"""

from __future__ import annotations

import os

from remora import monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from remora.frontend.settings import Settings

    Step: TypeAlias = list[str]

VERSION = 1
LARGEST = 1 << 20  # bytes of the file
STEP_TIME = 10.0  # seconds that a program has
HELPER_TIME = 5.0  # seconds that a helper has to end by itself


def path(run_dir: str) -> str:
    """The file of a run folder."""
    return run_dir + "/cleanup"


def write(run_dir: str, steps: Sequence[Step], pidfiles: Sequence[str]) -> None:
    """Write the file, or replace it. steps: as the monitor's `cleanup`; pidfiles: of its helpers."""
    data = monitor.pack({"version": VERSION, "steps": list(steps), "pidfiles": list(pidfiles)})
    temporary = path(run_dir) + ".new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    os.rename(temporary, path(run_dir))


def finish(run_dir: str) -> None:
    """Undo what is left to be undone, if there is something. No process of the container may be left."""
    try:
        content = monitor.unpack(_read(path(run_dir)))
    except FileNotFoundError:
        return
    except ValueError:
        content = {}  # half written: then nothing was made yet
    pidfiles, steps = content.get("pidfiles"), content.get("steps")
    if isinstance(pidfiles, list):
        end_helpers(run_dir, [name for name in pidfiles if isinstance(name, str)])
    if os.path.lexists(run_dir + "/network-down"):
        _finish_networks(run_dir)
    for step in steps if isinstance(steps, list) else []:
        if isinstance(step, list) and len(step) > 1 and all(isinstance(word, str) for word in step):
            _take(step)
    for name in (path(run_dir), path(run_dir) + ".new"):
        _unlink(name)


def _finish_networks(run_dir: str) -> None:
    """The container's network namespace is gone: its rules are undone another way than by the monitor."""
    from remora.frontend.networks import stale
    from remora.frontend.settings import Settings

    folder, _, container_id = run_dir.rpartition("/")
    stale.finish(Settings(run=folder, rootless=os.path.isdir(folder + "/networks/rootless")), container_id)


def _read(name: str) -> bytes:
    from remora.monitor import core

    return core.read_file(name, LARGEST)


def _unlink(name: str) -> None:
    try:
        os.unlink(name)
    except OSError:
        pass


def _take(step: Step) -> None:
    if step[0] == "unlink":
        _unlink(step[1])
    elif step[0] == "execute" and len(step) > 2:
        _execute(step[1].encode("utf-8", "surrogateescape"), step[2:])


def _execute(text: bytes, argv: Sequence[str]) -> None:
    """Run a program; killed when it takes too long. What it says and how it ends are nobody's business any more."""
    import select
    import signal

    from remora.frontend import process

    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    memory = monitor.sealed_memory("cleanup", text)
    try:
        pid = process.start(argv, stdin=memory, stdout=null, stderr=null)
    except OSError:
        return
    finally:
        os.close(memory)
        os.close(null)
    pidfd = os.pidfd_open(pid)
    try:
        if not select.select([pidfd], [], [], STEP_TIME)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    os.waitpid(pid, 0)


# ---- helpers that have outlived their monitor


def end_helpers(run_dir: str, pidfiles: Sequence[str]) -> None:
    """End the helpers that are left: those whose pid is in one of the files, and, as a monitor may have been killed
    before the pid was written, all that name such a file in their command line."""
    for pid in _helpers(run_dir, set(pidfiles)):
        _end(pid)
    for name in pidfiles:
        _unlink(name)


def _helpers(run_dir: str, pidfiles: set[str]) -> set[int]:
    found = set()
    for name in pidfiles:
        try:
            pid = int(_read(name))
        except (OSError, ValueError):
            continue
        if any(run_dir in word for word in _command_line(pid)):
            found.add(pid)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and pidfiles.intersection(_command_line(int(entry))):
            found.add(int(entry))
    return found


def _command_line(pid: int) -> list[str]:
    try:
        fd = os.open(f"/proc/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return os.read(fd, 1 << 17).decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return []
    finally:
        os.close(fd)


def _end(pid: int) -> None:
    import select
    import signal

    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not select.select([pidfd], [], [], HELPER_TIME)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], HELPER_TIME)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(pidfd)


# ---- containers that nobody has met yet


def sweep(settings: Settings) -> None:
    """Undo what is left of every container that neither runs nor is being worked on.

    For commands that need what others may have left: addresses, ports, rules.
    """
    from remora.frontend.container.record import is_id
    from remora.frontend.container.sweep import has_cleanup

    try:
        names = os.listdir(settings.run)
    except FileNotFoundError:
        return
    for container_id in names:
        run_dir = settings.run_dir(container_id) if is_id(container_id) else ""
        if run_dir and has_cleanup(run_dir):
            _sweep_one(settings, container_id, run_dir)


def _sweep_one(settings: Settings, container_id: str, run_dir: str) -> None:
    try:
        lock = monitor.lock(run_dir)
    except OSError:
        return  # somebody is at work on it
    try:
        if not runs_on(run_dir):
            from remora.frontend.container.sweep import delete_runtime_state

            delete_runtime_state(settings, container_id)
            finish(run_dir)
    finally:
        os.close(lock)


def runs_on(run_dir: str) -> bool:
    """Whether a container lives whose monitor was lost."""
    try:
        state = monitor.read_state(run_dir) or {}
    except (OSError, ValueError):
        return False
    pid, start = state.get("pid"), state.get("pid_start")
    return isinstance(pid, int) and pid > 0 and monitor.process_start(pid) == start
