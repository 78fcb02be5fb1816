"""What is different in the configuration of an ordinary user's container.

Devices can't be ruled (and need not be: the user's namespace makes none), limits exist as far as the user's cgroups
carry them, a group or user without an id in the namespace can't be used, and sysfs can be mounted only with a network
of its own.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.oci import cgroups, delegation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Json, Spec
    from remora.frontend.settings import Settings

TTY_GROUP = 5

# controller of cgroups(7): the part of `linux.resources`, and the keys of the request that ask for it
LIMITS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("memory", "memory", ("memory", "memory_swap")),
    ("pids", "pids", ("pids_limit",)),
    ("cpu", "cpu", ("cpus", "cpu_shares")),
)


def adapt(settings: Settings, spec: Spec, config: dict[str, Json], first_time: bool, warnings: list[str]) -> None:
    """Change a configuration into one that the user's namespace can carry.

    first_time: the container was never started: what can't be limited is told then. Raises RemoraError for a user that
    the namespace has no id for.
    """
    linux = config["linux"]
    mounts = config["mounts"]
    process = config["process"]
    assert isinstance(linux, dict) and isinstance(mounts, list) and isinstance(process, dict)
    resources = linux["resources"]
    assert isinstance(resources, dict)
    if not linux.get("cgroupsPath"):
        linux.pop("cgroupsPath", None)
    linux["resources"] = _limits(settings, spec, resources, first_time, warnings)
    namespaces = _namespaces(linux)
    if "user" not in namespaces:
        user = process["user"]
        assert isinstance(user, dict)
        _check_user(int(user["uid"]), int(user["gid"]))
        _fit_groups(user)
    config["mounts"] = _mounts(mounts, namespaces)


def _namespaces(linux: dict[str, Json]) -> set[str]:
    found = linux["namespaces"]
    assert isinstance(found, list)
    return {str(item["type"]) for item in found if isinstance(item, dict)}


def _limits(
    settings: Settings, spec: Spec, resources: dict[str, Json], first_time: bool, warnings: list[str]
) -> dict[str, Json]:
    """The resources less what this user can't have; on the first start of a container a line names those asked for."""
    at = delegation.folder(settings)
    have = delegation.controllers(at)
    result = {key: value for key, value in resources.items() if key != "devices"}
    asked: dict[str, object] = dict(spec)
    missing: list[str] = []
    lacking: list[str] = []

    def lack(controller: str, keys: tuple[str, ...]) -> None:
        names = ["--" + key.replace("_", "-") for key in keys if asked.get(key)]
        if names:
            missing.extend(names)
            lacking.append(controller)

    for controller, part, keys in LIMITS:
        if controller in have:
            continue
        if part == "cpu" and "cpuset" in have:
            kept = result.get("cpu")
            only = {"cpus": kept["cpus"]} if isinstance(kept, dict) and "cpus" in kept else {}
            result.pop("cpu", None)
            if only:
                result["cpu"] = only
        else:
            result.pop(part, None)
        lack(controller, keys)
    if "cpuset" not in have:
        cpu = result.get("cpu")
        if isinstance(cpu, dict):
            result["cpu"] = {key: value for key, value in cpu.items() if key != "cpus"}
        lack("cpuset", ("cpuset_cpus",))
    if missing and first_time:
        warnings.append(f"{', '.join(missing)} left out: {_reason(settings, at, lacking)}")
    return result


def _reason(settings: Settings, at: str, lacking: list[str]) -> str:
    if not cgroups.is_v2():
        return "with cgroups v1 only root can set limits (boot with systemd.unified_cgroup_hierarchy=1)"
    what = f"this user's cgroups lack the controllers {' '.join(lacking)}"
    if not at:
        what = "no part of the cgroup tree is delegated to this user"
    if delegation.systemd(settings) or os.path.isdir("/run/systemd/system"):
        return f"{what} (`sudo systemctl edit user@.service`: [Service] Delegate=cpu cpuset io memory pids)"
    return f"{what} (give the user a folder of it with these controllers, and start from there)"


def _check_user(uid: int, gid: int) -> None:
    """Raise RemoraError when the process can't run with these ids: the user's namespace has none for them."""
    for what, number, path in (("user", uid, "uid"), ("group", gid, "gid")):
        if not is_mapped(number, path):
            raise RemoraError(
                f"{what} {number} of the container has no {path} of this user behind it",
                f"add ranges to /etc/sub{path} (`remora info` shows those there are), or choose another --user",
            )


def is_mapped(number: int, kind: str) -> bool:
    """Whether an id has a meaning in this process's user namespace. kind: `uid` or `gid`."""
    with open(f"/proc/self/{kind}_map", "rb", buffering=0) as file:
        rows = [line.split() for line in file.read(65536).splitlines()]
    return any(int(row[0]) <= number < int(row[0]) + int(row[2]) for row in rows if len(row) == 3)


def _fit_groups(user: dict[str, Json]) -> None:
    """Leave out groups of the image that have no id here; where setgroups(2) is denied (a single id), all of them."""
    groups = user.get("additionalGids")
    if isinstance(groups, list):
        allowed = _read("/proc/self/setgroups") != "deny"
        user["additionalGids"] = [group for group in groups if allowed and is_mapped(int(str(group)), "gid")]
        if not user["additionalGids"]:
            del user["additionalGids"]


def _mounts(given: list[Json], namespaces: set[str]) -> list[Json]:
    """The mounts as a user may make them."""
    result: list[Json] = []
    for item in given:
        if isinstance(item, dict) and item["type"] == "devpts" and not is_mapped(TTY_GROUP, "gid"):
            options = item["options"]
            assert isinstance(options, list)
            item = {**item, "options": [word for word in options if not str(word).startswith("gid=")]}
        elif isinstance(item, dict) and item["type"] == "sysfs" and "network" not in namespaces:
            # The network namespace of the host is not ours, and sysfs shows it: the host's own mount is bound.
            options = ["rbind", "rslave", "nosuid", "noexec", "nodev", "ro"]
            item = {"destination": item["destination"], "type": "bind", "source": "/sys", "options": options}
        result.append(item)
    return result


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(64).decode().strip()
    except OSError:
        return ""
