"""Who a process runs as: `--user` or the image's User, looked up in the container's own passwd and group files.

The files belong to the container and may be anything: they are opened inside the root only (no link leads out), must
be regular, and are read up to a bound. Rules and texts are Podman's (reference: docs of `podman run --user`).
"""

from __future__ import annotations

import errno
import os
import stat

from remora import monitor
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from remora.frontend.container.spec import Spec

FILE_MAX = 16 << 20  # bytes of a passwd or group file that are read
ID_MAX = (1 << 31) - 1
KEEP_GROUPS = "keep-groups"  # in place of groups to add: the caller's own ones are kept


class User:
    """uid, gid, additional group ids, and the home folder."""

    __slots__ = ("uid", "gid", "groups", "home")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home

    def outside(self, spec: Spec) -> tuple[int, int]:
        """uid and gid where the container's files are. Raises RemoraError when its namespace has none for them."""
        mapping = spec["userns"]
        if not mapping["uid_map"]:
            return self.uid, self.gid
        from remora.frontend.oci import userns

        return userns.outside(spec, self.uid, self.gid)


class Sources:
    """Where names are looked up: the passwd and group files of a root, unless others will be mounted over them.

    root_fd: a folder descriptor of the container's root; files: {"/etc/passwd": (descriptor of a root, path in it)} for
    what will be mounted; added: lines that will be in the container's passwd file.
    """

    __slots__ = ("root_fd", "files", "added")

    def __init__(
        self, root_fd: int, files: Mapping[str, tuple[int, str]] | None = None, added: Sequence[str] = ()
    ) -> None:
        self.root_fd = root_fd
        self.files = files or {}
        self.added = added

    def passwd(self) -> list[str]:
        """The lines of /etc/passwd."""
        return [*self._lines("/etc/passwd"), *self.added]

    def group(self) -> list[str]:
        """The lines of /etc/group."""
        return self._lines("/etc/group")

    def _lines(self, path: str) -> list[str]:
        return _read(*self.files.get(path, (self.root_fd, path)))


def resolve(sources: Sources | int, user: str, groups: Sequence[str] = ()) -> User:
    """Resolve `USER[:GROUP]`, names or numbers; "" is root. groups: further ones, names or numbers (`--group-add`).

    sources: where names are looked up, or a folder descriptor of the container's root. The home is that of passwd, else
    `/` (`/root` for root). Raises RemoraError for a name that is not in the files, or a number that is none.
    """
    if isinstance(sources, int):
        sources = Sources(sources)
    found = _resolve(sources, user)
    for name in groups:
        gid = _group_id(sources, name)
        if gid not in found.groups:
            found.groups.append(gid)
    return found


def _resolve(sources: Sources, user: str) -> User:
    name, colon, group = user.partition(":")
    name = name or "0"
    entry = _passwd_entry(sources, name)
    if entry is None:
        uid = number(name, "user")
        if uid is None:
            raise RemoraError(
                f"unable to find user {name}: no matching entries in passwd file",
                hint="name a user of the image, or use a number",
                status=126,
            )
        login, gid, home = "", 0, "/root" if uid == 0 else "/"
    else:
        login, uid, gid, home = entry
    if colon and group:
        gid = _group_id(sources, group)
        return User(uid, gid, [gid], home)
    if colon and not entry:
        return User(uid, gid, [gid], home)
    groups = _groups_of(sources, login) if login else []
    if gid not in groups and (user or groups):
        groups.insert(0, gid)
    return User(uid, gid, groups, home)


def number(text: str, what: str) -> int | None:
    """An id in decimal; None for what is no number. Raises RemoraError for one that is too large."""
    if not text.isdecimal() or not text.isascii():
        return None
    value = int(text)
    if value > ID_MAX:
        raise RemoraError(f"{what} id {text} is too large", hint=f"ids go up to {ID_MAX}", status=126)
    return value


def open_regular(root_fd: int, path: str, flags: int) -> int:
    """Open a plain file as the container sees it. Nothing else is opened: a device of an image may act on that alone.

    Raises OSError (EINVAL for what is no plain file).
    """
    found = monitor.open_in_root(root_fd, path, os.O_PATH)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(errno.EINVAL, "no plain file")
        return os.open(f"/proc/self/fd/{found}", flags | os.O_CLOEXEC)
    finally:
        os.close(found)


def _read(root_fd: int, path: str) -> list[str]:
    """The lines of a file in the container; none when it is missing or no regular file."""
    try:
        fd = open_regular(root_fd, path, os.O_RDONLY)
    except OSError:
        return []
    try:
        parts = []
        left = FILE_MAX
        while left > 0 and (part := os.read(fd, min(left, 1 << 16))):
            parts.append(part)
            left -= len(part)
    except OSError:
        return []
    finally:
        os.close(fd)
    return b"".join(parts).decode("utf-8", "surrogateescape").split("\n")


def _passwd_entry(sources: Sources, wanted: str) -> tuple[str, int, int, str] | None:
    """(name, uid, gid, home) of the first line with this name or, failing that, this number."""
    by_number = None
    wanted_id = number(wanted, "user")
    for line in sources.passwd():
        fields = line.strip().split(":")
        if len(fields) < 6 or not fields[2].isdecimal() or not fields[3].isdecimal():
            continue
        uid, gid = int(fields[2]), int(fields[3])
        if uid > ID_MAX or gid > ID_MAX:
            continue
        if fields[0] == wanted:
            return fields[0], uid, gid, fields[5] or "/"
        if by_number is None and wanted_id == uid:
            by_number = fields[0], uid, gid, fields[5] or "/"
    return by_number


def _group_id(sources: Sources, wanted: str) -> int:
    for line in sources.group():
        fields = line.strip().split(":")
        if len(fields) >= 3 and fields[0] == wanted and fields[2].isdecimal() and int(fields[2]) <= ID_MAX:
            return int(fields[2])
    gid = number(wanted, "group")
    if gid is None:
        raise RemoraError(
            f"unable to find group {wanted}: no matching entries in group file",
            hint="name a group of the image, or use a number",
            status=126,
        )
    return gid


def _groups_of(sources: Sources, login: str) -> list[int]:
    """The groups whose member list has this name, in the file's order, each once."""
    groups: list[int] = []
    for line in sources.group():
        fields = line.strip().split(":")
        if len(fields) < 4 or not fields[2].isdecimal() or int(fields[2]) > ID_MAX:
            continue
        if login in fields[3].split(",") and int(fields[2]) not in groups:
            groups.append(int(fields[2]))
    return groups
