"""`--log-driver` and `--log-opt` of `run` and `create`: to the `log` object of a request (docs/spec.md)."""

from __future__ import annotations

import os

from remora.frontend.container import logs
from remora.frontend.errors import RemoraError
from remora.frontend.options import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remora.frontend.container.spec import Log, LogDriver, LogStream

# Which drivers have a use for an option: a setting that nobody heeds is a mistake, and told as one.
_WRITTEN = (*logs.FILES, logs.JOURNALD)
_TAGGED = (logs.JSON_FILE, logs.JOURNALD)
OPTIONS = {
    "max-size": logs.FILES,
    "max-file": logs.FILES,
    "path": logs.FILES,
    "tag": _TAGGED,
    "labels": _TAGGED,
    "mode": _WRITTEN,
    "rate": _WRITTEN,
    "stdout-mode": _WRITTEN,
    "stderr-mode": _WRITTEN,
}
# Docker's names for the first two.
MODES = {"block": "block", "drop": "drop", "rate": "rate", "blocking": "block", "non-blocking": "drop"}
MOST_FILES = 1000
TAG_FIELDS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName")


def read(drivers: Sequence[str], options: Sequence[str], tty: bool) -> Log:
    """The log that the options ask for. Raises RemoraError for the first one that makes no sense."""
    names = [_known("--log-driver", "log driver", name, logs.DRIVERS) for name in drivers] or [logs.K8S_FILE]
    _check_drivers(names, tty)
    given = _options(options)
    for key in given:
        if not set(OPTIONS[key]) & set(names):
            raise RemoraError(
                f'--log-opt {key} is nothing for the log driver "{", ".join(names)}"',
                hint=f"add --log-driver {OPTIONS[key][0]}, or leave it out",
            )
    log = logs.usual()
    log["drivers"] = [_sink(name, given) for name in names]
    _paths(log["drivers"], given.get("path", []))
    log["tag"] = _tag(given["tag"][-1]) if "tag" in given else ""
    log["labels"] = [label for text in given.get("labels", []) for label in _labels(text)]
    log["stdout"], log["stderr"] = _policies(given)
    return log


