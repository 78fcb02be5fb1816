"""/etc/subuid and /etc/subgid: the ranges of a name that is not necessarily the caller's (subuid(5))."""

from __future__ import annotations

from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.userns.maps import Map, Span

FILES = {"uid": "/etc/subuid", "gid": "/etc/subgid"}
AUTOMATIC = "containers"  # whose ranges root's `--userns auto` takes: as Podman


def of(kind: str, *names: str) -> list[Span]:
    """(first, count) of each line of these owners (login names, or numbers as text), in the file's order.

    kind: `uid` or `gid`. Raises RemoraError when the file can't be read.
    """
    path = FILES[kind]
    try:
        with open(path, "rb", buffering=0) as file:
            lines = file.readall().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RemoraError(f"reading {path}: {os_error_text(error)}", "it should be readable by everybody") from None
    found = []
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in names and fields[1].isdecimal() and fields[2].isdecimal():
            found.append((int(fields[1]), int(fields[2])))
    return [one for one in found if one[1]]


def in_a_row(option: str, kind: str, name: str) -> Map:
    """The map 0 … to all ranges of a name. Raises RemoraError when it has none."""
    result, inside = [], 0
    for first, count in of(kind, name):
        result.append([inside, first, count])
        inside += count
    if not result:
        raise RemoraError(f'{option} {name}: no line for "{name}" in {FILES[kind]}', hint=command(name))
    return result


def command(name: str) -> str:
    """The remedy where a name has no ranges."""
    return f"add one: `echo {name}:2147483648:1048576 | sudo tee -a {FILES['uid']} {FILES['gid']}`"
