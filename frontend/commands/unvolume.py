"""`remora _unvolume`: remove the anonymous volumes whose container is gone; run by a monitor's last step."""

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
    from remora.frontend.volumes import store

    del arguments
    store.sweep(settings)
    return 0
