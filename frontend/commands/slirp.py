"""`remora _slirp`: start slirp4netns for a container; a helper of the monitor's, which wants three things of one.

It ends with status 0 once the network works and every port is published, leaves the pid of what stays in a file, and
otherwise says in one line why not, leaving nothing. The monitor ends slirp4netns with the container, and runs this
command again when it dies before that.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = ""


def add_arguments(parser: ArgumentParser) -> None:
    """Everything is the monitor's to say, by the configuration it was started with."""
    parser.add_argument("program", metavar="PROGRAM", help="Path of slirp4netns")
    parser.add_argument("netns", metavar="PATH", help="The network namespace")
    parser.add_argument("pidfile", metavar="FILE", help="Where the pid goes")
    parser.add_argument("options", metavar="OPTIONS", help="As behind slirp4netns:")
    parser.add_argument("ports", metavar="JSON", help="Ports to publish, as in spec.json")


def run(arguments: Namespace, settings: Settings) -> int:
    """Start it. Raises RemoraError in slirp4netns' own words."""
    import json

    from remora.frontend.networks import slirp
    from remora.frontend.networks.slirp_process import start

    options = slirp.parse("--network", arguments.options.split(",") if arguments.options else [])
    try:
        os.chdir(os.path.dirname(arguments.pidfile))
        start(arguments.program, options, json.loads(arguments.ports), netns=arguments.netns, pidfile=arguments.pidfile)
    except OSError as error:
        raise RemoraError(f"slirp4netns: {os_error_text(error)}") from None
    return 0
