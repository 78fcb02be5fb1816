"""`remora wait`: wait until containers end and print their exit codes, one a line, in the order given.

The monitors push: every container is asked first, then the answers are read. A container that is gone (`--rm`)
is answered from its record in `<run>/ended`, kept for a while for those who come late.
"""

from __future__ import annotations

import os
import time

from remora import monitor
from remora.frontend.commands import selection
from remora.frontend.container import control
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import NoSuchContainer, RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings
    from remora.monitor import Connection

EXAMPLE = "code=$(remora wait web)"
EXITED, RUNNING, REMOVED = "exited", "running", "removed"
CONDITIONS = {"exited": EXITED, "stopped": EXITED, "not-running": EXITED, "running": RUNNING, "removed": REMOVED}
UNKNOWN = "unknown"
NONE = "-1"  # what stands for the exit code of a container that has none (Podman's answer to --condition running)


class Waiting:
    """One container that is waited for. code: the answer, None as long as there is none; record: None when it is
    known from `<run>/ended` only."""

    __slots__ = ("id", "given", "record", "connection", "code")

    def __init__(self, container_id: str, given: str, record: ContainerRecord | None) -> None:
        self.id = container_id
        self.given = given
        self.record = record
        self.connection: Connection | None = None
        self.code: str | None = None


def add_arguments(parser: ArgumentParser) -> None:
    text = "exited (default, also: stopped), running or removed"
    parser.add_argument("--condition", action="append", metavar="CONDITION", help=text, complete=" ".join(CONDITIONS))
    text = "How often to look for a container that is not started yet (default 250ms); an end is never polled for"
    parser.add_argument("--interval", "-i", default="250ms", metavar="TIME", help=text)
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("containers", nargs="*", metavar="CONTAINER")


def run(arguments: Namespace, settings: Settings) -> int:
    """Wait for all; 125 when the code of one is unknown."""
    condition = EXITED
    for text in arguments.condition:
        if text not in CONDITIONS:
            raise RemoraError(f"unknown container state: {text}: invalid argument", "one of " + ", ".join(CONDITIONS))
        condition = CONDITIONS[text]
    interval = _interval(arguments.interval)
    pending = _pending(arguments, settings)
    for waiting in pending:
        _ask(settings, waiting, condition)
    status = 0
    for waiting in pending:
        _answer(settings, waiting, condition, interval)
        if waiting.code == UNKNOWN:
            selection.say(f"the exit code of container {waiting.given} is unknown: nobody saw it end")
            status = 125
        selection.put(waiting.code or UNKNOWN)
    return status


def _interval(text: str) -> float:
    from remora.frontend.output.when import NS, duration

    value = duration(text if not text.isdecimal() else text + "ms")
    if value is None or value <= 0:
        raise RemoraError(f'invalid argument "{text}" for "--interval": a time such as 250ms is expected')
    return value / NS


def _pending(arguments: Namespace, settings: Settings) -> list[Waiting]:
    if arguments.latest:
        newest = selection.latest(settings)
        return [Waiting(newest.id, newest.id, newest)]
    if not arguments.containers:
        raise RemoraError("you must provide at least one name or id", "`remora ps -a` lists the containers")
    pending = []
    for given in arguments.containers:
        try:
            record = records.find(settings, given)
            pending.append(Waiting(record.id, given, record))
        except NoSuchContainer:
            container_id = _ended_id(settings, given)
            if container_id is None:
                raise
            pending.append(Waiting(container_id, given, None))
    return pending


def _ended_id(settings: Settings, given: str) -> str | None:
    """The id of a container that is gone, by its id or the beginning of one."""
    if not given or not records.HEX.issuperset(given):
        return None
    try:
        found = [name for name in os.listdir(settings.ended) if records.is_id(name) and name.startswith(given)]
    except FileNotFoundError:
        return None
    return found[0] if len(found) == 1 else None


def _ask(settings: Settings, waiting: Waiting, condition: str) -> None:
    """Send the request, if there is a monitor to ask."""
    if waiting.record is None:
        return
    connection = control.connect(settings, waiting.record)
    if connection is None:
        return
    try:
        connection.send(_request(condition))
        waiting.connection = connection
    except monitor.MonitorGone:
        connection.close()


def _request(condition: str) -> dict[str, object]:
    return {"op": "wait", "condition": condition}


def _answer(settings: Settings, waiting: Waiting, condition: str, interval: float) -> None:
    """Fill in the code, whatever becomes of the container meanwhile."""
    while waiting.code is None:
        if waiting.connection is not None:
            _reply(waiting, condition)
            continue
        if waiting.record is None or not os.path.lexists(waiting.record.spec_path):
            _gone(settings, waiting, condition)
            return
        state = states.derive(settings, waiting.record)
        if state.lost:
            if condition == RUNNING:
                waiting.code = NONE
                return
            control.wait_lost(state)
        elif not state.live and condition == EXITED:
            created = state.status == states.CREATED and state.record is None
            waiting.code = "0" if created else _code(state.record)
        else:
            if not state.live:  # nobody can push what only a later command will do
                time.sleep(interval)
            _ask(settings, waiting, condition)


def _reply(waiting: Waiting, condition: str) -> None:
    """Read the monitor's answer; the connection is closed and the caller looks again when it gives none."""
    assert waiting.connection is not None
    try:
        reply = waiting.connection.answer(_request(condition))
        record = reply.get("record")
        if condition == RUNNING:
            waiting.code = NONE
        elif isinstance(record, dict):
            waiting.code = _code(record)
    except (monitor.MonitorGone, monitor.RequestFailed):
        if waiting.record is not None:
            monitor.wait_unlocked(waiting.record.run_dir, None)
    finally:
        waiting.connection.close()
        waiting.connection = None


def _gone(settings: Settings, waiting: Waiting, condition: str) -> None:
    """The container is removed: its record may have been kept."""
    try:
        record = monitor.read_ended(f"{settings.ended}/{waiting.id}")
    except (FileNotFoundError, ValueError):
        record = None
    if condition == RUNNING or (record is None and condition != REMOVED):
        raise NoSuchContainer(waiting.given)
    waiting.code = _code(record)


def _code(record: Mapping[str, object] | None) -> str:
    code = states.exit_code_of(record) if record is not None else None
    return UNKNOWN if code is None else str(code)
