"""What the commands that work on containers share: which containers are meant, and errors of one among many."""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import NoSuchContainer, RemoraError, error_line, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ParamSpec

    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

    P = ParamSpec("P")


class Selected:
    """One container that a command works on, and what the user called it."""

    __slots__ = ("record", "given")

    def __init__(self, record: ContainerRecord, given: str) -> None:
        self.record = record
        self.given = given


def add_arguments(
    parser: ArgumentParser,
    all_help: str = "",
    cidfile: bool = False,
    ignore: bool = False,
    complete: str = "@container",
) -> None:
    """The arguments that select containers: names, --latest, and where they make sense --all, --cidfile, --ignore.

    complete: which of them a shell offers.
    """
    if all_help:
        parser.add_argument("--all", "-a", action="store_true", help=all_help)
        parser.add_argument(
            "--filter",
            action="append",
            metavar="KEY=VALUE",
            help="Only containers that match (as ps)",
            complete="@filter",
        )
    if cidfile:
        parser.add_argument("--cidfile", action="append", metavar="FILE", help="Read a container's ID from this file")
    if ignore:
        parser.add_argument("--ignore", "-i", action="store_true", help="Containers that are not there are no error")
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("containers", nargs="*", metavar="CONTAINER", complete=complete)


def select(
    arguments: Namespace,
    settings: Settings,
    of_all: Callable[[ContainerState], bool] | None = None,
) -> list[Selected]:
    """The containers meant, each once, in the order given.

    of_all: which of them --all stands for. Raises RemoraError when none is named, NoSuchContainer (unless --ignore).
    """
    given = list(arguments.containers)
    everything = bool(getattr(arguments, "all", False))
    filters: list[str] = getattr(arguments, "filter", [])
    for path in getattr(arguments, "cidfile", []):
        given.append(read_cidfile(path))
    if (everything or arguments.latest or filters) and given:
        raise RemoraError("--all, --latest or --filter and names exclude each other", "name the containers, or use one")
    if everything or filters:
        return _matching(settings, filters, of_all if everything else None)
    if arguments.latest:
        newest = latest(settings)
        return [Selected(newest, newest.id)]
    if not given:
        raise RemoraError("you must provide at least one name or id", "`remora ps -a` lists the containers")
    found: list[Selected] = []
    seen: set[str] = set()
    for name in given:
        try:
            record = records.find(settings, name)
        except NoSuchContainer:
            if getattr(arguments, "ignore", False):
                continue
            raise
        if record.id not in seen:
            seen.add(record.id)
            found.append(Selected(record, name))
    return found


def _matching(
    settings: Settings, filters: Sequence[str], of_all: Callable[[ContainerState], bool] | None
) -> list[Selected]:
    found = []
    for record in sorted(records.records(settings), key=lambda record: record.spec["created_ns"]):
        if of_all is None or of_all(states.derive(settings, record)):
            found.append(record)
    if filters:
        from remora.frontend.container import filters as filtering

        keep = filtering.Filters(settings, filters)
        found = [record for record in found if keep.matches(record, states.derive(settings, record))]
    return [Selected(record, record.id) for record in found]


def latest(settings: Settings) -> ContainerRecord:
    """The container created last. Raises RemoraError when there is none."""
    newest = max(records.records(settings), key=lambda record: record.spec["created_ns"], default=None)
    if newest is None:
        raise RemoraError("there are no containers: no such container", "make one with `remora run`")
    return newest


def one(arguments: Namespace, settings: Settings) -> ContainerRecord:
    """The one container of a command that takes `--latest` or a name (`arguments.container`)."""
    if arguments.latest:
        return latest(settings)
    if not arguments.container:
        raise RemoraError("the name or ID of a container is missing", "`remora ps -a` lists the containers")
    return records.find(settings, arguments.container)


def read_cidfile(path: str) -> str:
    """The container ID in a file that `run --cidfile` wrote."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError as error:
        raise RemoraError(f"reading the container ID file: {os_error_text(error)}") from None


class Outcome:
    """The errors of a command that goes on with the next container; one line each, at once."""

    __slots__ = ("status",)

    def __init__(self) -> None:
        self.status = 0

    def attempt(self, action: Callable[P, object], *arguments: P.args, **keywords: P.kwargs) -> bool:
        """Do something; whether it worked. An error is told, and its status remembered."""
        try:
            action(*arguments, **keywords)
        except (RemoraError, OSError, monitor.RequestFailed, monitor.MonitorGone) as error:
            if isinstance(error, BrokenPipeError):
                raise
            self.failed(error)
            return False
        return True

    def failed(self, error: Exception) -> None:
        """Tell one error; the first one's status is the command's."""
        say(error_text(error))
        own = getattr(error, "status", 125)
        self.status = self.status or (own if isinstance(own, int) else 125)


def error_text(error: Exception) -> str:
    """One line for an error of one container."""
    return os_error_text(error) if isinstance(error, OSError) else str(error)


def say(text: str) -> None:
    """`Error: ...` as one line on stderr."""
    os.write(2, error_line(text))


def put(line: str) -> None:
    """One line on stdout, at once: who reads it may wait for it."""
    data = line.encode(errors="surrogateescape") + b"\n"
    while data:
        data = data[os.write(1, data) :]
