"""Where files are copied to: a folder that is never left.

Each folder on the way is opened by its name alone from the one above (no link is followed), and what is made is given
its owner and mode by descriptor. So neither links among the copied files nor those that a container puts there
meanwhile lead anywhere.
"""

from __future__ import annotations

import errno
import os
import stat

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.files.tree import FOLDER, PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    # From (uid, gid) of the source to those of the files here.
    Owner: TypeAlias = Callable[[int, int], tuple[int, int]]

SET_ID = stat.S_ISUID | stat.S_ISGID
ATTEMPTS = 16  # at making a file in the place of another that is put there again and again
BLOCK = 65536
ZERO = bytes(BLOCK)


class Attributes:
    """What a file is, without its content. mode: with the type. device: of a device node."""

    __slots__ = ("mode", "uid", "gid", "mtime_ns", "device", "extended")

    def __init__(
        self, mode: int, uid: int, gid: int, mtime_ns: int, device: int = 0, extended: Mapping[str, bytes] | None = None
    ) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.device = device
        self.extended = extended or {}


class Sink:
    """The folder `base` (a descriptor, which stays the caller's).

    what: begins messages. owner: see Owner. privileges: whether set-id bits and file capabilities are kept; they were
    given by who owned the source. overwrite: folders and other files may take each other's place.
    """

    def __init__(self, base: int, what: str, owner: Owner, *, privileges: bool = True, overwrite: bool = False) -> None:
        self.base = base
        self.what = what
        self.owner = owner
        self.privileges = privileges
        self.overwrite = overwrite
        self.skipped: list[str] = []
        self._stack: list[tuple[str, int, int]] = []  # name, descriptor, mtime_ns to be given in the end (-1: none)

    def close(self) -> None:
        """Give folders their times."""
        while self._stack:
            self._leave()

    def _leave(self) -> None:
        _, fd, mtime_ns = self._stack.pop()
        try:
            if mtime_ns >= 0:
                os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _parent(self, parts: list[str]) -> int:
        """The folder that the last of `parts` is in; those on the way are made where they are missing."""
        wanted = parts[:-1]
        while [name for name, _, _ in self._stack] != wanted[: len(self._stack)]:
            self._leave()
        for name in wanted[len(self._stack) :]:
            folder = self._stack[-1][1] if self._stack else self.base
            self._enter(folder, name, parts)
        return self._stack[-1][1] if self._stack else self.base

    def _enter(self, folder: int, name: str, parts: list[str], made: Attributes | None = None) -> None:
        """Open a folder, made where it is missing."""
        mtime_ns = -1
        for _ in range(ATTEMPTS):
            try:
                fd = os.open(name, FOLDER, dir_fd=folder)
                break
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                if not self.overwrite:
                    raise self._refuse(parts, "a folder can't take the place of another file") from None
                os.unlink(name, dir_fd=folder)
            try:
                os.mkdir(name, 0o700, dir_fd=folder)
            except FileExistsError:
                continue
            fd = os.open(name, FOLDER, dir_fd=folder)
            try:
                self._dress(fd, made or Attributes(0o755, 0, 0, -1))
            except BaseException:
                os.close(fd)
                raise
            mtime_ns = made.mtime_ns if made is not None else -1
            break
        else:
            raise self._refuse(parts, "it changes all the time")
        self._stack.append((name, fd, mtime_ns))

    def _refuse(self, parts: list[str], why: str) -> RemoraError:
        remedy = "--overwrite lets it" if "place" in why else ""
        return RemoraError(f"{self.what}: {'/'.join(parts)}: {why}", remedy)

    def _dress(self, fd: int, made: Attributes) -> None:
        """Owner first: changing it drops set-id bits and capabilities."""
        uid, gid = self.owner(made.uid, made.gid)
        os.fchown(fd, uid, gid)
        os.fchmod(fd, stat.S_IMODE(made.mode) & ~(0 if self.privileges else SET_ID))
        for name, value in made.extended.items():
            if self.privileges or not name.startswith("security."):
                try:
                    os.setxattr(fd, name, value)
                except OSError:
                    pass  # not every file system has them, and not everybody may set them

    # ---- what is put there ------------------------------------------------------------------

    def put(self, path: str, made: Attributes, *, link: str = "", pieces: Iterable[bytes] = ()) -> None:
        """Make one file. link: where a symlink leads. pieces: what is in a plain file. Raises RemoraError, OSError."""
        parts = path.split("/")
        parent, name = self._parent(parts), parts[-1]
        try:
            if stat.S_ISDIR(made.mode):
                self._enter(parent, name, parts, made)
            elif stat.S_ISREG(made.mode):
                self._file(parent, name, parts, made, pieces)
            else:
                self._other(parent, name, parts, made, link)
        except OSError as error:
            raise self._refuse(parts, os_error_text(OSError(error.errno, error.strerror))) from None

    def hard_link(self, path: str, to: str) -> None:
        """Another name for a file that was put here before. Raises RemoraError, OSError."""
        parts, first = path.split("/"), to.split("/")
        held = os.dup(self._parent(first))
        try:
            parent = self._parent(parts)
            self._clear(parent, parts[-1], parts)
            os.link(first[-1], parts[-1], src_dir_fd=held, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(held)

    def _clear(self, parent: int, name: str, parts: list[str]) -> bool:
        """Make room for a file. False: what is there can't be taken away, something is mounted on it."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=parent)
            elif not self.overwrite:
                raise self._refuse(parts, "another file can't take the place of a folder")
            else:
                from shutil import rmtree

                rmtree(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def _file(self, parent: int, name: str, parts: list[str], made: Attributes, pieces: Iterable[bytes]) -> None:
        for _ in range(ATTEMPTS):
            try:
                if self._clear(parent, name, parts):
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    fd = os.open(name, flags, 0o600, dir_fd=parent)
                else:
                    fd = self._reopen(parent, name, parts)
                break
            except (FileExistsError, IsADirectoryError):
                continue
        else:
            raise self._refuse(parts, "it changes all the time")
        try:
            _write(fd, pieces)
            self._dress(fd, made)
            os.utime(fd, ns=(made.mtime_ns, made.mtime_ns))
        finally:
            os.close(fd)

    def _reopen(self, parent: int, name: str, parts: list[str]) -> int:
        """A plain file that something is mounted on (/etc/hosts), emptied."""
        found = os.open(name, PATH, dir_fd=parent)
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise self._refuse(parts, "something is mounted there")
            return os.open(f"/proc/self/fd/{found}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        finally:
            os.close(found)

    def _other(self, parent: int, name: str, parts: list[str], made: Attributes, link: str) -> None:
        kind = stat.S_IFMT(made.mode)
        if kind == stat.S_IFSOCK:
            return  # nobody listens at a copy
        if not self._clear(parent, name, parts):
            raise self._refuse(parts, "something is mounted there")
        if kind == stat.S_IFLNK:
            os.symlink(link, name, dir_fd=parent)
        else:
            try:
                os.mknod(name, kind | 0o600, made.device, dir_fd=parent)
            except PermissionError:
                self.skipped.append("/".join(parts))  # a user may make no device
                return
        fd = os.open(name, PATH, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(fd).st_mode) != kind:
                raise self._refuse(parts, "it was changed meanwhile")
            uid, gid = self.owner(made.uid, made.gid)
            os.chown(f"/proc/self/fd/{fd}", uid, gid)  # leads to the very file, be it a symlink
            if kind != stat.S_IFLNK:
                os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(made.mode))
        finally:
            os.close(fd)


def _write(fd: int, pieces: Iterable[bytes]) -> None:
    """Write to a file that is empty; what is all zero becomes a hole."""
    size = 0
    hole = False
    for piece in pieces:
        for at in range(0, len(piece), BLOCK):
            block = memoryview(piece)[at : at + BLOCK]
            hole = len(block) == BLOCK and block == ZERO
            if hole:
                os.lseek(fd, BLOCK, os.SEEK_CUR)
            else:
                left = block
                while left:
                    left = left[os.write(fd, left) :]
            size += len(block)
    if hole:
        os.ftruncate(fd, size)
