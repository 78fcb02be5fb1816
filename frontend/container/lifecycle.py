"""Starting a container and being its foreground.

`start` hands the container's lock to the monitor that it spawns; the root file system is a detached mount, which goes
with the last process that holds it. So a start that is killed at any moment leaves nothing behind.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container import logs, sweep, terminal
from remora.frontend.container import state as states
from remora.frontend.container.configuration import configuration, monitor_environment
from remora.frontend.container.creation import remedy
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import guard
from remora.frontend.oci import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings
    from remora.frontend.userns.space import Space
    from remora.frontend.volumes.memory import Memory
    from remora.monitor import Connection, RequestFailed

LIMITS_TOLD = "limits-told"  # in the run folder: the line about lowered default limits was shown
ROOM_BYTES = 256 * 1024  # what a start may need on one file system
ROOM_FILES = 32
NOT_EXECUTABLE = 126
NOT_FOUND = 127


class Started:
    """A running container: the connection to its monitor (attached if that was asked for), its init's pid."""

    __slots__ = ("connection", "pid", "warnings")

    def __init__(self, connection: Connection, pid: int, warnings: list[str]) -> None:
        self.connection = connection
        self.pid = pid
        self.warnings = warnings


def attachment(streams: Sequence[str], *, rows: int = 0, columns: int = 0) -> dict[str, object]:
    """The `attach` map for a foreground client: these streams, with back-pressure, as the owner."""
    return {
        "session": "",
        "stdin": "stdin" in streams,
        "stdout": "stdout" in streams,
        "stderr": "stderr" in streams,
        "block": True,
        "owner": True,
        "rows": rows,
        "cols": columns,
    }


def start(
    settings: Settings,
    record: ContainerRecord,
    *,
    lock: int = -1,
    attach: dict[str, object] | None = None,
    rows: int = 0,
    columns: int = 0,
    preserved: Sequence[int] = (),
) -> Started:
    """Start a container that does not run.

    lock: descriptor of its lock if the caller has it (it is closed here in every case). attach: see `attachment`;
    None for a detached start. rows, columns: window size of a tty. preserved: descriptors for the container (beside
    our own 0, 1 and 2 with the log driver passthrough).
    Raises RemoraError when it is running, gone, or can't be started (a `--rm` container that a monitor was told about
    is removed by then).
    """
    spec, asked = record.spec, record
    passthrough = logs.is_passthrough(spec)
    if lock < 0:
        if passthrough:
            logs.check_stdio()
        lock = _lock(record)
    rootfs = -1
    plan: Plan | None = None
    memory: Memory | None = None
    with_volumes = any(item["type"] == "volume" for item in spec["mounts"])
    try:
        try:
            # Left by a monitor that was killed.
            if os.path.isdir(f"{settings.runtime_root}/{record.id}"):
                sweep.delete_runtime_state(settings, record.id, spec["runtime"])
            sweep.finish_cleanup(record.run_dir)
            if with_volumes:
                from remora.frontend.volumes import using

                memory = using.memory(settings, record)
            plan = _plan(settings, record, lock, memory)
            if with_volumes:
                record = using.resolved(settings, record, memory)
                spec = record.spec
            rootfs, root_fd, root = root_of(settings, record, plan.space if plan is not None else None)
            try:
                unfilled = using.fill(settings, asked, root_fd) if with_volumes else []
                built = config.build(
                    settings,
                    spec,
                    root_fd=root_fd,
                    root=root,
                    folder=record.data_dir,
                    rows=rows,
                    columns=columns,
                    namespaces=plan.namespaces if plan is not None else {},
                    texts=plan.texts if plan is not None else None,
                    shm=plan.mounts.get("shm", "") if plan is not None else "",
                )
            finally:
                if root_fd != rootfs:
                    os.close(root_fd)
            config.write(built.config, record.bundle)
            for line in built.warnings:
                _warn(line)
            if built.once and _first_time(settings):
                _warn(built.once)
            user, n_preserved = built.user, len(preserved)
            if unfilled:
                using.give(settings, unfilled, *user.outside(spec))
            if plan is not None:
                plan.await_all()
            connection = monitor.spawn(
                configuration(settings, asked, user.uid, user.gid, attach, rows, columns, n_preserved, plan),
                lock_fd=lock,
                rootfs_fd=rootfs,
                stdio=(0, 1, 2) if passthrough else (),
                namespaces=plan.descriptors if plan is not None else (),
                preserved=preserved,
                held=plan.held if plan is not None else (),
                environment=monitor_environment(settings.environ),
            )
        except Exception:
            sweep.finish_cleanup(record.run_dir)
            if memory is not None:
                memory.close()
            raise
        finally:
            if plan is not None:
                plan.close()
            if rootfs >= 0:
                os.close(rootfs)
            # The monitor has it now, or nobody needs it.
            os.close(lock)
    except OSError as error:
        raise RemoraError(f"starting container {spec['name']}: {os_error_text(error)}", remedy(error)) from None
    # The runtime is at work now: time for the disk. A `--rm` container has nothing that a power cut must leave.
    if not record.synced and not spec["remove"]:
        try:
            record.sync()
        except FileNotFoundError:
            pass  # removed by somebody already
        except OSError as error:
            _warn(f"container {record.name} runs, but its record may not survive a power cut: {os_error_text(error)}")
    try:
        pid = _await_start(settings, asked, connection, attach)
    finally:
        if memory is not None:
            memory.close()
    if settings.joining >= 0:
        from remora.frontend.networks import rootless_bridge

        rootless_bridge.settled(settings)
    return Started(connection, pid, built.warnings)


