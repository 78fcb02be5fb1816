"""`--filter KEY=VALUE` of ps and of the commands that work on many containers.

Several values of one key: any of them may match (labels: all of them must). Different keys: all must match.
"""

from __future__ import annotations

from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

KEYS = (
    "ancestor",
    "before",
    "created-before",
    "exited",
    "id",
    "label",
    "label!",
    "name",
    "network",
    "restart-policy",
    "since",
    "status",
    "until",
    "volume",
)
STATUSES = ("created", "exited", "stopped", "paused", "restarting", "running", "starting", "unknown", "dead")
SPECIAL = frozenset("\\^$.|?*+()[]{}")


class Filters:
    """Parsed filters. wants_all: they speak of containers that do not run, so that `ps` shows those too."""

    __slots__ = ("settings", "values", "wants_all", "images")

    def __init__(self, settings: Settings, texts: Sequence[str]) -> None:
        self.settings = settings
        self.values: dict[str, list[str]] = {}
        self.images: dict[str, str] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            if key == "label" and value.startswith("="):
                raise RemoraError(f'invalid filter "{text}"', "label=KEY or label=KEY=VALUE")
            if not equals:
                raise RemoraError(f'invalid filter "{text}"', "KEY=VALUE expected")
            if key not in KEYS:
                from difflib import get_close_matches

                near = get_close_matches(key, KEYS, 1, 0.6)
                hint = f"did you mean {near[0]}?" if near else "one of " + ", ".join(KEYS)
                raise RemoraError(f"{key} is an invalid filter", hint)
            self.values.setdefault(key, []).append(value)
        self._prepare()
        self.wants_all = "status" in self.values

    def _prepare(self) -> None:
        for status in self.values.get("status", []):
            if status not in STATUSES:
                raise RemoraError(f"unknown container state: {status}", "one of " + ", ".join(STATUSES))
        for code in self.values.get("exited", []):
            if not code.isdecimal():
                raise RemoraError(f'invalid filter "exited={code}"', "an exit code is expected")
        for key in ("before", "created-before", "since"):
            if key in self.values:
                times = [str(records.find(self.settings, given).spec["created_ns"]) for given in self.values[key]]
                self.values[key] = times
        if "until" in self.values:
            from remora.frontend.output.when import parse

            self.values["until"] = [str(parse("--filter until", text)) for text in self.values["until"]]

    def matches(self, record: ContainerRecord, state: ContainerState) -> bool:
        """Whether a container passes all filters."""
        return all(MATCHERS[key](self, record, state, values) for key, values in self.values.items())


def _search(pattern: str, text: str) -> bool:
    """A regular expression somewhere in the text; `re` is only needed for one that is more than letters."""
    if not SPECIAL.intersection(pattern):
        return pattern in text
    if pattern.startswith("^") and not SPECIAL.intersection(pattern[1:]):
        return text.startswith(pattern[1:])
    import re

    try:
        return re.search(pattern, text) is not None
    except re.error as error:
        raise RemoraError(f'invalid filter "name={pattern}": {error}', "a regular expression is expected") from None


def _name(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return any(_search(value.removeprefix("/"), record.name) for value in values)


def _id(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return any(record.id.startswith(value.lower()) for value in values)


def _has_label(record: ContainerRecord, text: str) -> bool:
    key, equals, value = text.partition("=")
    labels = record.spec["labels"]
    return key in labels and (not equals or labels[key] == value)


def _label(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return all(_has_label(record, value) for value in values)


def _no_label(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return not any(_has_label(record, value) for value in values)


def _status(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return any(
        state.status == ("exited" if value in ("stopped", "dead") else value)
        or (value == "unknown" and not state.known and state.status == states.EXITED)
        for value in values
    )


def _exited(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return state.status == states.EXITED and state.exit_code is not None and str(state.exit_code) in values


def _ancestor(filters: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    image = record.spec["image"]
    if image is None:
        return False
    for value in values:
        name = image["name"]
        short = name.rpartition("/")[2]
        if value in (name, short, image["given"], image["digest"]) or value in (
            name.rpartition(":")[0],
            short.rpartition(":")[0],
        ):
            return True
        if len(value) >= 3 and image["id"].startswith(value.removeprefix("sha256:")):
            return True
    return False


def _before(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return any(record.spec["created_ns"] < int(value) for value in values)


def _since(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return any(record.spec["created_ns"] > int(value) for value in values)


def _volume(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return any(value in (mount["source"], mount["target"]) for mount in record.spec["mounts"] for value in values)


def _network(filters: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    if record.spec["network"] in values:
        return True
    from remora.frontend.networks import definitions

    uses = {use["name"] for use in record.spec["networks"]}
    for value in values:
        if value in uses:
            return True
        try:
            if uses and definitions.find(filters.settings, value)["name"] in uses:
                return True
        except RemoraError:
            continue
    return False


def _restart(_: Filters, record: ContainerRecord, state: ContainerState, values: list[str]) -> bool:
    return record.spec["restart"]["policy"] in values


MATCHERS: dict[str, Callable[[Filters, ContainerRecord, ContainerState, list[str]], bool]] = {
    "ancestor": _ancestor,
    "before": _before,
    "created-before": _before,
    "exited": _exited,
    "id": _id,
    "label": _label,
    "label!": _no_label,
    "name": _name,
    "network": _network,
    "restart-policy": _restart,
    "since": _since,
    "status": _status,
    "until": _before,
    "volume": _volume,
}
