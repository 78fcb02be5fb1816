"""`remora pause`, `remora unpause`: freeze and thaw containers."""

from __future__ import annotations

from remora.frontend.commands import selection
from remora.frontend.container import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

EXAMPLE_pause = "remora pause web"
EXAMPLE_unpause = "remora unpause --all"


def add_arguments_pause(parser: ArgumentParser) -> None:
    selection.add_arguments(parser, "All running containers", cidfile=True, complete="@running")


def add_arguments_unpause(parser: ArgumentParser) -> None:
    selection.add_arguments(parser, "All paused containers", cidfile=True, complete="@paused")


def run_pause(arguments: Namespace, settings: Settings) -> int:
    """Freeze each and print what it was called."""
    return _each(arguments, settings, True)


def run_unpause(arguments: Namespace, settings: Settings) -> int:
    """Thaw each and print what it was called."""
    return _each(arguments, settings, False)


def _each(arguments: Namespace, settings: Settings, wanted: bool) -> int:
    def of_all(state: ContainerState) -> bool:
        return state.status == ("running" if wanted else "paused")

    outcome = selection.Outcome()
    for selected in selection.select(arguments, settings, of_all):
        if outcome.attempt(control.pause, settings, selected.record, wanted):
            selection.put(selected.given)
    return outcome.status
