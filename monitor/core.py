"""The C library, function by function: the only module that touches ``ffi`` and ``lib``.

Each function checks its arguments' types by passing them on, turns a negative result into ``OSError``, and owns no
state. A call that a signal interrupts is repeated after Python's own handlers ran, as PEP 475 has it, so that ctrl-c
ends a waiting command.
"""

from __future__ import annotations

import errno
import os
from time import monotonic

from ._core import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    StrPath = str | os.PathLike[str]
    Range = tuple[int, int, int]

# Types of packets on a control socket (docs/architecture.md, "Control protocol").
CONTROL = 0
STDIN = 1
STDOUT = 2
STDERR = 3
RESIZE = 4
EXIT = 5

PAYLOAD_MAX = 65536  # bytes after the type byte
RECORD_MAX = 4096  # bytes; more than one slot of an exit record file
MAP_SIZE = 16384  # bytes; more than the 340 lines of the longest id map
INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
_TIMEOUT_MAX = 2**31 - 1

# Steps of entering a user namespace (enum remora_userns_step).
USERNS_STEPS = {1: "unshare", 2: "uids", 3: "gids", 4: "process"}


def _check(result: int, path: StrPath | None = None) -> int:
    """The one place where a negative result becomes an exception."""
    if result < 0:
        number = -result
        if path is None:
            raise OSError(number, os.strerror(number))
        raise OSError(number, os.strerror(number), os.fspath(path))
    return result


def _repeat(call: Callable[[int], int], timeout: float | None) -> int:
    """Call with the milliseconds that are left (-1: for ever) until no signal interrupts it."""
    deadline = None if timeout is None else monotonic() + timeout
    while True:
        left = -1
        if deadline is not None:
            # Rounded up: a wait that ends too early would be one round more.
            left = min(_TIMEOUT_MAX, max(0, int((deadline - monotonic()) * 1000 + 0.999)))
        result = call(left)
        if result != -errno.EINTR:
            return result


def version() -> str:
    """The C library's version."""
    return str(ffi.string(lib.remora_version()), "ascii")


# ---- spawning and talking


def spawn(
    program: StrPath,
    short_id: str,
    name: str,
    configuration: bytes,
    *,
    lock_fd: int,
    rootfs_fd: int,
    preserved: Sequence[int] = (),
    environment: Mapping[str, str],
) -> int:
    """Start the monitor program; all descriptors are borrowed. The first connection's descriptor is the caller's.

    Raises:
        OSError: the program can't be executed, or there are too few resources.
    """
    keep = [ffi.new("char[]", os.fsencode(f"{key}={value}")) for key, value in environment.items()]
    return _check(
        lib.remora_spawn(
            os.fsencode(program),
            short_id.encode(),
            name.encode(),
            configuration,
            len(configuration),
            lock_fd,
            rootfs_fd,
            ffi.new("int[]", list(preserved)),
            len(preserved),
            ffi.new("char *[]", [*keep, ffi.NULL]),
        ),
        program,
    )


def connect(run_dir: StrPath) -> int:
    """Connect to the monitor of a run folder; the descriptor is the caller's."""
    return _check(_repeat(lambda _: lib.remora_connect(os.fsencode(run_dir)), None), run_dir)


def send(fd: int, kind: int, payload: bytes, fds: Sequence[int] = ()) -> None:
    """Send one packet, with descriptors (borrowed); blocks while the peer's queue is full."""
    array = ffi.new("int[]", list(fds))
    _check(_repeat(lambda _: lib.remora_send(fd, kind, payload, len(payload), array, len(fds)), None))


def new_buffer() -> Any:
    """Memory for `receive`: one packet's payload."""
    return ffi.new("unsigned char[]", PAYLOAD_MAX)


def receive(fd: int, buffer: Any, timeout: float | None) -> tuple[int, bytes]:
    """Receive one packet: its type and payload.

    Raises:
        TimeoutError: none came within `timeout` seconds.
        ConnectionResetError: the connection ended.
    """
    kind = ffi.new("int *")
    size = _check(_repeat(lambda left: lib.remora_receive(fd, kind, buffer, PAYLOAD_MAX, left), timeout))
    return kind[0], bytes(ffi.buffer(buffer, size))


