"""One image store or two: Podman without a storage.conf may keep an ordinary user's images with the driver vfs.

Remora always uses the overlay driver, in the folder that the containers tools share. A Podman that uses vfs in the
same folder has other images: that is told, once when it is met and always in `info`, with the one setting that makes
it share.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.rootless import folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.images.configuration import StorageConfiguration
    from remora.frontend.settings import Settings

TOLD = "two-stores-told"  # in the data folder


def tell(settings: Settings) -> None:
    """One line on stderr if Podman has a store of its own and this was not said yet."""
    from remora.frontend.images import configuration
    from remora.frontend.rootless.entering import first_time

    try:
        store = configuration.load(settings)
    except RemoraError:
        return  # who uses the store tells it
    if other(store) and first_time(f"{settings.data}/{TOLD}"):
        line = "Podman has images of this user with the driver vfs that are not seen here; " + setting(settings)
        os.write(2, f"Warning: {line} (said once)\n".encode(errors="surrogateescape"))


def other(store: StorageConfiguration) -> bool:
    """Whether Podman has used the driver vfs and still would."""
    return not store.driver_given and os.path.exists(f"{store.graph_root}/vfs-images")


def setting(settings: Settings) -> str:
    """What makes Podman use this store."""
    path = f"{folders.configuration(settings.environ, settings.uid)}/storage.conf"
    return f'to share one store put `driver = "overlay"` under `[storage]` into {path}'


def facts(settings: Settings, store: StorageConfiguration) -> dict[str, object]:
    """For `info`: how the overlay is mounted and why, and whether Podman shares the store."""
    from remora.frontend.rootless import entering, overlay

    if store.mount_program:
        how, why = store.mount_program, f"mount_program in {store.source}"
    else:
        try:
            refused = entering.inside(settings, lambda: overlay.refusal(_existing(store.graph_root)))
        except RemoraError as error:
            refused = error.message
        how = overlay.PROGRAM if refused else "native"
        why = f"the kernel refuses: {refused}" if refused else "the kernel mounts overlays in user namespaces"
    if store.driver_given:
        podman = f"shares this store (driver from {store.source or 'STORAGE_DRIVER'})"
    elif other(store):
        podman = f"has a store of its own with the driver vfs; {setting(settings)}"
    else:
        podman = f"may choose the driver vfs and a store of its own; {setting(settings)}"
    return {"overlay": how, "overlayReason": why, "podman": podman}


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
