"""`volume create --opt`: what a volume is made of, if not of a folder of ours.

type=tmpfs [device=tmpfs] [o=size=…,mode=…]      memory, shared by the containers that run with it at the same time
type=none o=bind[,ro …] device=FOLDER            a folder of the host
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.container.spec import Mount

KEYS = ("device", "o", "type")
BINDS = ("bind", "rbind")


def words(options: Mapping[str, str]) -> list[str]:
    """The mount options of a volume."""
    return [word for word in options.get("o", "").split(",") if word]


def is_bind(options: Mapping[str, str]) -> bool:
    """Whether it is a folder of the host."""
    return options.get("type", "none") in ("", "none", "bind") and bool(set(BINDS) & set(words(options)))


def is_tmpfs(options: Mapping[str, str]) -> bool:
    """Whether it is a tmpfs."""
    return options.get("type") == "tmpfs"


def check(options: Mapping[str, str]) -> None:
    """Raise RemoraError when a volume can't be made of this."""
    if not options:
        return
    for key in options:
        if key not in KEYS:
            raise RemoraError(f'unknown option "{key}" for --opt', "type=, device= and o= are known")
    mount(options, "--opt", "/volume", [])


def mount(options: Mapping[str, str], what: str, target: str, own: list[str]) -> Mount:
    """The mount that the volume stands for. own: further mount options.

    what: begins the text of errors. Raises RemoraError for an unknown option or a folder that is not there.
    """
    from remora.frontend.options import mounts

    if is_tmpfs(options):
        given = [*words(options), *own]
        return mounts.tmpfs(what, f"{target}:{','.join(given)}" if given else target)
    if not is_bind(options):
        kind = options.get("type", "")
        raise RemoraError(
            f'{what}: volumes of type "{kind}" are not there' if kind else f"{what}: the type is missing",
            "use type=tmpfs, or type=none, o=bind and device=FOLDER",
        )
    device = options.get("device", "")
    if not os.path.isabs(device):
        raise RemoraError(f'{what}: device "{device}" is no absolute path', "add --opt device=/FOLDER")
    return mounts.volume(what, f"{device}:{target}:{','.join([*words(options), *own])}")
