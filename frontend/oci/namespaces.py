"""Namespaces of a container: `linux.namespaces`, and what else depends on whose they are.

A namespace that is made for the container has no path; one that is handed over (of another container, a file, a network
that was set up) has that on which the monitor binds it in its own mount namespace (container/plan.py). The host's has
no entry.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.container.spec import Json, Spec
    from remora.frontend.settings import Settings

# Key of spec.json: the runtime's name of the type, the file in /proc/PID/ns, what ioctl NS_GET_NSTYPE says of it.
KINDS = {
    "pid": ("pid", "pid", 0x20000000),
    "network": ("network", "net", 0x40000000),
    "ipc": ("ipc", "ipc", 0x08000000),
    "uts": ("uts", "uts", 0x04000000),
    "cgroupns": ("cgroup", "cgroup", 0x02000000),
}
NS_GET_USERNS, NS_GET_NSTYPE = 0xB701, 0xB703  # ioctl_ns(2)
JOINED = ("container:", "ns:")


def mode(spec: Spec, kind: str) -> str:
    """The mode in effect: a key of spec.json with what the machine decides filled in."""
    text: str = spec[kind]  # type: ignore[literal-required]
    if text:
        return text
    from remora.frontend.oci import cgroups

    return "private" if cgroups.is_v2() else "host"


def is_joined(spec: Spec, kind: str) -> bool:
    """Whether it is another container's or a file's."""
    return mode(spec, kind).startswith(JOINED)


def is_own(spec: Spec, kind: str) -> bool:
    """Whether it is made for this container alone: then its settings (sysctls, host name) are the container's."""
    return not is_joined(spec, kind) and mode(spec, kind) != "host"


def is_foreign(settings: Settings, spec: Spec, kind: str) -> bool:
    """Whether it belongs to another user namespace than the container's.

    Then no file system of it (proc, sysfs, mqueue) can be mounted, only the host's be bound.
    """
    if is_own(spec, kind):
        return False
    users = spec.get("userns")
    if isinstance(users, dict) and users.get("mode", "host") != "host":
        return True
    return bool(getattr(settings, "rootless", False)) and not other(spec, kind)


def other(spec: Spec, kind: str) -> str:
    """The id of the container whose namespace it is; "" when it is nobody's."""
    text = mode(spec, kind)
    return text[10:] if text.startswith("container:") else ""


def build(spec: Spec, given: Mapping[str, str]) -> list[Json]:
    """`linux.namespaces`. given: type and path of those that were handed over."""
    own = [name for kind, (name, _, _) in KINDS.items() if mode(spec, kind) != "host"]
    return [
        {"type": name, "path": given[name]} if name in given else {"type": name}
        for name in dict.fromkeys([*own, "mount", *given])
    ]


def hostname(settings: Settings, spec: Spec) -> str:
    """The host name in effect; "" when nobody can say (a UTS namespace by path).

    As given, else that of the container whose UTS namespace it is, the host's own with its UTS namespace or network,
    the short id.
    """
    if spec["hostname"]:
        return spec["hostname"]
    joined = other(spec, "uts")
    if joined:
        from remora.frontend.container import record as records
        from remora.frontend.errors import RemoraError

        try:
            return hostname(settings, records.load(settings, joined).spec)
        except RemoraError:
            return ""
    if spec["uts"].startswith("ns:"):
        return ""
    return os.uname().nodename if "host" in (spec["uts"], spec["network"]) else spec["id"][:12]


# ---- namespace files -------------------------------------------------------------------------


def open_file(name: str, kind: str) -> int:
    """A descriptor of a namespace file.

    Raises OSError: EINVAL when it is none, EXDEV when it is one of another type, and what open(2) says.
    """
    import fcntl

    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        try:
            found = fcntl.ioctl(fd, NS_GET_NSTYPE)
        except OSError:
            raise OSError(errno.EINVAL, "not a namespace", name) from None
        if found != KINDS[kind][2]:
            raise OSError(errno.EXDEV, "another namespace", name)
    except BaseException:
        os.close(fd)
        raise
    return fd


def owner(fd: int) -> int:
    """The inode of the user namespace that a namespace belongs to; 0: neither this process's nor one below it."""
    import fcntl

    try:
        found = fcntl.ioctl(fd, NS_GET_USERNS)
    except PermissionError:
        return 0
    try:
        return os.fstat(found).st_ino
    finally:
        os.close(found)


def complaint(error: OSError, kind: str) -> str:
    """What is wrong with a namespace file."""
    name = KINDS[kind][0]
    if error.errno == errno.EINVAL:
        return "the file is no namespace"
    if error.errno == errno.EXDEV:
        return f"the file is a namespace, but no {name} namespace"
    return (error.strerror or str(error)).lower()


def remedy(kind: str) -> str:
    """What a path should be."""
    return f"name a file such as /proc/PID/ns/{KINDS[kind][1]}"
