"""`remora save`: save images to an archive or folder."""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora save -o busybox.tar busybox"


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman save` has them."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="Names or ids of the images")
    parser.add_argument("--format", default="docker-archive", metavar="FORMAT", help="docker-archive, oci-archive, …")
    parser.add_argument(
        "-m", "--multi-image-archive", action="store_true", help="Accepted: further names are images anyway"
    )
    parser.add_argument("-o", "--output", default="", metavar="PATH", help="File or folder (default: stdout)")
    parser.add_argument("-q", "--quiet", action="store_true", help="Show no progress")


def run(arguments: Namespace, settings: Settings) -> int:
    """Prints nothing but, without --output, the archive."""
    from remora.frontend.images import saving

    form = saving.check_form(arguments.format)
    output = "" if arguments.output in ("-", "/dev/stdout") else arguments.output
    if not output and os.isatty(1):
        raise RemoraError("saving to a terminal", "use --output or redirect stdout")
    saving.save(settings, arguments.images, form=form, output=output, quiet=arguments.quiet)
    return 0
