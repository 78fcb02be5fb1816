"""Joining namespaces that are there already: of another container, or by path. Only for records that ask for it.

They are opened at each start and handed to the monitor as descriptors, so they are the ones that were checked, and live
on for the monitor's restarts of the container even when the other container is gone.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import NoSuchContainer, RemoraError, os_error_text
from remora.frontend.oci import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Spec
    from remora.frontend.settings import Settings

SHM = "/dev/shm"


def add(settings: Settings, record: ContainerRecord, plan: Plan) -> None:
    """Put what the record joins into the plan of its start.

    Raises RemoraError: the other container does not run or is gone, the file is no namespace, it may not be opened.
    """
    spec = record.spec
    for kind, (name, file, _) in namespaces.KINDS.items():
        mode = namespaces.mode(spec, kind)
        if mode.startswith("container:"):
            process = _Process(settings, record, namespaces.other(spec, kind), name)
            fd = process.open("ns/" + file)
            plan.add_namespace(name, _checked(record, f"{process.what} {process.name}", fd))
            if kind == "ipc":
                _add_shm(process, plan)
        elif mode.startswith("ns:"):
            plan.add_namespace(name, _file(settings, record, mode[3:], kind))


class _Process:
    """The first process of another container, for one namespace."""

    __slots__ = ("what", "pid", "start", "name")

    def __init__(self, settings: Settings, record: ContainerRecord, container_id: str, kind: str) -> None:
        self.what = f"starting container {record.name}: joining the {kind} namespace of container"
        try:
            other = records.load(settings, container_id)
        except NoSuchContainer:
            raise RemoraError(
                f"{self.what} {container_id[:12]}: no such container",
                f"it was removed: remove {record.name}, too, and create it anew",
            ) from None
        state = states.derive(settings, other)
        self.name, self.pid, self.start = other.name, state.pid, state.pid_start
        if not state.running:
            raise self._gone(state.status)

    def open(self, path: str) -> int:
        """A descriptor of a file in its folder of /proc."""
        try:
            fd = os.open(f"/proc/{self.pid}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._gone("exited") from None
        except OSError as error:
            raise RemoraError(f"{self.what} {self.name}: {os_error_text(error)}") from None
        if monitor.process_start(self.pid) != self.start:  # checked after opening: it was that process's
            os.close(fd)
            raise self._gone("exited")
        return fd

    def _gone(self, status: str) -> RemoraError:
        return RemoraError(
            f"{self.what} {self.name}, which is {status}: container state improper", f"`remora start {self.name}`"
        )


def _file(settings: Settings, record: ContainerRecord, path: str, kind: str) -> int:
    what = f"starting container {record.name}: joining the namespace {path}"
    try:
        fd = namespaces.open_file(path, kind)
    except OSError as error:
        raise RemoraError(f"{what}: {namespaces.complaint(error, kind)}", namespaces.remedy(kind)) from None
    if settings.rootless and not namespaces.owner(fd):
        os.close(fd)
        raise RemoraError(
            f"{what}: it belongs to another user namespace, an ordinary user can't join it",
            "join that of a container of your own: container:NAME, or run it as root",
        )
    return _checked(record, what, fd)


def _checked(record: ContainerRecord, what: str, fd: int) -> int:
    """The descriptor, unless the container's own user namespace keeps it out: the runtime enters that one first."""
    if record.spec["userns"]["uid_map"] and namespaces.owner(fd) == os.stat("/proc/self/ns/user").st_ino:
        os.close(fd)
        raise RemoraError(
            f"{what}: it does not belong to the user namespace that this container has",
            "leave out --userns and the maps, or give both containers the same: --userns container:NAME",
        )
    return fd


def _add_shm(process: _Process, plan: Plan) -> None:
    """Shared memory by name is in /dev/shm, which belongs to the mount namespace: it comes along with IPC."""
    fd = process.open("ns/mnt")
    try:
        plan.add_mount("shm", monitor.clone_mount(fd, SHM))
    except FileNotFoundError:
        pass  # that container has none (--ipc none)
    except OSError as error:
        raise RemoraError(f"{process.what} {process.name}: {SHM}: {error.strerror}") from None
    finally:
        os.close(fd)


def user_namespace_to_enter(settings: Settings, spec: Spec) -> int:
    """For an ordinary user: the pid of the monitor in whose user namespace this container has to live, 0 = none.

    A namespace can be joined only from the user namespace that owns it, which is that of the other container's monitor.
    Raises RemoraError when the containers that it joins have several.
    """
    others = [namespaces.other(spec, kind) for kind in namespaces.KINDS]
    if spec["userns"]["mode"] == "container":
        others.append(spec["userns"]["target"])
    found: dict[int, tuple[str, int]] = {}
    for other in filter(None, others):
        try:
            record = records.load(settings, other)
            state = states.derive(settings, record)
            if state.running and state.monitor_pid:
                inode = os.stat(f"/proc/{state.monitor_pid}/ns/user").st_ino
                found.setdefault(inode, (record.name, state.monitor_pid))
        except (OSError, RemoraError):
            continue  # told at the start, by name
    if len(found) > 1:
        first, second = [name for name, _ in found.values()][:2]
        raise RemoraError(
            f"containers {first} and {second} can't be joined at once: each has a user namespace of its own",
            f"create {second} with --ipc container:{first}, so that they share one",
        )
    return next((pid for _, pid in found.values()), 0)
