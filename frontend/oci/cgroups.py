"""Which cgroup a container gets, and who makes it.

`cgroupfs`: the runtime makes `/remora/<id>` itself. `systemd`: the runtime asks systemd for a scope below
machine.slice; the default where systemd runs with the unified hierarchy, which it claims for itself. An ordinary user
gets one in the delegated part of the tree, through the user's own systemd or below a folder that the user may write;
else none.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings

ROOT = "/sys/fs/cgroup"
MANAGERS = ("cgroupfs", "systemd")


def is_v2() -> bool:
    """Whether the host has the unified hierarchy (hybrid counts as v1)."""
    return os.path.exists(ROOT + "/cgroup.controllers")


def manager(settings: Settings) -> str:
    """`cgroupfs` or `systemd`: as set, else as the host suggests. Raises RemoraError for any other."""
    chosen = settings.cgroup_manager or settings.environ.get("REMORA_CGROUP_MANAGER", "")
    if settings.rootless:
        from remora.frontend.oci import delegation

        if chosen in MANAGERS or not chosen:
            return "systemd" if chosen != "cgroupfs" and delegation.systemd(settings) else "cgroupfs"
    if not chosen:
        chosen = settings.conf.choice("engine", "cgroup_manager", MANAGERS)
    if not chosen:
        return "systemd" if is_v2() and os.path.isdir("/run/systemd/system") else "cgroupfs"
    if chosen not in MANAGERS:
        raise RemoraError(f'unknown cgroup manager "{chosen}"', hint="set it to cgroupfs or systemd")
    return chosen


def path(settings: Settings, container_id: str) -> str:
    """`linux.cgroupsPath`; "" when there is no cgroup to be had."""
    if manager(settings) == "systemd":
        return f"{'user' if settings.rootless else 'machine'}.slice:remora:{container_id}"
    if settings.rootless:
        from remora.frontend.oci import delegation

        at = delegation.folder(settings)
        return f"{at}/remora/{container_id}" if at else ""
    return f"/remora/{container_id}"
