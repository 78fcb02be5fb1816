"""Published ports of the host: bound here before anything starts, and kept bound for as long as the container lives.

Packets for a published port are redirected before they reach a socket, so nobody reads from these sockets: they make
the kernel refuse the port to everybody else, and us a port that somebody else has. All of them travel to the monitor as
one descriptor, a socket in whose queue they lie (unix(7), SCM_RIGHTS): the kernel keeps what is in the queue of an
open socket, however many that are.
"""

from __future__ import annotations

import _socket
import errno
import os

from remora.frontend.errors import RemoraError
from remora.frontend.networks import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Port
    from remora.frontend.settings import Settings

IN_USE = 126  # exit status, as Podman's
PACKET_MAX = 250  # descriptors in one message; the kernel's SCM_MAX_FD is 253
IPPROTO_SCTP = 132
IPV6_V6ONLY = 26
KINDS = {
    "tcp": (_socket.SOCK_STREAM, 0),
    "udp": (_socket.SOCK_DGRAM, 0),
    "sctp": (_socket.SOCK_STREAM, IPPROTO_SCTP),
}
TRIES = 16
# State of a listening TCP socket, and of an unconnected UDP socket, in /proc/net/tcp and udp.
WAITING = {"tcp": "0A", "udp": "07"}


class Bound:
    """Ports that are bound: what was asked for with every number filled in, and the descriptor that holds them (-1 when
    there are none)."""

    __slots__ = ("ports", "holder")

    def __init__(self, ports: list[Port], holder: int) -> None:
        self.ports = ports
        self.holder = holder

    def close(self) -> None:
        """Let go of the ports, unless the monitor has them as well."""
        fd, self.holder = self.holder, -1
        if fd >= 0:
            os.close(fd)


def bind(settings: Settings, ports: Sequence[Port], ipv6: bool) -> Bound:
    """Bind all ports. ipv6: those of all addresses are those of IPv6, too.

    Raises RemoraError naming the first that can't be had, and who has it; or one of IPv6 that would lead nowhere.
    """
    for port in ports:
        if ":" in port["host_ip"] and not ipv6:
            raise RemoraError(
                f"publishing port [{port['host_ip']}]:{port['host_port'] or 'any'}/{port['protocol']}: none of the "
                "container's networks has IPv6",
                "`remora network create --ipv6` makes one that has",
            )
    sockets: list[int] = []
    resolved: list[Port] = []
    try:
        for port in ports:
            resolved.append(_bind(settings, port, ipv6, sockets))
        return Bound(resolved, _in_flight(sockets) if sockets else -1)
    finally:
        for fd in sockets:
            os.close(fd)


def _bind(settings: Settings, port: Port, ipv6: bool, sockets: list[int]) -> Port:
    if port["host_port"]:
        for number in range(port["host_port"], port["host_port"] + port["range"]):
            try:
                _bind_all(port, number, ipv6, sockets)
            except OSError as error:
                raise _error(settings, port, number, error) from None
        return port
    for attempt in range(TRIES):
        made: list[int] = []
        try:
            number = _bind_all(port, 0, ipv6, made)
        except OSError as error:
            for fd in made:
                os.close(fd)
            # Free for IPv4 is not free for IPv6.
            if error.errno != errno.EADDRINUSE or attempt == TRIES - 1:
                raise _error(settings, port, 0, error) from None
            continue
        sockets += made
        return {**port, "host_port": number}
    raise AssertionError


def _bind_all(port: Port, number: int, ipv6: bool, sockets: list[int]) -> int:
    """Bind one port in each family that it is for; its number."""
    hosts = [port["host_ip"]] if port["host_ip"] else ["0.0.0.0", *(["::"] if ipv6 else [])]
    for host in hosts:
        number = _bind_one(port["protocol"], host, number, sockets)
    return number


def _bind_one(protocol: str, host: str, number: int, sockets: list[int]) -> int:
    family = 6 if ":" in host else 4
    kind, which = KINDS[protocol]
    try:
        made = _socket.socket(addresses.FAMILIES[family], kind, which)
    except OSError as error:
        if protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT) and number:
            return number  # a kernel without SCTP sockets redirects it all the same
        raise
    try:
        if family == 6:
            made.setsockopt(_socket.IPPROTO_IPV6, IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # Connections of a server that was here before may still be timing out; listening keeps the next one away.
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        made.bind((host, number))
        if protocol != "udp":
            made.listen(1)
        chosen = int(made.getsockname()[1])
    except BaseException:
        made.close()
        raise
    sockets.append(made.detach())
    return chosen


def _in_flight(sockets: Sequence[int]) -> int:
    """A socket that has these in its queue."""
    sender, receiver = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        for at in range(0, len(sockets), PACKET_MAX):
            packet = b"".join(fd.to_bytes(4, "little") for fd in sockets[at : at + PACKET_MAX])
            sender.sendmsg([b"p"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packet)])
        return receiver.detach()
    except OSError as error:
        raise RemoraError(f"publishing {len(sockets)} ports: {error.strerror}", "publish fewer ports") from None
    finally:
        sender.close()
        receiver.close()


# ---- who has it ------------------------------------------------------------------------------


def _error(settings: Settings, port: Port, number: int, error: OSError) -> RemoraError:
    host = port["host_ip"] or "0.0.0.0"
    shown = f"[{host}]" if ":" in host else host
    what = f"publishing port {shown}:{number or 'any'}/{port['protocol']}"
    if error.errno == errno.EADDRINUSE:
        by = owner(settings, port["protocol"], number)
        return RemoraError(f"{what}: address already in use{by}", "choose another port, or end what has it", IN_USE)
    if error.errno == errno.EADDRNOTAVAIL:
        return RemoraError(f"{what}: {host} is no address of this host", "`ip address` lists them", IN_USE)
    if error.errno in (errno.EACCES, errno.EPERM):
        return RemoraError(f"{what}: permission denied", "ports below 1024 need root", IN_USE)
    return RemoraError(f"{what}: {(error.strerror or str(error)).lower()}", status=IN_USE)


def owner(settings: Settings, protocol: str, number: int) -> str:
    """Who has a port of the host: ` by container web`, ` by nginx (pid 7)`, "" when it can't be told."""
    inodes = _inodes(protocol, number)
    container = _container(settings, protocol, number)
    if container:
        return f" by container {container}"
    if not inodes:
        return ""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _has(int(entry), inodes):
            return f" by {_name(entry)} (pid {entry})"
    return ""


def _inodes(protocol: str, number: int) -> set[str]:
    """The inodes of the sockets that wait at a port (/proc/net/tcp: local address, state, inode)."""
    found = set()
    for file in (protocol, protocol + "6"):
        try:
            with open(f"/proc/self/net/{file}", encoding="ascii") as opened:
                lines = opened.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == number and fields[3] == WAITING.get(protocol):
                found.add(f"socket:[{fields[9]}]")
    return found


def _has(pid: int, inodes: set[str]) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                return True
    except OSError:
        pass
    return False


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a process"


def _container(settings: Settings, protocol: str, number: int) -> str:
    """The name of the container of ours that has published the port: its socket is in no process's table."""
    from remora.frontend.container import record as records
    from remora.frontend.networks import status

    for container_id in records.ids(settings):
        for port in status.ports(settings, container_id):
            first = port["host_port"]
            if port["protocol"] == protocol and first <= number < first + port["range"]:
                try:
                    return records.load(settings, container_id).name
                except RemoraError:
                    return container_id[:12]
    return ""
