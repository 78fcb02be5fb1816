"""Where the cgroup of a running container is, as the host sees it.

`/proc/PID/cgroup` names the group of a process in each hierarchy: one line `:CONTROLLERS:PATH` for each of version 1,
and `0::PATH` for version 2 (cgroups(7)). A process may have moved into a group below the container's, so a path is cut
behind the component that bears the container's id. Nobody's cgroup is a container's own without that id.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

UNIFIED = ""


def own_paths(pid: int, container_id: str) -> dict[str, str]:
    """By controller (UNIFIED: version 2) the path of the container's own group within its hierarchy."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            return parse(file.read(), container_id)
    except OSError:
        return {}


def parse(text: str, container_id: str) -> dict[str, str]:
    """The same from the text of the file."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        own = _cut(path, container_id)
        if own:
            for controller in controllers.split(","):
                found[controller] = own
    return found


def _cut(path: str, container_id: str) -> str:
    at = path.find(container_id)
    if at < 0:
        return ""
    end = path.find("/", at)
    return path if end < 0 else path[:end]


def mounts() -> dict[str, tuple[str, str]]:
    """By controller where its hierarchy is mounted, and which group of it is the mount's root."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_mounts(file.read())


def parse_mounts(text: str) -> dict[str, tuple[str, str]]:
    """The same from the text of the file (proc_pid_mountinfo(5))."""
    found: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        fields = before.split(" ")
        if kind == "cgroup2":
            found.setdefault(UNIFIED, (fields[4], fields[3]))
        elif kind == "cgroup":
            for option in rest.rpartition(" ")[2].split(","):
                found.setdefault(option, (fields[4], fields[3]))
    return found


def folder(paths: Mapping[str, str], at: Mapping[str, tuple[str, str]], controller: str) -> str:
    """The folder of the container's group for a controller; "" when there is none."""
    path, mount = paths.get(controller, ""), at.get(controller)
    if not path or mount is None:
        return ""
    root = mount[1].rstrip("/")
    if root and not path.startswith(root + "/"):
        return ""
    return mount[0] + path[len(root) :]
