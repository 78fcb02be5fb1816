"""The user namespace of one start: its descriptor, and what its map means for the container's files.

The namespace is made (or another container's or a file's opened) before the root is mounted, because the map of the
layers is taken from it. A network namespace of the container has to be made in it: `monitor.make_namespaces(…, fd)`.
"""

from __future__ import annotations

import errno
import os
import stat

from remora import monitor
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import NoSuchContainer, RemoraError, os_error_text
from remora.frontend.userns import maps, shifted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

# Where the root may be mounted when the container's own folder is out of its root's reach. In the monitor's mount
# namespace only: nothing else sees what covers them there.
COVERED = ("/boot", "/srv", "/media", "/mnt", "/opt")
# What says that layers can't be seen with other owners: the kernel, a file system, or who asks may not.
NO_ID_MAPS = frozenset((errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EOVERFLOW))
NS_GET_NSTYPE, CLONE_NEWUSER = 0xB703, 0x10000000  # ioctl_ns(2), linux/sched.h
JOINED = ("container", "ns")
OVERFLOW = 65534  # what ids that have no meaning here look like


class Space:
    """fd: the namespace, owned. copy: key of the shifted copy that the container uses, "" = none."""

    __slots__ = ("settings", "fd", "uid_map", "gid_map", "copy")

    def __init__(self, settings: Settings, fd: int, uid_map: list[list[int]], gid_map: list[list[int]]) -> None:
        self.settings = settings
        self.fd = fd
        self.uid_map = uid_map
        self.gid_map = gid_map
        self.copy = ""

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """What a user and a group of the container are outside; whom it doesn't know is nobody there."""
        found = maps.outside(self.uid_map, uid), maps.outside(self.gid_map, gid)
        return (
            self.other("uid") if found[0] is None else found[0],
            self.other("gid") if found[1] is None else found[1],
        )

    def other(self, kind: str) -> int:
        return maps.unused(self.uid_map if kind == "uid" else self.gid_map, maps.own(self.settings, kind))

    def hand_over(self, record: ContainerRecord, plan: Plan) -> None:
        """Put the namespace into the plan where the runtime has to join it: it is another's, or other namespaces of the
        start belong to it. Else the runtime makes one with the same map, in which all that it makes has an owner."""
        if record.spec["userns"]["mode"] in JOINED or plan.namespaces:
            plan.add_namespace("user", os.dup(self.fd))

    def mount(self, record: ContainerRecord, lower: Sequence[str]) -> int:
        """A detached mount of the image in which the container's users own what they own in the image."""
        volatile = record.spec["remove"]
        upper, work, merged = (f"{record.data_dir}/{name}" for name in ("upper", "work", "merged"))
        if not self.settings.rootless:  # only who mounted a file system may map its owners
            try:
                return monitor.mount_overlay(lower, upper, work, volatile=volatile, id_map_fd=self.fd)
            except OSError as error:
                if error.errno not in NO_ID_MAPS:
                    raise
        copy = shifted.acquire(self.settings, record, lower, self)
        return plain_mount(self.settings, [copy], upper, work, merged, volatile)

    def place(self, record: ContainerRecord) -> str:
        """Where the root is to be mounted: the container's own folder, or what covers a folder that everybody reaches.

        The runtime goes there as the container's root, who has no say over folders of users outside.
        """
        own = record.data_dir + "/merged"
        if self._reaches(record.data_dir):
            return own
        sources = [os.path.realpath(item["source"]) for item in record.spec["mounts"] if item["type"] == "bind"]
        for path in COVERED:
            if os.path.isdir(path) and not any((source + "/").startswith(path + "/") for source in sources):
                return path
        return own

    def configured(self, record: ContainerRecord, uid: int, gid: int) -> dict[str, object]:
        """What the monitor is told otherwise. uid, gid: of the container's process."""
        owner = self.owner(uid, gid)
        changed: dict[str, object] = {"uid": owner[0], "gid": owner[1]}
        if record.spec["image"] is not None:
            changed["rootfs"] = self.place(record)
        return changed

    def removal(self, record: ContainerRecord) -> list[list[str]]:
        """Steps of a `--rm` container's removal: its copy of the image goes with the last use."""
        if not self.copy:
            return []
        users = shifted.users_of(self.settings, self.copy)
        return [["unlink", f"{users}/{record.id}"], ["last_use", users, *self.settings.own_command(), "_unshift"]]

    def _reaches(self, folder: str) -> bool:
        while True:
            status = os.stat(folder)
            if not status.st_mode & stat.S_IXOTH and not self._knows(status.st_uid, status.st_gid):
                return False
            if folder == "/":
                return True
            folder = os.path.dirname(folder)

    def _knows(self, uid: int, gid: int) -> bool:
        if self.settings.rootless and OVERFLOW in (uid, gid):
            return False  # most likely the host's root: nobody here
        return all(
            any(at <= number < at + count for _, at, count in mapping)
            for number, mapping in ((uid, self.uid_map), (gid, self.gid_map))
        )

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def plain_mount(settings: Settings, lower: Sequence[str], upper: str, work: str, merged: str, volatile: bool) -> int:
    """A detached overlay with the owners as they are."""
    if settings.rootless:
        from remora.frontend.rootless import overlay

        return overlay.mount(settings, lower, upper, work, merged, volatile=volatile)
    return monitor.mount_overlay(lower, upper, work, volatile=volatile)


