"""What `network ls` and `network inspect` show: the definition, and the containers that are on the network now."""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.networks import status
from remora.frontend.output.template.values import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.networks.definitions import Network
    from remora.frontend.settings import Settings

# Go's names of the JSON keys, for templates.
FIELDS = {
    "name": "Name",
    "id": "ID",
    "driver": "Driver",
    "network_interface": "NetworkInterface",
    "created": "Created",
    "subnets": "Subnets",
    "routes": "Routes",
    "ipv6_enabled": "IPv6Enabled",
    "internal": "Internal",
    "dns_enabled": "DNSEnabled",
    "network_dns_servers": "NetworkDNSServers",
    "labels": "Labels",
    "options": "Options",
    "ipam_options": "IPAMOptions",
    "subnet": "Subnet",
    "gateway": "Gateway",
    "lease_range": "LeaseRange",
    "start_ip": "StartIP",
    "end_ip": "EndIP",
    "destination": "Destination",
    "metric": "Metric",
    "containers": "Containers",
}
MAPS = ("labels", "options", "ipam_options")
FILTERS = ("dangling", "driver", "id", "label", "name", "until")


def whole(settings: Settings, network: Network, records: Sequence[ContainerRecord]) -> dict[str, object]:
    """A network with those of its containers that run, as `inspect` shows it in JSON."""
    containers: dict[str, object] = {}
    for record in records:
        entry = status.read(settings, record.id)["networks"].get(network["name"])
        if entry is not None:
            containers[record.id] = {
                "name": record.name,
                "interfaces": {
                    entry["interface"]: {"subnets": _subnets(entry), "mac_address": entry["mac"]},
                },
            }
    return {**network, "containers": containers}


def _subnets(entry: status.Attachment) -> list[dict[str, str]]:
    gateways = {":" in gateway: gateway for gateway in entry["gateways"]}
    return [
        {"ipnet": address, **({"gateway": gateways[":" in address]} if (":" in address) in gateways else {})}
        for address in entry["addresses"]
    ]


def fields(value: object) -> dict[str, object]:
    """A network under the names that a template uses."""
    made = _renamed(value)
    assert isinstance(made, dict)
    for key, name in FIELDS.items():
        if key not in ("subnet", "gateway", "lease_range", "start_ip", "end_ip", "destination", "metric"):
            made.setdefault(name, Map() if key in MAPS else [] if key.endswith("s") else "")
    return made


def _renamed(value: object) -> object:
    if isinstance(value, dict):
        return {
            FIELDS.get(key, key): Map(item) if key in MAPS and isinstance(item, dict) else _renamed(item)
            for key, item in value.items()
        }
    return [_renamed(item) for item in value] if isinstance(value, list) else value


class Filters:
    """`--filter KEY=VALUE` of `network ls` and `prune`: any value of a key may match (labels: all), all keys must."""

    __slots__ = ("values",)

    def __init__(self, texts: Sequence[str], keys: Sequence[str] = FILTERS) -> None:
        self.values: dict[str, list[str]] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals:
                raise RemoraError(f'invalid filter "{text}"', "KEY=VALUE expected")
            if key not in keys:
                raise RemoraError(f"{key} is an invalid filter", "one of " + ", ".join(keys))
            if key == "dangling" and value not in ("true", "false"):
                raise RemoraError(f'invalid filter "{text}"', "dangling=true or dangling=false")
            self.values.setdefault(key, []).append(value)
        if "until" in self.values:
            from remora.frontend.output.when import parse

            self.values["until"] = [str(parse("--filter until", text)) for text in self.values["until"]]

    def matches(self, network: Network, used: bool) -> bool:
        """Whether a network passes all filters. used: some container is on it."""
        labels = network.get("labels") or {}

        def labelled(text: str) -> bool:
            key, equals, value = text.partition("=")
            return key in labels and (not equals or labels[key] == value)

        tests: dict[str, Callable[[str], bool]] = {
            "dangling": lambda value: used == (value == "false"),
            "driver": lambda value: network["driver"] == value,
            "id": lambda value: network["id"].startswith(value.lower()),
            "name": lambda value: _search(value, network["name"]),
            "until": lambda value: _created_ns(network) < int(value),
        }
        if not all(labelled(value) for value in self.values.get("label", [])):
            return False
        return all(any(map(tests[key], values)) for key, values in self.values.items() if key != "label")


def _search(pattern: str, text: str) -> bool:
    import re

    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise RemoraError(f'invalid filter "name={pattern}": {error}', "a regular expression is expected") from None


def _created_ns(network: Network) -> int:
    from remora.frontend.output.when import parse

    try:
        return parse("created", network["created"])
    except RemoraError:
        return 0
