"""`remora export`: write a container's file system as a tarball."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora export -o web.tar web"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="Write to a file instead of stdout")


def run(arguments: Namespace, settings: Settings) -> int:
    """Write it."""
    from remora.frontend.files.export import export

    export(settings, arguments.container, arguments.output)
    return 0
