"""Sizes, durations and times as people read them, and text made safe for a terminal.

The wording of durations and sizes is Docker's (go-units): "2 minutes ago", "About an hour", "1.98MB".
"""

from __future__ import annotations

import time

from remora.frontend.output.template.values import Time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NS = 1_000_000_000
NEVER = Time("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC")
SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
BINARY_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def duration(seconds: float) -> str:
    """`About a minute`, `3 weeks`: one unit, rounded down (hours: to the nearest)."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(then_ns: int, now_ns: int) -> str:
    """`2 minutes ago`; a time to come counts as now."""
    return duration(max(now_ns - then_ns, 0) / NS) + " ago"


def size(count: float, digits: int = 3) -> str:
    """`1.98MB`: decimal units, `digits` significant digits."""
    return _size(count, 1000.0, SIZES, digits)


def binary_size(count: float, digits: int = 4) -> str:
    """`1.953MiB`: binary units."""
    return _size(count, 1024.0, BINARY_SIZES, digits)


def _size(count: float, base: float, units: tuple[str, ...], digits: int) -> str:
    unit = 0
    while count >= base and unit < len(units) - 1:
        count /= base
        unit += 1
    return f"{count:.{digits}g}{units[unit]}"


def moment(ns: int) -> Time:
    """A wall time in nanoseconds as text in the local time zone; 0 is Go's zero time."""
    if ns <= 0:
        return NEVER
    seconds, fraction = divmod(ns, NS)
    local = time.localtime(seconds)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    clock = time.strftime("%H:%M:%S", local) + digits
    date = f"{local.tm_year:04d}-{local.tm_mon:02d}-{local.tm_mday:02d}"
    offset = abs(local.tm_gmtoff) // 60
    sign = "-" if local.tm_gmtoff < 0 else "+"
    zone = f"{sign}{offset // 60:02d}:{offset % 60:02d}"
    return Time(
        f"{date}T{clock}{'Z' if offset == 0 else zone}",
        f"{date} {clock} {zone.replace(':', '')} {local.tm_zone}",
    )


def visible(text: str) -> str:
    """Text with control characters (and what could not be decoded) shown as `\\x1b`, safe for any terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return named.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def table(rows: list[list[str]], minimum: int = 10) -> str:
    """Rows in columns with two spaces between them; the last column is not padded.

    minimum: the least width of a column, as Podman has it, so that a table does not jump while it is filled.
    """
    if not rows:
        return ""
    columns = max(len(row) for row in rows)
    widths = [max([minimum, *(len(row[column]) for row in rows if column < len(row) - 1)]) for column in range(columns)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{widths[column]}}" for column, cell in enumerate(row[:-1])]
        lines.append("  ".join([*cells, *row[-1:]]).rstrip() + "\n")
    return "".join(lines)


def outline(value: Mapping[str, object], depth: int = 0) -> list[str]:
    """Nested facts as indented `key: value` lines."""
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines.append(f"{'  ' * depth}{key}:")
            lines += outline(item, depth + 1)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for part in item:
                lines.append(f"{'  ' * depth}{key}:")
                lines += outline(part, depth + 1)
        else:
            shown = ", ".join(str(part) for part in item) if isinstance(item, list) else item
            lines.append(f"{'  ' * depth}{key}: {shown}".rstrip())
    return lines
