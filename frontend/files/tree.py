"""Walking a tree of files by descriptors: no name is followed anywhere, and each file is what was looked at."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
COPIED_ATTRIBUTES = ("user.", "security.capability")
PIECE = 1 << 20
# What files that are made as they are read (/proc, /sys) may have: their size is 0.
SIZELESS_MAX = 16 << 20


class Entry:
    """One file of a tree. fd: O_PATH, open until the next entry. path: below the top, "" = the top."""

    __slots__ = ("path", "status", "fd")

    def __init__(self, path: str, status: os.stat_result, fd: int) -> None:
        self.path = path
        self.status = status
        self.fd = fd

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def identity(self) -> tuple[int, ...]:
        """The same for two names of one file."""
        status = self.status
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def link(self) -> str:
        """Where a symlink leads."""
        return os.readlink("", dir_fd=self.fd)

    def read(self) -> Iterator[bytes]:
        """What is in a plain file: no more than it had when it was looked at, however fast it grows."""
        left = self.status.st_size or SIZELESS_MAX
        fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            while left and (piece := os.read(fd, min(left, PIECE))):
                left -= len(piece)
                yield piece
        finally:
            os.close(fd)

    def attributes(self) -> dict[str, bytes]:
        """The extended attributes that are copied."""
        if not (self.is_file or self.is_folder):
            return {}
        path = f"/proc/self/fd/{self.fd}"
        try:
            return {name: os.getxattr(path, name) for name in os.listxattr(path) if name.startswith(COPIED_ATTRIBUTES)}
        except OSError:
            return {}  # not every file system has them


def walk(top_fd: int, mount: int | None = None) -> Iterator[Entry]:
    """The file that `top_fd` names and all below it, folders before what is in them; the descriptor stays the caller's.

    mount: id of the mount that is not to be left (mount_id): what is mounted below comes as an empty folder or file.
    Files that vanish meanwhile are left out. Raises OSError.
    """
    status = os.fstat(top_fd)
    yield Entry("", status, top_fd)
    if not stat.S_ISDIR(status.st_mode):
        return
    stack: list[tuple[str, int, Iterator[str]]] = []

    def push(path: str, fd: int) -> None:
        folder = os.open(".", FOLDER, dir_fd=fd)
        stack.append((path, folder, iter(())))
        stack[-1] = (path, folder, iter(sorted(os.listdir(folder))))

    try:
        push("", top_fd)
        while stack:
            prefix, folder, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                os.close(folder)
                continue
            try:
                fd = os.open(name, PATH, dir_fd=folder)
            except FileNotFoundError:
                continue
            try:
                entry = Entry(prefix + name, os.fstat(fd), fd)
                foreign = mount is not None and mount_id(fd) != mount
                if foreign and not entry.is_folder:
                    entry.status = _empty(entry.status)
                yield entry
                if entry.is_folder and not foreign:
                    push(f"{prefix}{name}/", fd)
            finally:
                os.close(fd)
    finally:
        for _, folder, _ in stack:
            os.close(folder)


def mount_id(fd: int) -> int:
    """The id of the mount that the file of a descriptor is on (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{fd}", "rb", buffering=0) as file:
        for line in file.read(4096).splitlines():
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    return -1


def _empty(status: os.stat_result) -> os.stat_result:
    """A plain file without content in its place; no names (st_nlink) say that it is not to be read."""
    fields = list(status)
    fields[0], fields[3], fields[6] = stat.S_IFREG | stat.S_IMODE(status.st_mode) & 0o777, 0, 0
    return os.stat_result(fields)
