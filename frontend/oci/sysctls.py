"""`--sysctl`: kernel parameters that a namespace has of its own.

Only those can be a container's: IPC (System V and POSIX message queues), network, and the domain name (UTS). With the
host's namespace they would be the host's, so they are refused then.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

IPC = tuple("kernel." + name for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split())
DOMAIN = "kernel.domainname"
_ROOT = "/proc/sys/"
# Below these the next part is an interface, which a network namespace has of its own.
_INTERFACES = ("conf", "neigh")


def namespace(name: str) -> str:
    """Which namespace has this parameter: `network`, `ipc`, `uts`; "" = none, it is the whole machine's."""
    if name.startswith("net."):
        return "network"
    if name in IPC or name.startswith("fs.mqueue."):
        return "ipc"
    return "uts" if name == DOMAIN else ""


def parse(option: str, given: Iterable[str], foreign: Mapping[str, str], userns: bool = False) -> dict[str, str]:
    """`NAME=VALUE` each, the name with dots or slashes.

    foreign: modes of the namespaces that are not the container's own; userns: it will be in a user namespace.
    Raises RemoraError for a parameter that is no namespace's, one of a foreign one, or one this kernel does not have.
    """
    result: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = _dotted(name.strip())
        if not equals or not name or "\0" in text or ".." in name or "//" in name or name.startswith("."):
            raise RemoraError(f'invalid value "{text}" for {option}', hint="use NAME=VALUE, as net.core.somaxconn=1024")
        kind = namespace(name)
        if not kind:
            raise RemoraError(f"{option} {name}: it has no namespace, it would be the whole host's", hint=_hint(name))
        if kind in foreign:
            mode = foreign[kind]
            whose = "the host's" if mode == "host" else "another's"
            hint = f"leave out --{kind} {mode}" + (", or set it on the host with sysctl(8)" if mode == "host" else "")
            raise RemoraError(f"{option} {name}={value}: the container has {whose} {kind} namespace", hint=hint)
        if kind == "uts" and userns:  # seen with 6.18
            raise RemoraError(f"{option} {name}: the kernel lets only root of the host set it", hint="leave it out")
        if not _is_there(name):
            raise RemoraError(f"{option} {name}: this kernel does not have it", hint=_nearest(name))
        result[name] = value.strip()
    return result


def defaults(option: str, given: Iterable[str], foreign: Container[str]) -> dict[str, str]:
    """The same for those of containers.conf; what is not the container's own is left out."""
    return parse(option, [text for text in given if namespace(_dotted(text.partition("=")[0])) not in foreign], {})


def _dotted(name: str) -> str:
    """sysctl(8): where the first separator is a slash, slashes separate and dots belong to a part."""
    slash, dot = name.find("/"), name.find(".")
    if slash < 0 or 0 <= dot < slash:
        return name
    return name.replace(".", "\0").replace("/", ".").replace("\0", "/")


def _path(name: str) -> str:
    return _ROOT + name.replace("/", "\0").replace(".", "/").replace("\0", ".")


def _is_there(name: str) -> bool:
    parts = name.split(".")
    return any(part in parts for part in _INTERFACES) or os.path.isfile(_path(name))


def _hint(name: str) -> str:
    if name == "kernel.hostname":
        return "use --hostname"
    from difflib import get_close_matches

    near = get_close_matches(name, IPC, 1, 0.8)
    if near:
        return f"did you mean {near[0]}?"
    return "net.*, fs.mqueue.*, kernel.msg*, kernel.sem and kernel.shm* can be a container's; sysctl(8) sets the host's"


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    folder, _, last = _path(name).rpartition("/")
    try:
        near = get_close_matches(last, os.listdir(folder), 1, 0.6)
    except OSError:
        near = []
    return f"did you mean {name[: -len(last)]}{near[0]}?" if near else f"`ls {_ROOT}` shows what there is"