def sealed_memory(name: str, data: bytes) -> int:
    """A sealed memfd with these bytes; the descriptor is the caller's. `name` is seen in /proc only."""
    return _check(lib.remora_sealed_memory(name.encode(), data, len(data)))


def relay(
    connection: int,
    *,
    run_dir: StrPath,
    session: str,
    stdin: int,
    stdout: int,
    stderr: int,
    raw: bool,
    proxy_signals: bool,
    detach_keys: bytes,
    handle_output_closed: bool,
    block: bool,
    owner: bool,
    positions: tuple[int, int],
) -> tuple[int, bytes, int, int]:
    """Relay until an end: which one (see `connection.RelayEnd`), the EXIT packet's payload or ``b""``, the bytes of
    output that are known to be missing, and the connection made anew in place of the one that ended (the caller's), -1
    for none."""
    folder = ffi.new("char[]", os.fsencode(run_dir))
    session_text = ffi.new("char[]", session.encode())
    keys = ffi.new("unsigned char[]", detach_keys or b"\0")
    options = ffi.new("struct remora_relay_options *")
    options.connection = connection
    options.run_dir = folder
    options.session = session_text
    setattr(options, "in", stdin)  # a keyword in Python
    options.out = stdout
    options.err = stderr
    options.raw = raw
    options.proxy_signals = proxy_signals
    options.detach_keys = keys
    options.detach_length = len(detach_keys)
    options.handle_output_closed = handle_output_closed
    options.block = block
    options.owner = owner
    options.out_position, options.err_position = positions
    result = ffi.new("struct remora_relay_result *")
    _check(lib.remora_relay(options, result))
    return result.end, bytes(ffi.buffer(result.exit, result.exit_size)), result.lost_bytes, result.connection


def window_size(fd: int) -> tuple[int, int] | None:
    """Rows and columns of a terminal, or None when the descriptor is none."""
    size = lib.remora_window_size(fd)
    return None if size < 0 else (size >> 16, size & 0xFFFF)


# ---- state on disk


def lock(run_dir: StrPath, *, wait: bool = False) -> int:
    """Take the lock of a run folder, which is made (0700) where needed; the descriptor holds it and is the caller's.

    Raises:
        BlockingIOError: somebody holds it (only without `wait`).
    """
    return _check(_repeat(lambda _: lib.remora_lock(os.fsencode(run_dir), wait), None), run_dir)


def lock_held(run_dir: StrPath) -> bool:
    """Whether a monitor or a command holds the lock; takes nothing."""
    return _check(lib.remora_lock_held(os.fsencode(run_dir)), run_dir) > 0


def wait_unlocked(run_dir: StrPath, timeout: float | None) -> bool:
    """Wait until the lock is free or absent: True, or False when `timeout` seconds (None: no limit) are over."""
    result = _repeat(lambda left: lib.remora_lock_wait(os.fsencode(run_dir), left), timeout)
    if result == -errno.ETIMEDOUT:
        return False
    _check(result, run_dir)
    return True


def record_read(path: StrPath) -> bytes:
    """The valid exit record of an `exit` file (msgpack), ``b""`` when it has none yet."""
    buffer = ffi.new("unsigned char[]", RECORD_MAX)
    size = _check(lib.remora_record_read(os.fsencode(path), buffer, RECORD_MAX), path)
    return bytes(ffi.buffer(buffer, size))


def read_file(path: StrPath, limit: int) -> bytes:
    """A whole small file, a final symlink not followed; EFBIG when it is longer than `limit` bytes."""
    buffer = ffi.new("unsigned char[]", limit)
    size = _check(lib.remora_read_file(os.fsencode(path), buffer, limit), path)
    return bytes(ffi.buffer(buffer, size))


