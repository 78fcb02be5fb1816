"""Entering the user's namespace: from then on the command is uid 0 with all rights over the user's ids.

`enter` makes a fresh user and mount namespace for the calling process; what it starts (skopeo, a monitor with its
container) inherits them, and they are gone with the last of these: there is no process that only keeps them. The map
is the same each time (ranges.py), so a stopped container finds its files as it left them. `join` goes into the
namespace that a monitor holds; `inside` does one thing there in a child, for commands that only read and stay outside.

Each process can enter once, and must not have threads (user_namespaces(7)).
"""

from __future__ import annotations

import errno
import os

from remora import monitor
from remora.frontend import process
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.rootless import folders, ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from remora.frontend.container.spec import Spec
    from remora.frontend.rootless.ranges import Ranges
    from remora.frontend.settings import Settings
    from remora.monitor import UserNamespaceError

HELPERS = ("newuidmap", "newgidmap")
WHAT = "making the user namespace of this command"
TOLD = "single-id-told"  # in the run folder: the line about missing ranges was shown
KNOBS = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "an AppArmor profile for it, or sysctl "
     "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
)  # fmt: skip


def enter(settings: Settings, neighbour: int = 0) -> None:
    """Enter a fresh namespace, or that of a monitor; nothing happens for root, or when that is done already.

    neighbour: pid of a monitor whose namespace is to be shared, 0 = none.
    Raises RemoraError: unusable folders, no newuidmap, ranges that are refused, no user namespaces on this kernel.
    """
    if not settings.outside:
        return
    folders.prepare(settings)
    if not neighbour and os.path.isdir(f"{settings.run}/networks/rootless"):
        from remora.frontend.networks import rootless_bridge

        neighbour = rootless_bridge.holder(settings)[0]
    if neighbour:
        join(settings, neighbour)
        return
    found = ranges.load(settings)
    programs = dict.fromkeys(HELPERS) if found.single else {name: process.which(name) for name in HELPERS}
    missing = [name for name, path in programs.items() if path is None]
    if missing and not found.single:
        raise RemoraError(f"{WHAT}: {' and '.join(missing)} not installed", "`sudo apt-get install uidmap`")
    try:
        monitor.enter_user_namespace(found.uid_map, found.gid_map, **programs)
    except monitor.UserNamespaceError as error:
        raise _explain(error, found) from None
    settings.entered = True
    if found.single and first_time(f"{settings.run}/{TOLD}"):
        _warn(
            f"no ranges for {found.name} in /etc/subuid and /etc/subgid: containers have one user id only; add them "
            f"with `{found.command()}` (said once)"
        )
    if os.path.exists(f"{folders.shared_data(settings.environ, settings.uid)}/containers/storage/vfs-images"):
        from remora.frontend.rootless import stores

        stores.tell(settings)


def enter_for(settings: Settings, spec: Spec) -> None:
    """Enter where a container is to live: with those whose namespaces it joins, which have a user namespace."""
    if settings.outside:
        enter(settings, neighbour(settings, spec))


def neighbour(settings: Settings, spec: Spec) -> int:
    """The pid of the monitor whose user namespace a container has to share, 0 = none."""
    if not joins(spec):
        if spec["network"] != "bridge" or not spec["networks"]:
            return 0
        from remora.frontend.networks import rootless_bridge

        return rootless_bridge.reach(settings)
    from remora.frontend.container import joining

    return joining.user_namespace_to_enter(settings, spec)


def joins(spec: Spec) -> bool:
    """Whether a container shares a namespace with another one."""
    modes = spec["pid"], spec["ipc"], spec["uts"], spec["cgroupns"], spec["network"]
    return spec["userns"]["mode"] == "container" or any(mode.startswith("container:") for mode in modes)


def join(settings: Settings, pid: int) -> None:
    """Enter the user namespace of a monitor; nothing happens for root, or when one was entered already.

    Raises RemoraError when the process is gone or is not the user's.
    """
    if not settings.outside:
        return
    try:
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            monitor.join_user_namespace(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise RemoraError(
            f"entering the user namespace of process {pid}: {os_error_text(error)}", "`remora ps -a` shows what runs"
        ) from None
    settings.entered = True


def inside(settings: Settings, act: Callable[[], str], spec: Spec | None = None) -> str:
    """What `act` returns, done in the user's namespace by a child process; done here where that is not outside.

    spec: of the container that it is done for, if it is to be started. Raises RemoraError as `enter` and `act` do; any
    other error becomes one.
    """
    if not settings.outside:
        return act()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(settings, act, spec, write)
    os.close(write)
    pieces = []
    while piece := os.read(read, 65536):
        pieces.append(piece)
    os.close(read)
    os.waitpid(pid, 0)
    text = b"".join(pieces).decode("utf-8", "surrogateescape")
    if text.startswith("+"):
        return text[1:]
    message, hint, status = (*text[1:].split("\0"), "", "")[:3]
    raise RemoraError(message or "the work in the user namespace was cut off", hint, int(status or 125))


def _child(settings: Settings, act: Callable[[], str], spec: Spec | None, write: int) -> None:
    try:
        try:
            enter(settings, neighbour(settings, spec) if spec is not None else 0)
            text = "+" + act()
        except RemoraError as error:
            text = f"-{error.message}\0{error.hint}\0{error.status}"
        except OSError as error:
            text = f"-{os_error_text(error)}"
        except Exception as error:
            text = f"-{error}\0\0{getattr(error, 'status', 125)}"
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(write, data) :]
    finally:
        os._exit(0)


def first_time(path: str) -> bool:
    """Make the mark of something that is said once; False when it was there."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError:
        pass  # better told twice than not at all
    return True


def _warn(line: str) -> None:
    os.write(2, f"Warning: {line}\n".encode(errors="surrogateescape"))


def _explain(error: UserNamespaceError, found: Ranges) -> RemoraError:
    """One line with the remedy for a namespace that can't be made or mapped."""
    if error.step == "unshare":
        for path, wrong, remedy in KNOBS:
            if _read(path) == wrong:
                return RemoraError(f"{WHAT}: this system denies users a user namespace", remedy)
        if error.errno in (errno.ENOSPC, errno.EUSERS):
            return RemoraError(f"{WHAT}: there are too many", "raise sysctl user.max_user_namespaces")
        return RemoraError(f"{WHAT}: {os_error_text(error)}")
    if found.single:
        return RemoraError(f"{WHAT}: {os_error_text(error)}")
    program, path = HELPERS[error.step == "gids"], ranges.FILES[error.step == "gids"]
    said = error.words.splitlines()[-1] if error.words else error.strerror
    return RemoraError(
        f"{WHAT}: {program}: {said}",
        f"it must be set-uid root, and the lines of {path} for {found.name} must not overlap",
    )


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(64).decode(errors="replace").strip()
    except OSError:
        return ""
