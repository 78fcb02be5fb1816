"""`remora logs`: show what containers wrote, as the first of their log drivers keeps it that can be read.

To a terminal, control sequences are made harmless unless --raw is given; to a pipe or file the bytes are exact.
"""

from __future__ import annotations

import errno
import os

from remora import monitor
from remora.frontend import builtin
from remora.frontend.arguments import ArgumentTypeError
from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.container.logs import JOURNALD, JSON_FILE, K8S_FILE, path_of, whereabouts
from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

EXAMPLE = "remora logs --follow --tail 20 web"

READABLE = (K8S_FILE, JSON_FILE, JOURNALD)  # in the order of preference
COLOURS = (37, 32, 33, 34, 35, 36)  # of the terminal's foreground (ECMA-48, SGR); what Podman gives containers in turn


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
    parser.add_argument("--color", action="store_true", help="A colour for each of several, on a terminal")
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
    sources = [Source(record) for record in found]
    view = View(arguments)
    jobs = []
    for number, source in enumerate(sources):
        prefix = None
        if len(sources) > 1:
            prefix = f"{source.record.name if arguments.names else source.record.id[:12]} "
        colour = COLOURS[number % len(COLOURS)] if arguments.color else None
        jobs.append(_jobs(source, prefix, colour, view.raw))
    if view.follow and len(found) > 1:
        return _together([job for parts in jobs for job in parts], view)
    return max(parts[0].run(view) if len(parts) == 1 else _together(parts, view) for parts in jobs)


class Source:
    """Where a container's output is read from: path, a file; else the journal.

    Raises RemoraError when no driver keeps it.
    """

    __slots__ = ("record", "path")

    def __init__(self, record: ContainerRecord) -> None:
        sinks = {sink["driver"]: sink for sink in reversed(record.spec["log"]["drivers"])}
        driver = next((driver for driver in READABLE if driver in sinks), None)
        if driver is None:
            raise RemoraError(
                f"this container is using the '{next(iter(sinks))}' log driver, cannot read logs: "
                "this container is not logging output",
                whereabouts(next(iter(sinks))),
            )
        self.record = record
        self.path: str = path_of(record, sinks[driver])


class Job:
    """One log to be printed: out and err are descriptors, -1 for a stream that is left to another job."""

    __slots__ = ("source", "prefix", "out", "err", "neutralise")

    def __init__(self, source: Source, prefix: str | None, out: int, err: int, neutralise: bool) -> None:
        self.source = source
        self.prefix = prefix
        self.out = out
        self.err = err
        self.neutralise = neutralise

    def run(self, view: View) -> int:
        """Print it; the exit status."""
        path, record = self.source.path, self.source.record
        while path and view.follow and not os.path.exists(path) and not monitor.wait_unlocked(record.run_dir, 0.02):
            pass  # it is being started: the monitor makes the file
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if min(self.out, self.err) < 0 else -1
        # While the core prints, no handler of Python's runs: an interrupt ends this process as it ends others.
        before = builtin.set_handler(builtin.SIGINT, builtin.DEFAULT)
        try:
            self._print(view, self.out if self.out >= 0 else null, self.err if self.err >= 0 else null)
        except BrokenPipeError:
            return 0  # nobody reads any more
        except OSError as error:
            if path and isinstance(error, FileNotFoundError):
                return 0  # it was never started, or has just been removed
            selection.say(f"reading the log of container {record.name}: {os_error_text(error)}")
            return 125
        finally:
            builtin.set_handler(builtin.SIGINT, before)
            if null >= 0:
                os.close(null)
        return 0

    def _print(self, view: View, out: int, err: int) -> None:
        record = self.source.record
        monitor.print_log(
            self.source.path or _journalctl(),
            out=out,
            err=err,
            since_ns=view.since,
            until_ns=view.until,
            tail=view.tail,
            follow=view.follow,
            timestamps=view.timestamps,
            neutralise=self.neutralise,
            prefix=self.prefix,
            run_dir=record.run_dir if view.follow else None,
            journal_id=None if self.source.path else record.id,
        )


def _journalctl() -> str:
    from remora.frontend.process import which

    program = which("journalctl")
    if program is None:
        raise FileNotFoundError(errno.ENOENT, "no such program", "journalctl")
    return program


def _jobs(source: Source, prefix: str | None, colour: int | None, raw: bool) -> list[Job]:
    """One job, or one for each stream where only one of stdout and stderr is a terminal: the other one's bytes are
    not to be touched."""
    terminals = os.isatty(1), os.isatty(2)
    painted = prefix if prefix is None or colour is None else f"\x1b[{colour}m{prefix}\x1b[0m"
    prefixes = [painted if terminal else prefix for terminal in terminals]
    if prefixes[0] == prefixes[1] and (raw or terminals[0] == terminals[1]):
        return [Job(source, prefixes[0], 1, 2, terminals[0] and not raw)]
    return [
        Job(source, prefixes[0], 1, -1, terminals[0] and not raw),
        Job(source, prefixes[1], -1, 2, terminals[1] and not raw),
    ]


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
