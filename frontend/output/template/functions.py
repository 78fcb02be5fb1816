"""The functions of templates: Go's predefined ones, and those that Docker and Podman add.

A function raises ValueError or TypeError with a short text; the evaluator adds the place.
`and` and `or` stand here by name only: the evaluator does not evaluate their arguments past the deciding one.
"""

from __future__ import annotations

from remora.frontend.output.template.values import (
    MISSING,
    Map,
    Missing,
    Time,
    format_value,
    is_true,
    to_json,
    type_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.output.template.values import Function


def _text(value: object) -> str:
    return value if isinstance(value, str) and not isinstance(value, Time) else format_value(value)


def _items(value: object) -> list[object]:
    if value is None or isinstance(value, Missing):
        return []
    if not isinstance(value, list):
        raise TypeError(f"a list is expected, not {type_name(value)}")
    return value


def _int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a whole number is expected, not {type_name(value)}")
    return value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number" if isinstance(value, int) else "float"
    if isinstance(value, str):
        return "text"
    return "nil" if value is None or isinstance(value, Missing) else "other"


def _equal(first: object, *others: object) -> bool:
    if not others:
        raise TypeError("two values are needed to compare")
    for other in others:
        if "nil" in (_kind(first), _kind(other)):
            if _kind(first) == _kind(other):
                return True
            continue
        if _kind(first) == "other" or _kind(other) == "other":
            raise TypeError(f"{type_name(first)} and {type_name(other)} can't be compared")
        if _kind(first) != _kind(other):
            raise TypeError(f"incompatible types for comparison: {type_name(first)} and {type_name(other)}")
        if first == other:
            return True
    return False


def _less(first: object, second: object) -> bool:
    if isinstance(first, str) and isinstance(second, str):
        return first < second
    if _kind(first) == _kind(second) and isinstance(first, (int, float)) and isinstance(second, (int, float)):
        return first < second
    raise TypeError(f"incompatible types for comparison: {type_name(first)} and {type_name(second)}")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Map):
            value = value.get(_text(key), "")
        elif isinstance(value, dict):
            value = value.get(key, MISSING)
        elif isinstance(value, (list, str)):
            position = _int(key)
            if not 0 <= position < len(value):
                raise ValueError(f"index out of range: {position}")
            value = value[position] if isinstance(value, list) else value.encode()[position]
        elif value is None or isinstance(value, Missing):
            raise ValueError("index of nil")
        else:
            raise TypeError(f"can't index {type_name(value)}")
    return value


def _slice(value: object, *bounds: object) -> object:
    if not isinstance(value, (list, str)):
        raise TypeError(f"can't slice {type_name(value)}")
    low = _int(bounds[0]) if bounds else 0
    high = _int(bounds[1]) if len(bounds) > 1 else len(value)
    if not 0 <= low <= high <= len(value):
        raise ValueError(f"slice out of range: {low}:{high}")
    return value[low:high]


def _len(value: object) -> int:
    if isinstance(value, (list, dict)):
        return len(value)
    if isinstance(value, str):
        return len(value.encode(errors="surrogateescape"))
    raise TypeError(f"len of {type_name(value)}")


def _print(*values: object) -> str:
    made = ""
    for position, value in enumerate(values):
        if position and not isinstance(value, str) and not isinstance(values[position - 1], str):
            made += " "
        made += _text(value)
    return made


def _quote(value: str) -> str:
    from json import dumps

    return dumps(value, ensure_ascii=False)


