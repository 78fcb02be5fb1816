"""Volumes as `volume ls` and `volume inspect` show them (Podman's names), and their filters."""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.output.template.values import Map
from remora.frontend.output.text import moment
from remora.frontend.volumes import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remora.frontend.settings import Settings
    from remora.frontend.volumes.store import Volume

DRIVER = "local"
FILTERS = ("dangling", "driver", "label", "label!", "name", "opt", "scope", "since", "until")
PRUNE_FILTERS = ("all", "label", "label!", "until")
TIMES = ("since", "until")


def fields(settings: Settings, volume: Volume, used: int) -> dict[str, object]:
    """Everything about a volume. used: by how many containers."""
    found: dict[str, object] = {
        "Name": volume["name"],
        "Driver": DRIVER,
        "Mountpoint": store.place(settings, volume["name"]),
        "CreatedAt": moment(volume["created_ns"]),
        "Labels": Map(volume["labels"]),
        "Scope": "local",
        "Options": Map(volume["options"]),
        "MountCount": used,
    }
    if volume["owner"]:
        found["Anonymous"] = True
    if volume["fresh"]:
        found["NeedsCopyUp"] = found["NeedsChown"] = True
    return found


class Filters:
    """`--filter KEY=VALUE`: any value of a key may match (labels and options: all must), all keys must."""

    __slots__ = ("values",)

    def __init__(self, settings: Settings, texts: Sequence[str], keys: Sequence[str] = FILTERS) -> None:
        self.values: dict[str, list[str]] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            if text.startswith("label!="):
                key, value = "label!", text[7:]
            if not equals:
                raise RemoraError(f'invalid filter "{text}"', "KEY=VALUE expected")
            if key not in keys:
                raise RemoraError(f"{key} is an invalid filter", "one of " + ", ".join(keys))
            if key in ("dangling", "all") and value not in ("true", "false", "1", "0"):
                raise RemoraError(f'invalid filter "{text}"', f"{key}=true or {key}=false")
            if key in TIMES:
                value = str(_time(settings, key, value))
            self.values.setdefault(key, []).append(value)

    def says(self, key: str) -> bool:
        """Whether a filter that is true or false is there, and true."""
        return any(value in ("true", "1") for value in self.values.get(key, []))

    def matches(self, volume: Volume, used: bool) -> bool:
        """Whether a volume passes all filters. used: by a container."""
        tests: dict[str, Callable[[str], bool]] = {
            "dangling": lambda value: used == (value in ("false", "0")),
            "driver": lambda value: value == DRIVER,
            "name": lambda value: _search(value, volume["name"]),
            "scope": lambda value: value == "local",
            "since": lambda value: volume["created_ns"] > int(value),
            "until": lambda value: volume["created_ns"] < int(value),
        }
        values = self.values
        if not all(_has(volume["labels"], text) for text in values.get("label", [])):
            return False
        if any(_has(volume["labels"], text) for text in values.get("label!", [])):
            return False
        if not all(_has(volume["options"], text) for text in values.get("opt", [])):
            return False
        return all(any(map(tests[key], texts)) for key, texts in values.items() if key in tests)


def _time(settings: Settings, key: str, value: str) -> int:
    """A time, or that of a volume."""
    if key == "since":
        try:
            return store.load(settings, value)["created_ns"]
        except store.NoSuchVolume:
            pass
    from remora.frontend.output.when import parse

    return parse(f"--filter {key}", value)


def _has(pairs: dict[str, str], text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in pairs and (not equals or pairs[key] == value)


def _search(pattern: str, text: str) -> bool:
    import re

    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise RemoraError(f'invalid filter "name={pattern}": {error}', "a regular expression is expected") from None
