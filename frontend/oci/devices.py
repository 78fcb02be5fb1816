"""Devices: nodes of the host that a container gets, the rules of its device cgroup, every node for --privileged.

With rights over the machine the runtime makes a node of its own, with the host's number. In a user namespace nobody may
make nodes: there the host's node is bound, and who may open it is decided by its owner and mode (and by the device
cgroup, where root made the namespace).
"""

from __future__ import annotations

import os
import stat

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Device, Json, Spec

# Made by the runtime itself, or belonging to one terminal.
_RUNTIMES = frozenset(("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"))
_FOLDERS = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
DEPTH_MAX = 8
ACCESS = frozenset("rwm")


class Devices:
    """nodes: `linux.devices`; rules: `linux.resources.devices`; binds: mounts in their place, in a user namespace."""

    __slots__ = ("nodes", "rules", "binds")

    def __init__(self, nodes: list[Json], rules: list[Json], binds: list[Json]) -> None:
        self.nodes = nodes
        self.rules = rules
        self.binds = binds


def build(spec: Spec, bind: bool) -> Devices:
    """What a container gets. bind: it will be in a user namespace, where no node can be made.

    Raises RemoraError when a device is gone since the container was made.
    """
    result = Devices([], [{"allow": spec["privileged"], "access": "rwm"}], [])
    for device in spec["devices"]:
        for node in _nodes(device):
            _add(result, node, device["source"], device["access"], bind)
    if spec["privileged"]:
        given = {_path(node) for node in result.nodes} | {str(item["destination"]) for item in _objects(result.binds)}
        for node in of_host():
            if _path(node) not in given:
                _add(result, node, _path(node), "", bind)
    result.rules += [_rule(text) for text in spec["device_cgroup_rules"]]
    return result


def _add(result: Devices, node: dict[str, Json], source: str, access: str, bind: bool) -> None:
    """Add a node (or its bind); access: what its rule allows, "" = no rule is needed."""
    origin = str(node.pop("source", source))
    if access:
        result.rules.append(
            {
                "allow": True,
                "type": node["type"],
                "major": node["major"],
                "minor": node["minor"],
                "access": access,
            }
        )
    if not bind:
        result.nodes.append(node)
    elif os.access(origin, os.F_OK):
        options = ["rbind", "rprivate", "nosuid", "noexec", "rw"]  # a read-only mount would keep nobody from writing
        result.binds.append({"destination": node["path"], "type": "bind", "source": origin, "options": options})


def parse(option: str, text: str) -> Device:
    """`HOST[:CONTAINER][:ACCESS]`, access of `r`, `w` and `m`; HOST may be a folder that holds devices.

    A link is resolved, the container path is then still the one that was named. Raises RemoraError when there is no
    such device, or the text has another form.
    """
    parts = text.split(":")
    expected = "HOST-DEVICE[:CONTAINER-DEVICE][:rwm]"
    if len(parts) > 3 or not parts[0]:
        raise RemoraError(f'invalid value "{text}" for {option}', hint=expected)
    source, target, access = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        target, access = parts[1] or source, parts[2]
    elif len(parts) == 2:
        if parts[1].startswith("/"):
            target = parts[1]
        else:
            access = parts[1]
    if not access or not ACCESS.issuperset(access) or len(set(access)) != len(access):
        raise RemoraError(f'{option} {text}: invalid access "{access}"', hint="some of r (read), w (write), m (mknod)")
    for path in (source, target):
        if not path.startswith("/") or "\0" in path:
            raise RemoraError(f'{option} {text}: "{path}" is not absolute', hint=expected)
    device: Device = {"source": os.path.realpath(source), "target": os.path.normpath(target), "access": access}
    if not _nodes(device, f"{option} {text}"):
        raise RemoraError(f"{option} {text}: no device is in this folder", hint="name a device node of the host")
    return device


def rule(option: str, text: str) -> str:
    """`TYPE MAJOR:MINOR ACCESS` of Documentation/admin-guide/cgroup-v1/devices.rst, blanks made single."""
    words = text.split()
    if len(words) == 3 and words[0] in ("a", "b", "c") and ACCESS.issuperset(words[2]):
        major, colon, minor = words[1].partition(":")
        if colon and all(number == "*" or (number.isascii() and number.isdecimal()) for number in (major, minor)):
            return " ".join(words)
    raise RemoraError(f'invalid value "{text}" for {option}', hint='as "c 10:229 rwm": a, b or c; numbers or *; rwm')


def _rule(text: str) -> dict[str, Json]:
    kind, numbers, access = text.split(" ")
    major, _, minor = numbers.partition(":")
    result: dict[str, Json] = {"allow": True, "type": kind, "access": access}
    if major != "*":
        result["major"] = int(major)
    if minor != "*":
        result["minor"] = int(minor)
    return result


def _nodes(device: Device, what: str = "") -> list[dict[str, Json]]:
    """The nodes of a device of the request: one, or those of a folder. what: the option, for the message."""
    source = device["source"]
    what = what or f"--device {source}"
    try:
        status = os.stat(source)
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        raise RemoraError(f"{what}: stat {source}: {text}", hint="name a device node of the host") from None
    if not stat.S_ISDIR(status.st_mode):
        node = _node(device["target"], status)
        if node is None:
            raise RemoraError(f"{what}: {source} is no device", hint="use -v to bind files and folders")
        return [node]
    found: list[dict[str, Json]] = []
    _walk(source, found, DEPTH_MAX)
    for node in found:
        node["source"] = node["path"]
        node["path"] = device["target"].rstrip("/") + _path(node)[len(source) :]
    return found


def of_host(folder: str = "/dev") -> list[dict[str, Json]]:
    """`linux.devices` of a privileged container: every node below /dev that is not the runtime's own."""
    found: list[dict[str, Json]] = []
    _walk(folder, found, DEPTH_MAX)
    return found


def _walk(folder: str, found: list[dict[str, Json]], depth: int) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth and entry.name not in _FOLDERS:
                    _walk(entry.path, found, depth - 1)
                continue
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it went away meanwhile
        node = _node(entry.path, status)
        if node is not None and not (folder == "/dev" and entry.name in _RUNTIMES):
            found.append(node)


def _node(path: str, status: os.stat_result) -> dict[str, Json] | None:
    """An entry of `linux.devices`; None when this is no device."""
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _path(node: Json) -> str:
    return str(node["path"]) if isinstance(node, dict) else ""


def _objects(items: Sequence[Json]) -> list[dict[str, Json]]:
    return [item for item in items if isinstance(item, dict)]
