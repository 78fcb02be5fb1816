"""Times as users write them: RFC 3339, its shorter forms, seconds since the epoch, and how long ago.

Without `datetime` (its import costs more than a whole `logs` of a short log).
"""

from __future__ import annotations

import time

from remora.frontend.errors import RemoraError

NS = 1_000_000_000
UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": NS,
    "m": 60 * NS,
    "h": 3600 * NS,
    "d": 86400 * NS,
}
EXPECTED = "a time such as 2026-01-31T12:00:00Z, seconds since 1970, or 10m for ten minutes ago"


def parse(option: str, text: str, now_ns: int | None = None) -> int:
    """Wall time in nanoseconds since the epoch. A time without a zone is local. Raises RemoraError."""
    found = duration(text)
    if found is not None:
        return (time.time_ns() if now_ns is None else now_ns) - found
    found = _epoch(text)
    if found is None:
        found = _date(text)
    if found is None:
        raise RemoraError(f'parsing {option} "{text}": unable to interpret time value', EXPECTED)
    return found


def _fraction(digits: str) -> int | None:
    """The digits behind a point as nanoseconds."""
    return int(f"{digits:0<9}"[:9]) if digits.isdecimal() and digits.isascii() else None


def _epoch(text: str) -> int | None:
    whole, point, part = text.partition(".")
    fraction = _fraction(part) if point else 0
    if not (whole.isdecimal() and whole.isascii()) or fraction is None or len(whole) > 11:
        return None
    return int(whole) * NS + fraction


def duration(text: str) -> int | None:
    """`1h30m`, `90s`, `-5m` as nanoseconds."""
    rest = text.removeprefix("-")
    total = 0
    if not rest:
        return None
    while rest:
        end = 0
        while end < len(rest) and (rest[end] in "0123456789."):
            end += 1
        number = rest[:end]
        rest = rest[end:]
        end = 0
        while end < len(rest) and rest[end] not in "0123456789.":
            end += 1
        unit = UNITS.get(rest[:end])
        rest = rest[end:]
        try:
            total += int(float(number) * unit) if unit else 0
        except ValueError:
            return None
        if not unit:
            return None
    return -total if text.startswith("-") and total < 0 else total


def _date(text: str) -> int | None:
    """`2026-01-31[T12[:00[:00[.5]]]][Z|+01:00]`."""
    text = text.strip()
    date, clock = text[:10], text[10:]
    if len(date) != 10 or date[4] != "-" or date[7] != "-":
        return None
    offset: int | None = None
    if clock[-1:] in ("Z", "z"):
        offset, clock = 0, clock[:-1]
    elif len(clock) > 6 and clock[-6] in "+-" and clock[-3] == ":":
        zone = clock[-6:]
        if not (zone[1:3] + zone[4:]).isdecimal():
            return None
        offset = (int(zone[1:3]) * 60 + int(zone[4:])) * (-60 if zone[0] == "-" else 60)
        clock = clock[:-6]
    if clock and clock[0] not in "Tt ":
        return None
    clock, point, part = clock[1:].partition(".")
    fraction = _fraction(part) if point else 0
    numbers = [*date.split("-"), *(clock.split(":") if clock else [])]
    if fraction is None or len(numbers) > 6 or not all(number.isdecimal() and number.isascii() for number in numbers):
        return None
    year, month, day, hour, minute, second = [int(number) for number in numbers] + [0] * (6 - len(numbers))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    if offset is None:
        try:
            return int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1))) * NS + fraction
        except (OverflowError, ValueError):
            return None
    return (_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset) * NS + fraction


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar, counting years from March."""
    year -= month <= 2
    in_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    era, of_era = divmod(year, 400)
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + in_year - 719468
