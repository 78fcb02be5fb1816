"""What can go wrong between a command and a monitor, apart from ``OSError``."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class MonitorGone(Exception):
    """There is no monitor, or the connection to it ended."""


class UserNamespaceError(OSError):
    """A user namespace could not be made or entered.

    Attributes:
        step: what failed: `unshare` (the kernel gives none), `uids` or `gids` (the map was refused), `process`.
        words: what newuidmap or newgidmap said, "" where neither ran.
    """

    def __init__(self, number: int, step: str, words: str) -> None:
        super().__init__(number, os.strerror(number))
        self.step = step
        self.words = words


class RequestFailed(Exception):
    """A monitor answered that a request failed.

    Attributes:
        phase: what was being done (``"start container"``).
        object: to what (a path, an id).
        error: the cause as text, the OCI runtime's own words where it was the cause.
        errno: the system error behind it, 0 when there is none.
        status: exit status for the command line: 125, 126 or 127.
    """

    __slots__ = ("errno", "error", "object", "phase", "status")

    def __init__(self, phase: str, object: str, error: str, errno: int = 0, status: int = 125) -> None:
        super().__init__(f"{phase}: {object}: {error}" if object else f"{phase}: {error}")
        self.phase = phase
        self.object = object
        self.error = error
        self.errno = errno
        self.status = status

    @classmethod
    def from_message(cls, message: Mapping[str, object]) -> RequestFailed:
        """From a failed reply or a ``failed`` event; what is missing or of another type gets a default."""

        def text(key: str, fallback: str) -> str:
            value = message.get(key)
            return value if isinstance(value, str) else fallback

        def number(key: str, fallback: int) -> int:
            value = message.get(key)
            return value if isinstance(value, int) else fallback

        return cls(
            text("phase", "monitor"),
            text("object", ""),
            text("error", "unknown error"),
            number("errno", 0),
            number("status", 125),
        )
