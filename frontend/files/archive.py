"""Files as a tarball on a descriptor, and a tarball into a folder. The format: tar(5) with pax headers."""

from __future__ import annotations

import os
import stat
import tarfile

from remora.frontend.errors import RemoraError
from remora.frontend.files.sink import Attributes
from remora.frontend.files.tree import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO

    from remora.frontend.files.sink import Sink
    from remora.frontend.files.tree import Entry

XATTR = "SCHILY.xattr."  # as star, GNU tar and Docker name extended attributes
TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
KINDS = {kind: mode for mode, kind in TYPES.items()}


class _Reader:
    """A file that gives exactly as many bytes as were announced: zeros for those that are gone meanwhile."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                self._rest += bytes(size - len(self._rest))
                break
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def write(fd: int, entries: Iterable[Entry], top: str, inside: Callable[[int, int], tuple[int, int]]) -> None:
    """Write a tarball.

    top: what the topmost file is called; "." for a folder's content, "" to leave it out. inside: see Root.inside.
    """
    linked: dict[tuple[int, ...], str] = {}
    with (
        open(fd, "wb", closefd=False) as raw,
        tarfile.open(fileobj=raw, mode="w|", format=tarfile.PAX_FORMAT, bufsize=PIECE) as tar,
    ):
        for entry in entries:
            status = entry.status
            kind = TYPES.get(stat.S_IFMT(status.st_mode))
            if kind is None:
                continue  # a socket
            name = f"{top}/{entry.path}" if top and entry.path else entry.path or top
            if not name:
                continue
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, stat.S_IMODE(status.st_mode), int(status.st_mtime)
            info.uid, info.gid = inside(status.st_uid, status.st_gid)
            if kind == tarfile.SYMTYPE:
                info.linkname = entry.link()
            elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
                info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
            elif kind == tarfile.REGTYPE and status.st_nlink > 1:
                first = linked.setdefault(entry.identity, name)
                if first != name:
                    info.type, info.linkname = tarfile.LNKTYPE, first
            info.pax_headers = {
                XATTR + key: value.decode("utf-8", "surrogateescape") for key, value in entry.attributes().items()
            }
            if info.type != tarfile.REGTYPE:
                tar.addfile(info)
                continue
            pieces = entry.read() if status.st_nlink else iter(())
            if status.st_size == 0 and status.st_nlink:
                pieces = iter([b"".join(pieces)])  # made as it is read, perhaps
                content = next(pieces)
                info.size, pieces = len(content), iter([content])
            else:
                info.size = status.st_size
            tar.addfile(info, _Reader(pieces))  # type: ignore[arg-type]


def extract(file: IO[bytes], sink: Sink, what: str) -> None:
    """Put what a tarball (plain, gzip, bzip2 or xz) has into a folder.

    Raises RemoraError: no tarball, one that is cut off, or a name that leads out of the folder.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|*", bufsize=PIECE) as tar:
            for info in tar:
                _member(tar, info, sink, what)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise RemoraError(f"{what}: not a whole tarball: {error}", "`tar -c` makes one") from None
    except OSError as error:
        if error.errno is None or type(error).__name__ == "BadGzipFile":
            raise RemoraError(f"{what}: not a whole tarball: {error}", "`tar -c` makes one") from None
        raise


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, sink: Sink, what: str) -> None:
    name = _plain(info.name, what)
    if not name:
        return  # the folder itself
    if info.islnk():
        sink.hard_link(name, _plain(info.linkname, what))
        return
    kind = stat.S_IFREG if info.isreg() else KINDS.get(info.type, 0)
    if not kind:
        raise RemoraError(f"{what}: {name}: a file of a type that is not known here")
    extended = {
        key.removeprefix(XATTR): value.encode("utf-8", "surrogateescape")
        for key, value in info.pax_headers.items()
        if key.startswith(XATTR)
    }
    device = os.makedev(info.devmajor, info.devminor) if info.isdev() and not info.isfifo() else 0
    made = Attributes(kind | info.mode & 0o7777, info.uid, info.gid, int(info.mtime * 1e9), device, extended)
    sink.put(name, made, link=info.linkname, pieces=_pieces(tar, info) if kind == stat.S_IFREG else ())


def _pieces(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    file = tar.extractfile(info)
    while file is not None and (piece := file.read(PIECE)):
        yield piece


def _plain(name: str, what: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RemoraError(f"{what}: the tarball has a name that leads out of the folder: {name}")
    return "/".join(parts)
