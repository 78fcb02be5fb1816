"""Bridge networks of an ordinary user: in one network namespace of the user's, as the host has its bridges.

    host ── slirp4netns ── tap0 [the user's namespace: bridges, rules of netavark, aardvark-dns] ── veth ── containers

Nobody keeps that namespace but the monitors of the containers on it: each holds it, bound at `<data>/…/ns/uplink`, next
to the container's own. It belongs to the user namespace of the first of them, and can be changed from there only: so as
long as such a container lives, the user's commands enter that user namespace, not a fresh one (the map is the same).
slirp4netns leads out of it (rather than pasta: ports can be given to it while it runs). All monitors watch it, the last
container ends it.

    <run>/networks/rootless/lock         flock(2): shared while a container joins, exclusive while the first one makes
                                         the namespace, and for changes of slirp4netns (`uplink.lock`)
    <run>/networks/rootless/users/<id>   JSON: the ports of each container there, from before its start to its end
    <run>/networks/rootless/slirp4netns  pid, start time and namespace of the running one
    <run>/networks/rootless/resolv.conf  what aardvark-dns asks for names that it does not know
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend import jsontext, process
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.networks import slirp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Port
    from remora.frontend.settings import Settings

NAME = "uplink"


class User:
    """A container there. path: of the namespace, for its monitor; ports: as published on the host."""

    __slots__ = ("id", "path", "ports")

    def __init__(self, container_id: str, path: str, ports: list[Port]) -> None:
        self.id = container_id
        self.path = path
        self.ports = ports


PROGRAMS = ("nsenter", "unshare")
# $0: our resolv.conf; the rest: what is run with it in place of the host's, if that has one.
COVERED = 'mount --bind "$0" /etc/resolv.conf 2>/dev/null; exec "$@"'


def folder(settings: Settings) -> str:
    """Where the state is."""
    return f"{settings.run}/networks/rootless"


# ---- who holds it ------------------------------------------------------------------------------


def users(settings: Settings) -> Iterator[User]:
    """Each container on the user's bridges whose monitor lives, or that is being started."""
    place = folder(settings) + "/users"
    try:
        ids = sorted(os.listdir(place))
    except FileNotFoundError:
        return
    for container_id in ids:
        if len(container_id) != 64 or not _is_held(settings, container_id):
            continue
        try:
            with open(f"{place}/{container_id}", "rb", buffering=0) as file:
                told = jsontext.loads(file.read(1 << 20))
        except (OSError, ValueError):
            continue
        if isinstance(told, dict):
            yield User(container_id, str(told.get("path")), told.get("ports") or [])


def _is_held(settings: Settings, container_id: str) -> bool:
    try:
        return monitor.lock_held(settings.run_dir(container_id))
    except OSError:
        return False


def holder(settings: Settings) -> tuple[int, str]:
    """Pid of a living monitor that has the namespace, and where that is; (0, "") when there is none."""
    for user in users(settings):
        state = monitor.read_state(settings.run_dir(user.id)) or {}
        pid = state.get("monitor_pid")
        path = f"/proc/{pid}/root{user.path}"
        # It held the lock, so the pid was its own; it must hold it still, lest the pid is another's by now.
        if isinstance(pid, int) and os.path.exists(path) and _is_held(settings, user.id):
            return pid, path
    return 0, ""


def reach(settings: Settings) -> int:
    """Before a container of the user's bridges is started: the monitor whose user namespace is to be entered, 0 for a
    fresh one.

    What was found stays true until `settled`: nobody makes another namespace meanwhile.
    """
    import fcntl

    place = folder(settings)
    try:
        os.makedirs(place + "/users", 0o700, exist_ok=True)
        fd = os.open(place + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise RemoraError(f"bridge networks: {os_error_text(error)}") from None
    settings.joining = fd
    for how in (fcntl.LOCK_SH, fcntl.LOCK_EX):
        fcntl.flock(fd, how)
        pid, _ = holder(settings)
        if pid:
            fcntl.flock(fd, fcntl.LOCK_SH)
            return pid
    return 0


def settled(settings: Settings) -> None:
    """The container runs, or it came to nothing: others may look."""
    fd, settings.joining = settings.joining, -1
    if fd >= 0:
        os.close(fd)


# ---- a container on it -------------------------------------------------------------------------


def prepare(settings: Settings, record: ContainerRecord, plan: Plan, ports: Sequence[Port]) -> str:
    """Give the container's start the user's namespace, made where there is none; the path at which netavark finds it
    for the time of this command. ports: as bound.

    Raises RemoraError: no slirp4netns, a port that another container has at another address.
    """
    from remora.frontend.networks import pasta

    program = process.which(slirp.PROGRAM, settings.environ)
    if program is None:
        raise RemoraError(
            "bridge networks without root need slirp4netns, which is not installed", "install the package slirp4netns"
        )
    pasta.check_device()
    slirp.requests(ports, "")  # what can't be forwarded is told now
    _check_ports(settings, record.id, ports)
    plan.add_execute([*settings.own_command(), "_uplink", "end", record.id])
    plan.save()
    fd = _open(settings)
    path = plan.hold_namespace(NAME, "network", fd)
    told = {"path": path, "ports": [dict(port) for port in ports]}
    _write(f"{folder(settings)}/users/{record.id}", jsontext.dumps(told))
    _write(folder(settings) + "/resolv.conf", f"nameserver {slirp.Options().nameserver}\n")
    plan.add_helper(
        NAME, [*settings.own_command(), "_uplink", "start", record.id, path, plan.pidfile(NAME), program], shared=True
    )
    return f"/proc/{os.getpid()}/fd/{fd}"


def _open(settings: Settings) -> int:
    pid, path = holder(settings)
    if pid:
        if os.stat(f"/proc/{pid}/ns/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
            raise RemoraError(
                "a bridge network can't be joined from another container's user namespace",
                "start the other container on a bridge network, too",
            )
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass  # it ended just now
    return int(monitor.make_namespaces(["network"])[0])


def _check_ports(settings: Settings, own_id: str, ports: Sequence[Port]) -> None:
    """Behind slirp4netns there is one address: a number can be published once only, whatever the host's address."""
    wanted = set(_numbers(ports))
    for user in users(settings):
        both = wanted & set(_numbers(user.ports))
        if both and user.id != own_id:
            protocol, number = min(both)
            raise RemoraError(
                f"publishing port {number}/{protocol}: container {user.id[:12]} has it at another address",
                "without root a bridge's port can be published at one address only; use --network pasta",
                126,
            )


def _numbers(ports: Sequence[Port]) -> Iterator[tuple[str, int]]:
    for port in ports:
        for offset in range(port["range"]):
            yield port["protocol"], port["host_port"] + offset


def inside(settings: Settings, path: str) -> list[str]:
    """The words before a command that is to run in the user's network namespace. path: where that is."""
    found = [process.which(name, settings.environ) or f"/usr/bin/{name}" for name in PROGRAMS]
    resolv = folder(settings) + "/resolv.conf"
    return [found[0], f"--net={path}", found[1], "--mount", "/bin/sh", "-c", COVERED, resolv]


def beside(netns: str) -> str:
    """Where the user's namespace is held, by the path of a container's own."""
    return f"{netns.rpartition('/')[0]}/{NAME}"


def living(settings: Settings) -> str:
    """Where the user's namespace is; "" when there is none."""
    return holder(settings)[1]


def _write(path: str, text: str) -> None:
    try:
        fd = os.open(f"{path}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
        os.rename(f"{path}.{os.getpid()}", path)
    except OSError as error:
        raise RemoraError(f"bridge networks: {os_error_text(error)}") from None
