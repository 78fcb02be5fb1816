"""`remora stats`: what containers use, once or again and again.

CPU % is of one CPU (200% is two): since the container's start when it is first shown, since the last look after that;
AVG CPU % is always since the start (as Podman has them). A container that does not run uses nothing.
"""

from __future__ import annotations

import os
import time

from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import NoSuchContainer, RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.state import ContainerState
    from remora.frontend.container.usage import Usage
    from remora.frontend.settings import Settings

EXAMPLE = "remora stats --no-stream --format 'table {{.Name}} {{.CPUPerc}} {{.MemUsage}}' web db"
COLUMNS = "table " + "\t".join(
    "{{." + name + "}}"
    for name in ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDS", "CPUTime", "AvgCPU")
)
HEADINGS = {
    "ID": "ID",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemUsageBytes": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET IO",
    "BlockIO": "BLOCK IO",
    "PIDS": "PIDS",
    "PIDs": "PIDS",
    "CPUTime": "CPU TIME",
    "UpTime": "CPU TIME",
    "AvgCPU": "AVG CPU %",
    "ContainerID": "CONTAINER ID",
}
CLEAR = "\x1b[H\x1b[2J"
SHORT = 12
DIGITS = 4


class Sample:
    """One container at one moment. cpu, average: percent of one CPU."""

    __slots__ = ("record", "state", "usage", "cpu", "average")

    def __init__(
        self, record: ContainerRecord, state: ContainerState, usage: Usage, cpu: float, average: float
    ) -> None:
        self.record = record
        self.state = state
        self.usage = usage
        self.cpu = cpu
        self.average = average


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="Also containers that do not run")
    parser.add_argument("--format", default="", metavar="FORMAT", help="json, table COLUMNS or a Go template")
    text = "Seconds between two looks (default 5)"
    parser.add_argument("--interval", "-i", type=int, default=5, metavar="SECONDS", help=text)
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("--no-reset", action="store_true", help="Do not clear the terminal between two looks")
    parser.add_argument("--no-stream", action="store_true", help="Look once")
    parser.add_argument("--no-trunc", action="store_true", help="Whole ids")
    parser.add_argument("containers", nargs="*", metavar="CONTAINER")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print a table (JSON, lines) at each look; ends by itself when all containers that were named are removed."""
    if arguments.interval < 1:
        raise RemoraError(f'invalid argument "{arguments.interval}" for "--interval"', "one second at least")
    if arguments.all + arguments.latest + bool(arguments.containers) > 1:
        raise RemoraError("--all, --latest and names exclude each other", "leave out all but one")
    named: list[str] | None = None
    if arguments.latest:
        named = [selection.latest(settings).id]
    elif arguments.containers:
        named = list(dict.fromkeys(records.find(settings, name).id for name in arguments.containers))
    looks: dict[tuple[str, int], tuple[int, int]] = {}
    clears = not (arguments.no_reset or arguments.no_stream or arguments.format == "json") and os.isatty(1)
    while True:
        found = _records(settings, named)
        if named and not found:
            return 0
        samples = [sample for record in found if (sample := _look(settings, record, looks)) is not None]
        if named is None and not arguments.all:
            samples = [sample for sample in samples if sample.state.running]
        text = _shown(samples, arguments).removesuffix("\n")
        if text or clears:
            selection.put((CLEAR if clears else "") + text)
        if arguments.no_stream:
            return 0
        time.sleep(arguments.interval)


def _records(settings: Settings, named: list[str] | None) -> list[ContainerRecord]:
    """Those named that are still there; all, in the order of their creation, when none is."""
    if named is None:
        return sorted(records.records(settings), key=lambda record: record.spec["created_ns"])
    found = []
    for container_id in named:
        try:
            found.append(records.load(settings, container_id))
        except NoSuchContainer:
            continue
    return found


def _look(settings: Settings, record: ContainerRecord, looks: dict[tuple[str, int], tuple[int, int]]) -> Sample | None:
    """One sample. looks: of each container and run the monotonic time and the CPU time of the last look, both in ns."""
    from remora.frontend.container import usage as usages

    state = states.derive(settings, record)
    if not state.running:
        return Sample(record, state, usages.Usage(), 0.0, 0.0)
    usage = usages.read(state.pid, record.id, record.spec["network"] != "host")
    now, run = time.monotonic_ns(), (record.id, state.started_ns)
    lived = max(time.time_ns() - state.started_ns, 1)
    average = 100.0 * usage.cpu_ns / lived
    cpu = average
    if run in looks:
        then, used = looks[run]
        cpu = 100.0 * max(usage.cpu_ns - used, 0) / max(now - then, 1)
    looks[run] = (now, usage.cpu_ns)
    return Sample(record, state, usage, cpu, average)


def _shown(samples: list[Sample], arguments: Namespace) -> str:
    rows = [_fields(sample, arguments.no_trunc) for sample in samples]
    if arguments.format == "json":
        from json import dumps

        return dumps([_object(row) for row in rows], indent=1, ensure_ascii=False) + "\n"
    from remora.frontend.output.rows import render

    return render(COLUMNS if arguments.format in ("", "table") else arguments.format, rows, HEADINGS)


def _object(row: dict[str, object]) -> dict[str, object]:
    """Podman's names."""
    names = {
        "id": "ID", "name": "Name", "cpu_time": "CPUTime", "cpu_percent": "CPUPerc", "avg_cpu": "AvgCPU",
        "mem_usage": "MemUsage", "mem_percent": "MemPerc", "net_io": "NetIO", "block_io": "BlockIO",
    }  # fmt: skip
    return {**{key: row[name] for key, name in names.items()}, "pids": str(row["PIDS"])}


def _fields(sample: Sample, whole: bool) -> dict[str, object]:
    """What a template may use: Podman's and Docker's names."""
    from remora.frontend.container.columns import go_duration
    from remora.frontend.output import text

    usage, record = sample.usage, sample.record
    container_id = record.id if whole else record.id[:SHORT]
    share = 100.0 * usage.memory / usage.memory_limit if usage.memory_limit else 0.0

    def pair(one: int, other: int) -> str:
        return f"{text.size(one, DIGITS)} / {text.size(other, DIGITS)}"

    cpu_time = go_duration(usage.cpu_ns)
    return {
        "ID": container_id,
        "ContainerID": record.id,
        "Container": container_id,
        "Name": record.name,
        "CPUPerc": f"{sample.cpu:.2f}%",
        "CPU": sample.cpu,
        "AvgCPU": f"{sample.average:.2f}%",
        "CPUTime": cpu_time,
        "UpTime": cpu_time,
        "CPUNano": usage.cpu_ns,
        "CPUSystemNano": usage.system_ns,
        "MemUsage": pair(usage.memory, usage.memory_limit),
        "MemUsageBytes": f"{text.binary_size(usage.memory)} / {text.binary_size(usage.memory_limit)}",
        "MemPerc": f"{share:.2f}%",
        "MemLimit": usage.memory_limit,
        "NetIO": pair(usage.net_in, usage.net_out),
        "NetInput": usage.net_in,
        "NetOutput": usage.net_out,
        "BlockIO": pair(usage.block_in, usage.block_out),
        "BlockInput": usage.block_in,
        "BlockOutput": usage.block_out,
        "PIDS": usage.pids,
        "PIDs": usage.pids,
    }
