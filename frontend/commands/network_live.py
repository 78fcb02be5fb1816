"""`remora network connect`, `disconnect` and `reload`: the networks of containers that are there already."""

from __future__ import annotations

from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.errors import RemoraError
from remora.frontend.networks import definitions, live
from remora.frontend.options import networks as options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.spec import NetworkUse
    from remora.frontend.settings import Settings

EXAMPLE_network_connect = "remora network connect --alias db backend postgres"
EXAMPLE_network_disconnect = "remora network disconnect backend postgres"
EXAMPLE_network_reload = "remora network reload --all"


def add_arguments_network_connect(parser: ArgumentParser) -> None:
    parser.add_argument("--alias", action="append", metavar="NAME", help="A further name that it answers to there")
    parser.add_argument("--ip", metavar="ADDRESS", help="Its IPv4 address there")
    parser.add_argument("--ip6", metavar="ADDRESS", help="Its IPv6 address there")
    parser.add_argument("--mac-address", metavar="ADDRESS", help="Its hardware address there")
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")


def run_network_connect(arguments: Namespace, settings: Settings) -> int:
    """Connect it: at once when it runs, and at each start from now on."""
    use: NetworkUse = {
        "name": definitions.find(settings, arguments.network)["name"],
        "aliases": [options.alias("--alias", text) for text in arguments.alias],
        "ip": options.address("--ip", arguments.ip, 4) if arguments.ip else "",
        "ip6": options.address("--ip6", arguments.ip6, 6) if arguments.ip6 else "",
        "mac": options.mac("--mac-address", arguments.mac_address) if arguments.mac_address else "",
        "interface": "",
    }
    live.connect(settings, records.find(settings, arguments.container).id, use)
    return 0


def add_arguments_network_disconnect(parser: ArgumentParser) -> None:
    text = "Also when the network is not there any more"
    parser.add_argument("--force", "-f", action="store_true", help=text)
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")


def run_network_disconnect(arguments: Namespace, settings: Settings) -> int:
    """Disconnect it: at once when it runs, and for good."""
    try:
        name = definitions.find(settings, arguments.network)["name"]
    except definitions.NoSuchNetwork:
        if not arguments.force:
            raise
        name = arguments.network
    live.disconnect(settings, records.find(settings, arguments.container).id, name)
    return 0


def add_arguments_network_reload(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="All containers that run")
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("containers", nargs="*", metavar="CONTAINER")


def run_network_reload(arguments: Namespace, settings: Settings) -> int:
    """Reload each and print its id."""
    if arguments.all and arguments.containers:
        raise RemoraError("--all and names exclude each other", "name the containers, or use --all")
    outcome = selection.Outcome()
    for one in selection.select(arguments, settings, lambda state: state.live):
        if outcome.attempt(live.reload, settings, one.record.id):
            selection.put(one.record.id)
    return outcome.status
