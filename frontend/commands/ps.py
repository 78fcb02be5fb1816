"""`remora ps`: list containers.

Everything is derived from the files of each container at this moment; one that vanishes meanwhile is left out, one
whose record can't be read is named on stderr.
"""

from __future__ import annotations

import os
import time

from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError
from remora.frontend.output import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.filters import Filters
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Port
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

EXAMPLE = "remora ps --all --filter status=exited --format '{{.Names}} {{.Status}}'"
COMMAND_WIDTH = 20
SORTS = ("command", "created", "id", "image", "names", "runningfor", "size", "status")


class Row:
    """One container and its state."""

    __slots__ = ("record", "state")

    def __init__(self, record: ContainerRecord, state: ContainerState) -> None:
        self.record = record
        self.state = state


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="Also containers that do not run")
    parser.add_argument(
        "--filter", "-f", action="append", metavar="KEY=VALUE", help="Only containers that match", complete="@filter"
    )
    parser.add_argument("--format", metavar="FORMAT", help="table, json or a Go template")
    parser.add_argument("--last", "-n", type=int, default=-1, metavar="N", help="The N created last, in any state")
    parser.add_argument("--latest", "-l", action="store_true", help="The one created last, in any state")
    parser.add_argument("--no-trunc", action="store_true", help="Whole IDs and commands")
    parser.add_argument("--noheading", action="store_true", help="No headings")
    parser.add_argument("--quiet", "-q", action="store_true", help="Only IDs")
    parser.add_argument("--size", "-s", action="store_true", help="Also the size of what containers wrote")
    parser.add_argument("--sort", choices=SORTS, metavar="KEY", help="One of " + ", ".join(SORTS))
    parser.add_argument("--sync", action="store_true", help=None)  # there is nothing that could be out of date


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the table, the IDs, JSON or what a template makes of each."""
    form: str = arguments.format or ""
    if arguments.quiet and form and form != "table":
        raise RemoraError("--quiet and --format exclude each other", "leave out one of them")
    if arguments.size and arguments.quiet:
        raise RemoraError("--quiet and --size exclude each other", "leave out one of them")
    filters = None
    if arguments.filter:
        from remora.frontend.container.filters import Filters

        filters = Filters(settings, arguments.filter)
    last = 1 if arguments.latest else arguments.last
    everything = arguments.all or last >= 0 or (filters is not None and filters.wants_all)
    corrupt: list[records.CorruptRecord] = []
    rows = _rows(settings, everything, filters, corrupt)
    rows.sort(key=lambda row: (row.record.spec["created_ns"], row.record.id))
    if last >= 0:
        rows = rows[-last:] if last else []
    if arguments.sort:
        _sort(rows, arguments.sort)
    output = _output(arguments, settings, rows, form)
    for error in corrupt:
        selection.say(str(error))
    for row in rows:
        if row.state.damaged:
            name = row.record.name
            selection.say(f"reading {row.state.damaged}: not a valid state file (`remora rm -f {name}` removes {name})")
    if output:
        selection.put(output.removesuffix("\n"))
    return 125 if corrupt and not rows else 0


def _rows(
    settings: Settings, everything: bool, filters: Filters | None, corrupt: list[records.CorruptRecord]
) -> list[Row]:
    rows = []
    for record in records.records(settings, corrupt):
        state = states.derive(settings, record)
        if not (everything or state.live) or (filters is not None and not filters.matches(record, state)):
            continue
        if state.status == states.CREATED and not os.path.lexists(record.spec_path):
            continue  # removed since its record was read
        rows.append(Row(record, state))
    return rows


def _sort(rows: list[Row], key: str) -> None:
    if key == "size":
        rows.sort(key=lambda row: written(row.record))
    elif key != "created":
        rows.sort(key=lambda row: _sort_key(row, key))


def _sort_key(row: Row, key: str) -> str | int:
    if key == "command":
        return " ".join(row.record.spec["args"])
    if key == "id":
        return row.record.id
    if key == "image":
        return image_name(row.record)
    if key == "names":
        return row.record.name
    return row.state.started_ns if key == "runningfor" else row.state.status


def _output(arguments: Namespace, settings: Settings, rows: list[Row], form: str) -> str:
    now = time.time_ns()
    if arguments.quiet:
        return "".join((row.record.id if arguments.no_trunc else row.record.id[:12]) + "\n" for row in rows)
    if form and form != "table":
        from remora.frontend.commands import ps_fields

        if form == "json":
            return ps_fields.as_json(settings, rows, now, arguments.size)
        return ps_fields.through_template(
            settings, rows, now, form, arguments.no_trunc, arguments.size, not arguments.noheading
        )
    table = []
    if not arguments.noheading:
        heading = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
        table.append([*heading, "SIZE"] if arguments.size else heading)
    for row in rows:
        record = row.record
        cells = [
            record.id if arguments.no_trunc else record.id[:12],
            text.visible(image_name(record)),
            command(record, arguments.no_trunc),
            text.ago(record.spec["created_ns"], now),
            status(row.state, now),
            ports_text(settings, record),
            record.name,
        ]
        table.append([*cells, size_text(settings, record)] if arguments.size else cells)
    return text.table(table)


def ports(settings: Settings, record: ContainerRecord) -> list[Port]:
    """The ports in effect of a container that runs; those asked for of another."""
    if not record.spec["ports"]:
        return []
    from remora.frontend.networks import status as networks

    return networks.read(settings, record.id)["ports"] or record.spec["ports"]


def ports_text(settings: Settings, record: ContainerRecord) -> str:
    """`0.0.0.0:8080->80/tcp, 127.0.0.1:53-54->53-54/udp`."""
    return ", ".join(_port_text(port) for port in ports(settings, record))


def _port_text(port: Port) -> str:
    host = port["host_ip"] or "0.0.0.0"
    if ":" in host:
        host = f"[{host}]"
    last = port["range"] - 1
    outer, inner = str(port["host_port"] or ""), str(port["container_port"])
    if last:
        outer, inner = f"{outer}-{port['host_port'] + last}", f"{inner}-{port['container_port'] + last}"
    return f"{host}:{outer}->{inner}/{port['protocol']}"


def image_name(record: ContainerRecord) -> str:
    """The image's name; its short id without one; the folder of a --rootfs container."""
    image = record.spec["image"]
    if image is None:
        return record.spec["rootfs"] or ""
    return image["name"] or image["id"][:12]


