"""`remora stop`: stop containers, all at once."""

from __future__ import annotations

from remora.frontend.arguments import ArgumentTypeError
from remora.frontend.commands import selection
from remora.frontend.container import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

EXAMPLE = "remora stop --time 2 web db"


def add_arguments(parser: ArgumentParser) -> None:
    add_time(parser)
    selection.add_arguments(parser, "All containers that run", cidfile=True, ignore=True, complete="@running")


def add_time(parser: ArgumentParser) -> None:
    """`--time`, shared with restart and rm."""
    text = "Seconds before it is killed (default: the container's own, 10; -1 waits for ever)"
    parser.add_argument("--time", "--timeout", "-t", type=seconds, metavar="SECONDS", help=text)


def seconds(text: str) -> int:
    """A whole number of seconds, -1 for ever."""
    try:
        value = int(text)
    except ValueError:
        value = -2
    if value < -1:
        raise ArgumentTypeError("a whole number of seconds expected, or -1")
    return value


def run(arguments: Namespace, settings: Settings) -> int:
    """Ask all of them to stop, then wait for each; one that does not run is stopped already."""
    outcome = selection.Outcome()
    pending = [
        (selected.given, control.Stop(settings, selected.record, arguments.time))
        for selected in selection.select(arguments, settings, _is_live)
    ]
    for _, stopping in pending:
        outcome.attempt(stopping.begin)
    for given, stopping in pending:
        if stopping.begun and outcome.attempt(stopping.finish):
            selection.put(given)
    return outcome.status


def _is_live(state: ContainerState) -> bool:
    return state.live
