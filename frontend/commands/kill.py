"""`remora kill`: send a signal to containers."""

from __future__ import annotations

from remora.frontend.commands import selection
from remora.frontend.container import control
from remora.frontend.options.values import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

EXAMPLE = "remora kill --signal HUP web"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--signal", "-s", default="KILL", metavar="SIGNAL", help="Signal to send (default KILL)", complete="@signal"
    )
    selection.add_arguments(parser, "All running containers", cidfile=True, complete="@running")


def run(arguments: Namespace, settings: Settings) -> int:
    """Send the signal to each and print what it was called."""
    number = signal("--signal", arguments.signal)
    outcome = selection.Outcome()
    for selected in selection.select(arguments, settings, _is_running):
        if outcome.attempt(control.kill, settings, selected.record, number):
            selection.put(selected.given)
    return outcome.status


def _is_running(state: ContainerState) -> bool:
    return state.running
