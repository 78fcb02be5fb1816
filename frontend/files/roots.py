"""The file systems that files are copied from and to: a container's root, and our own.

A running container's root is that of its first process, with everything that is mounted there. A stopped one's is
mounted for us alone, detached, under the container's lock; its bind mounts and volumes are used where
the path leads into them.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container import lifecycle
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.userns import maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Mount
    from remora.frontend.settings import Settings

ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
BUSY_TIME = 30.0  # seconds that another command may be at work on the container


class Local:
    """Our own file system."""

    __slots__ = ()
    name = ""

    def open(self, path: str, flags: int) -> int:
        """A descriptor, the caller's."""
        return os.open(path, flags | os.O_CLOEXEC)

    def check_writable(self, path: str) -> None:
        """The kernel says so when it is not."""

    def close(self) -> None:
        """Nothing is held."""


class Root:
    """A container's. fd: its root folder; running: whether it was a process's."""

    __slots__ = ("record", "fd", "running", "_lock")

    def __init__(self, record: ContainerRecord, fd: int, running: bool, lock: int) -> None:
        self.record = record
        self.fd = fd
        self.running = running
        self._lock = lock

    @property
    def name(self) -> str:
        return self.record.name

    def open(self, path: str, flags: int) -> int:
        """A descriptor of what the container has at a path, the caller's; no link leads out."""
        mount, rest = self._mount(path)
        if mount is None:
            return monitor.open_in_root(self.fd, path, flags)
        source = os.path.realpath(mount["source"])
        if not os.path.isdir(source):
            source, rest = os.path.split(source)
        base = os.open(source, ROOT)
        try:
            return monitor.open_in_root(base, rest or "/", flags)
        finally:
            os.close(base)

    def check_writable(self, path: str) -> None:
        """What the kernel checks itself while the container runs. Raises RemoraError."""
        if self.running:
            return
        mount, _ = self._mount(path)
        if self.record.spec["read_only"] if mount is None else "ro" in mount["options"]:
            raise RemoraError(f"copying to {self.name}:{path}: Read-only file system")

    def _mount(self, path: str) -> tuple[Mount | None, str]:
        """The bind mount of a stopped container that a path leads into, and the rest of the path."""
        found, rest = None, ""
        if not self.running:
            plain = os.path.normpath("/" + path)
            for mount in self.record.spec["mounts"]:
                target = os.path.normpath("/" + mount["target"])
                inside = plain == target or plain.startswith(target + "/")
                if inside and mount["type"] == "bind" and (found is None or len(target) >= len(found["target"])):
                    found, rest = mount, plain[len(target) :] + ("/" if path.endswith(("/", "/.")) else "")
        return found, rest

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """What a user and a group of the container are where its files are; whom it does not know is left as it is."""
        spec = self.record.spec["userns"]
        users, groups = maps.outside(spec["uid_map"], uid), maps.outside(spec["gid_map"], gid)
        return uid if users is None else users, gid if groups is None else groups

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """The other way round."""
        spec = self.record.spec["userns"]
        reverse = [[[at, first, count] for first, at, count in spec[key]] for key in ("uid_map", "gid_map")]
        users, groups = maps.outside(reverse[0], uid), maps.outside(reverse[1], gid)
        return 65534 if users is None else users, 65534 if groups is None else groups

    def user(self) -> tuple[int, int]:
        """Owner of what is copied into the container: its user, as ids of the files."""
        from remora.frontend.oci import user

        return user.resolve(self.fd, self.record.spec["user"]).outside(self.record.spec)

    def close(self) -> None:
        os.close(self.fd)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def open_roots(settings: Settings, wanted: list[ContainerRecord]) -> list[Root]:
    """The roots of containers, in their order. An ordinary user's command enters the user's namespace on the way.

    Raises RemoraError.
    """
    found: list[Root | None] = []
    try:
        for record in wanted:
            found.append(_running(settings, record))
        if settings.outside:
            from remora.frontend.rootless import entering

            entering.enter(settings)
        return [one or _any(settings, record) for one, record in zip(found, wanted, strict=True)]
    except OSError as error:
        names = ", ".join(record.name for record in wanted)
        raise RemoraError(f"opening the files of {names}: {os_error_text(error)}") from None


def _any(settings: Settings, record: ContainerRecord) -> Root:
    """The root of a container that did not run a moment ago."""
    while True:
        try:
            lock = monitor.lock(record.run_dir)
        except BlockingIOError:
            root = _running(settings, record)
            if root is not None:
                return root
            if monitor.wait_unlocked(record.run_dir, BUSY_TIME):
                continue
            raise RemoraError(
                f"opening the files of {record.name}: another command is at work on the container",
                "try again when it is done",
            ) from None
        try:
            return _stopped(settings, record, lock)
        except BaseException:
            os.close(lock)
            raise


def _stopped(settings: Settings, record: ContainerRecord, lock: int) -> Root:
    if not os.path.exists(record.spec_path):
        raise RemoraError(f'container "{record.name}" has just been removed')
    record.spec["remove"] = False  # in our copy: what is written has to last
    asked, space = record, None
    with_volumes = any(item["type"] == "volume" for item in record.spec["mounts"])
    if with_volumes:
        from remora.frontend.volumes import using

        record = using.resolved(settings, asked)
    if record.spec["userns"]["uid_map"]:
        from remora.frontend.userns import space as spaces

        space = spaces.open_for(settings, record)
    try:
        mount, root, _ = lifecycle.root_of(settings, record, space)
    finally:
        if space is not None:
            space.close()
    if mount == root:
        try:
            root = os.open(".", ROOT, dir_fd=mount)
        finally:
            os.close(mount)
    found = Root(record, root, False, lock)
    try:
        if with_volumes:
            unfilled = using.fill(settings, asked, root)
            if unfilled:
                using.give(settings, unfilled, *found.user())
    except BaseException:
        os.close(root)
        raise
    return found


def _running(settings: Settings, record: ContainerRecord) -> Root | None:
    """The root of a container that runs; None when it does not."""
    state = states.derive(settings, record)
    if not state.running:
        return None
    fd = _through_child(settings, state) if settings.outside else _of_process(state)
    return Root(record, fd, True, -1) if fd >= 0 else None


def _of_process(state: states.ContainerState) -> int:
    try:
        fd = os.open(f"/proc/{state.pid}/root", ROOT)
    except (FileNotFoundError, ProcessLookupError):
        return -1
    if monitor.process_start(state.pid) == state.pid_start:  # checked after opening: it was that process's root
        return fd
    os.close(fd)
    return -1


def _through_child(settings: Settings, state: states.ContainerState) -> int:
    """The same from outside of the user's namespace: a child enters the container's monitor's and sends the folder."""
    import socket

    from remora.frontend.rootless import entering

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            try:
                entering.join(settings, state.monitor_pid or state.pid)
                fd = _of_process(state)
                socket.send_fds(theirs, [b"+" if fd >= 0 else b"-"], [fd] if fd >= 0 else [])
            except (OSError, RemoraError) as error:
                theirs.send(str(error).encode(errors="replace")[:4096])
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        said, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    os.waitpid(pid, 0)
    if fds:
        os.set_inheritable(fds[0], False)
        return fds[0]
    if said in (b"-", b""):
        return -1
    raise RemoraError(said.decode(errors="replace"))
