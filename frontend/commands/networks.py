"""`remora network create`, `ls`, `inspect`, `rm`, `prune` and `exists`.

Exit status of rm: 1 when there is no such network, 2 when containers use it and --force was not given; of exists: 0 or
1 (as Podman's).
"""

from __future__ import annotations

import sys

from remora.frontend.commands import selection
from remora.frontend.commands.prune import sure
from remora.frontend.errors import RemoraError
from remora.frontend.networks import definitions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.networks.definitions import Network
    from remora.frontend.settings import Settings

EXAMPLE_network_create = "remora network create --subnet 10.90.1.0/24 --ipv6 backend"
EXAMPLE_network_ls = "remora network ls --filter driver=bridge"
EXAMPLE_network_inspect = "remora network inspect -f '{{range .Subnets}}{{.Subnet}}{{end}}' backend"
EXAMPLE_network_rm = "remora network rm --force backend"
EXAMPLE_network_prune = "remora network prune --force"
EXAMPLE_network_exists = "remora network exists backend || remora network create backend"
ABSENT = 1
USED = 2
SHORT = 12
INDENT = 5
COLUMNS = "table {{.ID}}\t{{.Name}}\t{{.Driver}}"
HEADINGS = {"ID": "NETWORK ID"}


# ---- create ----------------------------------------------------------------------------------


def add_arguments_network_create(parser: ArgumentParser) -> None:
    parser.add_argument("--disable-dns", action="store_true", help="No name resolution among its containers")
    parser.add_argument("--dns", action="append", metavar="ADDRESS", help="Name server for what is not a container")
    parser.add_argument(
        "--driver",
        "-d",
        default="bridge",
        metavar="DRIVER",
        help="bridge, macvlan or ipvlan",
        complete="bridge macvlan ipvlan",
    )
    parser.add_argument("--gateway", action="append", metavar="ADDRESS", help="Gateway, for each --subnet in turn")
    parser.add_argument("--ignore", action="store_true", help="A network that is there already is no error")
    parser.add_argument("--interface-name", default="", metavar="NAME", help="Name of the bridge")
    parser.add_argument("--internal", action="store_true", help="No way out of it")
    text = "Addresses for containers, as 10.90.1.128/25 or FIRST-LAST, for each --subnet in turn"
    parser.add_argument("--ip-range", action="append", metavar="RANGE", help=text)
    parser.add_argument("--ipam-driver", default="", metavar="DRIVER", help="Who gives addresses: host-local")
    parser.add_argument("--ipv6", action="store_true", help="Also a subnet of IPv6")
    parser.add_argument("--label", action="append", metavar="KEY=VALUE", help="Label of the network")
    text = "Option of the driver: mtu, vlan, isolate; parent, mode (macvlan, ipvlan)"
    parser.add_argument("--opt", "-o", action="append", metavar="KEY=VALUE", help=text)
    parser.add_argument(
        "--subnet", action="append", metavar="SUBNET", help="Subnet, as 10.90.1.0/24 (default: a free one)"
    )
    parser.add_argument("name", nargs="?", default="", metavar="NAME")


def run_network_create(arguments: Namespace, settings: Settings) -> int:
    """Make the network and print its name."""
    from remora.frontend.networks import creation
    from remora.frontend.options import values

    asked = creation.Asked(arguments.name)
    asked.driver = arguments.driver
    asked.subnets, asked.gateways, asked.ranges = arguments.subnet, arguments.gateway, arguments.ip_range
    asked.ipv6, asked.internal, asked.dns = arguments.ipv6, arguments.internal, not arguments.disable_dns
    asked.dns_servers = arguments.dns
    asked.labels = dict(values.pair("--label", text) for text in arguments.label)
    asked.options = dict(values.pair("--opt", text) for text in arguments.opt)
    asked.ipam_driver, asked.interface = arguments.ipam_driver, arguments.interface_name
    selection.put(creation.create(settings, asked, ignore=arguments.ignore))
    return 0


# ---- ls, inspect, exists -----------------------------------------------------------------------


def add_arguments_network_ls(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--filter",
        "-f",
        action="append",
        metavar="KEY=VALUE",
        help="Only networks that match",
        complete="@networkfilter",
    )
    parser.add_argument("--format", default="", metavar="FORMAT", help="json, table COLUMNS or a Go template")
    parser.add_argument("--no-trunc", action="store_true", help="Whole ids")
    parser.add_argument("--noheading", "-n", action="store_true", help="No headings")
    parser.add_argument("--quiet", "-q", action="store_true", help="Only names")


def run_network_ls(arguments: Namespace, settings: Settings) -> int:
    """Print the table, the names, JSON, or what a template makes of each."""
    from remora.frontend.networks import describe, users

    if arguments.quiet and arguments.format:
        raise RemoraError("--quiet and --format exclude each other", "leave out one of them")
    filters = describe.Filters(arguments.filter)
    broken: list[RemoraError] = []
    networks = definitions.everything(settings, broken)
    used = users.by_network(settings) if "dangling" in filters.values else {}
    networks = [network for network in networks if filters.matches(network, network["name"] in used)]
    for error in broken:
        selection.say(str(error))
    if arguments.quiet:
        sys.stdout.write("".join(network["name"] + "\n" for network in networks))
    elif arguments.format == "json":
        from json import dumps

        sys.stdout.write(dumps(networks, indent=INDENT, ensure_ascii=False) + "\n")
    else:
        from remora.frontend.output.rows import render

        form = COLUMNS if arguments.format in ("", "table") else arguments.format
        shown = [describe.fields(network) for network in networks]
        for row in shown:
            if not arguments.no_trunc:
                row["ID"] = str(row["ID"])[:SHORT]
        sys.stdout.write(render(form, shown, HEADINGS, not arguments.noheading))
    return 0


