"""`NetworkSettings` and `PortBindings` of `inspect`, as Podman and Docker have them."""

from __future__ import annotations

from remora.frontend.networks import status
from remora.frontend.output.template.values import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Port, Spec
    from remora.frontend.networks.status import Attachment
    from remora.frontend.settings import Settings


def settings_of(settings: Settings, spec: Spec, found: dict[str, object]) -> dict[str, object]:
    """Fill in what is in effect. found: all keys, empty."""
    now = status.read(settings, spec["id"])
    ports = now["ports"] or spec["ports"]
    found["Ports"] = Map({**dict.fromkeys(spec["exposed"]), **bindings(ports)})
    if now["networks"]:
        found["SandboxKey"] = f"{settings.data_dir(spec['id'])}/ns/network"
        first = next(iter(now["networks"].values()))
        found.update(_addresses(first))
    networks = {use["name"]: _none() for use in spec["networks"]}
    networks.update({name: _network(name, entry) for name, entry in now["networks"].items()})
    for name, entry in networks.items():
        entry["NetworkID"] = name
    found["Networks"] = Map(networks)
    return found


def bindings(ports: Sequence[Port]) -> dict[str, object]:
    """`80/tcp`: where on the host it is published."""
    found: dict[str, object] = {}
    for port in ports:
        for at in range(port["range"]):
            key = f"{port['container_port'] + at}/{port['protocol']}"
            number = str(port["host_port"] + at) if port["host_port"] else ""
            entry = {"HostIp": port["host_ip"], "HostPort": number}
            others = found.get(key)
            found[key] = [*others, entry] if isinstance(others, list) else [entry]
    return found


def _none() -> dict[str, object]:
    """A network that a container will have when it runs."""
    return {
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
        "NetworkID": "",
        "DriverOpts": None,
        "IPAMConfig": None,
        "Links": None,
        "Aliases": [],
    }


def _network(name: str, entry: Attachment) -> dict[str, object]:
    return {**_none(), **_addresses(entry), "NetworkID": name, "Aliases": entry["aliases"]}


def _addresses(entry: Attachment) -> dict[str, object]:
    """The first address and gateway of each family."""
    found: dict[str, object] = {"MacAddress": entry["mac"]}
    for address in reversed(entry["addresses"]):
        host, _, prefix = address.partition("/")
        if ":" in host:
            found["GlobalIPv6Address"], found["GlobalIPv6PrefixLen"] = host, int(prefix)
        else:
            found["IPAddress"], found["IPPrefixLen"] = host, int(prefix)
    for gateway in reversed(entry["gateways"]):
        found["IPv6Gateway" if ":" in gateway else "Gateway"] = gateway
    return found