def command(record: ContainerRecord, whole: bool) -> str:
    """The command in one line, cut to twenty characters unless whole."""
    line = text.visible(" ".join(record.spec["args"]))
    return line if whole or len(line) <= COMMAND_WIDTH else line[: COMMAND_WIDTH - 3] + "..."


def status(state: ContainerState, now: int) -> str:
    """`Up 2 minutes`, `Exited (3) 5 seconds ago` ..."""
    if state.status in (states.RUNNING, states.PAUSED):
        up = f"Up {text.duration(max(now - state.started_ns, 0) / text.NS)}"
        note = " (Paused)" if state.paused else " (monitor lost)" if state.lost else ""
        return up + note
    code = "unknown" if state.exit_code is None else str(state.exit_code)
    ended = f" {text.ago(state.finished_ns, now)}" if state.finished_ns else ""
    if state.status == states.RESTARTING:
        return f"Restarting ({code}){ended}"
    if state.status == states.EXITED:
        return f"Exited ({code}){ended}"
    return "Starting" if state.status == states.STARTING else "Created"


def written(record: ContainerRecord) -> int:
    """Bytes in files that the container wrote (its upper folder)."""
    total = 0
    folders = [record.data_dir + "/upper"]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # it vanished meanwhile
    return total


def image_size(settings: Settings, record: ContainerRecord) -> int:
    """Bytes of the container's image, 0 when it is not known."""
    image = record.spec["image"]
    if image is None:
        return 0
    from remora.frontend.images.store import Store

    try:
        return Store(settings).find(image["id"]).size
    except (RemoraError, OSError):
        return 0


def size_text(settings: Settings, record: ContainerRecord) -> str:
    """`12B (virtual 1.98MB)`."""
    own = written(record)
    return f"{text.size(own)} (virtual {text.size(own + image_size(settings, record))})"