def remove_tree(path: StrPath) -> None:
    """Remove a tree, following no symlink and entering no other mount; nothing happens when it is absent."""
    _check(lib.remora_remove_tree(os.fsencode(path)), path)


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (field 22 of /proc/PID/stat), or None when there is none."""
    ticks = lib.remora_process_start(pid)
    if ticks == -errno.ESRCH:
        return None
    return _check(ticks)


def remove_cgroup(path: str, container_id: str) -> None:
    """Kill what is left in a container's cgroup (`linux.cgroupsPath`) and remove it from every hierarchy.

    Nothing happens when it is absent, or when the path doesn't bear the id.
    """
    lib.remora_cgroup_remove(os.fsencode(path), os.fsencode(container_id))


# ---- root file systems


def mount_overlay(
    lower: Sequence[StrPath], upper: StrPath, work: StrPath, *, volatile: bool, id_map_fd: int = -1
) -> int:
    """A detached overlay mount; the descriptor is the caller's and closing it unmounts.

    Args:
        lower: absolute folders, nearest first.
        upper, work: absolute folders on one file system.
        volatile: no syncing to disk.
        id_map_fd: a user namespace by whose maps the owners of the lower layers are seen; borrowed.

    Raises:
        OSError: with `id_map_fd`, EINVAL or EPERM where kernel, file system or rights don't allow it.
    """
    keep = [ffi.new("char[]", os.fsencode(path)) for path in lower]
    folders = ffi.new("char *[]", keep)
    upper_path, work_path = os.fsencode(upper), os.fsencode(work)
    return _check(lib.remora_overlay(folders, len(keep), upper_path, work_path, volatile, id_map_fd), upper)


def take_mount(path: StrPath) -> int:
    """Make the mount at `path` of our own mount namespace a detached one; the descriptor is the caller's."""
    return _check(lib.remora_take_mount(os.fsencode(path)), path)


def clone_mount(namespace_fd: int, path: StrPath) -> int:
    """A detached clone of what is mounted at `path` in another mount namespace; the descriptor is the caller's.

    Raises:
        FileNotFoundError: nothing is mounted there.
    """
    return _check(lib.remora_clone_mount(namespace_fd, os.fsencode(path)), path)


def open_in_root(root_fd: int, path: StrPath, flags: int, mode: int = 0) -> int:
    """Open a path as the container sees it: symlinks and ``..`` can't lead out of `root_fd`."""
    return _check(lib.remora_open_in_root(root_fd, os.fsencode(path), flags, mode), path)


def make_folders_in_root(root_fd: int, path: StrPath, mode: int, uid: int, gid: int) -> None:
    """``mkdir -p`` below `root_fd`, as the container sees the path; new folders belong to `uid`:`gid`."""
    _check(lib.remora_mkdir_in_root(root_fd, os.fsencode(path), mode, uid, gid), path)


# ---- user namespaces


class _Maps:
    """The C structure of two maps, with what keeps its parts alive."""

    __slots__ = ("keep", "maps")

    def __init__(
        self, uid_map: Sequence[Range], gid_map: Sequence[Range], newuidmap: str | None, newgidmap: str | None
    ) -> None:
        uids = ffi.new("struct remora_id_range[]", [tuple(one) for one in uid_map])
        gids = ffi.new("struct remora_id_range[]", [tuple(one) for one in gid_map])
        programs = [
            ffi.NULL if path is None else ffi.new("char[]", os.fsencode(path)) for path in (newuidmap, newgidmap)
        ]
        self.keep = (uids, gids, programs)
        self.maps = ffi.new("struct remora_userns_maps *")
        self.maps.uids, self.maps.n_uids = uids, len(uid_map)
        self.maps.gids, self.maps.n_gids = gids, len(gid_map)
        self.maps.newuidmap, self.maps.newgidmap = programs


def _check_userns(result: int, failure: Any) -> int:
    if result < 0:
        from .errors import UserNamespaceError

        words = str(ffi.string(failure.words), "utf-8", "replace")
        raise UserNamespaceError(-result, USERNS_STEPS.get(failure.step, ""), words)
    return result


def enter_user_namespace(
    uid_map: Sequence[Range],
    gid_map: Sequence[Range],
    *,
    newuidmap: str | None = None,
    newgidmap: str | None = None,
) -> None:
    """Put this process, which must have one thread, into a new user namespace and a mount namespace that belongs to it.

    Args:
        uid_map, gid_map: (inside, outside, count) each.
        newuidmap, newgidmap: paths of the programs that write what this process may not write itself. A single id of
            one's own needs none; groups can't be dropped then.

    Raises:
        UserNamespaceError: which step failed, and what the program said. From the step `uids` on the process is in a
            namespace without ids and should end.
    """
    maps = _Maps(uid_map, gid_map, newuidmap, newgidmap)
    failure = ffi.new("struct remora_userns_failure *")
    _check_userns(lib.remora_enter_userns(maps.maps, failure), failure)