def _plan(settings: Settings, record: ContainerRecord, lock: int, memory: Memory | None) -> Plan | None:
    """What this start needs beside the record; None: nothing. lock: the container's, held; memory: volumes that other
    containers have mounted.

    Each part of the frontend that needs something adds it here, in a module that is imported only when the record asks
    for it. What is to be undone has to be in the plan, and saved, before it is made.
    """
    spec = record.spec
    joins = ":" in spec["pid"] + spec["ipc"] + spec["uts"] + spec["cgroupns"] + spec["network"]
    bridged = spec["network"] == "bridge" and bool(spec["networks"])
    user_mode = spec["network"] in ("pasta", "slirp4netns")
    if not joins and not bridged and not user_mode and not spec["userns"]["uid_map"] and memory is None:
        return None
    from remora.frontend.container.plan import Plan

    plan = Plan(record)
    try:
        if memory is not None:
            memory.hand_over(plan)
        if joins:
            from remora.frontend.container import joining

            joining.add(settings, record, plan)
        if spec["userns"]["uid_map"]:
            from remora.frontend.userns import space

            plan.space = space.open_for(settings, record)
        if bridged:
            from remora.frontend.networks.attach import Attach

            plan.attach = Attach(settings, record, lock)
            plan.attach.begin(plan, plan.user_fd)
        elif user_mode:
            from remora.frontend.networks.user_mode import prepare

            prepare(settings, record, plan, plan.user_fd)
        if plan.space is not None:
            plan.space.hand_over(record, plan)  # the last: by then it is known who else needs it
    except BaseException:
        plan.close()
        raise
    return plan


def _warn(line: str) -> None:
    os.write(2, f"Warning: {line}\n".encode())


