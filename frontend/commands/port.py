"""`remora port`: the published ports of containers, and where each leads."""

from __future__ import annotations

from remora.frontend.commands import ps, selection
from remora.frontend.container import record as records
from remora.frontend.errors import RemoraError
from remora.frontend.networks import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Port
    from remora.frontend.settings import Settings

EXAMPLE = "remora port web 80/tcp"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="All containers that run")
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("container", nargs="?", metavar="CONTAINER", complete="@running")
    parser.add_argument("port", nargs="?", metavar="PORT[/PROTOCOL]")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print a line for each: `80/tcp -> 0.0.0.0:8080`, or, of the port named, where it is published."""
    if arguments.all:
        if arguments.container or arguments.latest:
            raise RemoraError("--all excludes names and --latest", "leave out one of them")
        for record in sorted(records.records(settings), key=lambda record: record.spec["created_ns"]):
            for port in status.read(settings, record.id)["ports"]:
                _put(port, f"{record.id[:12]}\t")
        return 0
    name, wanted = arguments.container, arguments.port
    if arguments.latest:
        name, wanted = "", name
    elif not name:
        raise RemoraError("the name or ID of a container is missing", "`remora ps` lists those that run")
    record = records.find(settings, name) if name else selection.latest(settings)
    ports = ps.ports(settings, record)
    if wanted:
        return _only(record, ports, wanted)
    for port in ports:
        _put(port, "")
    return 0


def _put(port: Port, before: str) -> None:
    for at in range(port["range"]):
        selection.put(f"{before}{port['container_port'] + at}/{port['protocol']} -> {_host(port, at)}")


def _host(port: Port, at: int) -> str:
    host = port["host_ip"] or "0.0.0.0"
    number = port["host_port"] + at if port["host_port"] else 0
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _only(record: ContainerRecord, ports: list[Port], text: str) -> int:
    number, _, protocol = text.partition("/")
    if not number.isdecimal():
        raise RemoraError(f'"{text}" is no port', "PORT or PORT/PROTOCOL, as 80/tcp")
    found = False
    for port in ports:
        at = int(number) - port["container_port"]
        if 0 <= at < port["range"] and port["protocol"] == (protocol or "tcp"):
            selection.put(_host(port, at))
            found = True
    if not found:
        raise RemoraError(
            f'no port "{text}" of container {record.name} is published', "`remora port` lists those that are"
        )
    return 0
