"""What an ordinary user may limit: the part of the cgroup tree that is theirs, and the controllers in it.

cgroups v1 give a user nothing. With the unified hierarchy (cgroups(7), "Delegation") it is what systemd's user manager
was given (`user@UID.service`, systemd.resource-control(5), Delegate=), or without systemd the topmost folder above our
own cgroup that the user may write.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings

ROOT = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"
FILES = ("cgroup.procs", "cgroup.subtree_control")


def systemd(settings: Settings) -> bool:
    """Whether the user's own systemd makes cgroups for us: it runs, and its bus is there to be asked."""
    if not os.path.exists(ROOT + "/cgroup.controllers") or not os.path.isdir("/run/systemd/system"):
        return False
    bus = settings.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    folder = settings.environ.get("XDG_RUNTIME_DIR", "")
    return bool(bus) or (bool(folder) and os.path.exists(f"{folder}/bus"))


def folder(settings: Settings) -> str:
    """The delegated folder from the root of the hierarchy, `/user.slice/…`; "" when there is none."""
    if not os.path.exists(ROOT + "/cgroup.controllers"):
        return ""
    own = _own()
    if systemd(settings):
        name = f"user@{settings.uid}.service"
        at = f"/user.slice/user-{settings.uid}.slice/{name}"
        return at if os.path.isdir(ROOT + at) else ""
    found = ""
    while own.strip("/"):
        if not all(os.access(f"{ROOT}{own}/{name}", os.W_OK) for name in FILES):
            break
        found = own
        own = os.path.dirname(own)
    return found


def controllers(at: str) -> set[str]:
    """The controllers that can be given to children of a delegated folder."""
    if not at:
        return set()
    given = _words(f"{ROOT}{at}/cgroup.controllers")
    # A folder with processes in it gives its children only what it gave them before.
    return given if not _words(f"{ROOT}{at}/cgroup.procs") else given & _words(f"{ROOT}{at}/cgroup.subtree_control")


def _own() -> str:
    """This process's cgroup in the unified hierarchy."""
    try:
        with open(OWN, "rb", buffering=0) as file:
            lines = file.read(65536).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")


def _words(path: str) -> set[str]:
    try:
        with open(path, "rb", buffering=0) as file:
            return set(file.read(65536).decode(errors="replace").split())
    except OSError:
        return set()
