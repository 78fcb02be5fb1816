"""`remora info`: what Remora works with on this machine."""

from __future__ import annotations

import os

from remora.frontend.commands import selection, version
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError
from remora.frontend.networks import definitions
from remora.frontend.oci import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora info --format '{{.host.ociRuntime.name}}'"
CGROUP2_MAGIC = "cgroup2"
PROGRAMS = (
    "skopeo crun runc catatonit newuidmap newgidmap fuse-overlayfs netavark aardvark-dns pasta slirp4netns"
).split()


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", "-f", metavar="FORMAT", help="json or a Go template")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the facts as indented text, JSON or through a template."""
    facts: dict[str, object] = {
        "host": _host(settings),
        "monitor": _monitor(),
        "store": _store(settings),
        "version": version.facts(),
    }
    if arguments.format:
        from remora.frontend.output.rows import whole

        selection.put(whole(arguments.format, facts))
    else:
        from remora.frontend.output.text import outline

        selection.put("\n".join(outline(facts)))
    return 0


def _host(settings: Settings) -> dict[str, object]:
    from remora.frontend.output.text import binary_size, duration

    system = os.uname()
    memory = _table("/proc/meminfo")
    uptime = float(_read("/proc/uptime").split()[0] or 0)
    return {
        "arch": system.machine,
        "cgroupControllers": _controllers(settings),
        "cgroupManager": cgroups.manager(settings),
        "cgroupVersion": _cgroup_version(),
        "configuration": settings.conf.files(),
        "cpus": os.cpu_count() or 1,
        "distribution": _distribution(),
        "hostname": system.nodename,
        "idMappings": _id_mappings(settings),
        "kernel": system.release,
        "memFree": memory.get("MemAvailable", 0) * 1024,
        "memTotal": memory.get("MemTotal", 0) * 1024,
        "memory": f"{binary_size(memory.get('MemTotal', 0) * 1024)} in all, "
        f"{binary_size(memory.get('MemAvailable', 0) * 1024)} available",
        "networkBackend": "netavark",
        "networkDefault": definitions.default_name(settings),
        "ociRuntime": _runtime(settings),
        "os": "linux",
        "rootless": settings.rootless,
        "security": {
            "seccompEnabled": "seccomp" in _read("/proc/self/status").lower(),
            "apparmorEnabled": _read("/sys/module/apparmor/parameters/enabled").strip() == "Y",
            "selinuxEnabled": os.path.isdir("/sys/fs/selinux"),
        },
        "programs": {name: _program(settings, name) or "not installed" for name in PROGRAMS},
        "uptime": duration(uptime),
    }


def _controllers(settings: Settings) -> list[str]:
    """The controllers whose limits can be set."""
    if not settings.rootless:
        found = _read("/proc/cgroups").splitlines()
        return sorted(words[0] for words in (line.split() for line in found) if len(words) == 4 and words[3] == "1")
    from remora.frontend.oci import delegation

    return sorted(delegation.controllers(delegation.folder(settings)))


def _id_mappings(settings: Settings) -> dict[str, object]:
    """As Podman's: of the user's namespace; empty for root, whose containers have the host's ids."""
    if not settings.rootless:
        return {}
    from remora.frontend.rootless import ranges

    found = ranges.load(settings)
    made: dict[str, object] = {}
    for key, extents in (("gidmap", found.gid_map), ("uidmap", found.uid_map)):
        made[key] = [{"container_id": inside, "host_id": at, "size": size} for inside, at, size in extents]
    if found.single:
        made["missing"] = f"no ranges for {found.name}: `{found.command()}`"
    return made


def _program(settings: Settings, name: str) -> str | None:
    from remora.frontend.oci.process import init_program
    from remora.frontend.process import which

    if name in ("netavark", "aardvark-dns"):
        from remora.frontend.networks import netavark

        return netavark.program(settings, name) or None
    if name == "catatonit":  # distributions keep it out of PATH
        try:
            return init_program(settings)
        except RemoraError:
            return None
    return which(name)


def _runtime(settings: Settings) -> dict[str, object]:
    """The runtime that would be used, or why there is none."""
    from remora.frontend import runtime

    try:
        program = runtime.command(settings)[0]
        return {"name": os.path.basename(program), "path": program, "version": version.said(program)}
    except RemoraError as error:
        return {"name": "", "path": "", "version": "", "error": str(error)}


def _monitor() -> dict[str, object]:
    from remora import monitor

    path = monitor.monitor_program()
    try:
        return {"path": path, "version": version.monitor_version(path)}
    except RemoraError as error:
        return {"path": path, "version": "", "error": error.message}


def _store(settings: Settings) -> dict[str, object]:
    counts = {"running": 0, "paused": 0, "stopped": 0}
    corrupt: list[records.CorruptRecord] = []
    number = 0
    for record in records.records(settings, corrupt):
        number += 1
        status = states.derive(settings, record).status
        counts[status if status in ("running", "paused") else "stopped"] += 1
    made: dict[str, object] = {
        "root": settings.data,
        "runRoot": settings.run,
        "containers": {"number": number, **counts, "unreadable": len(corrupt)},
    }
    from remora.frontend.images import configuration
    from remora.frontend.images.store import Store

    try:
        found = configuration.load(settings)
        shared: dict[str, object] = {}
        if settings.rootless:
            from remora.frontend.rootless import stores

            shared = stores.facts(settings, found)
        made["images"] = {
            "driver": "overlay",
            **shared,
            "graphRoot": found.graph_root,
            "runRoot": found.run_root,
            "configuration": found.source,
            "number": len(Store(settings).images()),
        }
    except (RemoraError, OSError) as error:
        made["images"] = {"error": str(error)}
    return made


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(65536).decode("utf-8", "replace")
    except OSError:
        return ""


def _table(path: str) -> dict[str, int]:
    """`Key: 123 kB` lines."""
    found = {}
    for line in _read(path).splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdecimal():
            found[key] = int(words[0])
    return found


def _cgroup_version() -> str:
    """`v2`, `v1`, or `hybrid` when both are mounted."""
    kinds = {words[2] for words in (line.split() for line in _read("/proc/mounts").splitlines()) if len(words) > 2}
    if "cgroup" in kinds:
        return "hybrid" if CGROUP2_MAGIC in kinds else "v1"
    return "v2" if CGROUP2_MAGIC in kinds else "none"


def _distribution() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line[12:].strip('"')
    return "unknown"