def add_arguments_network_inspect(parser: ArgumentParser) -> None:
    parser.add_argument("--format", "-f", default="json", metavar="FORMAT", help="json (default) or a Go template")
    parser.add_argument("networks", nargs="+", metavar="NETWORK")


def run_network_inspect(arguments: Namespace, settings: Settings) -> int:
    """Print what is found; 125 when something is not there (what is there is printed all the same)."""
    from remora.frontend.networks import describe, users

    used = users.by_network(settings)
    outcome = selection.Outcome()
    found: list[dict[str, object]] = []
    for name in arguments.networks:
        try:
            network = definitions.find(settings, name)
        except RemoraError as error:
            outcome.failed(error)
            continue
        found.append(describe.whole(settings, network, used.get(network["name"], [])))
    if arguments.format == "json":
        from json import dumps

        selection.put(dumps(found, indent=INDENT, ensure_ascii=False))
        return outcome.status
    from remora.frontend.output.rows import unescape
    from remora.frontend.output.template.evaluate import Template

    template = Template(unescape(arguments.format))
    for value in found:
        selection.put(template.render(describe.fields(value)))
    return outcome.status


def add_arguments_network_exists(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK")


def run_network_exists(arguments: Namespace, settings: Settings) -> int:
    """0 when it is there, else 1."""
    try:
        definitions.find(settings, arguments.network)
    except definitions.NoSuchNetwork:
        return ABSENT
    return 0


# ---- rm, prune ---------------------------------------------------------------------------------


def add_arguments_network_rm(parser: ArgumentParser) -> None:
    parser.add_argument("--force", "-f", action="store_true", help="Also remove the containers that use it")
    text = "Seconds before containers are killed, with --force"
    parser.add_argument("--time", "-t", type=int, default=None, metavar="SECONDS", help=text)
    parser.add_argument("networks", nargs="+", metavar="NETWORK")


def run_network_rm(arguments: Namespace, settings: Settings) -> int:
    """Remove each and print its name."""
    _sweep(settings)
    outcome = selection.Outcome()
    for name in arguments.networks:
        if outcome.attempt(_remove, settings, name, arguments):
            selection.put(name)
    return outcome.status


def _sweep(settings: Settings) -> None:
    """Undo what killed monitors and starts have left: no bridge outlives its network."""
    from remora.frontend.container import cleanup

    cleanup.sweep(settings)


def _remove(settings: Settings, given: str, arguments: Namespace) -> None:
    from remora.frontend.networks import users

    try:
        network = definitions.find(settings, given)
    except definitions.NoSuchNetwork:
        if arguments.force:
            return
        raise definitions.NoSuchNetwork(given, ABSENT) from None
    name = network["name"]
    if name == definitions.default_name(settings):
        raise RemoraError(f"default network {name} cannot be removed", "containers use it when nothing is said")
    records = users.by_network(settings).get(name, [])
    if records and not arguments.force:
        names = ", ".join(record.name for record in records[:4]) + (" …" if len(records) > 4 else "")
        raise RemoraError(
            f'"{name}" has associated containers with it ({names}): network is being used',
            f"`remora network rm --force {name}` removes them, too",
            USED,
        )
    if records:
        _remove_containers(settings, records, arguments)
    _delete(settings, network)


def _remove_containers(settings: Settings, records: list[ContainerRecord], arguments: Namespace) -> None:
    from remora.frontend.arguments import ArgumentParser
    from remora.frontend.commands import rm

    parser = ArgumentParser("remora rm")
    rm.add_arguments(parser)
    words = ["--force", "--ignore", *(["--time", str(arguments.time)] if arguments.time is not None else [])]
    status = rm.remove(parser.parse_args([*words, *(record.id for record in records)]), settings, lambda _: None)
    if status:
        raise RemoraError("not all of its containers could be removed", status=status)


def _delete(settings: Settings, network: Network) -> None:
    from remora.frontend.networks import leases

    with definitions.Lock(settings):
        definitions.delete(settings, network)
    leases.forget(settings, network["name"])


def add_arguments_network_prune(parser: ArgumentParser) -> None:
    parser.add_argument("--filter", action="append", metavar="KEY=VALUE", help="Only networks that match: label, until")
    parser.add_argument("--force", "-f", action="store_true", help="Do not ask")


def run_network_prune(arguments: Namespace, settings: Settings) -> int:
    """Remove the networks that no container uses, but for the default one; print their names."""
    from remora.frontend.networks import describe, users

    filters = describe.Filters(arguments.filter, ("label", "until"))
    if not arguments.force and not sure("This will remove all networks not used by at least one container."):
        return 0
    _sweep(settings)
    used = users.by_network(settings)
    outcome = selection.Outcome()
    for network in definitions.everything(settings):
        name = network["name"]
        if name in used or name == definitions.default_name(settings) or not filters.matches(network, False):
            continue
        if outcome.attempt(_delete, settings, network):
            selection.put(name)
    return outcome.status
