"""`remora version`: which Remora this is."""

from __future__ import annotations

import os

from remora.frontend.commands import selection
from remora.frontend.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora version --format '{{.Client.Version}}'"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", "-f", metavar="FORMAT", help="json or a Go template")


def facts() -> dict[str, object]:
    """Version, platform and Python."""
    import sys

    from remora import monitor

    machine = os.uname().machine
    return {
        "Version": VERSION,
        "CoreVersion": monitor.version(),
        "PythonVersion": ".".join(str(part) for part in sys.version_info[:3]),
        "OsArch": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }",
        "Os": "linux",
    }


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the version as text, JSON or through a template."""
    client = facts()
    if arguments.format:
        from remora.frontend.output.rows import whole

        selection.put(whole(arguments.format, {"Client": client}))
        return 0
    for title, key in (
        ("Client", ""),
        ("Version", "Version"),
        ("Core", "CoreVersion"),
        ("Python", "PythonVersion"),
        ("OS/Arch", "OsArch"),
    ):
        selection.put(f"{title + ':':<12} {client[key] if key else 'Remora'}")
    return 0
