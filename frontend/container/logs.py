"""Where a container's output is logged to: the `log` object of its request (docs/spec.md), read in one place.

A log goes to one or several drivers. Two of them write files, which have a default place in the container's folder.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Log, LogDriver, Spec

    T = TypeVar("T")

K8S_FILE, JSON_FILE, JOURNALD, NONE, PASSTHROUGH = "k8s-file", "json-file", "journald", "none", "passthrough"
DRIVERS = (K8S_FILE, JSON_FILE, JOURNALD, NONE, PASSTHROUGH)
FILES = (K8S_FILE, JSON_FILE)


def usual(driver: str = K8S_FILE) -> Log:
    """The log of a request that says nothing about it, or only the driver."""
    return {
        "drivers": [{"driver": driver, "path": "", "max_size": 0, "max_files": 1}],
        "tag": "",
        "labels": [],
        "stdout": {"policy": "block", "rate": 0},
        "stderr": {"policy": "block", "rate": 0},
    }


def modern(log: object) -> Log | None:
    """The `log` object of a record as it is written now; None when it can't be used.

    Records of Remora 0.1 have one driver: `{driver, path, max_size}`.
    """
    if not isinstance(log, dict):
        return None
    if "drivers" not in log:
        made = usual()
        made["drivers"] = [_fill(made["drivers"][0], log)]
    else:
        made = _fill(usual(), log)
        plain = usual()
        made["drivers"] = [_fill(usual()["drivers"][0], item) for item in made["drivers"]]
        made["stdout"] = _fill(plain["stdout"], made["stdout"])
        made["stderr"] = _fill(plain["stderr"], made["stderr"])
    known = made["drivers"] and all(sink["driver"] in DRIVERS for sink in made["drivers"])
    return made if known else None


def _fill(made: T, given: object) -> T:
    """The values that are given, where they have the type they should have."""
    assert isinstance(made, dict)
    if not isinstance(given, dict):
        return made
    for key, value in given.items():
        if isinstance(value, type(made.get(key))):
            made[key] = value
    return made


def path_of(record: ContainerRecord, sink: LogDriver) -> str:
    """The file that a driver writes; "" for one that writes none."""
    if sink["driver"] not in FILES:
        return ""
    # Docker's tools look for the name with the id.
    name = f"{record.id}-json.log" if sink["driver"] == JSON_FILE else "log"
    return sink["path"] or f"{record.data_dir}/{name}"


def has(spec: Spec, driver: str) -> bool:
    """Whether this is one of the container's drivers."""
    return any(sink["driver"] == driver for sink in spec["log"]["drivers"])


def is_passthrough(spec: Spec) -> bool:
    """Whether the container has the descriptors of the command that started it as its own."""
    return has(spec, PASSTHROUGH)


def statistics(counters: object) -> dict[str, object]:
    """What was logged and what was not, for people and templates. counters: a monitor's, or those of an exit record.

    The same keys in every case, whatever the monitor told: it may be another version.
    """
    told = counters if isinstance(counters, dict) else {}
    streams = {name: _numbers(told.get(name.lower()), ("Written", "Dropped")) for name in ("Stdout", "Stderr")}
    drivers: list[dict[str, object]] = []
    sinks = told.get("drivers")
    for sink in sinks if isinstance(sinks, list) else []:
        if not isinstance(sink, dict):
            continue
        texts = {name: str(sink.get(name.lower(), "")) for name in ("Driver", "Path", "Error")}
        numbers = _numbers(sink, ("Written", "Dropped", "Gaps", "Size", "Rotations", "Failed_Rotations"))
        drivers.append({**texts, **numbers})
    return {
        "Written": sum(stream["Written"] for stream in streams.values()),
        "Dropped": sum(stream["Dropped"] for stream in streams.values()),
        **streams,
        "Drivers": drivers,
    }


def _numbers(values: object, names: tuple[str, ...]) -> dict[str, int]:
    found = values if isinstance(values, dict) else {}
    numbers = {name: found.get(name.lower()) for name in names}
    return {name.replace("_", ""): value if isinstance(value, int) else 0 for name, value in numbers.items()}


def check_stdio() -> None:
    """Raise RemoraError unless this command's descriptors 0, 1 and 2 can be given to a container for its own.

    A terminal can't: who has it may put words into it that the shell takes for typed ones (TIOCSTI).
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            raise RemoraError(
                f"--log-driver passthrough hands on descriptor {fd}, which is not open",
                "redirect it, to /dev/null for example",
            ) from None
        if os.isatty(fd):
            raise RemoraError(
                f"the '--log-driver passthrough' option cannot be used on a TTY: descriptor {fd} is one",
                "redirect it, or use another log driver",
            )


def whereabouts(driver: str) -> str:
    """Where to look for the output of a container that a driver keeps nothing of, as a hint."""
    if driver == PASSTHROUGH:
        return "its output goes straight to where the command that started it had its own: look there"
    return "run it with --log-driver k8s-file"
