"""`remora _unguard IMAGE_ID`: drop an image's guard if no container uses it; run by a monitor's last step."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = ""


def add_arguments(parser: ArgumentParser) -> None:
    """One image id of 64 hex digits."""
    parser.add_argument("image", metavar="IMAGE_ID", help="Id of the image")


def run(arguments: Namespace, settings: Settings) -> int:
    """Idempotent."""
    from remora.frontend.images import guard

    guard.release_unused(settings, arguments.image)
    return 0
