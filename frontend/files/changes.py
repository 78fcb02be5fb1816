"""What a container has changed: its upper folder beside the layers of the image, as overlayfs reads them.

A whiteout is a device 0:0 (or, from fuse-overlayfs, a file `.wh.NAME`), an opaque folder hides those of the layers
below (Documentation/filesystems/overlayfs.rst). Nothing is followed: the container may be at work there.
"""

from __future__ import annotations

import os
import stat

from remora.frontend.files.tree import FOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from remora.frontend.container.spec import Spec

ADDED, CHANGED, DELETED = "A", "C", "D"
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque")
WHITEOUT, OPAQUE_NAME = ".wh.", ".wh..wh..opq"
# Places for mounts, which the runtime makes where the image has none; those of the record come to them.
PLACES = (
    "/dev /etc/hostname /etc/hosts /etc/resolv.conf /proc /run /run/.containerenv /run/secrets /sys"
).split()  # fmt: skip


def changes(spec: Spec, upper: str) -> Iterator[tuple[str, str]]:
    """(ADDED, CHANGED or DELETED, path) in the order of a walk; a folder is changed when something in it is.

    Raises OSError.
    """
    image = spec["image"]
    assert image is not None
    hidden = {*PLACES, *(os.path.normpath("/" + item["target"]) for item in spec["mounts"])}
    try:
        top = os.open(upper, FOLDER)
    except FileNotFoundError:
        return  # it was never started
    layers = [os.open(layer, FOLDER & ~os.O_NOFOLLOW) for layer in image["lower"]]  # the store has links to them
    for kind, path in _walk(top, layers):
        if path not in hidden:
            yield kind, path


class _Folder:
    """A folder of the upper tree, and those of the layers that are seen through it; all are its own."""

    __slots__ = ("path", "fd", "below", "names")

    def __init__(self, path: str, fd: int, below: list[int]) -> None:
        self.path = path
        self.fd = fd
        self.below = below
        self.names = iter(sorted(os.listdir(fd)))

    def close(self) -> None:
        for fd in (self.fd, *self.below):
            os.close(fd)


def _walk(top: int, layers: list[int]) -> Iterator[tuple[str, str]]:
    stack = [_Folder("/", top, layers)]
    try:
        while stack:
            folder = stack[-1]
            name = next(folder.names, None)
            if name is None:
                stack.pop().close()
                continue
            path = folder.path + name
            try:
                status = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if name == OPAQUE_NAME:
                continue
            if name.startswith(WHITEOUT) or _is_whiteout(status):
                removed = name.removeprefix(WHITEOUT)
                if _found(folder.below, removed):
                    yield DELETED, folder.path + removed
                continue
            yield (CHANGED if _found(folder.below, name) else ADDED), path
            if stat.S_ISDIR(status.st_mode):
                try:
                    fd = os.open(name, FOLDER, dir_fd=folder.fd)
                except OSError:
                    continue  # replaced meanwhile
                stack.append(_Folder(path + "/", fd, _folders(folder.below, name)))
                if _is_opaque(fd):
                    yield from ((DELETED, f"{path}/{gone}") for gone in _hidden(stack[-1]))
    finally:
        for folder in stack:
            folder.close()


def _look(folder: int, name: str) -> os.stat_result | None:
    """What a layer says of a name: a whiteout's status too, None when it says nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        pass
    try:
        os.stat(WHITEOUT + name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    return os.stat_result((stat.S_IFCHR, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and not (status.st_rdev or 0)


def _is_opaque(folder: int) -> bool:
    for name in OPAQUE:
        try:
            if os.getxattr(folder, name) == b"y":
                return True
        except OSError:
            continue
    return _look(folder, OPAQUE_NAME) is not None


def _found(below: Sequence[int], name: str) -> bool:
    """Whether the image has it."""
    for folder in below:
        status = _look(folder, name)
        if status is not None:
            return not _is_whiteout(status)
    return False


def _folders(below: Sequence[int], name: str) -> list[int]:
    """The folders of that name that are seen in the image, nearest first."""
    found = []
    for folder in below:
        status = _look(folder, name)
        if status is None:
            continue
        if not stat.S_ISDIR(status.st_mode):
            break
        fd = os.open(name, FOLDER, dir_fd=folder)
        found.append(fd)
        if _is_opaque(fd):
            break
    return found


def _hidden(folder: _Folder) -> list[str]:
    """What the image has there and an opaque folder does not."""
    own = set(os.listdir(folder.fd))
    names = {name for fd in folder.below for name in os.listdir(fd) if not name.startswith(WHITEOUT)}
    return sorted(name for name in names - own if _found(folder.below, name))
