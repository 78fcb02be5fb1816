"""`remora _uplink start|end ID …`: slirp4netns of the user's bridges; run by monitors, first and last."""

from __future__ import annotations

from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = ""


def add_arguments(parser: ArgumentParser) -> None:
    """`start ID NETNS PIDFILE PROGRAM`, `end ID`."""
    parser.add_argument("action", metavar="ACTION", help="start or end")
    parser.add_argument("container", metavar="ID", help="Full id of the container")
    parser.add_argument("words", nargs="*", metavar="WORD", help="With start: namespace, pid file, slirp4netns")


def run(arguments: Namespace, settings: Settings) -> int:
    """Idempotent, both. Raises RemoraError when it does not start."""
    from remora.frontend.networks import uplink

    try:
        if arguments.action == "start":
            netns, pidfile, program = arguments.words
            uplink.start(settings, arguments.container, netns, pidfile, program)
        else:
            uplink.end(settings, arguments.container)
    except OSError as error:
        raise RemoraError(f"slirp4netns of the user's networks: {os_error_text(error)}") from None
    return 0
