"""The one error the frontend raises on purpose."""

from __future__ import annotations


class RemoraError(Exception):
    """Something the user is told about in one line.

    message: the phase, the object and what went wrong, in that order.
    hint: the remedy, "" where there is none to offer.
    status: exit status of the command (125 the engine failed, 126 not executable, 127 not found).
    """

    __slots__ = ("message", "hint", "status")

    def __init__(self, message: str, hint: str = "", status: int = 125) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class NoSuchContainer(RemoraError):
    """No container has this name or id (any more)."""

    __slots__ = ("given",)

    def __init__(self, given: str) -> None:
        super().__init__(
            f'no container with name or ID "{given}" found: no such container',
            "`remora ps -a` lists the containers",
        )
        self.given = given


def os_error_text(error: OSError) -> str:
    """`No space left on device: /path`: the text of an OSError without Python's decoration."""
    text = error.strerror or str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{text}: {' -> '.join(names)}" if names else text


def error_line(text: str) -> bytes:
    """`Error: …` as one line of output; control characters (in a name, say) must not reach a terminal."""
    clean = ("Error: " + text).translate(dict.fromkeys([*range(32), *range(127, 160)], " "))
    return clean.rstrip().encode(errors="surrogateescape") + b"\n"
