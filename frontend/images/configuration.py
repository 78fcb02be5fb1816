"""Where the image store is: the storage configuration as containers-storage finds it.

First of: the file in CONTAINERS_STORAGE_CONF, /etc/containers/storage.conf, /usr/share/containers/storage.conf,
the built-in defaults. STORAGE_DRIVER overrides the driver. (containers-storage.conf(5).)
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import toml
from remora.frontend.images.decode import as_map, as_text, text_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FILES = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
GRAPH_ROOT = "/var/lib/containers/storage"
RUN_ROOT = "/run/containers/storage"
DRIVER = "overlay"


class StorageConfiguration:
    """The store in effect.

    graph_root, run_root: absolute folders. additional: further, read-only graph roots.
    source: the file it comes from, "" for the defaults.
    """

    __slots__ = ("graph_root", "run_root", "additional", "source")

    def __init__(self, graph_root: str, run_root: str, additional: list[str], source: str) -> None:
        self.graph_root = graph_root
        self.run_root = run_root
        self.additional = additional
        self.source = source

    @property
    def transport(self) -> str:
        """What skopeo takes for this store; a name, or `@` and an image id, follows."""
        return f"containers-storage:[{DRIVER}@{self.graph_root}+{self.run_root}]"


def _read(path: str) -> dict[str, object]:
    with open(path, encoding="utf-8") as file:
        tables = toml.loads(file.read())
    storage = dict(as_map(tables.get("storage")))
    storage.setdefault("options", {})
    return storage


def _folder(value: object, default: str, environ: Mapping[str, str]) -> str:
    text = as_text(value)
    for name, replacement in (("$HOME", environ.get("HOME", "/root")), ("$UID", str(os.getuid()))):
        text = text.replace(name, replacement)
    return os.path.normpath(text) if text.startswith("/") else default


def load(environ: Mapping[str, str]) -> StorageConfiguration:
    """The store configuration of this host; RemoraError for a broken file or a driver other than overlay."""
    given = environ.get("CONTAINERS_STORAGE_CONF", "")
    storage: dict[str, object] = {}
    source = ""
    for path in (given,) if given else FILES:
        try:
            storage = _read(path)
        except FileNotFoundError:
            if given:
                raise RemoraError(
                    f"reading the storage configuration: {path} (from CONTAINERS_STORAGE_CONF) does not exist",
                    "unset CONTAINERS_STORAGE_CONF or create the file",
                )
            continue
        except OSError as error:
            raise RemoraError(f"reading the storage configuration {path}: {os_error_text(error)}")
        except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
            raise RemoraError(f"reading the storage configuration {path}: {error}", "correct the file")
        source = path
        break
    driver = environ.get("STORAGE_DRIVER", "") or as_text(storage.get("driver")) or DRIVER
    if driver != DRIVER:
        where = "STORAGE_DRIVER" if environ.get("STORAGE_DRIVER") else source
        raise RemoraError(
            f'opening the image store: storage driver "{driver}" (from {where}) is not supported',
            f'use driver = "{DRIVER}"',
        )
    options = as_map(storage.get("options"))
    return StorageConfiguration(
        _folder(storage.get("graphroot"), GRAPH_ROOT, environ),
        _folder(storage.get("runroot"), RUN_ROOT, environ),
        [os.path.normpath(path) for path in text_list(options.get("additionalimagestores")) if path.startswith("/")],
        source,
    )
