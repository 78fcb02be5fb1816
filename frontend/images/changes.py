"""`--change`: Dockerfile instructions applied to an image configuration.

`INSTRUCTION value` is read as a Dockerfile line, `INSTRUCTION=value` as Podman reads it (one key, one value).
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.images.decode import as_list, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# As in the OCI image specification, and so in the files that other tools write: equal images get equal ids.
ORDER = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal")
SHELL = ["/bin/sh", "-c"]
KNOWN = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR"


def apply(changes: Sequence[str]) -> dict[str, object]:
    """The `config` object that the instructions make, in order; RemoraError names the wrong one."""
    config: dict[str, object] = {}
    environment: dict[str, str] = {}
    objects: dict[str, dict[str, object]] = {}
    for change in changes:
        name, value, plain = _split(change)
        if name in ("CMD", "ENTRYPOINT"):
            words = _json_list(value)
            config[name.capitalize()] = words if words is not None else [*SHELL, value]
        elif name == "USER":
            config["User"] = value
        elif name == "WORKDIR":
            config["WorkingDir"] = value
        elif name == "STOPSIGNAL":
            _check_signal(change, value)
            config["StopSignal"] = value
        elif name == "ENV":
            environment.update(_pairs(change, value, plain, equals_needed=False))
        elif name == "LABEL":
            objects.setdefault("Labels", {}).update(_pairs(change, value, plain, equals_needed=True))
        elif name == "EXPOSE":
            for port in value.split():
                objects.setdefault("ExposedPorts", {})[_port(change, port)] = {}
        elif name == "VOLUME":
            paths = _json_list(value)
            for path in paths if paths is not None else [value] if plain else value.split():
                objects.setdefault("Volumes", {})[path] = {}
        else:
            raise _wrong(change, f"unknown instruction {name}", f"known are {KNOWN}")
    if environment:
        config["Env"] = [f"{key}={item}" for key, item in environment.items()]
    for name, entries in objects.items():
        config[name] = dict(sorted(entries.items()))
    return {name: config[name] for name in ORDER if name in config}


def _wrong(change: str, why: str, hint: str = "") -> RemoraError:
    return RemoraError(f'invalid change "{change}": {why}', hint)


def _split(change: str) -> tuple[str, str, bool]:
    """Instruction in upper case, its value, and whether they were joined by `=`."""
    text = change.strip()
    end = next((at for at, character in enumerate(text) if character in "= \t"), len(text))
    value = text[end + 1 :].strip()
    if not end or not value:
        raise _wrong(change, "INSTRUCTION=VALUE or INSTRUCTION VALUE expected", f"known are {KNOWN}")
    return text[:end].upper(), value, text[end] == "="


def _json_list(value: str) -> list[str] | None:
    """A JSON array of texts, None when the value isn't one."""
    if not value.startswith("["):
        return None
    try:
        items = as_list(parse(value))
    except ValueError:
        return None
    return [item for item in items if isinstance(item, str)] if all(isinstance(i, str) for i in items) else None


def _pairs(change: str, value: str, plain: bool, *, equals_needed: bool) -> dict[str, str]:
    if plain:
        key, equals, item = value.partition("=")
        if len(item) > 1 and item[0] == item[-1] and item[0] in "\"'":
            item = item[1:-1]
        words = [f"{key}{equals}{item}"]
    elif "=" not in value.split()[0] and not equals_needed:  # the old `ENV key the rest`
        key, _, item = value.partition(" ")
        words = [f"{key}={item.strip()}"]
    else:
        import shlex

        try:
            words = shlex.split(value)
        except ValueError as error:
            raise _wrong(change, str(error).lower())
    found: dict[str, str] = {}
    for word in words:
        key, equals, item = word.partition("=")
        if not key or (equals_needed and not equals):
            raise _wrong(change, f'"{word}" is not KEY=VALUE')
        found[key] = item
    return found


def _port(change: str, text: str) -> str:
    """`80`, `80/udp`, `8000-8010/tcp` with the protocol made plain."""
    numbers, _, protocol = text.partition("/")
    protocol = protocol or "tcp"
    ends = numbers.split("-")
    right = len(ends) <= 2 and all(end.isascii() and end.isdigit() and 0 < int(end) < 65536 for end in ends)
    if not right or protocol not in ("tcp", "udp", "sctp"):
        raise _wrong(change, f'"{text}" is not PORT or PORT/PROTOCOL', "protocols are tcp, udp and sctp")
    return f"{numbers}/{protocol}"


def _check_signal(change: str, value: str) -> None:
    import signal

    if value.isascii() and value.isdigit() and 0 < int(value) < signal.NSIG:
        return
    name = value.upper().removeprefix("SIG")
    known = {item.name.removeprefix("SIG") for item in signal.Signals}
    if name not in known and not name.startswith(("RTMIN", "RTMAX")):
        raise _wrong(change, f'"{value}" is not a signal')
