"""The values a template sees, how Go prints them, and the error that says where a template is wrong."""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class TemplateError(RemoraError):
    """A template that can't be parsed or executed; the message points at the place."""

    __slots__ = ()

    def __init__(self, text: str, at: int, problem: str) -> None:
        line = text.count("\n", 0, at) + 1
        column = at - (text.rfind("\n", 0, at) + 1) + 1
        start = text.rfind("{{", 0, at + 2)
        end = text.find("}}", at)
        part = text[max(start, 0) : len(text) if end < 0 else end + 2]
        if len(part) > 60:
            part = part[:57] + "..."
        super().__init__(f"template:{line}:{column}: {problem} at <{part}>")


class Map(dict[str, object]):
    """A map with free keys (labels, annotations): a key that is not there is no error."""

    __slots__ = ()


class Time(str):
    """A time: RFC 3339 in JSON, Go's own form in a template, as Podman prints it."""

    __slots__ = ("go",)
    go: str

    def __new__(cls, rfc3339: str, go: str) -> Time:
        made = super().__new__(cls, rfc3339)
        made.go = go
        return made


class Missing:
    """What a map gives for a key it has not."""

    __slots__ = ()


MISSING = Missing()


def is_true(value: object) -> bool:
    """Go's truth: zero, "", nil and what is empty are false."""
    return not isinstance(value, Missing) and bool(value)


def type_name(value: object) -> str:
    """What messages call the type of a value."""
    if value is None or isinstance(value, Missing):
        return "nil"
    names: dict[type, str] = {bool: "bool", int: "int", float: "float64", str: "string", Time: "time", list: "list"}
    return names.get(type(value), "map" if isinstance(value, Map) else "struct" if isinstance(value, dict) else "value")


def format_value(value: object) -> str:
    """A value as Go's `%v` prints it."""
    if isinstance(value, Missing):
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Time):
        return value.go
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(format_value(item) for item in value) + "]"
    if isinstance(value, Map):
        return "map[" + " ".join(f"{key}:{format_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, dict):
        return "{" + " ".join(format_value(item) for item in value.values() if not callable(item)) + "}"
    return str(value)


def format_float(value: float) -> str:
    """A float as Go's `%v`: the shortest digits; an exponent below 1e-4 and from 1e21 on."""
    text = repr(value)
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[text]
    if 1e16 <= abs(value) < 1e21:
        return f"{value:.0f}"
    return text[:-2] if text.endswith(".0") else text


def to_json(value: object) -> str:
    """A value as compact JSON: the fields of a struct in their order, the keys of a map sorted."""
    from json import dumps

    return dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, Missing):
        return None
    if isinstance(value, Map):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not callable(item)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


if TYPE_CHECKING:
    Function = Callable[..., object]
