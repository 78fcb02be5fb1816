"""Making a network: what was asked for checked, what was not filled in (names, bridge, subnets, gateways).

The rules and defaults are Podman's, for both work on the same files.
"""

from __future__ import annotations

import _socket
import os
import time

from remora.frontend.errors import RemoraError
from remora.frontend.networks import addresses, definitions
from remora.frontend.networks.addresses import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from remora.frontend.networks.definitions import LeaseRange, Network, NetworkSubnet
    from remora.frontend.settings import Settings

DRIVERS = ("bridge", "macvlan", "ipvlan")
OPTIONS = {
    "bridge": ("isolate", "mtu", "vlan"),
    "macvlan": ("mode", "mtu", "parent"),
    "ipvlan": ("mode", "mtu", "parent"),
}
MODES = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
DOCKERS = {"com.docker.network.driver.mtu": "mtu", "com.docker.network.bridge.mtu": "mtu"}
DOCKER_BRIDGE = "com.docker.network.bridge.name"
BRIDGES = 1 << 16
INTERFACE_LENGTH = 15
RESERVED = ("bridge", "container", "default", "host", "none", "ns", "pasta", "private", "slirp4netns")
POOLS = (("10.89.0.0/16", 24), ("10.90.0.0/15", 24), ("10.92.0.0/14", 24), ("10.96.0.0/11", 24), ("10.128.0.0/9", 24))
ULA = 0xFD << 120


