"""What the networks of a running container came to: `<run>/<id>/network`, JSON, which goes with the run folder.

Written at the start, before the monitor has the container, and replaced by `network connect` and `disconnect`.
"""

from __future__ import annotations

import os

from remora.frontend import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from remora.frontend.container.spec import Port
    from remora.frontend.settings import Settings

    class Attachment(TypedDict):
        """One network: its id, the interface in the container, addresses with their prefixes, gateways where the
        network has them, aliases in effect."""

        id: str
        interface: str
        mac: str
        addresses: list[str]
        gateways: list[str]
        aliases: list[str]

    class Status(TypedDict):
        networks: dict[str, Attachment]
        ports: list[Port]


def path(settings: Settings, container_id: str) -> str:
    """The file."""
    return settings.run_dir(container_id) + "/network"


def write(settings: Settings, container_id: str, status: Status) -> None:
    """Write the file, or replace it."""
    name = path(settings, container_id)
    fd = os.open(name + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(jsontext.dumps(status).encode())
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    os.rename(name + ".new", name)


def read(settings: Settings, container_id: str) -> Status:
    """What is in effect; empty when the container does not run, or has no network of its own."""
    try:
        with open(path(settings, container_id), "rb", buffering=0) as file:
            value = jsontext.loads(file.read(1 << 20))
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("networks"), dict):
        return {"networks": {}, "ports": []}
    return value  # type: ignore[return-value]


def ports(settings: Settings, container_id: str) -> list[Port]:
    """The published ports of a running container."""
    return read(settings, container_id)["ports"]
