"""`remora _unshift`: remove the shifted copies of images that no container uses; run by a monitor's last step."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = ""


def add_arguments(parser: ArgumentParser) -> None:
    """None."""
    del parser


def run(arguments: Namespace, settings: Settings) -> int:
    """Idempotent."""
    from remora.frontend.userns import shifted

    del arguments
    shifted.release_unused(settings)
    return 0
