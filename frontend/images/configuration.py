"""Where the image store is: the storage configuration as containers-storage finds it.

First of: the file in CONTAINERS_STORAGE_CONF, /etc/containers/storage.conf, /usr/share/containers/storage.conf,
the built-in defaults. STORAGE_DRIVER overrides the driver. (containers-storage.conf(5).)

For an ordinary user the file is ~/.config/containers/storage.conf; without it, or where it names no folder, the store
is ~/.local/share/containers/storage, or what the system's file has as rootless_storage_path; the system's folders are
root's.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import toml
from remora.frontend.images.decode import as_map, as_text, text_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.settings import Settings

FILES = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
GRAPH_ROOT = "/var/lib/containers/storage"
RUN_ROOT = "/run/containers/storage"
DRIVER = "overlay"


class StorageConfiguration:
    """The store in effect.

    graph_root, run_root: absolute folders. additional: further, read-only graph roots.
    source: the file it comes from, "" for the defaults. driver_given: somebody has chosen the driver, not the default.
    mount_program: what mounts the overlays instead of the kernel, "" = the kernel.
    """

    __slots__ = ("graph_root", "run_root", "additional", "source", "driver_given", "mount_program")

    def __init__(
        self,
        graph_root: str,
        run_root: str,
        additional: list[str],
        source: str,
        driver_given: bool = False,
        mount_program: str = "",
    ) -> None:
        self.graph_root = graph_root
        self.run_root = run_root
        self.additional = additional
        self.source = source
        self.driver_given = driver_given
        self.mount_program = mount_program

    def transport(self, options: Sequence[str] = ()) -> str:
        """What skopeo takes for this store; a name, or `@` and an image id, follows. options: `overlay.KEY=VALUE`."""
        ending = ":" + ",".join(options) if options else ""
        return f"containers-storage:[{DRIVER}@{self.graph_root}+{self.run_root}{ending}]"


def _read(path: str) -> dict[str, object]:
    with open(path, encoding="utf-8") as file:
        tables = toml.loads(file.read())
    storage = dict(as_map(tables.get("storage")))
    storage.setdefault("options", {})
    return storage


def _folder(value: object, default: str, settings: Settings) -> str:
    text = as_text(value)
    for name, replacement in (("$HOME", settings.home or "/root"), ("$UID", str(settings.uid))):
        text = text.replace(name, replacement)
    return os.path.normpath(text) if text.startswith("/") else default


def load(settings: Settings) -> StorageConfiguration:
    """The store configuration of this host; RemoraError for a broken file or a driver other than overlay."""
    environ = settings.environ
    given = environ.get("CONTAINERS_STORAGE_CONF", "")
    graph_root, run_root = GRAPH_ROOT, RUN_ROOT
    files: Sequence[str] = FILES
    if settings.rootless:
        from remora.frontend.rootless import folders

        graph_root = folders.shared_data(environ, settings.uid) + "/containers/storage"
        run_root = folders.runtime(environ, settings.uid) + "/containers"
        files = (folders.configuration(environ, settings.uid) + "/storage.conf",)
    storage, source = _first((given,) if given else files, given)
    if settings.rootless and not source:
        # Of the system's file count the driver, its options and a place meant for users.
        storage, source = _first(FILES, "")
        place = storage.get("rootless_storage_path", "")
        storage = {key: value for key, value in storage.items() if key not in ("graphroot", "runroot")}
        storage["graphroot"] = place
    driver = environ.get("STORAGE_DRIVER", "") or as_text(storage.get("driver"))
    if (driver or DRIVER) != DRIVER:
        where = "STORAGE_DRIVER" if environ.get("STORAGE_DRIVER") else source
        raise RemoraError(
            f'opening the image store: storage driver "{driver}" (from {where}) is not supported',
            f'use driver = "{DRIVER}"',
        )
    options = as_map(storage.get("options"))
    overlay = as_map(options.get("overlay"))
    return StorageConfiguration(
        _folder(storage.get("graphroot"), graph_root, settings),
        _folder(storage.get("runroot"), run_root, settings),
        [os.path.normpath(path) for path in text_list(options.get("additionalimagestores")) if path.startswith("/")],
        source,
        bool(driver),
        as_text(overlay.get("mount_program")) or as_text(options.get("mount_program")),
    )


def _first(paths: Sequence[str], given: str) -> tuple[dict[str, object], str]:
    """The `storage` table of the first file that is there, and its path. given: CONTAINERS_STORAGE_CONF, must be."""
    for path in paths:
        try:
            return _read(path), path
        except FileNotFoundError:
            if given:
                raise RemoraError(
                    f"reading the storage configuration: {path} (from CONTAINERS_STORAGE_CONF) does not exist",
                    "unset CONTAINERS_STORAGE_CONF or create the file",
                ) from None
        except OSError as error:
            raise RemoraError(f"reading the storage configuration {path}: {os_error_text(error)}")
        except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
            raise RemoraError(f"reading the storage configuration {path}: {error}", "correct the file")
    return {}, ""
