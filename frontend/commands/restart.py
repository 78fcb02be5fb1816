"""`remora restart`: stop containers that run, and start them (again)."""

from __future__ import annotations

from remora.frontend.commands import selection, start, stop
from remora.frontend.container import control, lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

EXAMPLE = "remora restart --time 2 web"


def add_arguments(parser: ArgumentParser) -> None:
    stop.add_time(parser)
    parser.add_argument("--running", action="store_true", help="Only containers that run")
    selection.add_arguments(parser, "All containers", cidfile=True)


def run(arguments: Namespace, settings: Settings) -> int:
    """Stop all of them at once, then start one after the other and print what each was called."""
    if arguments.running and not arguments.containers:
        arguments.__dict__["all"] = True

    def of_all(state: ContainerState) -> bool:
        return state.live or not arguments.running

    outcome = selection.Outcome()
    pending = [
        (selected, control.Stop(settings, selected.record, arguments.time, keep=True))
        for selected in selection.select(arguments, settings, of_all)
    ]
    for _, stopping in pending:
        outcome.attempt(stopping.begin)
    if settings.outside:
        # What can be killed from outside only is, before the namespace in which all are started is entered.
        pending = [one for one in pending if one[1].begun and outcome.attempt(one[1].finish)]
        act = start.starter(settings, [selected.record for selected, _ in pending])
        for selected, _ in pending:
            if outcome.attempt(act, settings, selected.record):
                selection.put(selected.given)
        return outcome.status
    for selected, stopping in pending:
        if stopping.begun and outcome.attempt(_again, settings, selected.record, stopping):
            selection.put(selected.given)
    return outcome.status


def _again(settings: Settings, record: ContainerRecord, stopping: control.Stop) -> None:
    stopping.finish()
    lifecycle.start(settings, record).connection.close()
