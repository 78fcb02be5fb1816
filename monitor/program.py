"""The monitor program: where it is, and starting it."""

from __future__ import annotations

import os

from . import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .connection import Connection


def monitor_program() -> str:
    """Path of ``remora-monitor``: $REMORA_MONITOR, or beside the extension module.

    Only the extension's own folder is right in an editable install: there the Python files are elsewhere.
    """
    given = os.environ.get("REMORA_MONITOR")
    if given:
        return given
    from . import _core

    return os.path.join(os.path.dirname(str(_core.__file__)), "remora-monitor")


def spawn(
    configuration: Mapping[str, object],
    *,
    lock_fd: int,
    rootfs_fd: int,
    stdio: Sequence[int] = (),
    namespaces: Sequence[int] = (),
    preserved: Sequence[int] = (),
    held: Sequence[int] = (),
    environment: Mapping[str, str],
) -> Connection:
    """Start a monitor and return the first connection to it; its first message tells ``started`` or ``failed``.

    Args:
        configuration: as docs/architecture.md has it ("Configuration handed to a monitor").
        lock_fd: holds the lock of the run folder; borrowed (closing it afterwards leaves the lock with the monitor).
        rootfs_fd: detached mount of the root file system, or -1; borrowed.
        stdio: the three descriptors that the container has as its own stdio (`passthrough`); borrowed.
        namespaces: descriptors for the configuration's `namespaces`, in that order; borrowed.
        preserved: descriptors for the container, as 3, 4, …; borrowed.
        held: descriptors that only are to stay open until the container has ended; borrowed.
        environment: of the monitor program itself.

    Raises:
        OSError: the program can't be executed.
    """
    from .connection import Connection
    from .records import pack

    fd = core.spawn(
        monitor_program(),
        str(configuration["id"])[:12],
        str(configuration["name"]),
        pack(configuration),
        lock_fd=lock_fd,
        rootfs_fd=rootfs_fd,
        preserved=[*stdio, *namespaces, *preserved, *held],
        environment=environment,
    )
    return Connection(fd, str(configuration["run_dir"]))
