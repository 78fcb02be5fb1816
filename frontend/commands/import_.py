"""`remora import`: make an image of a tarball of a root file system."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "tar -C rootfs -c . | remora import -c 'CMD [\"/bin/sh\"]' - base"


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman import` has them."""
    parser.add_argument("path", metavar="PATH", help="Tarball: a path, a URL, or - for stdin")
    parser.add_argument("reference", nargs="?", default="", metavar="REFERENCE", help="Name of the image")
    parser.add_argument("--arch", default="", metavar="ARCH", help="Architecture of the image")
    parser.add_argument(
        "-c", "--change", action="append", metavar="INSTRUCTION", help="Apply a Dockerfile instruction (CMD, ENV …)"
    )
    parser.add_argument("-m", "--message", default="", metavar="TEXT", help="Comment in the image's history")
    parser.add_argument("--os", default="linux", metavar="OS", help="Operating system of the image")
    parser.add_argument("-q", "--quiet", action="store_true", help="Show no progress")
    parser.add_argument("--variant", default="", metavar="VARIANT", help="Variant of the architecture")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the id of the new image."""
    from remora.frontend.images.importing import import_tarball

    image_id = import_tarball(
        settings,
        arguments.path,
        arguments.reference,
        change=arguments.change,
        message=arguments.message,
        architecture=arguments.arch,
        system=arguments.os,
        variant=arguments.variant,
        quiet=arguments.quiet,
    )
    os.write(1, f"sha256:{image_id}\n".encode())
    return 0
