"""Detach keys: `ctrl-p,ctrl-q` to the bytes that a terminal sends for them."""

from __future__ import annotations

from remora.frontend.errors import RemoraError

DEFAULT = "ctrl-p,ctrl-q"
# Besides the letters: what a terminal sends with ctrl and these characters (ECMA-48 C0 set).
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str, option: str = "--detach-keys") -> bytes:
    """The sequence as bytes; "" is none. Keys are single characters or `ctrl-` and one of a-z @ [ \\ ] ^ _.

    Raises RemoraError for any other key.
    """
    result = bytearray()
    for key in text.split(",") if text else ():
        low = key.lower()
        last = low[5:] if low.startswith("ctrl-") else ""
        if len(last) == 1 and "a" <= last <= "z":
            result.append(ord(last) - 96)
        elif last in _CONTROL:
            result.append(_CONTROL[last])
        elif len(key) == 1 and key.isascii():
            result.append(ord(key))
        else:
            raise RemoraError(
                f'invalid key "{key}" for {option}',
                hint="single characters or ctrl-a … ctrl-z, separated by commas",
            )
    return bytes(result)