def join_user_namespace(fd: int) -> None:
    """Put this process into the user namespace that `fd` refers to, and into a new mount namespace that belongs to it.

    Raises:
        OSError: EINVAL when it is in there already, or has several threads; EPERM when it is somebody else's.
    """
    _check(lib.remora_join_userns(fd))


def make_user_namespace(
    uid_map: Sequence[Range],
    gid_map: Sequence[Range],
    *,
    newuidmap: str | None = None,
    newgidmap: str | None = None,
) -> int:
    """A new user namespace that nobody is in; the descriptor is the caller's. Arguments and errors as on entering."""
    maps = _Maps(uid_map, gid_map, newuidmap, newgidmap)
    failure = ffi.new("struct remora_userns_failure *")
    return _check_userns(lib.remora_make_userns(maps.maps, failure), failure)


def make_namespaces(kinds: Sequence[str], user_fd: int = -1) -> list[int]:
    """New namespaces that nobody is in: descriptors in the order of `kinds`, the caller's.

    Args:
        kinds: of `network`, `ipc`, `uts`, `cgroup`.
        user_fd: the user namespace they belong to; -1: this process's own.
    """
    fds = ffi.new("int[]", len(kinds))
    names = [ffi.new("char[]", kind.encode()) for kind in kinds]
    _check(lib.remora_make_namespaces(user_fd, ffi.new("char *[]", names), len(kinds), fds))
    return list(fds)


def user_namespace_map(fd: int, groups: bool = False) -> list[Range]:
    """The map of a user namespace as seen from here: (inside, outside, count) each."""
    buffer = ffi.new("char[]", MAP_SIZE)
    size = _check(lib.remora_userns_map(fd, groups, buffer, MAP_SIZE))
    numbers = [int(word) for word in bytes(ffi.buffer(buffer, size)).split()]
    return list(zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True))


def copy_shifted(
    source_fd: int,
    target: StrPath,
    uid_map: Sequence[Range],
    gid_map: Sequence[Range],
    other_uid: int,
    other_gid: int,
) -> None:
    """Copy the tree of a folder to the new folder `target`, with the owners that the maps have outside for it.

    Args:
        other_uid, other_gid: for owners that are in no range.

    Raises:
        OSError: what is there of the copy then is unfinished and the caller's to remove.
    """
    maps = _Maps(uid_map, gid_map, None, None)
    _check(lib.remora_copy_shifted(source_fd, os.fsencode(target), maps.maps, other_uid, other_gid), target)


# ---- logs


def print_log(
    path: StrPath,
    *,
    out: int,
    err: int,
    since_ns: int | None = None,
    until_ns: int | None = None,
    tail: int | None = None,
    follow: bool = False,
    timestamps: bool = False,
    neutralise: bool = False,
    prefix: str | None = None,
    run_dir: StrPath | None = None,
    journal_id: str | None = None,
) -> None:
    """Print a container log, CRI or Docker's json-file, beginning with the files that were rotated away from `path`.

    Args:
        out, err: descriptors for records of stdout and stderr.
        since_ns, until_ns: wall time in nanoseconds since the epoch; None: no bound.
        tail: so many last lines; None: all.
        follow: go on until the lock of `run_dir` is free.
        timestamps: before each line.
        neutralise: make terminal control sequences harmless.
        prefix: before each line.
        journal_id: print what the journal keeps of the container with this full id; `path` is that of journalctl.

    Raises:
        BrokenPipeError: the reader of `out` or `err` went away.
        OSError: with EIO, journalctl failed and has said why on stderr.
    """
    options = ffi.new("struct remora_log_options *")
    prefix_text = ffi.NULL if prefix is None else ffi.new("char[]", os.fsencode(prefix))
    folder = ffi.NULL if run_dir is None else ffi.new("char[]", os.fsencode(run_dir))
    options.since_ns = INT64_MIN if since_ns is None else since_ns
    options.until_ns = INT64_MAX if until_ns is None else until_ns
    options.tail = -1 if tail is None else tail
    options.follow = follow
    options.timestamps = timestamps
    options.neutralise = neutralise
    options.out = out
    options.err = err
    options.prefix = prefix_text
    options.run_dir = folder
    if journal_id is None:
        _check(lib.remora_log_print(os.fsencode(path), options), path)
    else:
        _check(lib.remora_log_print_journal(os.fsencode(path), os.fsencode(journal_id), options), path)
