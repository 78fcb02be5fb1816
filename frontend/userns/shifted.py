"""Copies of images with other owners, for containers whose layers the kernel can't map: <data>/shifted.

    <data>/shifted/<image id>-<map>/root          the copy, all layers in one; there when it is whole
    <data>/shifted/<image id>-<map>/users/<id>    empty file: this container uses it
    <data>/shifted/lock                           held while a copy gets or loses a user

One copy serves all containers of an image with the same map. Making it takes as long as copying the image, once; it
goes with its last user. A copy is made under a lock of its own folder, so that others wait for it.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.builtin import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings
    from remora.frontend.userns.space import Space

DISCARDED = "."  # first letter of what is being removed


def folder(settings: Settings) -> str:
    """Where all copies are."""
    return settings.data + "/shifted"


def users_of(settings: Settings, key: str) -> str:
    """The folder with a file for each container that uses the copy."""
    return f"{folder(settings)}/{key}/users"


def acquire(settings: Settings, record: ContainerRecord, lower: Sequence[str], space: Space) -> str:
    """The folder of the copy for this container's image and map, made where it is missing. Idempotent.

    Raises OSError when there is no room; the container's use of it stays marked until it is removed.
    """
    image = record.spec["image"]
    assert image is not None
    key = f"{image['id']}-{_digest(space)}"
    home = f"{folder(settings)}/{key}"
    with _Lock(_lock_file(settings)):
        _claim(home, record.id)
    space.copy = key
    root = home + "/root"
    if not os.path.isdir(root):
        with _Lock(os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)):
            if not os.path.isdir(root):
                _make(settings, home, lower, space)
    return root


def _claim(home: str, container_id: str) -> None:
    while True:
        os.makedirs(home + "/users", 0o700, exist_ok=True)
        try:
            os.close(os.open(f"{home}/users/{container_id}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            return
        except FileNotFoundError:
            pass  # a monitor looks, by removing the folder, whether its container was the last


def _digest(space: Space) -> str:
    return sha256(repr((space.uid_map, space.gid_map)).encode())[:16]


def _make(settings: Settings, home: str, lower: Sequence[str], space: Space) -> None:
    from remora.frontend.userns.space import plain_mount, tuple3

    names = ("root.new", "upper", "work", "merged")
    paths = {name: f"{home}/{name}" for name in names}
    try:
        for name in names:
            monitor.remove_tree(paths[name])
            if name != "root.new":
                os.mkdir(paths[name], 0o700)
        source = plain_mount(settings, lower, paths["upper"], paths["work"], paths["merged"], True)
        try:
            uid_map, gid_map = ([tuple3(row) for row in one] for one in (space.uid_map, space.gid_map))
            others = space.other("uid"), space.other("gid")
            monitor.copy_shifted(source, paths["root.new"], uid_map, gid_map, *others)
        finally:
            os.close(source)
        os.rename(paths["root.new"], home + "/root")
    finally:
        for name in names:
            monitor.remove_tree(paths[name])


def release(settings: Settings, container_id: str) -> None:
    """Undo acquire, whichever copies it was; those that nobody uses any more are removed. Idempotent."""
    with _Lock(_lock_file(settings)):
        for key in _keys(settings):
            try:
                os.unlink(f"{users_of(settings, key)}/{container_id}")
            except FileNotFoundError:
                pass
    release_unused(settings)


def release_unused(settings: Settings) -> None:
    """Remove the copies that nobody uses."""
    base = folder(settings)
    with _Lock(_lock_file(settings)):
        for key in _keys(settings):
            if not _has_users(settings, key):
                os.rename(f"{base}/{key}", f"{base}/{DISCARDED}{key}-{os.getpid()}")
    for name in os.listdir(base):
        if name.startswith(DISCARDED):
            monitor.remove_tree(f"{base}/{name}")


def _keys(settings: Settings) -> Iterator[str]:
    return (name for name in os.listdir(folder(settings)) if "-" in name and not name.startswith(DISCARDED))


def _has_users(settings: Settings, key: str) -> bool:
    try:
        return bool(os.listdir(users_of(settings, key)))
    except FileNotFoundError:
        return False


def _lock_file(settings: Settings) -> int:
    os.makedirs(folder(settings), 0o700, exist_ok=True)
    return os.open(folder(settings) + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


class _Lock:
    """flock(2) on a descriptor, which is closed at the end."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> None:
        import fcntl

        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
