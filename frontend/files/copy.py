"""The rules of `cp`: what a source and a destination mean (docs of `docker cp`), and the copying."""

from __future__ import annotations

import os
import stat
import sys

from remora.frontend.container import record as records
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.files import roots, tree
from remora.frontend.files.sink import Attributes, Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from remora.frontend.files.roots import Local, Root
    from remora.frontend.settings import Settings

    Side: TypeAlias = Local | Root

STREAM = "-"
LINKS_MAX = 40  # as the kernel


class Place:
    """One side as it was given. container: "" = here. path: `-` without a container is stdin or stdout."""

    __slots__ = ("given", "container", "path")

    def __init__(self, given: str) -> None:
        self.given = given
        self.container, self.path = "", given
        name, colon, path = given.partition(":")
        if colon and name and "/" not in name and not given.startswith("."):
            self.container, self.path = name, path
        if not self.path:
            raise RemoraError(f'copying: "{given}" has no path', f"{name}:/ is the container's root folder")
        if self.container and not self.path.startswith("/"):
            self.path = "/" + self.path

    @property
    def is_stream(self) -> bool:
        return not self.container and self.path == STREAM

    @property
    def is_content(self) -> bool:
        """Whether it stands for what is in the folder, not for the folder."""
        return self.path in ("/", ".") or self.path.endswith("/.")

    @property
    def base_name(self) -> str:
        path = self.path if self.container else os.path.abspath(self.path)
        return os.path.basename(os.path.normpath(path))


class Options:
    """archive: keep the owners' ids. follow: a symlink that is the source. overwrite: see Sink."""

    __slots__ = ("archive", "follow", "overwrite")

    def __init__(self, archive: bool, follow: bool, overwrite: bool) -> None:
        self.archive = archive
        self.follow = follow
        self.overwrite = overwrite


def copy(settings: Settings, source: Place, target: Place, options: Options) -> list[str]:
    """Copy; the names of devices that an ordinary user could not make. Raises RemoraError."""
    if not source.container and not target.container:
        raise RemoraError("copying: neither side is a container's", "write a container's as NAME:PATH")
    containers = [place.container for place in (source, target) if place.container]
    named = [records.find(settings, name) for name in containers]
    if len(named) == 2 and named[0].id == named[1].id:
        named.pop()
    opened = roots.open_roots(settings, named)
    sides: list[Side] = [roots.Local(), roots.Local()]
    if source.container:
        sides[0] = opened[0]
    if target.container:
        sides[1] = opened[-1]
    what = f"copying {source.given} to {target.given}"
    _raise_limit()
    try:
        if target.is_stream:
            _to_stream(sides[0], source, options, what)
            return []
        if source.is_stream:
            return _from_stream(sides[1], target, options, what)
        return _between(sides, source, target, options, what)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise RemoraError(f"{what}: {os_error_text(OSError(error.errno, error.strerror))}") from None
    finally:
        for root in opened:
            root.close()


def _open_source(side: Side, place: Place, options: Options, what: str) -> int:
    flags = os.O_PATH | (0 if options.follow else os.O_NOFOLLOW)
    try:
        return side.open(place.path, flags)
    except FileNotFoundError:
        raise RemoraError(f"{what}: the source is not there: no such file or directory") from None


def _to_stream(side: Side, place: Place, options: Options, what: str) -> None:
    from remora.frontend.files import archive

    if os.isatty(1):
        raise RemoraError(f"{what}: standard output is a terminal", "redirect it to a file or to tar")
    assert isinstance(side, roots.Root)
    fd = _open_source(side, place, options, what)
    try:
        archive.write(1, tree.walk(fd), "." if place.is_content else place.base_name, side.inside)
    finally:
        os.close(fd)


def _from_stream(side: Side, place: Place, options: Options, what: str) -> list[str]:
    from remora.frontend.files import archive

    if os.isatty(0):
        raise RemoraError(f"{what}: standard input is a terminal", "redirect a tarball to it")
    side.check_writable(place.path)
    try:
        base = side.open(place.path, os.O_PATH | os.O_DIRECTORY)
    except NotADirectoryError:
        raise RemoraError(f"{what}: the destination must be a folder when a tarball is the source") from None
    except FileNotFoundError:
        raise RemoraError(f"{what}: the destination is not there: no such file or directory") from None
    sink = _sink(base, None, side, options, what)
    try:
        archive.extract(sys.stdin.buffer, sink, what)
        return sink.skipped
    finally:
        sink.close()
        os.close(base)