def open_for(settings: Settings, record: ContainerRecord) -> Space | None:
    """The namespace of a start; None when the container has that of its monitor after all.

    Raises RemoraError: no such namespace can be had (any more).
    """
    wanted = record.spec["userns"]
    mode, uid_map, gid_map = wanted["mode"], wanted["uid_map"], wanted["gid_map"]
    if not uid_map:
        return None
    what = f"starting container {record.name}: its user namespace"
    if mode == "container":
        return Space(settings, _of_container(settings, what, wanted["target"]), uid_map, gid_map)
    if mode == "ns":
        return Space(settings, _of_file(what, wanted["target"], uid_map, gid_map), uid_map, gid_map)
    try:
        fd = monitor.make_user_namespace([tuple3(row) for row in uid_map], [tuple3(row) for row in gid_map])
    except monitor.UserNamespaceError as error:
        raise RemoraError(f"{what}: {_reason(error)}", _remedy(settings, error)) from None
    return Space(settings, fd, uid_map, gid_map)


def tuple3(row: Sequence[int]) -> tuple[int, int, int]:
    """A row of a map as the monitor package takes it."""
    return row[0], row[1], row[2]


def _reason(error: monitor.UserNamespaceError) -> str:
    if error.step in ("uids", "gids"):
        return f"the map of {error.step} is refused: {os_error_text(error)}"
    return os_error_text(error)


def _remedy(settings: Settings, error: monitor.UserNamespaceError) -> str:
    if error.step in ("uids", "gids"):
        return "its ids are no longer there: `remora info` shows the ranges" if settings.rootless else ""
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        return "raise sysctl user.max_user_namespaces"
    return ""


def _of_container(settings: Settings, what: str, container_id: str) -> int:
    what = f"{what} is that of container"
    try:
        other = records.load(settings, container_id)
    except NoSuchContainer:
        raise RemoraError(
            f"{what} {container_id[:12]}: no such container", "it was removed: create this one anew"
        ) from None
    state = states.derive(settings, other)
    try:
        if not state.running:
            raise ProcessLookupError
        fd = os.open(f"/proc/{state.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        if monitor.process_start(state.pid) == state.pid_start:  # checked after opening: it was that process's
            return fd
        os.close(fd)
    except (FileNotFoundError, ProcessLookupError):
        pass
    except OSError as error:
        raise RemoraError(f"{what} {other.name}: {os_error_text(error)}") from None
    raise RemoraError(
        f"{what} {other.name}, which is {state.status}: container state improper", f"`remora start {other.name}`"
    )


def _of_file(what: str, path: str, uid_map: list[list[int]], gid_map: list[list[int]]) -> int:
    fd = open_file(what, path)
    try:
        if read_maps(fd) != (uid_map, gid_map):
            raise RemoraError(f"{what}: {path} has another map than when the container was made", "create it anew")
        return fd
    except OSError as error:
        os.close(fd)
        raise RemoraError(f"{what}: {path}: {os_error_text(error)}") from None
    except BaseException:
        os.close(fd)
        raise


def read_maps(fd: int) -> tuple[list[list[int]], list[list[int]]]:
    """The maps of users and of groups of a user namespace, as seen from here."""
    users, groups = ([list(row) for row in monitor.user_namespace_map(fd, groups=which)] for which in (False, True))
    return users, groups


def open_file(what: str, path: str) -> int:
    """A descriptor of a user namespace's file. Raises RemoraError, which begins with `what`."""
    import fcntl

    remedy = "name a file such as /proc/PID/ns/user"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise RemoraError(f"{what}:{path}: {(error.strerror or str(error)).lower()}", remedy) from None
    try:
        kind = fcntl.ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != CLONE_NEWUSER:
        os.close(fd)
        raise RemoraError(f"{what}:{path}: the file is no user namespace", remedy)
    return fd
