"""Volumes that are a tmpfs: the containers that run with one at the same time share it.

The first container that starts has it mounted by the runtime; a later one gets a clone of that mount, which its monitor
keeps. It is gone with the last of them. Starts of containers with the same volume wait for each other: else two would
be the first. An ordinary user's containers have namespaces that can't be entered from one another: each has its own.
"""

from __future__ import annotations

import fcntl
import os

from remora import monitor
from remora.frontend.container import state as states
from remora.frontend.volumes import options, store
from remora.frontend.volumes.store import NoSuchVolume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings


class Memory:
    """One start's. clones: volume and detached mount, each this object's until `hand_over`."""

    __slots__ = ("clones", "paths", "_locks")

    def __init__(self) -> None:
        self.clones: dict[str, int] = {}
        self.paths: dict[str, str] = {}  # volume, and where its mount will be for the runtime
        self._locks: list[int] = []

    def open(self, settings: Settings, record: ContainerRecord) -> None:
        """Find those that are mounted already. Raises OSError."""
        if settings.rootless:
            return
        for name in sorted({item["source"] for item in record.spec["mounts"] if item["type"] == "volume"}):
            try:
                volume = store.load(settings, name)
            except NoSuchVolume:
                continue  # told by name later
            if options.is_tmpfs(volume["options"]):
                self._open(settings, record, name)

    def _open(self, settings: Settings, record: ContainerRecord, name: str) -> None:
        # Not the volume's own lock: that one is waited for in the order of names, and held for moments only.
        lock = os.open(store.place(settings, name), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._locks.append(lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in store.users(settings, name, []).get(name, []):
            clone = _clone(settings, other, name) if other.id != record.id else -1
            if clone >= 0:
                self.clones[name] = clone
                return

    def hand_over(self, plan: Plan) -> None:
        """Put the mounts into the plan of the start."""
        if self.clones:
            os.makedirs(plan.data_dir + "/ns", 0o700, exist_ok=True)
        while self.clones:
            name, fd = self.clones.popitem()
            self.paths[name] = plan.add_mount(f"volume-{name}", fd)

    def close(self) -> None:
        """To be called when the container runs: then others find the mount."""
        for fd in (*self.clones.values(), *self._locks):
            os.close(fd)
        self.clones.clear()
        self._locks.clear()


def _clone(settings: Settings, other: ContainerRecord, name: str) -> int:
    """A clone of the volume's mount in a container; -1 when it has none."""
    state = states.derive(settings, other)
    if not state.running:
        return -1
    try:
        fd = os.open(f"/proc/{state.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        if monitor.process_start(state.pid) != state.pid_start:  # checked after opening: it was that process's
            return -1
        target = next(item["target"] for item in other.spec["mounts"] if item["source"] == name)
        return monitor.clone_mount(fd, target)
    except OSError:
        return -1
    finally:
        os.close(fd)
