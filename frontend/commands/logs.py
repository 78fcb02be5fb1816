"""`remora logs`: show what containers wrote.

To a terminal, control sequences are made harmless unless --raw is given; to a pipe or file the bytes are exact.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend import builtin
from remora.frontend.arguments import ArgumentTypeError
from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.container.logs import nothing_kept
from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

EXAMPLE = "remora logs --follow --tail 20 web"


class View:
    """What of a log is shown, and how."""

    __slots__ = ("since", "until", "tail", "follow", "timestamps", "raw")

    def __init__(self, arguments: Namespace) -> None:
        from remora.frontend.output.when import parse

        self.since: int | None = parse("--since", arguments.since) if arguments.since else None
        self.until: int | None = parse("--until", arguments.until) if arguments.until else None
        self.tail: int | None = arguments.tail
        self.follow: bool = arguments.follow
        self.timestamps: bool = arguments.timestamps
        self.raw: bool = arguments.raw


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
    try:
        number = -1 if text == "all" else int(text)
    except ValueError:
        raise ArgumentTypeError("a whole number expected") from None
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
        if not record.log_path:
            raise nothing_kept(record, "reading the log")
    view = View(arguments)
    jobs = []
    for record in found:
        prefix = None if len(found) == 1 else f"{record.name if arguments.names else record.id[:12]} "
        jobs.append(_jobs(record, prefix, view.raw))
    if view.follow and len(found) > 1:
        return _together([job for parts in jobs for job in parts], view)
    return max(parts[0].run(view) if len(parts) == 1 else _together(parts, view) for parts in jobs)


class Job:
    """One log to be printed: out and err are descriptors, -1 for a stream that is left to another job."""

    __slots__ = ("record", "prefix", "out", "err", "neutralise")

    def __init__(self, record: ContainerRecord, prefix: str | None, out: int, err: int, neutralise: bool) -> None:
        self.record = record
        self.prefix = prefix
        self.out = out
        self.err = err
        self.neutralise = neutralise

    def run(self, view: View) -> int:
        """Print it; the exit status."""
        path = self.record.log_path
        while view.follow and not os.path.exists(path) and not monitor.wait_unlocked(self.record.run_dir, 0.02):
            pass  # it is being started: the monitor makes the file
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if min(self.out, self.err) < 0 else -1
        # While the core prints, no handler of Python's runs: an interrupt ends this process as it ends others.
        before = builtin.set_handler(builtin.SIGINT, builtin.DEFAULT)
        try:
            monitor.print_log(
                path,
                out=self.out if self.out >= 0 else null,
                err=self.err if self.err >= 0 else null,
                since_ns=view.since,
                until_ns=view.until,
                tail=view.tail,
                follow=view.follow,
                timestamps=view.timestamps,
                neutralise=self.neutralise,
                prefix=self.prefix,
                run_dir=self.record.run_dir if view.follow else None,
            )
        except (FileNotFoundError, BrokenPipeError):
            return 0  # it was never started, or has just been removed; or nobody reads any more
        except OSError as error:
            selection.say(f"reading the log of container {self.record.name}: {os_error_text(error)}")
            return 125
        finally:
            builtin.set_handler(builtin.SIGINT, before)
            if null >= 0:
                os.close(null)
        return 0


def _jobs(record: ContainerRecord, prefix: str | None, raw: bool) -> list[Job]:
    """One job, or one for each stream where only one of stdout and stderr is a terminal: the other one's bytes are
    not to be touched."""
    terminals = os.isatty(1), os.isatty(2)
    if raw or terminals[0] == terminals[1]:
        return [Job(record, prefix, 1, 2, terminals[0] and not raw)]
    return [Job(record, prefix, 1, -1, terminals[0]), Job(record, prefix, -1, 2, terminals[1])]


def _together(jobs: list[Job], view: View) -> int:
    """Run several jobs, one process each; they end with this one."""
    children: list[int] = []
    status = 0
    for number in (builtin.SIGTERM, builtin.SIGHUP):
        builtin.set_handler(number, _end)
    try:
        for job in jobs:
            child = os.fork()
            if child == 0:
                ended = 125
                for number in (builtin.SIGTERM, builtin.SIGHUP):
                    builtin.set_handler(number, builtin.DEFAULT)
                try:
                    ended = job.run(view)
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
            os.kill(child, builtin.SIGTERM)
            os.waitpid(child, 0)
    return status


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)
