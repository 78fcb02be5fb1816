"""`remora __complete -- WORDS…`: what may stand in the place of the last word; asked by the shells' scripts."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = ""
INTERSPERSED = False


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("words", nargs="...", metavar="WORD", help="The command line without the program")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the lines of completion.values.Offer; nothing is said of what can't be found out."""
    from remora.frontend.completion import line

    found = line.complete(arguments.words, settings.environ)
    os.write(1, "".join(text + "\n" for text in found.lines()).encode(errors="surrogateescape"))
    return 0
