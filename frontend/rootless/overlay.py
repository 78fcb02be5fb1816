"""The root file system of an ordinary user's container: the kernel's overlay, or fuse-overlayfs where that is refused.

The kernel mounts overlays in a user namespace since 5.11, but not on every file system. fuse-overlayfs is a process:
it mounts in our own mount namespace, what it mounted is taken out of that as a descriptor, and it ends by itself when
the last holder of the mount (the container's monitor) is gone.
"""

from __future__ import annotations

import errno
import os

from remora import monitor
from remora.frontend import process
from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.images.configuration import StorageConfiguration
    from remora.frontend.settings import Settings

PROGRAM = "fuse-overlayfs"
# What a kernel says that can't: too old (EPERM), a file system that won't do (EINVAL, EOPNOTSUPP), no overlay (ENODEV).
REFUSED = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV)


def mount(settings: Settings, lower: Sequence[str], upper: str, work: str, merged: str, *, volatile: bool) -> int:
    """A detached overlay mount; the descriptor is the caller's.

    lower: absolute folders, nearest first; merged: a folder to mount on for a moment. Raises OSError, and RemoraError
    when neither way works.
    """
    from remora.frontend.images import configuration

    program = configuration.load(settings).mount_program
    why = ""
    if not program:
        try:
            return monitor.mount_overlay(lower, upper, work, volatile=volatile)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            why = f"the kernel refuses an overlay on {os.path.dirname(upper)} ({error.strerror})"
            program = process.which(PROGRAM) or ""
    if not program:
        raise RemoraError(f"mounting the root file system: {why}", f"`sudo apt-get install {PROGRAM}`")
    return _fuse(program, lower, upper, work, merged, volatile, why)


def _fuse(program: str, lower: Sequence[str], upper: str, work: str, merged: str, volatile: bool, why: str) -> int:
    options = [
        "lowerdir=" + ":".join(_escaped(path, "\\:,") for path in lower),
        "upperdir=" + _escaped(upper, "\\,"),
        "workdir=" + _escaped(work, "\\,"),
        *(["volatile"] if volatile else []),
    ]
    try:
        result = process.capture([program, "-o", ",".join(options), merged])
    except FileNotFoundError:
        raise RemoraError(
            f"mounting the root file system: no such program: {program}", "correct mount_program in storage.conf"
        ) from None
    if result.status:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else f"it ended with {result.status}"
        remedy = "users must be able to read and write /dev/fuse" if "/dev/fuse" in said else ""
        raise RemoraError(f"mounting the root file system: {why + '; ' if why else ''}{PROGRAM}: {said}", remedy)
    return monitor.take_mount(merged)


def _escaped(path: str, special: str) -> str:
    return "".join("\\" + character if character in special else character for character in path)


def refusal(folder: str) -> str:
    """Why the kernel mounts no overlay whose upper folder is below `folder`; "" when it does. Inside only."""
    from shutil import rmtree
    from tempfile import mkdtemp

    place = mkdtemp(prefix=".remora-probe-", dir=folder)
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{place}/{name}")
        os.close(monitor.mount_overlay([f"{place}/lower"], f"{place}/upper", f"{place}/work", volatile=False))
        return ""
    except OSError as error:
        return error.strerror or os_error_text(error)
    finally:
        rmtree(place, ignore_errors=True)


def store_options(store: StorageConfiguration) -> list[str]:
    """Options of the store's overlay driver for skopeo (`overlay.KEY=VALUE`). Inside only.

    With one id all files of an image belong to the user, or no image with further owners could be unpacked.
    """
    options = []
    program = store.mount_program
    if not program:
        os.makedirs(store.graph_root, 0o700, exist_ok=True)
        refused = refusal(store.graph_root)
        if refused:
            program = process.which(PROGRAM) or ""
        if refused and not program:
            what = f"opening the image store {store.graph_root}: the kernel refuses overlays there ({refused})"
            raise RemoraError(what, f"`sudo apt-get install {PROGRAM}`")
    if program:
        options.append(f"overlay.mount_program={program}")
    if is_single():
        options.append("overlay.ignore_chown_errors=true")
    return options


def is_single() -> bool:
    """Whether this process's user namespace has one id only."""
    with open("/proc/self/uid_map", "rb", buffering=0) as file:
        lines = file.read(4096).split(b"\n")
    return len(lines) == 2 and lines[0].split()[2] == b"1"
