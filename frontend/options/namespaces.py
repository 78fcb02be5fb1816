"""`--pid`, `--ipc`, `--uts`, `--cgroupns`, and the modes of `--network` that need no network of ours.

A mode is `private`, `host`, `container:NAME` (kept as the id), `ns:PATH`, and for IPC also `shareable` (others may join
it) and `none` (shareable, without /dev/shm). What a mode names is looked at here, so that a mistake is told before a
container is made; it is opened at each start (container/joining.py).
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.oci import namespaces
from remora.frontend.options.defaults import CONTAINERS, pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import Namespace
    from remora.frontend.settings import Settings

WORDS = {
    "pid": ("private", "host"),
    "ipc": ("shareable", "private", "none", "host"),
    "uts": ("private", "host"),
    "cgroupns": ("private", "host"),
    "network": ("none", "host"),
}
# Names in containers.conf(5).
SETTINGS = {"pid": "pidns", "ipc": "ipcns", "uts": "utsns", "cgroupns": "cgroupns"}


class Modes:
    """The modes of one container, as in spec.json; cgroupns "" leaves it to the machine."""

    __slots__ = ("pid", "ipc", "uts", "cgroupns")

    def __init__(self, pid: str, ipc: str, uts: str, cgroupns: str) -> None:
        self.pid = pid
        self.ipc = ipc
        self.uts = uts
        self.cgroupns = cgroupns


def read(settings: Settings, arguments: Namespace) -> Modes:
    """The modes asked for, else configured. Raises RemoraError for one that makes no sense."""
    modes = Modes(
        _mode(settings, arguments.pid, "pid") or "private",
        _mode(settings, arguments.ipc, "ipc") or "shareable",
        _mode(settings, arguments.uts, "uts") or "private",
        _mode(settings, arguments.cgroupns, "cgroupns"),
    )
    if arguments.hostname and modes.uts != "private":
        mode = arguments.uts or modes.uts
        raise RemoraError(
            f"--hostname {arguments.hostname}: with --uts {mode} the host name is not the container's own",
            "leave out one of them",
        )
    if arguments.shm_size and modes.ipc not in ("private", "shareable"):
        mode = arguments.ipc or modes.ipc
        raise RemoraError(
            f"--shm-size {arguments.shm_size}: with --ipc {mode} the container has no /dev/shm of its own",
            "leave out one of them",
        )
    return modes


def _mode(settings: Settings, given: str | None, kind: str) -> str:
    option, text = pick(settings, f"--{kind}", given, SETTINGS[kind], CONTAINERS)
    return check(settings, option, text, kind) if text else ""


def check(settings: Settings, option: str, text: str, kind: str) -> str:
    """A mode as it is kept. option: for messages; kind: a key of spec.json. Raises RemoraError."""
    if text in WORDS[kind]:
        return text
    word, colon, rest = text.partition(":")
    if colon and rest and word == "container":
        return _container(settings, option, rest, kind)
    if colon and rest and word == "ns":
        path = os.path.abspath(rest)
        try:
            os.close(namespaces.open_file(path, kind))
        except OSError as error:
            complaint = namespaces.complaint(error, kind)
            raise RemoraError(f"{option} {text}: {complaint}", namespaces.remedy(kind)) from None
        return f"ns:{path}"
    from difflib import get_close_matches

    words = (*WORDS[kind], "container:NAME", "ns:PATH")
    near = get_close_matches(text, words, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise RemoraError(f'unknown mode "{text}" for {option}', f"{hint}One of {', '.join(words)}")


def _container(settings: Settings, option: str, name: str, kind: str) -> str:
    from remora.frontend.container import record as records

    other = records.find(settings, name)
    if kind == "ipc" and other.spec["ipc"] == "private":
        raise RemoraError(
            f"{option} container:{name}: the IPC namespace of container {other.name} is private",
            "create that one with --ipc shareable",
        )
    # What is the host's there is the host's here, too: nothing to be joined.
    return "host" if namespaces.mode(other.spec, kind) == "host" else f"container:{other.id}"
