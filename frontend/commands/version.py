"""`remora version`: which Remora this is."""

from __future__ import annotations

import os

from remora.frontend.commands import selection
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.output.template.values import Map
from remora.frontend.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora version --format '{{.Client.Version}}'"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", "-f", metavar="FORMAT", help="json or a Go template")


def said(program: str) -> str:
    """The first line of a program's `--version`. Raises RemoraError when it can't be executed."""
    return _lines(program)[0]


def monitor_version(program: str) -> str:
    """The version of a monitor program. Raises RemoraError when it can't be executed.

    Its first line is for those who take it for conmon and look for the version of that interface.
    """
    lines = _lines(program)
    own = [line for line in lines if "remora-monitor" in line]
    return own[0].split()[-1] if own else lines[0]


def _lines(program: str) -> list[str]:
    from remora.frontend import process

    try:
        lines = process.capture([program, "--version"]).stdout.decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise RemoraError(f"executing {program}: {os_error_text(error)}") from None
    return lines or [""]


def _runtimes() -> dict[str, str]:
    """The OCI runtimes that are installed, with what each says it is."""
    from remora.frontend.process import which
    from remora.frontend.runtime import CANDIDATES

    found = {}
    for name in CANDIDATES:
        program = which(name)
        if program is not None:
            try:
                found[name] = said(program)
            except RemoraError as error:
                found[name] = error.message
    return found


def facts() -> dict[str, object]:
    """Version, platform and Python; monitor program and runtimes, as they say themselves."""
    import sys

    from remora import monitor

    machine = os.uname().machine
    path = monitor.monitor_program()
    try:
        monitor_says = monitor_version(path)
    except RemoraError as error:
        monitor_says = error.message
    return {
        "Version": VERSION,
        "CoreVersion": monitor.version(),
        "PythonVersion": ".".join(str(part) for part in sys.version_info[:3]),
        "OsArch": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }",
        "Os": "linux",
        "MonitorVersion": monitor_says,
        "MonitorPath": path,
        "Runtimes": Map(_runtimes()),
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
        ("Monitor", "MonitorVersion"),
        ("", "MonitorPath"),
    ):
        selection.put(f"{title + ':' if title else '':<12} {client[key] if key else 'Remora'}")
    runtimes = client["Runtimes"]
    assert isinstance(runtimes, dict)
    for title, line in runtimes.items():
        selection.put(f"{title + ':':<12} {line.removeprefix(title).strip().removeprefix('version ')}")
    return 0
