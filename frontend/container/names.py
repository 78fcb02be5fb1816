"""Container names: `<data>/names/<name>` is a symbolic link to `../containers/<id>`, made exclusively.

The link is the claim; the kernel settles who was first. It is made before spec.json and removed after it,
so a name never belongs to nobody while its container exists.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings

FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
REST = FIRST | frozenset("_.-")
LONGEST = 200  # a file name may have 255 bytes; temporary names and the process title want some of them


def is_valid(name: str) -> bool:
    """Whether this may be a container's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`."""
    return bool(name) and len(name) <= LONGEST and name[0] in FIRST and REST.issuperset(name)


def check(name: str) -> None:
    """Raise RemoraError when a container can't have this name."""
    if name.startswith("/"):
        name = name[1:]
    if is_valid(name):
        return
    if len(name) > LONGEST:
        raise RemoraError(f"invalid container name: longer than {LONGEST} characters", "choose a shorter --name")
    raise RemoraError(
        f'invalid container name "{name}"',
        "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*",
    )


def owner(settings: Settings, name: str) -> str | None:
    """The id of the container that has this name; None when nobody has. The name must be valid."""
    try:
        target = os.readlink(f"{settings.names}/{name}")
    except OSError:
        return None
    return target.rpartition("/")[2]


def claim(settings: Settings, name: str, container_id: str) -> None:
    """Give the name to the container; RemoraError names the one that has it already.

    A name left over by a container that is half made or gone is freed first.
    """
    check(name)
    path = f"{settings.names}/{name}"
    for _ in range(8):
        try:
            os.symlink(f"../containers/{container_id}", path)
            return
        except FileNotFoundError:
            os.makedirs(settings.names, mode=0o700, exist_ok=True)
            continue
        except FileExistsError:
            pass
        holder = owner(settings, name)
        if holder is None:
            continue
        if holder == container_id:
            return
        from remora.frontend.container import sweep

        if not sweep.sweep_if_stale(settings, holder):
            raise RemoraError(
                f'the container name "{name}" is already in use by {holder}',
                f"remove that container with `remora rm {name}` or choose another --name",
            )
        release(settings, name, holder)
    raise RemoraError(f'claiming the container name "{name}": others keep taking and leaving it', "try again")


def release(settings: Settings, name: str, container_id: str) -> None:
    """Give the name up if it is this container's."""
    if is_valid(name) and owner(settings, name) == container_id:
        try:
            os.unlink(f"{settings.names}/{name}")
        except FileNotFoundError:
            pass


def release_all(settings: Settings, container_id: str) -> None:
    """Give up every name of this container (for one whose record can't be read)."""
    try:
        entries = os.listdir(settings.names)
    except FileNotFoundError:
        return
    for name in entries:
        release(settings, name, container_id)
