"""`remora top`: the processes of a container, read from the host; the container needs no `ps`."""

from __future__ import annotations

from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.processes import Process
    from remora.frontend.settings import Settings

EXAMPLE = "remora top web pid user %C args"
INTERSPERSED = False
DESCRIPTORS = """
Columns (default: user pid ppid pcpu etime tty time args), of Podman:
  args capamb capbnd capeff capinh capprm comm etime group groups hgroup hgroups hpid huser label nice pcpu pgid
  pid ppid rgroup rss ruser seccomp state stime time tty user vsz, and AIX's codes for them (%C, %p, %a ...)
and of ps:
  %cpu %mem cmd command cputime etimes gid nlwp pgrp pmem pri rgid ruid s sid tt ucmd uid uname ...
Or options of ps, as -eo pid,comm: ps is then run on the host, and shows the host's PIDs."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.description += "\n" + DESCRIPTORS
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("container", nargs="?", metavar="CONTAINER")
    parser.add_argument("words", nargs="*", metavar="COLUMN")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the table. Raises RemoraError when the container does not run."""
    from remora.frontend.container import columns, processes
    from remora.frontend.output import text

    words = list(arguments.words)
    if arguments.latest:
        record = selection.latest(settings)
        words[:0] = [arguments.container] if arguments.container else []
    elif arguments.container:
        record = records.find(settings, arguments.container)
    else:
        raise RemoraError("the name or ID of a container is missing", "`remora ps` lists those that run")
    by_ps = bool(words) and (words[0].startswith("-") or _is_bsd(words[0]))
    names = [] if by_ps else columns.parse(words)
    state = states.derive(settings, record)
    found = processes.of_container(state.pid, record.id) if state.running else []
    if not found:
        raise RemoraError(
            f"container {record.name} is {state.status}: top can only be used on running containers",
            f"`remora start {record.name}` starts it" if not state.live else "",
        )
    if by_ps:
        for line in _through_ps(words, found):
            selection.put(line)
        return 0
    table = [[text.visible(cell) for cell in row] for row in columns.rows(state.pid, found, names)]
    selection.put(text.table(table).removesuffix("\n"))
    return 0


def _is_bsd(word: str) -> bool:
    """`aux` and the like: options of ps without a dash."""
    return word.startswith("a") and frozenset("aefjluwx").issuperset(word)


def _through_ps(options: Sequence[str], found: Sequence[Process]) -> list[str]:
    """The heading of the host's ps with these options, and its lines of the container's processes."""
    from remora.frontend import process
    from remora.frontend.output import text

    ours = {str(one.pid) for one in found}
    try:
        # Named, for alone `-o` would show what is on our terminal; -e and the like show more, which is left out.
        result = process.capture(["ps", *options, "-p", ",".join(sorted(ours))])
    except FileNotFoundError:
        raise RemoraError("top: no `ps` on this host", "`sudo apt-get install procps`, or name columns") from None
    if result.status:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        raise RemoraError(
            f"top: ps: {lines[0] if lines else f'ended with {result.status}'}", "`man ps` has its options"
        )
    lines = result.stdout.decode("utf-8", "surrogateescape").splitlines()
    heading = lines[0].split() if lines else []
    if "PID" not in heading:
        raise RemoraError("top: ps shows no column PID", "the options must make ps show it: -o pid,…")
    at = heading.index("PID")
    kept = [line for line in lines[1:] if len(line.split()) > at and line.split()[at] in ours]
    return [text.visible(line) for line in lines[:1] + kept]
