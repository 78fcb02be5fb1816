"""`remora diff`: what a container has changed in the files of its image."""

from __future__ import annotations

import sys

from remora.frontend.container import record as records
from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora diff web"
KEYS = {"C": "changed", "A": "added", "D": "deleted"}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("--format", default="", choices=("json",), metavar="json", help="Print JSON instead of lines")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print `A PATH` (added), `C PATH` (changed) and `D PATH` (deleted)."""
    from remora.frontend import jsontext
    from remora.frontend.files.changes import changes

    record = records.find(settings, arguments.container)
    if record.spec["image"] is None:
        raise RemoraError(
            f"comparing container {record.name}: it has no image to compare with", "its files are those of --rootfs"
        )
    try:
        found = list(changes(record.spec, record.data_dir + "/upper"))
    except OSError as error:
        raise RemoraError(f"comparing container {record.name}: {os_error_text(error)}") from None
    if arguments.format:
        lists = {word: [path for kind, path in found if kind == letter] for letter, word in KEYS.items()}
        text = jsontext.dumps({word: paths for word, paths in lists.items() if paths}) + "\n"
    else:
        text = "".join(f"{kind} {path}\n" for kind, path in found)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
    return 0