class Asked:
    """What the user asked for, as typed; subnets, gateways and ranges belong together by their place."""

    __slots__ = (
        "name",
        "driver",
        "subnets",
        "gateways",
        "ranges",
        "ipv6",
        "internal",
        "dns",
        "dns_servers",
        "labels",
        "options",
        "ipam_driver",
        "interface",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.driver = "bridge"
        self.subnets: Sequence[str] = ()
        self.gateways: Sequence[str] = ()
        self.ranges: Sequence[str] = ()
        self.ipv6 = False
        self.internal = False
        self.dns = True
        self.dns_servers: Sequence[str] = ()
        self.labels: dict[str, str] = {}
        self.options: dict[str, str] = {}
        self.ipam_driver = ""
        self.interface = ""


def create(settings: Settings, asked: Asked, *, ignore: bool = False) -> str:
    """Make the network; its name. ignore: one that is there already is no error.

    Raises RemoraError for what makes no sense, is taken, or overlaps with a subnet in use.
    """
    _check_words(asked)
    with definitions.Lock(settings):
        known = definitions.everything(settings)
        if asked.name and any(network["name"] == asked.name for network in known):
            if ignore:
                return asked.name
            raise RemoraError(
                f"network name {asked.name} already used: network already exists",
                f"choose another name, or `remora network rm {asked.name}` first",
            )
        network = _make(settings, asked, known)
        definitions.save(settings, network)
    return network["name"]


def _check_words(asked: Asked) -> None:
    if asked.name and not definitions.is_name(asked.name):
        raise RemoraError(
            f'"{asked.name}" is no name for a network', "letters, digits, _, . and -, a letter or digit first"
        )
    if asked.name in RESERVED:
        raise RemoraError(f'a network can\'t be called "{asked.name}": that is a mode of --network')
    if asked.driver not in DRIVERS:
        raise _unknown("driver", asked.driver, DRIVERS)
    if asked.ipam_driver not in ("", "host-local"):
        what = f'addresses by "{asked.ipam_driver}"' if asked.ipam_driver in ("dhcp", "none") else asked.ipam_driver
        raise RemoraError(f"--ipam-driver: {what} can't be had here", "leave it out, and give a --subnet")
    for key, value in asked.options.items():
        _check_option(asked.driver, key, value)
    for server in asked.dns_servers:
        if not addresses.is_address(server):
            raise RemoraError(f'--dns "{server}" is no address', "give the address of a name server")


def _check_option(driver: str, key: str, value: str) -> None:
    if key == DOCKER_BRIDGE and driver == "bridge":
        return
    key = DOCKERS.get(key, key)
    if key not in OPTIONS[driver]:
        raise _unknown(f"option of a {driver} network", key, OPTIONS[driver])
    expected = ""
    if key == "mtu" and not (value.isdecimal() and 68 <= int(value) <= 65535):
        expected = "bytes from 68 to 65535"
    elif key == "vlan" and not (value.isdecimal() and 1 <= int(value) <= 4094):
        expected = "a number from 1 to 4094"
    elif key == "isolate" and value not in ("true", "false", "1", "0"):
        expected = "true or false"
    elif key == "mode" and value not in MODES[driver]:
        expected = "one of " + ", ".join(MODES[driver])
    if expected:
        raise RemoraError(f'invalid value "{value}" for --opt {key}', expected)


def _unknown(what: str, given: str, known: Sequence[str]) -> RemoraError:
    from difflib import get_close_matches

    near = get_close_matches(given, known, 1, 0.6)
    return RemoraError(
        f'unknown {what} "{given}"', f"did you mean {near[0]}?" if near else "one of " + ", ".join(known)
    )


def _make(settings: Settings, asked: Asked, known: list[Network]) -> Network:
    options = {DOCKERS.get(key, key): value for key, value in asked.options.items() if key != DOCKER_BRIDGE}
    interface = asked.interface or asked.options.get(DOCKER_BRIDGE, "")
    if asked.driver == "bridge":
        interface = _bridge(interface, known)
        name = asked.name or interface
    else:
        if interface:
            raise RemoraError(f"a {asked.driver} network has no bridge to be named", "use --opt parent=INTERFACE")
        interface = options.pop("parent", "")
        _check_parent(asked.driver, interface)
        name = asked.name or _free_name(known)
    if "isolate" in options:
        options["isolate"] = "true" if options["isolate"] in ("true", "1") else "false"
    subnets = _subnets(settings, asked, known)
    bridge_dns = asked.dns and asked.driver == "bridge" and not asked.internal
    network: Network = {
        "name": name,
        "id": os.urandom(32).hex(),
        "driver": asked.driver,
        "network_interface": interface,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z",
        "subnets": subnets,
        "ipv6_enabled": any(":" in subnet["subnet"] for subnet in subnets),
        "internal": asked.internal,
        "dns_enabled": bridge_dns,
    }
    if asked.dns_servers:
        if not bridge_dns:
            raise RemoraError(
                "--dns needs a bridge network with name resolution", "leave out --disable-dns, --internal"
            )
        network["network_dns_servers"] = list(asked.dns_servers)
    if asked.labels:
        network["labels"] = asked.labels
    if options:
        network["options"] = options
    network["ipam_options"] = {"driver": "host-local"}
    return network


# ---- names -----------------------------------------------------------------------------------


def _bridge(asked: str, known: list[Network]) -> str:
    """The name of the bridge: the one asked for, or the first `podman<N>` that is free."""
    networks = {network.get("network_interface", ""): network["name"] for network in known}
    if asked:
        if len(asked) > INTERFACE_LENGTH or not definitions.is_name(asked):
            raise RemoraError(
                f'"{asked}" is no name for a bridge', f"letters, digits, _, . and -, at most {INTERFACE_LENGTH}"
            )
        if asked in networks:
            raise RemoraError(f"bridge name {asked} already in use by network {networks[asked]}", "choose another name")
        return asked
    taken = {*networks, *(name for _, name in _socket.if_nameindex())}
    taken.update(network["name"] for network in known)
    return next(name for number in range(1, BRIDGES) if (name := f"podman{number}") not in taken)


def _free_name(known: list[Network]) -> str:
    taken = {network["name"] for network in known}
    return next(name for number in range(1, BRIDGES) if (name := f"podman{number}") not in taken)


def _check_parent(driver: str, parent: str) -> None:
    if not parent:
        return  # netavark takes the interface of the default route
    interfaces = [name for _, name in _socket.if_nameindex()]
    if parent not in interfaces:
        raise RemoraError(f"parent interface {parent} does not exist", "one of " + ", ".join(sorted(interfaces)))


# ---- subnets ---------------------------------------------------------------------------------


class Used:
    """The subnets that networks and the host have, each with whose it is."""

    __slots__ = ("entries",)

    def __init__(self, known: list[Network]) -> None:
        self.entries: list[tuple[Subnet, str]] = []
        for network in known:
            for subnet in network.get("subnets") or []:
                self.entries.append((addresses.parse_subnet(subnet["subnet"]), f"network {network['name']}"))
        bridges = {network.get("network_interface") for network in known}
        for route, interface in _routes():
            if interface not in bridges:
                self.entries.append((route, f"the host, by a route of {interface}"))

    def by(self, subnet: Subnet) -> str:
        """Who has some of it; "" when nobody has."""
        return next((owner for used, owner in self.entries if used.overlaps(subnet)), "")


def _routes() -> Iterator[tuple[Subnet, str]]:
    """The host's routes but for the default ones (/proc/net/route, /proc/net/ipv6_route)."""
    for line in _lines("/proc/self/net/route")[1:]:
        fields = line.split()
        mask = int.from_bytes(bytes.fromhex(fields[7])[::-1], "big")
        if mask:
            yield Subnet(4, int.from_bytes(bytes.fromhex(fields[1])[::-1], "big"), mask.bit_count()), fields[0]
    for line in _lines("/proc/self/net/ipv6_route"):
        fields = line.split()
        prefix = int(fields[1], 16)
        link_or_multicast = int(fields[0][:2], 16) >= 0xFE
        if prefix and not link_or_multicast:
            yield Subnet(6, int(fields[0], 16), prefix), fields[9]


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().splitlines()
    except OSError:
        return []  # no IPv6


def _subnets(settings: Settings, asked: Asked, known: list[Network]) -> list[NetworkSubnet]:
    used = Used(known)
    if not asked.subnets and (asked.gateways or asked.ranges):
        raise RemoraError("--gateway and --ip-range need a --subnet", "give the subnet that they lie in")
    if len(asked.gateways) > len(asked.subnets) or len(asked.ranges) > len(asked.subnets):
        raise RemoraError("there are more gateways or ranges than subnets", "give one --subnet for each, in that order")
    made = []
    for at, text in enumerate(asked.subnets):
        try:
            subnet = addresses.parse_subnet(text)
        except ValueError:
            raise RemoraError(f'--subnet "{text}" is no subnet', "ADDRESS/PREFIX, as 10.89.1.0/24") from None
        if subnet.host_bits < 2:
            raise RemoraError(f"--subnet {subnet} is too small", "it needs room for a gateway and a container")
        owner = used.by(subnet)
        if owner:
            raise RemoraError(f"subnet {subnet} is already used on the host or by another config: by {owner}")
        used.entries.append((subnet, "another --subnet of this command"))
        gateway = asked.gateways[at] if at < len(asked.gateways) else ""
        ranges = asked.ranges[at] if at < len(asked.ranges) else ""
        made.append(_subnet(subnet, gateway, ranges, not asked.internal))
    if not made:
        made.append(_subnet(_free4(settings, used), "", "", not asked.internal))
    if asked.ipv6 and not any(":" in subnet["subnet"] for subnet in made):
        made.append(_subnet(_free6(used), "", "", not asked.internal))
    return made


def _subnet(subnet: Subnet, gateway: str, lease_range: str, with_gateway: bool) -> NetworkSubnet:
    made: NetworkSubnet = {"subnet": str(subnet)}
    if gateway:
        try:
            family, number = addresses.parse(gateway)
        except ValueError:
            raise RemoraError(f'--gateway "{gateway}" is no address', "as 10.89.1.1") from None
        if family != subnet.family or not subnet.lowest_host <= number <= subnet.highest_host:
            raise RemoraError(
                f"gateway {gateway} is no host's address in subnet {subnet}", "choose one that lies in it"
            )
        made["gateway"] = addresses.text(family, number)
    elif with_gateway:
        made["gateway"] = addresses.text(subnet.family, subnet.lowest_host)
    if lease_range:
        made["lease_range"] = _range(subnet, lease_range)
    return made


def _range(subnet: Subnet, given: str) -> LeaseRange:
    """`ADDRESS/PREFIX` or `FIRST-LAST`; without the addresses that no host may have."""
    try:
        first, dash, last = given.partition("-")
        if dash:
            (family, start), (other, end) = addresses.parse(first), addresses.parse(last)
        else:
            inner = addresses.parse_subnet(given)
            family = other = inner.family
            start, end = inner.base, inner.last
    except ValueError:
        raise RemoraError(f'--ip-range "{given}" is no range', "as 10.89.1.128/25 or 10.89.1.10-10.89.1.20") from None
    if family != other or family != subnet.family or not (subnet.holds(start) and subnet.holds(end)) or start > end:
        raise RemoraError(f"ip range {given} does not lie in subnet {subnet}", "choose one that does")
    start, end = max(start, subnet.lowest_host), min(end, subnet.highest_host)
    return {"start_ip": addresses.text(family, start), "end_ip": addresses.text(family, end)}


def _free4(settings: Settings, used: Used) -> Subnet:
    """The first subnet of the pools that nobody has."""
    for text, size in _pools(settings):
        pool = addresses.parse_subnet(text)
        for number in range(1 << (size - pool.prefix)):
            subnet = Subnet(pool.family, pool.base + (number << (addresses.BITS[pool.family] - size)), size)
            if not used.by(subnet):
                return subnet
    raise RemoraError("there is no free subnet left in the pools", "give one with --subnet")


def _pools(settings: Settings) -> list[tuple[str, int]]:
    given = settings.conf.tables("network", "default_subnet_pools")
    if not given:
        return list(POOLS)
    pools = []
    for item in given:
        base, size = item.get("base"), item.get("size")
        try:
            pool = addresses.parse_subnet(str(base))
            if not isinstance(size, int) or not pool.prefix <= size <= addresses.BITS[pool.family] - 2:
                raise ValueError(f"size {size} does not fit {base}")
        except ValueError as error:
            raise RemoraError(f"{settings.conf.where('network', 'default_subnet_pools')}: {error}") from None
        pools.append((str(pool), size))
    return pools


def _free6(used: Used) -> Subnet:
    """A subnet of unique local addresses, by chance (RFC 4193)."""
    while True:
        number = ULA | int.from_bytes(os.urandom(7), "big") << 64
        subnet = Subnet(6, number, 64)
        if not used.by(subnet):
            return subnet
