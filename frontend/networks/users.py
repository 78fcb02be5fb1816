"""Which containers use a network: those whose request names it, and those that were connected while they ran."""

from __future__ import annotations

from remora.frontend.container import record as records
from remora.frontend.networks import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings


def names(record: ContainerRecord) -> list[str]:
    """The networks of a container: those of its request, else its mode; none with `--network none`."""
    spec = record.spec
    if spec["networks"]:
        return [use["name"] for use in spec["networks"]]
    return [] if spec["network"] == "none" else [spec["network"]]


def by_network(settings: Settings) -> dict[str, list[ContainerRecord]]:
    """The containers of each network that has any."""
    found: dict[str, list[ContainerRecord]] = {}
    for record in records.records(settings):
        used = {use["name"] for use in record.spec["networks"]} | set(status.read(settings, record.id)["networks"])
        for name in used:
            found.setdefault(name, []).append(record)
    return found