def _known(option: str, kind: str, text: str, known: Iterable[str]) -> str:
    """The text if it is one of the known words; else an error that names the nearest one."""
    words = list(known)
    if text in words:
        return text
    from difflib import get_close_matches

    near = get_close_matches(text, words, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise RemoraError(f'unknown {kind} "{text}" for {option}', hint=f"{hint}One of {', '.join(words)}".strip())


def _check_drivers(names: list[str], tty: bool) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RemoraError(f"--log-driver {name} is given twice", hint="leave out one of them")
        if name in (logs.NONE, logs.PASSTHROUGH) and len(names) > 1:
            raise RemoraError(f"--log-driver {name} and other drivers exclude each other", hint="leave out one of them")
    if tty and logs.PASSTHROUGH in names:
        raise RemoraError("options --tty and --log-driver passthrough exclude each other", hint="leave out one of them")


def _options(options: Sequence[str]) -> dict[str, list[str]]:
    """The values of each key, in order. As with Podman, one option may hold several: `max-size=1m,max-file=3`."""
    given: dict[str, list[str]] = {}
    for option in options:
        key = ""
        for part in option.split(","):
            word, equals, value = part.partition("=")
            if key and not (equals and word in OPTIONS):
                given[key][-1] += "," + part  # a comma that belongs to the value
                continue
            key = _known("--log-opt", "option", word, OPTIONS)
            if not value:
                raise RemoraError(f"--log-opt {key} needs a value", hint=f"use {key}=VALUE")
            given.setdefault(key, []).append(value)
    return given


def _sink(driver: str, given: dict[str, list[str]]) -> LogDriver:
    sink: LogDriver = {"driver": driver, "path": "", "max_size": 0, "max_files": 1}
    if driver in logs.FILES:
        if "max-size" in given:
            # -1 is Docker's and Podman's word for "no limit".
            sink["max_size"] = max(values.size("--log-opt max-size", given["max-size"][-1]), 0)
        if "max-file" in given:
            sink["max_files"] = values.integer("--log-opt max-file", given["max-file"][-1], 1, MOST_FILES)
            if sink["max_files"] > 1 and not sink["max_size"]:
                raise RemoraError(
                    f"--log-opt max-file={sink['max_files']} needs a size at which a new file is begun",
                    hint="add --log-opt max-size=SIZE",
                )
    return sink


def _paths(sinks: list[LogDriver], texts: list[str]) -> None:
    """`path=FILE`; with two drivers that write files `path=DRIVER:FILE`, as conmon spells it."""
    writers = {sink["driver"]: sink for sink in sinks if sink["driver"] in logs.FILES}
    for text in texts:
        driver, colon, path = text.partition(":")
        if not colon or driver not in logs.FILES:
            driver, path = "", text
        if not driver and len(writers) > 1:
            raise RemoraError(
                f"--log-opt path={text}: for which of {' and '.join(writers)}?",
                hint=f"use path={next(iter(writers))}:{text}",
            )
        driver = driver or next(iter(writers))
        if driver not in writers or not path:
            raise RemoraError(
                f"--log-opt path={text} is nothing for the log driver {', '.join(writers)}",
                hint="use path=FILE",
            )
        writers[driver]["path"] = os.path.abspath(path)
    taken = [sink["path"] for sink in writers.values() if sink["path"]]
    if len(set(taken)) < len(taken):
        raise RemoraError(f"two log drivers can't write the same file {taken[0]}", hint="give each its own path")


def _tag(text: str) -> str:
    """A text, or a Go template with the fields that Docker documents for it."""
    if "{{" in text:
        tag(text, dict.fromkeys(TAG_FIELDS, ""))
    return text


def tag(text: str, fields: dict[str, str]) -> str:
    """The tag in effect. Raises RemoraError for a template that is none, or has a field that is unknown."""
    if "{{" not in text:
        return text
    from remora.frontend.output.template.evaluate import Template

    try:
        return Template(text).render(fields)
    except RemoraError as error:
        raise RemoraError(f"--log-opt tag={text}: {error.message}", hint="fields: " + ", ".join(TAG_FIELDS)) from None


def _labels(text: str) -> list[str]:
    """`NAME` stands for the container's label of that name, `NAME=VALUE` for itself."""
    found = text.split(",")
    for label in found:
        if not label.partition("=")[0]:
            raise RemoraError(f"--log-opt labels={text}: a label without a name", hint="use labels=NAME,NAME=VALUE")
    return found


def _policies(given: dict[str, list[str]]) -> tuple[LogStream, LogStream]:
    rate = values.size("--log-opt rate", given["rate"][-1]) if "rate" in given else 0
    if "rate" in given and rate < 1:
        raise RemoraError(f"--log-opt rate={given['rate'][-1]} lets nothing through", hint="use --log-driver none")
    usual = given.get("mode", ["rate" if rate else "block"])[-1]
    streams: list[LogStream] = []
    for stream in ("stdout", "stderr"):
        key = f"{stream}-mode" if f"{stream}-mode" in given else "mode"
        mode = MODES[_known(f"--log-opt {key}", "mode", given.get(key, [usual])[-1], MODES)]
        if mode == "rate" and not rate:
            raise RemoraError(
                f"--log-opt {key}=rate needs to know how much may be logged in a second",
                hint="add --log-opt rate=SIZE, as rate=1m",
            )
        streams.append({"policy": mode, "rate": rate if mode == "rate" else 0})
    if rate and not any(stream["rate"] for stream in streams):
        raise RemoraError(f"--log-opt rate={given['rate'][-1]}: no stream has the mode rate", hint="add mode=rate")
    return streams[0], streams[1]
