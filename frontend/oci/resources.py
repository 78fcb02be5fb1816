"""`linux.resources`: limits of memory, processes and CPU, and the device rules."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Json, Spec

PIDS_DEFAULT = 2048
CPU_PERIOD = 100000  # microseconds
_MEMSW_V1 = "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"


def build(spec: Spec, device_rules: Sequence[Json], cgroup_v2: bool, warnings: list[str]) -> dict[str, Json]:
    """The resources of a request. device_rules: of `devices.build`.

    Without a swap limit, memory and swap together get twice the memory, as in Podman.
    """
    result: dict[str, Json] = {"devices": device_rules}
    limit = spec["pids_limit"] or PIDS_DEFAULT
    if limit > 0:
        result["pids"] = {"limit": limit}
    memory = spec["memory"]
    if memory > 0:
        if cgroup_v2 or os.path.exists(_MEMSW_V1):
            swap = spec["memory_swap"] or 2 * memory
            result["memory"] = {"limit": memory, "swap": swap}
        else:
            if spec["memory_swap"]:
                warnings.append("--memory-swap left out: this kernel has no swap accounting")
            result["memory"] = {"limit": memory}
    cpu: dict[str, Json] = {}
    if spec["cpu_shares"]:
        cpu["shares"] = spec["cpu_shares"]
    if spec["cpus"]:
        cpu["quota"] = max(round(spec["cpus"] * CPU_PERIOD), 1000)
        cpu["period"] = CPU_PERIOD
    if spec["cpuset_cpus"]:
        cpu["cpus"] = spec["cpuset_cpus"]
    if cpu:
        result["cpu"] = cpu
    return result
