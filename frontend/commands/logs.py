"""`remora logs`: show what containers wrote.

To a terminal, control sequences are made harmless unless --raw is given; to a pipe or file the bytes are exact.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

EXAMPLE = "remora logs --follow --tail 20 web"


class View:
    """What of a log is shown, and how. prefix: stands before each line when there are several containers."""

    __slots__ = ("since", "until", "tail", "follow", "timestamps", "raw", "out", "err")

    def __init__(self, arguments: Namespace) -> None:
        from remora.frontend.output.when import parse

        self.since: int | None = parse("--since", arguments.since) if arguments.since else None
        self.until: int | None = parse("--until", arguments.until) if arguments.until else None
        self.tail: int | None = arguments.tail
        self.follow: bool = arguments.follow
        self.timestamps: bool = arguments.timestamps
        self.raw: bool = arguments.raw
        self.out = 1
        self.err = 2


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--follow", "-f", action="store_true", help="Go on until the container ends")
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("--names", "-n", action="store_true", help="Put names, not IDs, before the lines of several")
    parser.add_argument("--raw", action="store_true", help="Leave control sequences as they are, also on a terminal")
    parser.add_argument("--since", metavar="TIME", help="Only later lines: a time, or 10m for ten minutes ago")
    parser.add_argument("--tail", type=_tail, metavar="LINES", help="Only so many lines from the end (default all)")
    parser.add_argument("--timestamps", "-t", action="store_true", help="Put the time before each line")
    parser.add_argument("--until", metavar="TIME", help="Only earlier lines")
    parser.add_argument("containers", nargs="*", metavar="CONTAINER")


def _tail(text: str) -> int | None:
    number = -1 if text == "all" else int(text)
    return None if number < 0 else number


def run(arguments: Namespace, settings: Settings) -> int:
    """Show the log of each; several are followed at the same time, each by a process of its own."""
    if arguments.latest:
        found = [selection.latest(settings)]
    elif arguments.containers:
        found = [records.find(settings, name) for name in arguments.containers]
    else:
        raise RemoraError("specify at least one container name or ID to log", "`remora ps -a` lists the containers")
    for record in found:
        if record.spec["log"]["driver"] == "none":
            raise RemoraError(
                f'container {record.name} uses the "none" log driver: it keeps no log',
                "run it with --log-driver k8s-file",
            )
    view = View(arguments)
    prefixes = [record.name if arguments.names else record.id[:12] for record in found]
    if len(found) == 1:
        return _show(found[0], view, None)
    if not view.follow:
        statuses = [_show(record, view, f"{prefix} ") for record, prefix in zip(found, prefixes, strict=True)]
        return max(statuses)
    return _together(
        [(record, f"{prefix} ") for record, prefix in zip(found, prefixes, strict=True)],
        view,
    )


def _show(record: ContainerRecord, view: View, prefix: str | None) -> int:
    """One log. Where only one of stdout and stderr is a terminal, each stream is printed by itself."""
    terminals = os.isatty(view.out), os.isatty(view.err)
    if view.raw or terminals[0] == terminals[1]:
        return _print(record, view, prefix, view.out, view.err, terminals[0] and not view.raw)
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        status = 125
        try:
            status = _print(record, view, prefix, null, view.err, terminals[1])
        finally:
            os._exit(status)
    try:
        return _print(record, view, prefix, view.out, null, terminals[0])
    finally:
        os.waitpid(child, 0)
        os.close(null)


def _print(record: ContainerRecord, view: View, prefix: str | None, out: int, err: int, neutralise: bool) -> int:
    path = record.log_path
    while view.follow and not os.path.exists(path) and not monitor.wait_unlocked(record.run_dir, 0.02):
        pass  # it is being started: the monitor makes the file
    try:
        monitor.print_log(
            path,
            out=out,
            err=err,
            since_ns=view.since,
            until_ns=view.until,
            tail=view.tail,
            follow=view.follow,
            timestamps=view.timestamps,
            neutralise=neutralise,
            prefix=prefix,
            run_dir=record.run_dir if view.follow else None,
        )
    except FileNotFoundError:
        return 0  # it was never started, or has just been removed
    except BrokenPipeError:
        return 0
    except OSError as error:
        selection.say(f"reading the log of container {record.name}: {os_error_text(error)}")
        return 125
    return 0


def _together(logs: list[tuple[ContainerRecord, str]], view: View) -> int:
    """Follow several logs, one process each; all end with this one."""
    children: list[int] = []
    status = 0
    try:
        for record, prefix in logs:
            child = os.fork()
            if child == 0:
                ended = 125
                try:
                    ended = _show(record, view, prefix)
                except KeyboardInterrupt:
                    ended = 130
                finally:
                    os._exit(ended)
            children.append(child)
        while children:
            pid, wait_status = os.wait()
            if pid in children:
                children.remove(pid)
                status = max(status, os.waitstatus_to_exitcode(wait_status))
    finally:
        for child in children:
            os.kill(child, 15)
            os.waitpid(child, 0)
    return max(status, 0)
