"""`remora start`: start containers that do not run."""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.commands import attach, selection
from remora.frontend.container import control, lifecycle, logs, terminal
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError
from remora.frontend.options import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

EXAMPLE = "remora start --attach --interactive shell"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--attach", "-a", action="store_true", help="Show its output and end with its exit code")
    parser.add_argument("--all", action="store_true", help="All containers that do not run")
    parser.add_argument("--detach-keys", metavar="KEYS", help="Keys that let go of the container")
    parser.add_argument(
        "--filter", "-f", action="append", metavar="KEY=VALUE", help="Only containers that match", complete="@filter"
    )
    parser.add_argument("--interactive", "-i", action="store_true", help="Give it our standard input")
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    text = "Pass signals on to the container (default true if attaching)"
    parser.add_argument("--sig-proxy", action="store_true", default=True, help=text)
    parser.add_argument("containers", nargs="*", metavar="CONTAINER", complete="@stopped")


def run(arguments: Namespace, settings: Settings) -> int:
    """Start each and print what it was called; with --attach be the foreground of the one."""
    selected = selection.select(arguments, settings, _is_stopped)
    if arguments.attach or arguments.interactive:
        if len(selected) != 1:
            raise RemoraError("you cannot start and attach multiple containers at once", "name one container")
        return _foreground(arguments, settings, selected[0].record)
    outcome = selection.Outcome()
    act = starter(settings, [one.record for one in selected])
    for one in selected:
        if outcome.attempt(act, settings, one.record):
            selection.put(one.given)
    return outcome.status


def starter(settings: Settings, stopped: Sequence[ContainerRecord]) -> Callable[[Settings, ContainerRecord], None]:
    """What starts each of these containers.

    A process enters one user namespace in its life: an ordinary user's containers that have to be in several are each
    started by a child.
    """
    if settings.outside and len(stopped) > 1:
        from remora.frontend.rootless import entering

        if any(entering.joins(record.spec) for record in stopped):
            return _start_apart
    return _start


def _start_apart(settings: Settings, record: ContainerRecord) -> None:
    from remora.frontend.rootless import entering

    def act() -> str:
        _start(settings, record)
        return ""

    entering.inside(settings, act, record.spec)


def _is_stopped(state: ContainerState) -> bool:
    return not state.live


def _start(settings: Settings, record: ContainerRecord) -> None:
    """Start it; one that runs already is fine."""
    state = states.derive(settings, record)
    if state.paused:
        raise RemoraError(f"container {record.name} is paused: it can't be started", f"`remora unpause {record.name}`")
    if not state.live:
        _prepare(settings, record, state)
        _enter(settings, record)
        lifecycle.start(settings, record).connection.close()
    elif state.lost:
        raise RemoraError(
            f"container {record.name} runs, but its monitor was lost",
            f"`remora restart {record.name}` gives it a new one",
        )


def _enter(settings: Settings, record: ContainerRecord) -> None:
    if settings.outside:
        from remora.frontend.rootless import entering

        entering.enter_for(settings, record.spec)


def _prepare(settings: Settings, record: ContainerRecord, state: ContainerState) -> None:
    """Let the monitor of the run before end; have the runtime forget a container whose monitor was lost."""
    if state.ending:
        monitor.wait_unlocked(record.run_dir, control.STARTING_TIME)
    # A monitor whose keeper was killed has told the end, but could not have the runtime forget the container.
    if not state.known or os.path.isdir(f"{settings.runtime_root}/{record.id}"):
        from remora.frontend.container import sweep

        sweep.delete_runtime_state(settings, record.id, record.spec["runtime"])


def _foreground(arguments: Namespace, settings: Settings, record: ContainerRecord) -> int:
    spec = record.spec
    state = states.derive(settings, record)
    if state.live:
        return attach.attach(
            settings,
            record,
            stdin=arguments.interactive,
            detach_keys=arguments.detach_keys,
            sig_proxy=arguments.sig_proxy,
        )
    _prepare(settings, record, state)
    _enter(settings, record)
    streams = [] if logs.is_passthrough(spec) else ["stdout", "stderr"]
    if streams and arguments.interactive and (spec["stdin_open"] or spec["tty"]):
        streams.insert(0, "stdin")
    rows, columns = terminal.window() if spec["tty"] else (0, 0)
    sequence = keys.parse(spec["detach_keys"] if arguments.detach_keys is None else arguments.detach_keys)
    with terminal.signals_held(arguments.sig_proxy):
        started = lifecycle.start(
            settings,
            record,
            attach=lifecycle.attachment(streams, rows=rows, columns=columns),
            rows=rows,
            columns=columns,
        )
        return lifecycle.follow(
            settings, record, started.connection, streams, detach_keys=sequence, proxy_signals=arguments.sig_proxy
        )
