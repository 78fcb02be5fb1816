"""`remora cp`: copy files between containers and here."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora cp web:/etc/nginx ./nginx"


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `docker cp` and `podman cp` have them."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="CONTAINER:PATH, a path here, or - for a tarball on stdin",
        complete="@place @file",
    )
    parser.add_argument(
        "target", metavar="DESTINATION", help="CONTAINER:PATH, a path here, or - for stdout", complete="@place @file"
    )
    parser.add_argument(
        "-a", "--archive", action="store_true", help="Keep user and group ids (else: the container's user, or yours)"
    )
    parser.add_argument("-L", "--follow-link", action="store_true", help="Follow a symlink that is the source")
    parser.add_argument("--overwrite", action="store_true", help="Let folders and other files take each other's place")
    parser.add_argument("-q", "--quiet", action="store_true", help="As always: show no progress")


def run(arguments: Namespace, settings: Settings) -> int:
    """Copy; devices that could not be made are told."""
    from remora.frontend.files import copy

    options = copy.Options(arguments.archive, arguments.follow_link, arguments.overwrite)
    skipped = copy.copy(settings, copy.Place(arguments.source), copy.Place(arguments.target), options)
    if skipped:
        more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
        text = f"Warning: {skipped[0]}{more}: an ordinary user can't make devices: left out\n"
        os.write(2, text.encode(errors="surrogateescape"))
    return 0
