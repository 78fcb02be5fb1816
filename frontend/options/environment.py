"""Environment variables and labels of a request: `-e`, `--env-file`, `--label`, `--label-file`."""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.options import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def environment(
    image: Iterable[str], files: Sequence[str], given: Sequence[str], caller: Mapping[str, str]
) -> list[str]:
    """The variables in effect, `NAME=VALUE`: the image's, then those of the files, then the ones given.

    A later one replaces an earlier one at its place. `NAME` alone takes the caller's value (nothing if unset),
    `PREFIX*` all of the caller's with that prefix. Raises RemoraError for a bad name or an unreadable file.
    """
    result = dict(item.partition("=")[::2] for item in image)
    for path in files:
        for text in _lines("--env-file", path):
            _set(result, f"--env-file {path}", text, caller)
    for text in given:
        _set(result, "--env", text, caller)
    return [f"{name}={value}" for name, value in result.items()]


def given_names(files: Sequence[str], given: Sequence[str], caller: Mapping[str, str]) -> list[str]:
    """`exec`'s additions: the same rules without an image, `NAME=VALUE`."""
    return environment((), files, given, caller)


def labels(image: Mapping[str, str], files: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """The labels in effect: the image's, then those of the files, then the ones given."""
    result = dict(image)
    for path in files:
        for text in _lines("--label-file", path):
            key, value = values.pair(f"--label-file {path}", text)
            result[key] = value
    for text in given:
        key, value = values.pair("--label", text)
        result[key] = value
    return result


def _set(result: dict[str, str], option: str, text: str, caller: Mapping[str, str]) -> None:
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise RemoraError(f'invalid variable "{text[:80]}" for {option}', hint="use NAME=VALUE or NAME")
    if equals:
        result[name] = value
    elif name.endswith("*"):
        prefix = name[:-1]
        result.update((key, value) for key, value in caller.items() if key.startswith(prefix))
    elif name in caller:
        result[name] = caller[name]


def _lines(option: str, path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise RemoraError(f"{option} {path}: {error.strerror}", hint="name a readable file") from None
    lines = (line.lstrip() for line in text.removeprefix("\ufeff").split("\n"))
    return [line.removesuffix("\r") for line in lines if line.strip() and not line.startswith("#")]
