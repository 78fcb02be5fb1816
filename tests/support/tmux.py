"""A shell in tmux, worked in as a person would: keys in, a screen out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.waiting import eventually


class Tmux:
    """A tmux server of its own with a shell in it (its prompt: `host> `), driven by keys and read as a screen."""

    def __init__(self, folder: Path, environment: Mapping[str, str], shell: str = "env PS1='host> ' sh") -> None:
        self.socket = str(folder / "tmux")
        self.environment = {**environment, "TERM": "xterm"}
        self._call("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", shell)

    def _call(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self.socket, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout

    def type(self, text: str) -> None:
        self._call("send-keys", "-l", text)
        self._call("send-keys", "Enter")

    def keys(self, *names: str) -> None:
        self._call("send-keys", *names)

    def resize(self, rows: int, columns: int) -> None:
        self._call("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        return self._call("capture-pane", "-p", "-J")

    def expect(self, pattern: str) -> str:
        """Wait until the screen shows the pattern (a regular expression, line by line)."""
        found = eventually(lambda: re.search(pattern, self.screen(), re.MULTILINE), f"{pattern} in\n{self.screen()}")
        return found[0]

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, timeout=30, check=False)
