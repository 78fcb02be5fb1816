"""Making, starting and following a container.

Each step is safe against being killed at any moment: `create` claims everything under the container's lock and writes
spec.json last, so that what is there without it is swept; `start` hands the lock to the monitor it spawns, and the
root file system is a detached mount that goes with the last process that holds it.
"""

from __future__ import annotations

import os
import sys

from remora import monitor
from remora.frontend import runtime
from remora.frontend.container import names, sweep, terminal
from remora.frontend.container.record import ContainerRecord
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import guard
from remora.frontend.oci import cgroups, config
from remora.frontend.options.names import random_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from remora.frontend.container.spec import Spec
    from remora.frontend.settings import Settings
    from remora.monitor import Connection, RequestFailed

NAME_TRIES = 20
ROOM_BYTES = 256 * 1024  # what a start may need on one file system
ROOM_FILES = 32
NOT_EXECUTABLE = 126
NOT_FOUND = 127
MONITOR_ENVIRONMENT = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "LLVM_PROFILE_FILE")
# What a runtime, and the command that drops an image's guard, may need of the caller's environment.
RUNTIME_ENVIRONMENT = frozenset(
    "PATH HOME TMPDIR XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS DBUS_SYSTEM_BUS_ADDRESS PYTHONPATH PYTHONHOME "
    "VIRTUAL_ENV CONTAINERS_STORAGE_CONF CONTAINERS_REGISTRIES_CONF STORAGE_DRIVER STORAGE_OPTS".split()
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Created:
    """A container that has just been made. lock: the descriptor that holds its lock; for `start`, or to be closed."""

    __slots__ = ("record", "lock")

    def __init__(self, record: ContainerRecord, lock: int) -> None:
        self.record = record
        self.lock = lock


def create(settings: Settings, spec: Spec) -> Created:
    """Make a container from its request; an empty name is replaced by a random one that is free.

    Raises RemoraError (name taken, image gone, no space …); nothing is left behind then.
    """
    record = ContainerRecord(settings, spec)
    # The folder first: whoever meets it without spec.json clears it, and the run folder, away. If that is between these
    # two lines, it is made again.
    try:
        os.makedirs(record.data_dir, mode=0o700, exist_ok=True)
        lock = monitor.lock(record.run_dir, wait=True)
    except OSError as error:
        _remove_folder(record.run_dir)
        _remove_folder(record.data_dir)
        raise _create_error(record, error) from None
    try:
        os.makedirs(record.data_dir, mode=0o700, exist_ok=True)
        _claim_name(settings, spec)
        if spec["image"] is not None:
            guard.acquire(settings, spec["image"]["id"], record.id)
        _write_cidfile(spec)
        record.save(durable=not spec["remove"])
        return Created(record, lock)
    except BaseException as error:
        try:
            _discard(settings, record)
        finally:
            os.close(lock)
        if isinstance(error, OSError):
            raise _create_error(record, error) from None
        raise


def _create_error(record: ContainerRecord, error: OSError) -> RemoraError:
    return RemoraError(f"creating container {record.id[:12]}: {os_error_text(error)}", _remedy(error))


def remove_unstarted(settings: Settings, record: ContainerRecord) -> None:
    """Remove a `--rm` container that could not be started, unless its monitor has done so already."""
    if not os.path.lexists(record.data_dir):
        return
    try:
        lock = monitor.lock(record.run_dir)
    except BlockingIOError:
        return  # somebody else is at work on it
    try:
        _discard(settings, record)
    finally:
        os.close(lock)


def _discard(settings: Settings, record: ContainerRecord) -> None:
    try:
        os.unlink(record.spec_path)
    except FileNotFoundError:
        pass
    sweep.remove_parts(settings, record.id, record.name)
    cidfile = record.spec["cidfile"]
    if cidfile and _read_text(cidfile) == record.id:
        os.unlink(cidfile)


def _claim_name(settings: Settings, spec: Spec) -> None:
    if spec["name"]:
        names.claim(settings, spec["name"], spec["id"])
        return
    for _ in range(NAME_TRIES):
        spec["name"] = random_name()
        if names.owner(settings, spec["name"]) is not None:
            continue
        try:
            names.claim(settings, spec["name"], spec["id"])
            return
        except RemoraError:
            continue  # somebody was faster
    spec["name"] = f"{random_name()}_{spec['id'][:8]}"
    names.claim(settings, spec["name"], spec["id"])


def _write_cidfile(spec: Spec) -> None:
    if not spec["cidfile"]:
        return
    try:
        fd = os.open(spec["cidfile"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, spec["id"].encode())
        finally:
            os.close(fd)
    except OSError as error:
        path, spec["cidfile"] = spec["cidfile"], ""  # it is not ours to remove
        raise RemoraError(f"--cidfile {path}: {error.strerror}", hint="name a file that can be made") from None


def _read_text(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""


# ---- start ------------------------------------------------------------------------------------


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
    None for a detached start. rows, columns: window size of a tty. preserved: descriptors for the container.
    Raises RemoraError when it is running, gone, or can't be started (a `--rm` container that a monitor was told about
    is removed by then).
    """
    spec = record.spec
    if lock < 0:
        lock = _lock(record)
    rootfs = -1
    try:
        try:
            rootfs, root_fd, root = _root(record)
            try:
                built = config.build(
                    settings, spec, root_fd=root_fd, root=root, folder=record.data_dir, rows=rows, columns=columns
                )
            finally:
                if root_fd != rootfs:
                    os.close(root_fd)
            config.write(built.config, record.bundle)
            for line in built.warnings:
                os.write(2, f"Warning: {line}\n".encode())
            configuration = _configuration(settings, record, built.user.uid, built.user.gid, attach, rows, columns)
            connection = monitor.spawn(
                configuration,
                lock_fd=lock,
                rootfs_fd=rootfs,
                preserved=preserved,
                environment=_monitor_environment(settings.environ),
            )
        finally:
            if rootfs >= 0:
                os.close(rootfs)
            # The monitor has it now, or nobody needs it.
            os.close(lock)
    except OSError as error:
        raise RemoraError(f"starting container {spec['name']}: {os_error_text(error)}", _remedy(error)) from None
    return Started(connection, _await_start(settings, record, connection), built.warnings)


def _await_start(settings: Settings, record: ContainerRecord, connection: Connection) -> int:
    try:
        return connection.started()
    except monitor.RequestFailed as failed:
        if record.spec["remove"]:
            finish_removal(settings, record, connection)
        else:
            connection.close()
        raise _start_error(settings, record, failed) from None
    except monitor.MonitorGone:
        connection.close()
        raise RemoraError(
            f"starting container {record.name}: its monitor ended before the container ran",
            hint=f"`remora ps -a` tells what became of it, `remora rm -f {record.name}` removes it",
        ) from None


def _start_error(settings: Settings, record: ContainerRecord, failed: RequestFailed) -> RemoraError:
    """What the monitor, or the runtime through it, said; with the remedy that its status suggests."""
    hint = _full(settings.run) or _full(settings.data)
    if failed.status == NOT_FOUND:
        hint = f'the image has no program "{record.spec["args"][0]}": check the command and --entrypoint'
    elif failed.status == NOT_EXECUTABLE and "permission denied" in failed.error.lower():
        hint = f'"{record.spec["args"][0]}" must be a file that may be executed'
    where = f"{failed.phase} {failed.object}".strip()
    return RemoraError(f"starting container {record.name}: {where}: {failed.error}", hint, failed.status or 125)


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


def _root(record: ContainerRecord) -> tuple[int, int, str]:
    """(mount descriptor or -1, descriptor of the root folder, the path the runtime is told)."""
    spec = record.spec
    image = spec["image"]
    if image is None:
        root = spec["rootfs"] or ""
        return -1, os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), root
    upper, work, merged = (f"{record.data_dir}/{name}" for name in ("upper", "work", "merged"))
    lower = image["lower"]
    if not os.path.isdir(merged):  # it is made last
        _make_upper(upper, lower[0])
        _make_folder(work)
        _make_folder(merged)
    # Left by a volatile mount of before: the kernel refuses to mount over it (Documentation/filesystems/overlayfs).
    _remove_folder(work + "/work/incompat/volatile")
    mount = monitor.mount_overlay(lower, upper, work, volatile=spec["remove"])
    return mount, mount, merged


def _make_upper(upper: str, lower: str) -> None:
    """The upper folder is the container's `/`: it has the owner and mode of the image's."""
    status = os.stat(lower)
    _make_folder(upper)
    os.chown(upper, status.st_uid, status.st_gid)
    os.chmod(upper, status.st_mode & 0o7777)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def _remove_folder(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass


def _configuration(
    settings: Settings,
    record: ContainerRecord,
    uid: int,
    gid: int,
    attach: dict[str, object] | None,
    rows: int,
    columns: int,
) -> dict[str, object]:
    """What the monitor is told (docs/architecture.md, "Configuration handed to a monitor")."""
    spec = record.spec
    log = spec["log"]
    systemd = cgroups.manager(settings) == "systemd"
    return {
        "version": 1,
        "id": spec["id"],
        "name": spec["name"],
        "data_dir": record.data_dir,
        "run_dir": record.run_dir,
        "runtime": runtime.command(settings, spec["runtime"]),
        "env": _runtime_environment(settings.environ),
        "cgroup": "" if systemd else cgroups.path(settings, spec["id"]),
        "tty": spec["tty"],
        "stdin": spec["stdin_open"],
        "stdin_once": spec["stdin_open"] and "stdin" in spec["attach"],
        "uid": uid,
        "gid": gid,
        "rows": rows,
        "cols": columns,
        "log": {
            "driver": log["driver"],
            "path": record.log_path if log["driver"] != "none" else "",
            "max_size": log["max_size"],
        },
        "restart": dict(spec["restart"]),
        "stop_signal": spec["stop_signal"],
        "stop_timeout": spec["stop_timeout"],
        "timeout": spec["timeout"],
        "preserve_fds": spec["preserve_fds"],
        "pidfile": spec["pidfile"],
        "rootfs": f"{record.data_dir}/merged" if spec["image"] is not None else "",
        "umask": spec["umask"],
        "attach": attach,
        "remove": _removal(settings, record) if spec["remove"] else [],
    }


def _removal(settings: Settings, record: ContainerRecord) -> list[list[str]]:
    """The steps that remove a `--rm` container: its record first, its folder last."""
    image = record.spec["image"]
    steps = [["unlink", record.spec_path], ["unlink", f"{settings.names}/{record.name}"]]
    if image is not None:
        folder = f"{settings.images}/{image['id']}"
        program = [sys.executable, "-m", "remora.frontend", "--root", settings.data, "--runroot", settings.run]
        steps.append(["unlink", f"{folder}/{record.id}"])
        steps.append(["last_use", folder, *program, "_unguard", image["id"]])
    steps.append(["tree", record.data_dir])
    return steps


def _runtime_environment(environ: Mapping[str, str]) -> list[str]:
    result = [f"{name}={environ[name]}" for name in sorted(RUNTIME_ENVIRONMENT) if name in environ]
    if "PATH" not in environ:
        result.append("PATH=" + DEFAULT_PATH)
    return result


def _monitor_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in MONITOR_ENVIRONMENT if name in environ}


def _remedy(error: OSError) -> str:
    import errno

    if error.errno == errno.ENOSPC:
        return "make room, then try again"
    if error.errno == errno.EROFS:
        return "name a writable folder with --root"
    return ""


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
    )
    if result.end == monitor.RelayEnd.EXITED and spec["remove"]:
        finish_removal(settings, record, connection)
    connection.close()
    return terminal.status(result, f"container {record.name}")