def _first_time(settings: Settings) -> bool:
    """Has the line about lowered defaults not been shown since the run folder is there (since the boot)?"""
    try:
        os.close(os.open(f"{settings.run}/{LIMITS_TOLD}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError:
        pass  # no room for the mark: better told twice than not at all
    return True


def _await_start(
    settings: Settings, record: ContainerRecord, connection: Connection, attach: dict[str, object] | None
) -> int:
    try:
        try:
            return connection.started()
        except monitor.MonitorGone:
            if not connection.renew():
                raise
            return _rejoin_start(settings, record, connection, attach)
    except monitor.RequestFailed as failed:
        if record.spec["remove"]:
            finish_removal(settings, record, connection)
        else:
            connection.close()
        _clean_up_after(record)
        raise _start_error(settings, record, failed) from None
    except monitor.MonitorGone:
        connection.close()
        _clean_up_after(record)
        raise RemoraError(
            f"starting container {record.name}: its monitor ended before the container ran",
            hint=f"`remora ps -a` tells what became of it, `remora rm -f {record.name}` removes it",
        ) from None


def _clean_up_after(record: ContainerRecord) -> None:
    """Undo what a monitor that could not even begin has left."""
    if not sweep.has_cleanup(record.run_dir):
        return
    try:
        lock = monitor.lock(record.run_dir)
    except BlockingIOError:
        return  # it is still at it, or somebody else is
    try:
        sweep.finish_cleanup(record.run_dir)
    finally:
        os.close(lock)


def _rejoin_start(
    settings: Settings, record: ContainerRecord, connection: Connection, attach: dict[str, object] | None
) -> int:
    """The monitor lives, the connection of the start was lost: what became of the start, over a new one."""
    try:
        if attach is not None:
            connection.request({"op": "attach", **attach})
        connection.request({"op": "wait", "condition": "running"})
    except monitor.RequestFailed:
        ended = connection.how_it_ended("") or {}
        if states.text(ended, "why") != "runtime-failed":
            return 0  # it ran, and has ended; the relay learns how
        error, status = states.text(ended, "error"), states.number(ended, "status")
        raise monitor.RequestFailed("start container", record.name, error, status=status or 125) from None
    return states.derive(settings, record).pid


def _start_error(settings: Settings, record: ContainerRecord, failed: RequestFailed) -> RemoraError:
    """What the monitor, or the runtime through it, said; with the remedy that its status suggests."""
    hint = _full(settings.run) or _full(settings.data)
    if failed.status == NOT_FOUND:
        hint = f'the image has no program "{record.spec["args"][0]}": check the command and --entrypoint'
    elif failed.status == NOT_EXECUTABLE and "permission denied" in failed.error.lower():
        hint = f'"{record.spec["args"][0]}" must be a file that may be executed'
    elif " /proc/sys/" in failed.error:
        hint = "check --sysctl: its namespace does not have this parameter, or not with this value"
    elif ("mount proc:/proc " in failed.error or "mount `proc`" in failed.error) and any(
        text.startswith("proc-opts") for text in record.spec["security_opt"]
    ):
        hint = "check --security-opt proc-opts"
    where, words = f"{failed.phase} {failed.object}".strip(), failed.error
    if failed.phase == "start helper":
        from remora.frontend.networks import user_mode

        words, hint = user_mode.explain(words, hint)
    return RemoraError(f"starting container {record.name}: {where}: {words}", hint, failed.status or 125)


def _full(folder: str) -> str:
    """A remedy if the folder's file system has no room: a runtime's words don't always say that this was the cause."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return ""
    # The failed start has given back what it took: some files, some pages.
    if status.f_bavail * status.f_frsize >= ROOM_BYTES and (status.f_favail >= ROOM_FILES or not status.f_files):
        return ""
    return f"no space left on device: make room on the file system of {folder}"


def _lock(record: ContainerRecord) -> int:
    try:
        lock = monitor.lock(record.run_dir)
    except BlockingIOError:
        raise RemoraError(
            f'container "{record.name}" is running, or another command is at work on it',
            hint="`remora ps` shows it; `remora stop` ends it",
        ) from None
    if not os.path.exists(record.spec_path):
        os.close(lock)
        raise RemoraError(f'container "{record.name}" has just been removed')
    return lock


def root_of(settings: Settings, record: ContainerRecord, space: Space | None) -> tuple[int, int, str]:
    """(mount descriptor or -1, descriptor of the root folder, the path the runtime is told).

    space: the container's own user namespace.
    """
    spec = record.spec
    image = spec["image"]
    if image is None:
        root = spec["rootfs"] or ""
        return -1, os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), root
    upper, work, merged = (f"{record.data_dir}/{name}" for name in ("upper", "work", "merged"))
    lower = image["lower"]
    if not (os.path.isdir(merged) and os.path.isdir(upper) and os.path.isdir(work)):
        _make_upper(upper, lower[0], space)
        _make_folder(work)
        _make_folder(merged)
    if space is not None:
        mount, merged = space.mount(record, lower), space.place(record)
    elif settings.rootless:
        from remora.frontend.rootless import overlay

        mount = overlay.mount(settings, lower, upper, work, merged, volatile=spec["remove"])
    else:
        mount = monitor.mount_overlay(lower, upper, work, volatile=spec["remove"])
    return mount, mount, merged


def _make_upper(upper: str, lower: str, space: Space | None) -> None:
    """The upper folder is the container's `/`: it has the owner and mode of the image's."""
    status = os.stat(lower)
    uid, gid = status.st_uid, status.st_gid
    if space is not None:
        uid, gid = space.owner(uid, gid)
    _make_folder(upper)
    fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, status.st_mode & 0o7777)
    finally:
        os.close(fd)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


# ---- foreground -------------------------------------------------------------------------------


def finish_removal(settings: Settings, record: ContainerRecord, connection: Connection) -> None:
    """Wait until the monitor has removed a `--rm` container; drop the image's guard if that was its last use."""
    last_use = False
    try:
        while True:
            packet = connection.receive()
            if packet.kind:
                continue
            message = packet.message()
            if message.get("event") == "removed":
                last_use = message.get("last_use") is True
                break
    except monitor.MonitorGone:
        pass
    connection.close()
    image = record.spec["image"]
    if last_use and image is not None:
        guard.release_unused(settings, image["id"])
        if record.spec["userns"]["uid_map"]:
            from remora.frontend.userns import shifted

            shifted.release_unused(settings)
    if last_use and any(item["type"] == "volume" for item in record.spec["mounts"]):
        from remora.frontend.volumes import store

        store.sweep(settings)


def follow(
    settings: Settings,
    record: ContainerRecord,
    connection: Connection,
    streams: Sequence[str],
    *,
    detach_keys: bytes,
    proxy_signals: bool,
) -> int:
    """Be the foreground of an attached container until it ends or is let go; the exit status of the command.

    streams: of `stdin` `stdout` `stderr`. Raises RemoraError when the monitor is lost or the end is unknown.
    """
    spec = record.spec
    result = connection.relay(
        run_dir=record.run_dir,
        stdin=0 if "stdin" in streams else -1,
        stdout=1 if "stdout" in streams else -1,
        stderr=2 if "stderr" in streams else -1,
        raw=spec["tty"],
        proxy_signals=proxy_signals,
        detach_keys=terminal.active_keys(detach_keys, spec["tty"]),
        handle_output_closed=True,
        block=True,
        owner=True,
        positions=(0, 0),
    )
    if result.end == monitor.RelayEnd.EXITED and spec["remove"]:
        finish_removal(settings, record, connection)
    connection.close()
    return terminal.container_status(settings, record, result)
