"""Devices: the rule list of the cgroup, and every host device for --privileged."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Json

# Made by the runtime itself, or belonging to one terminal.
_RUNTIMES = frozenset(("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"))
_FOLDERS = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
DEPTH_MAX = 8


def rules(privileged: bool) -> list[Json]:
    """`linux.resources.devices`: nothing (the runtime adds its default nodes), or everything."""
    return [{"allow": privileged, "access": "rwm"}]


def of_host(folder: str = "/dev") -> list[Json]:
    """`linux.devices` of a privileged container: every node below /dev that is not the runtime's own."""
    found: list[Json] = []
    _walk(folder, found, DEPTH_MAX)
    return found


def _walk(folder: str, found: list[Json], depth: int) -> None:
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
        if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            continue
        if folder == "/dev" and entry.name in _RUNTIMES:
            continue
        found.append(
            {
                "path": entry.path,
                "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
                "major": os.major(status.st_rdev),
                "minor": os.minor(status.st_rdev),
                "fileMode": stat.S_IMODE(status.st_mode),
                "uid": status.st_uid,
                "gid": status.st_gid,
            }
        )
