"""A helper of a container, as the monitor knows them: a program that leaves a process in the background."""

from __future__ import annotations

from pathlib import Path

from tests.support.box import Box

# $0 is the pid file, $1 a file that gets a line for each start: the loop's command line names the run folder.
SCRIPT = """
echo started >>"$1"
setsid sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0"; while :; do sleep 0.1; done' "$0" &
until [ -s "$0" ]; do sleep 0.01; done
"""


class Helper:
    """One, with what it tells of itself."""

    def __init__(self, box: Box, name: str = "helper", script: str = SCRIPT) -> None:
        self.name = name
        self.pidfile = box.run / f"{name}.pid"
        self.starts_file = box.folder / f"{name}.starts"
        self.argv = ["/bin/sh", "-c", script, str(self.pidfile), str(self.starts_file)]

    @property
    def configuration(self) -> dict[str, object]:
        return {"name": self.name, "argv": self.argv, "pidfile": str(self.pidfile)}

    @property
    def pid(self) -> int:
        """Its process's; 0 while there is none."""
        try:
            return int(Path(self.pidfile).read_text() or 0)
        except FileNotFoundError:
            return 0

    @property
    def starts(self) -> int:
        try:
            return self.starts_file.read_text().count("started")
        except FileNotFoundError:
            return 0