def _verb(flags: str, width: str, precision: str, verb: str, value: object) -> str:
    """One argument in one printf verb."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    layout = flags.replace("+", "") if not numeric else flags
    if verb in "dboxXc" and isinstance(value, int) and not isinstance(value, bool):
        if verb == "c":
            return f"%{layout}{width}s" % chr(value)
        if verb == "b":
            return f"%{layout.replace('0', '')}{width}s" % f"{value:b}"
        return f"%{layout}{width}{verb}" % value
    if verb in "eEfFgG" and isinstance(value, float):
        return f"%{layout}{width}{precision}{verb}" % value
    if verb in "xX" and isinstance(value, str):
        digits = value.encode().hex()
        return f"%{layout}{width}s" % (digits.upper() if verb == "X" else digits)
    if verb == "q" and isinstance(value, str):
        return f"%{layout}{width}s" % _quote(value)
    if (verb == "s" and not numeric and not isinstance(value, bool)) or verb == "v":
        return f"%{layout.replace('#', '')}{width}{precision if verb == 's' else ''}s" % _text(value)
    if verb == "t" and isinstance(value, bool):
        return f"%{layout}{width}s" % format_value(value)
    if verb == "T":
        return type_name(value)
    return f"%!{verb}({type_name(value)}={format_value(value)})"


def _printf(form: object, *values: object) -> str:
    text = _text(form)
    left = list(values)
    made: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "%":
            made.append(text[at])
            at += 1
            continue
        at += 1
        start = at
        while at < len(text) and text[at] in "+-# 0":
            at += 1
        flags = text[start:at]
        numbers: list[str] = []
        for dot in ("", "."):
            start = at
            if dot and text[at : at + 1] == ".":
                at += 1
            elif dot:
                numbers.append("")
                continue
            if text[at : at + 1] == "*":
                at += 1
                numbers.append(dot + (str(_int(left.pop(0))) if left else ""))
                continue
            while at < len(text) and text[at].isdigit():
                at += 1
            numbers.append(text[start:at])
        verb = text[at : at + 1]
        at += 1
        if verb == "%":
            made.append("%")
        elif not verb:
            made.append("%!(NOVERB)")
        elif not left:
            made.append(f"%!{verb}(MISSING)")
        else:
            made.append(_verb(flags, numbers[0], numbers[1], verb, left.pop(0)))
    if left:
        made.append("%!(EXTRA " + ", ".join(f"{type_name(value)}={format_value(value)}" for value in left) + ")")
    return "".join(made)


def _title(value: object) -> str:
    made = []
    before = " "
    for char in _text(value):
        made.append(char.upper() if not (before.isalnum() or before in "_'") else char)
        before = char
    return "".join(made)


def _pad(value: object, before: object, after: object) -> str:
    text = _text(value)
    return text if not text else " " * _int(before) + text + " " * _int(after)


def _html(*values: object) -> str:
    text = _print(*values)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(char, entity)
    return text


def _urlquery(*values: object) -> str:
    safe = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"
    encoded = _print(*values).encode(errors="surrogateescape")
    return "".join("+" if byte == 32 else chr(byte) if byte in safe else f"%{byte:02X}" for byte in encoded)


def _call(function: object, *values: object) -> object:
    if not callable(function):
        raise TypeError(f"can't call {type_name(function)}")
    result: object = function(*values)
    return result


def _split(value: object, separator: object) -> list[object]:
    text, mark = _text(value), _text(separator)
    return list(text.split(mark)) if mark else list(text)


FUNCTIONS: dict[str, Function] = {
    "and": is_true,
    "or": is_true,
    "not": lambda value: not is_true(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _less,
    "le": lambda first, second: _less(first, second) or _equal(first, second),
    "gt": lambda first, second: not _less(first, second) and not _equal(first, second),
    "ge": lambda first, second: not _less(first, second),
    "index": _index,
    "slice": _slice,
    "len": _len,
    "print": _print,
    "println": lambda *values: " ".join(_text(value) for value in values) + "\n",
    "printf": _printf,
    "html": _html,
    "js": lambda *values: _quote(_print(*values))[1:-1],
    "urlquery": _urlquery,
    "call": _call,
    "json": to_json,
    "split": _split,
    "join": lambda values, separator="": _text(separator).join(_text(item) for item in _items(values)),
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "title": _title,
    "pad": _pad,
    "truncate": lambda value, length: _text(value)[: max(_int(length), 0)],
}
