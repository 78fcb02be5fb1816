"""What tests on commands share: the one line of a failure, a container's state, waiting for its log."""

from __future__ import annotations

from tests.conftest import Remora
from tests.support.waiting import eventually

SLEEP = ("busybox", "sleep", "1000")


def said(remora: Remora, *words: str, status: int = 125) -> str:
    """The one line of a command that fails."""
    result = remora.run(*words, status=status)
    assert result.stderr.startswith("Error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def state(remora: Remora, name: str, field: str) -> str:
    return remora("inspect", "--format", f"{{{{.State.{field}}}}}", name)


def logged(remora: Remora, name: str, text: str) -> None:
    """Wait until the log of a container is this."""
    eventually(lambda: remora("logs", name) == text, f"log of {name}: {text!r}")
