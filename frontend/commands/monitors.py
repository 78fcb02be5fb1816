"""`remora monitor ls|status|upgrade|reopen-logs`: the monitors of running containers."""

from __future__ import annotations

from remora import monitor
from remora.frontend.commands import selection
from remora.frontend.container import monitors
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

EXAMPLE_monitor_ls = "remora monitor ls --format '{{.Name}} {{.Version}} {{.Memory}}'"
EXAMPLE_monitor_status = "remora monitor status web"
EXAMPLE_monitor_upgrade = "remora monitor upgrade --all"
EXAMPLE_monitor_reopen_logs = "mv web.log web.log.old && remora monitor reopen-logs web"
COLUMNS = ("ID", "Name", "KeeperPid", "WorkerPid", "Workers", "Version", "Memory", "Since")
HEADINGS = {
    **{name: name.upper() for name in COLUMNS},
    "ID": "CONTAINER ID",
    "KeeperPid": "KEEPER",
    "WorkerPid": "WORKER",
    "Workers": "WORKERS STARTED",
}
SHORT = 12


def add_arguments_monitor_ls(parser: ArgumentParser) -> None:
    parser.add_argument("--format", metavar="FORMAT", help="table, json or a Go template")
    parser.add_argument("--no-trunc", action="store_true", help="Whole IDs")
    parser.add_argument("--noheading", action="store_true", help="No headings")


def add_arguments_monitor_status(parser: ArgumentParser) -> None:
    parser.add_argument("--format", "-f", metavar="FORMAT", help="json or a Go template")
    selection.add_arguments(parser, "All containers with a monitor", complete="@running")


def add_arguments_monitor_upgrade(parser: ArgumentParser) -> None:
    selection.add_arguments(parser, "All containers with a monitor", complete="@running")


def add_arguments_monitor_reopen_logs(parser: ArgumentParser) -> None:
    selection.add_arguments(parser, "All containers with a monitor", complete="@running")


def has_monitor(state: ContainerState) -> bool:
    """Whether there is one to talk to."""
    return state.live and not state.lost


def run_monitor_ls(arguments: Namespace, settings: Settings) -> int:
    """All of them, the oldest container first."""
    from remora.frontend.output.rows import render

    arguments.__dict__.update(containers=[], all=True, latest=False)
    outcome = selection.Outcome()
    rows = _facts(arguments, settings, outcome)
    form: str = arguments.format or "table"
    if form == "json":
        _put_json(rows)
        return outcome.status
    if form == "table":
        form = "table " + "\t".join(f"{{{{.{name}}}}}" for name in COLUMNS)
        rows = [_shown(row, arguments.no_trunc) for row in rows]
    output = render(form, rows, HEADINGS, not arguments.noheading)
    if output:
        selection.put(output.removesuffix("\n"))
    return outcome.status


def run_monitor_status(arguments: Namespace, settings: Settings) -> int:
    """Everything about each, as text, JSON or through a template."""
    outcome = selection.Outcome()
    rows = _facts(arguments, settings, outcome)
    if arguments.format == "json":
        _put_json(rows)
    elif arguments.format:
        from remora.frontend.output.rows import whole

        for row in rows:
            selection.put(whole(arguments.format, row))
    else:
        from remora.frontend.output.text import outline

        for row in rows:
            selection.put("\n".join(outline(row)))
    return outcome.status


def run_monitor_upgrade(arguments: Namespace, settings: Settings) -> int:
    """Have each go on as the program that is installed now, and print what its container was called."""
    outcome = selection.Outcome()
    for one in selection.select(arguments, settings, has_monitor):
        if outcome.attempt(monitors.upgrade, settings, one.record):
            selection.put(one.given)
    return outcome.status


def run_monitor_reopen_logs(arguments: Namespace, settings: Settings) -> int:
    """Have each go on in a new log file, after the old one was renamed, and print what its container was called."""
    outcome = selection.Outcome()
    for one in selection.select(arguments, settings, has_monitor):
        if outcome.attempt(_reopen, settings, one.record):
            selection.put(one.given)
    return outcome.status


def _reopen(settings: Settings, record: ContainerRecord) -> None:
    if not record.log_path:
        driver = record.spec["log"]["drivers"][0]["driver"]
        raise RemoraError(f'container {record.name} uses the "{driver}" log driver: there is no file to reopen')
    with monitors.connect(settings, record, "asking") as connection:
        monitors.ask(connection, record, "log_reopen", "reopening the log through")


def _facts(arguments: Namespace, settings: Settings, outcome: selection.Outcome) -> list[dict[str, object]]:
    """Of all that are meant; one that ends meanwhile is only missed where it was named."""
    rows: list[dict[str, object]] = []
    for one in selection.select(arguments, settings, has_monitor):
        try:
            with monitors.connect(settings, one.record, "asking") as connection:
                rows.append(monitors.facts(one.record, monitors.ask(connection, one.record, "status", "asking")))
        except (RemoraError, OSError, monitor.MonitorGone) as error:
            if not (arguments.all and not states.derive(settings, one.record).live):
                outcome.failed(error)
    return rows


def _shown(row: dict[str, object], whole: bool) -> dict[str, object]:
    """A row of the table: for people."""
    import time

    from remora.frontend.output.text import ago, binary_size

    memory, since = row["Memory"], row["SinceNs"]
    assert isinstance(memory, int) and isinstance(since, int)
    return {
        **row,
        "ID": str(row["ID"]) if whole else str(row["ID"])[:SHORT],
        "Version": f"{row['Version']}{'' if row['Installed'] else ' (replaced)'}",
        "Memory": binary_size(memory),
        "Since": ago(since, time.time_ns()) if since else "",
    }


def _put_json(rows: list[dict[str, object]]) -> None:
    from json import dumps

    selection.put(dumps(rows, indent=2, ensure_ascii=False))