def _between(sides: list[Side], source: Place, target: Place, options: Options, what: str) -> list[str]:
    fd = _open_source(sides[0], source, options, what)
    base = -1
    try:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        if not is_folder and source.path.endswith(("/", "/.")):
            raise RemoraError(f"{what}: the source is not a directory")
        sides[1].check_writable(target.path)
        base, name = _destination(sides[1], source, target, is_folder, what)
        sink = _sink(base, sides[0], sides[1], options, what)
        try:
            _pour(fd, sink, name)
        finally:
            sink.close()
        return sink.skipped
    finally:
        os.close(fd)
        if base >= 0:
            os.close(base)


def _destination(side: Side, source: Place, target: Place, is_folder: bool, what: str) -> tuple[int, str]:
    """A folder, and the name in it that the source gets: "" when its content goes into the folder itself."""
    try:
        base = side.open(target.path, os.O_PATH | os.O_DIRECTORY)
        return base, "" if is_folder and source.is_content else source.base_name
    except FileNotFoundError:
        if target.path.endswith("/") and not is_folder:
            raise RemoraError(
                f"{what}: the destination directory must exist", "without the / at its end it is a file's name"
            ) from None
    except NotADirectoryError:
        if is_folder:
            raise RemoraError(f"{what}: cannot copy a directory to a file", "name a folder") from None
        if target.path.endswith("/"):
            raise RemoraError(f"{what}: the destination is not a directory") from None
    path = target.path.rstrip("/").removesuffix("/.") or "/"
    for _ in range(LINKS_MAX):
        parent, name = os.path.split(path)
        try:
            base = side.open(parent or ".", os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            raise RemoraError(
                f"{what}: no such directory: {parent}", "the folder of the destination must exist"
            ) from None
        try:
            link = os.readlink(name, dir_fd=base)  # a file's place is where a link leads
        except OSError:
            return base, name
        os.close(base)
        path = link if link.startswith("/") else f"{parent}/{link}" if parent else link
    raise RemoraError(f"{what}: too many levels of symbolic links")


def _sink(base: int, source: Side | None, target: Side, options: Options, what: str) -> Sink:
    """Who owns the copies: with `archive` whoever has the same id, else the container's user, or who copies."""
    own = target.user() if isinstance(target, roots.Root) else (os.geteuid(), os.getegid())

    def owner(uid: int, gid: int) -> tuple[int, int]:
        if not options.archive:
            return own
        if isinstance(source, roots.Root):
            uid, gid = source.inside(uid, gid)
        return target.outside(uid, gid) if isinstance(target, roots.Root) else (uid, gid)

    privileges = options.archive or isinstance(target, roots.Root)
    return Sink(base, what, owner, privileges=privileges, overwrite=options.overwrite)


def _pour(fd: int, sink: Sink, name: str) -> None:
    """Copy a tree, as `name` in the folder or, without one, its content."""
    linked: dict[tuple[int, ...], str] = {}
    base = os.fstat(sink.base)
    for entry in tree.walk(fd):
        path = "/".join(part for part in (name, entry.path) if part)
        status = entry.status
        if entry.is_folder and (status.st_dev, status.st_ino) == (base.st_dev, base.st_ino):
            raise RemoraError(f"{sink.what}: a folder can't be copied into itself")
        if not path:
            continue
        if entry.is_file and status.st_nlink > 1:
            first = linked.setdefault(entry.identity, path)
            if first != path:
                try:
                    sink.hard_link(path, first)
                    continue
                except OSError:
                    pass  # the first one is gone: this is a file of its own
        made = Attributes(
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev, entry.attributes()
        )
        link = entry.link() if stat.S_ISLNK(status.st_mode) else ""
        sink.put(path, made, link=link, pieces=entry.read() if entry.is_file else ())


def _raise_limit() -> None:
    """Two descriptors are open for each level of folders."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
