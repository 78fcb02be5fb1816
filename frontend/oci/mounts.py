"""The mounts of a container: the system's, the generated files, and the request's, parents before children."""

from __future__ import annotations

import os

from remora.frontend.oci import cgroups, namespaces
from remora.frontend.oci.security import CGROUP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Json, Mount, Spec
    from remora.frontend.oci.security import SecurityOptions
    from remora.frontend.settings import Settings

_PROPAGATION = frozenset("private rprivate shared rshared slave rslave unbindable runbindable".split())


def build(
    settings: Settings,
    spec: Spec,
    files: Sequence[tuple[str, str]],
    init: str,
    options: SecurityOptions,
    shm: str = "",
) -> list[Json]:
    """The `mounts` list. files: (target, source) of the generated files; init: host path of catatonit or ""; shm: where
    the /dev/shm is that comes with another container's IPC namespace."""
    mounts = _system(settings, spec, options, shm)
    given = spec["mounts"]
    read_only_files = ["ro", "nosuid", "noexec", "nodev"] if spec["read_only"] else []
    for target, source in files:
        if not _covered(target, given):
            mounts.append(_entry(target, "bind", source, ["bind", "rprivate", *read_only_files]))
    if init:
        mounts.append(_entry(INIT, "bind", init, ["bind", "ro", "rprivate"]))
    targets = {item["target"] for item in given}
    mounts = [item for item in mounts if item["destination"] not in targets]
    mounts += [_given(item) for item in given]
    # Parents first; the order of equals is kept.
    mounts.sort(key=lambda item: str(item["destination"]).count("/") if item["destination"] != "/" else 0)
    return list(mounts)


INIT = "/run/remora-init"


def _entry(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Json]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _system(settings: Settings, spec: Spec, options: SecurityOptions, shm: str) -> list[dict[str, Json]]:
    access = "rw" if spec["privileged"] else "ro"
    # Without a cgroup namespace the host's groups would be there to be changed: only who names them gets that.
    unmasked = CGROUP in options.unmask or (cgroups.is_v2() and options.is_unmasked(CGROUP))
    cgroup = "rw" if unmasked else access
    plain = ["nosuid", "noexec", "nodev"]
    proc, sys, mqueue = (namespaces.is_foreign(settings, spec, kind) for kind in ("pid", "network", "ipc"))
    return [
        _entry("/proc", "bind", "/proc", ["rbind", *plain])
        if proc
        else _entry("/proc", "proc", "proc", [*plain, *options.proc_options]),
        _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
        _entry("/sys", "bind", "/sys", ["rbind", "rprivate", *plain, access])
        if sys
        else _entry("/sys", "sysfs", "sysfs", [*plain, access]),
        _entry(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        *_ipc(spec, shm, mqueue),
        _entry(CGROUP, "cgroup", "cgroup", ["rprivate", "nosuid", "noexec", "nodev", "relatime", cgroup]),
    ]


def _ipc(spec: Spec, shm: str, foreign: bool) -> list[dict[str, Json]]:
    """Message queues and /dev/shm: shared with whom the IPC namespace is shared with."""
    plain = ["nosuid", "noexec", "nodev"]
    found = []
    if not foreign:
        found.append(_entry("/dev/mqueue", "mqueue", "mqueue", plain))
    elif os.path.isdir("/dev/mqueue"):
        found.append(_entry("/dev/mqueue", "bind", "/dev/mqueue", ["bind", "rprivate", *plain]))
    if spec["ipc"] == "host":
        shm = "/dev/shm"
    if shm:
        found.append(_entry("/dev/shm", "bind", shm, ["bind", "rprivate", *plain]))
    elif spec["ipc"] != "none" and not namespaces.other(spec, "ipc"):
        size = spec["shm_size"]
        text = str(size) if size % 1024 else f"{size // 1024}k"
        found.append(_entry("/dev/shm", "tmpfs", "shm", [*plain, "mode=1777", "size=" + text]))
    return found


def _covered(target: str, given: Sequence[Mount]) -> bool:
    """Whether the user mounts at the target or above it: what is mounted there must not get files of ours."""
    return any(item["target"] == target or target.startswith(item["target"] + "/") for item in given)


def _given(item: Mount) -> dict[str, Json]:
    options = list(item["options"])
    if item["type"] == "tmpfs":
        if "rw" not in options and "ro" not in options:
            options.append("rw")
        options += [
            word for word in ("nosuid", "nodev") if word.removeprefix("no") not in options and word not in options
        ]
        if "notmpcopyup" in options:
            options.remove("notmpcopyup")
        elif "tmpcopyup" not in options:
            options.append("tmpcopyup")
        if not _PROPAGATION.intersection(options):
            options.append("rprivate")
        return _entry(item["target"], "tmpfs", "tmpfs", options)
    if "U" in options:  # done when the container is started
        options.remove("U")
    if not _PROPAGATION.intersection(options):
        options.append("rprivate")
    if "bind" not in options and "rbind" not in options:
        options.append("rbind")
    if "ro" not in options and "rw" not in options:
        options.append("rw")
    return _entry(item["target"], "bind", item["source"], options)
