"""JSON from files that other programs wrote: parse, and take values out without trusting their types.

A value of an unexpected type counts as absent; a file that isn't JSON at all raises ValueError.
"""

from __future__ import annotations

from remora.frontend import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def parse(data: bytes | str) -> object:
    """Any JSON text as plain Python values; ValueError when it is none."""
    try:
        return jsontext.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def as_map(value: object) -> dict[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """The value if it is text, else ""."""
    return value if isinstance(value, str) else ""


def as_int(value: object) -> int:
    """The value if it is a whole number, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def text_list(value: object) -> list[str]:
    """The texts of an array."""
    return [item for item in as_list(value) if isinstance(item, str)]


def text_map(value: object) -> dict[str, str]:
    """The members of an object whose values are texts."""
    return {key: item for key, item in as_map(value).items() if isinstance(item, str)}


def member(value: Mapping[str, object], *path: str) -> object:
    """value[a][b]… or None where something on the way is missing."""
    found: object = value
    for key in path:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def rfc3339_ns(text: str) -> int:
    """`2026-11-22T05:23:48.032498611Z` or with `+01:00` as nanoseconds since 1970; 0 when it is no such time."""
    from calendar import timegm
    from time import strptime

    clock, rest = text[:19], text[19:]
    fraction = rest[1:].split("Z")[0].split("+")[0].split("-")[0] if rest.startswith(".") else ""
    zone = rest[1 + len(fraction) :] if rest.startswith(".") else rest
    try:
        seconds = timegm(strptime(clock, "%Y-%m-%dT%H:%M:%S"))
        if zone not in ("Z", "z", ""):
            hours, minutes = zone[1:].split(":")
            offset = int(hours) * 3600 + int(minutes) * 60
            seconds -= offset if zone[0] == "+" else -offset
        return seconds * 1_000_000_000 + int(f"{fraction:0<9}"[:9])
    except ValueError:
        return 0
