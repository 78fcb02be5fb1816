"""`remora load`: load images from an archive or folder."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora load -i busybox.tar"


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman load` has them."""
    parser.add_argument("-i", "--input", default="-", metavar="PATH", help="Archive or folder (default: stdin)")
    parser.add_argument("-q", "--quiet", action="store_true", help="Show no progress")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print a line for each name that was loaded."""
    from remora.frontend.images.loading import load

    for name in load(settings, arguments.input, quiet=arguments.quiet):
        os.write(1, f"Loaded image: {name}\n".encode())
    return 0
