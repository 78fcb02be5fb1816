"""Values of command line options: sizes, durations, numbers, signals and limits.

Every function takes the option as it was typed (for the message) and its text, and returns the value or raises a
RemoraError that names the option, the text and what is expected. Nothing here looks at the machine.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError

# Linux numbers of the generic architectures (x86, arm, riscv, s390); the C library's first real-time signal is 34.
SIGNALS = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "ILL": 4,
    "TRAP": 5,
    "ABRT": 6,
    "IOT": 6,
    "BUS": 7,
    "FPE": 8,
    "KILL": 9,
    "USR1": 10,
    "SEGV": 11,
    "USR2": 12,
    "PIPE": 13,
    "ALRM": 14,
    "TERM": 15,
    "STKFLT": 16,
    "CHLD": 17,
    "CLD": 17,
    "CONT": 18,
    "STOP": 19,
    "TSTP": 20,
    "TTIN": 21,
    "TTOU": 22,
    "URG": 23,
    "XCPU": 24,
    "XFSZ": 25,
    "VTALRM": 26,
    "PROF": 27,
    "WINCH": 28,
    "IO": 29,
    "POLL": 29,
    "PWR": 30,
    "SYS": 31,
    "UNUSED": 31,
}
REALTIME_FIRST = 34
REALTIME_LAST = 64

ULIMITS = (
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
)

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATION_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DIGITS = frozenset("0123456789")
_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_REST = _NAME_FIRST | frozenset("_.-")

_PREFIX = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def boolean(option: str, text: str) -> bool:
    """`true`, `t`, `1`, `false`, `f` or `0` in any case."""
    value = _PREFIX.get(text.lower())
    if value is None:
        raise RemoraError(f'invalid value "{text}" for {option}', hint="use true or false")
    return value


def size(option: str, text: str) -> int:
    """A number of bytes with an optional unit b, k, m, g, t or p (powers of 1024; `kb` and `kib` are `k`).

    Fractions are allowed ("1.5g"). -1 is passed through: it means unlimited where the option has such a value.
    """
    if text == "-1":
        return -1
    body = text.strip().lower()
    end = len(body)
    while end and body[end - 1] not in _DIGITS:
        end -= 1
    unit = body[end:].strip()
    if len(unit) > 1 and unit.endswith("b"):
        unit = unit[:-1].removesuffix("i")
    try:
        if unit not in _UNITS or not set(body[:end]) <= _DIGITS | {"."}:
            raise ValueError(text)
        return int(float(body[:end]) * _UNITS[unit])
    except (ValueError, OverflowError):
        raise RemoraError(
            f'invalid size "{text}" for {option}', hint="a number with an optional unit b, k, m or g, as 512m"
        ) from None


def integer(option: str, text: str, least: int | None = None, most: int | None = None) -> int:
    """A decimal number, with bounds where given."""
    try:
        value = int(text, 10)
    except ValueError:
        raise RemoraError(f'invalid number "{text}" for {option}', hint="use a decimal number") from None
    if least is not None and value < least:
        raise RemoraError(f"{option} {text} is too small", hint=f"the least is {least}")
    if most is not None and value > most:
        raise RemoraError(f"{option} {text} is too large", hint=f"the most is {most}")
    return value


def number(option: str, text: str) -> float:
    """A decimal number with a fraction, not negative."""
    try:
        value = float(text)
        if not 0 <= value < 1e9:
            raise ValueError(text)
    except ValueError:
        raise RemoraError(f'invalid number "{text}" for {option}', hint="use a number such as 0.5 or 2") from None
    return value


def duration(option: str, text: str) -> int:
    """Seconds, or a duration such as `90s`, `1m30s`, `2h`; rounded up to whole seconds. -1 means for ever."""
    if text == "-1":
        return -1
    if text and set(text) <= _DIGITS:
        return int(text)
    total = 0.0
    position = 0
    try:
        while position < len(text) or not text:
            start = position
            while position < len(text) and (text[position] in _DIGITS or text[position] == "."):
                position += 1
            value = float(text[start:position])
            start = position
            while position < len(text) and text[position] not in _DIGITS and text[position] != ".":
                position += 1
            total += value * _DURATION_UNITS[text[start:position]]
        return -int(-total // 1)
    except (ValueError, KeyError):
        raise RemoraError(f'invalid time "{text}" for {option}', hint="seconds, or a duration such as 1m30s") from None


def signal(option: str, text: str) -> int:
    """A signal by number, name with or without `SIG`, or `RTMIN+n` / `RTMAX-n`."""
    name = text.upper().removeprefix("SIG")
    if name and set(name) <= _DIGITS:
        value = int(name)
        if 1 <= value <= REALTIME_LAST:
            return value
    elif name in SIGNALS:
        return SIGNALS[name]
    else:
        for word, base, sign in (("RTMIN", REALTIME_FIRST, "+"), ("RTMAX", REALTIME_LAST, "-")):
            if name == word:
                return base
            if name.startswith(word + sign) and name[6:].isdecimal():
                value = base + int(sign + name[6:])
                if REALTIME_FIRST <= value <= REALTIME_LAST:
                    return value
    raise RemoraError(
        f'unknown signal "{text}" for {option}', hint="a name such as TERM or RTMIN+3, or a number from 1 to 64"
    )


def ulimit(option: str, text: str) -> tuple[str, int, int]:
    """`NAME=SOFT[:HARD]`; -1 or `unlimited` is no limit (-1 in the result). HARD is SOFT if absent."""
    name, equals, rest = text.partition("=")
    name = name.lower().removeprefix("rlimit_")
    expected = "NAME=SOFT[:HARD], as nofile=1024:4096"
    if not equals or not rest:
        raise RemoraError(f'invalid value "{text}" for {option}', hint=expected)
    if name not in ULIMITS:
        raise RemoraError(f'unknown limit "{name}" for {option}', hint="one of " + ", ".join(ULIMITS))
    limits = []
    for part in rest.split(":"):
        if part in ("-1", "unlimited"):
            limits.append(-1)
        elif part and set(part) <= _DIGITS:
            limits.append(int(part))
        else:
            raise RemoraError(f'invalid value "{text}" for {option}', hint=expected)
    if len(limits) > 2:
        raise RemoraError(f'invalid value "{text}" for {option}', hint=expected)
    soft, hard = limits[0], limits[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        raise RemoraError(f'invalid value "{text}" for {option}: the soft limit is above the hard one', hint=expected)
    return name, soft, hard


def hostname(option: str, text: str) -> str:
    """A host name: letters, digits, `-` and `.`, at most 64 characters (the kernel's bound)."""
    if not text or text[0] not in _NAME_FIRST or not set(text) <= _NAME_REST or len(text) > 64:
        raise RemoraError(
            f'invalid host name "{text}" for {option}', hint="letters, digits, - and ., at most 64 characters"
        )
    return text


def octal(option: str, text: str) -> str:
    """A file mode mask in octal, normalised to four digits."""
    try:
        value = int(text, 8)
        if not 0 <= value <= 0o777:
            raise ValueError(text)
    except ValueError:
        raise RemoraError(f'invalid mask "{text}" for {option}', hint="an octal number such as 0022") from None
    return f"{value:04o}"


def pair(option: str, text: str) -> tuple[str, str]:
    """`KEY=VALUE`, the value empty if there is no `=`."""
    key, _, value = text.partition("=")
    if not key:
        raise RemoraError(f'invalid value "{text}" for {option}', hint="use KEY=VALUE")
    return key, value


def choice(option: str, text: str, choices: tuple[str, ...]) -> str:
    """One of the given words."""
    if text not in choices:
        raise RemoraError(f'invalid value "{text}" for {option}', hint="one of " + ", ".join(choices))
    return text
