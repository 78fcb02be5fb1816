"""Waiting for a state that sends no event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE = 30.0


def eventually(condition: Callable[[], T | None], what: str, timeout: float = DEADLINE) -> T:
    """The first true value of `condition()`; `what` names what was waited for when `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain: {what}"
        time.sleep(0.005)
