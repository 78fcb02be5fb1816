"""Which cgroup a container gets, and who makes it.

`cgroupfs`: the runtime makes `/remora/<id>` itself. `systemd`: the runtime asks systemd for a scope below
machine.slice; the default where systemd runs with the unified hierarchy, which it claims for itself.
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
    """`cgroupfs` or `systemd`: as set, else as the host suggests."""
    chosen = settings.cgroup_manager or settings.environ.get("REMORA_CGROUP_MANAGER", "")
    if not chosen:
        return "systemd" if is_v2() and os.path.isdir("/run/systemd/system") else "cgroupfs"
    if chosen not in MANAGERS:
        raise RemoraError(f'unknown cgroup manager "{chosen}"', hint="set it to cgroupfs or systemd")
    return chosen


def path(settings: Settings, container_id: str) -> str:
    """`linux.cgroupsPath`."""
    if manager(settings) == "systemd":
        return f"machine.slice:remora:{container_id}"
    return f"/remora/{container_id}"
