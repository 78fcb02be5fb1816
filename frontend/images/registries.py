"""registries.conf: short-name aliases and the registries that are searched for short names.

/etc/containers/registries.conf (or the file in CONTAINERS_REGISTRIES_CONF), its drop-in folder registries.conf.d, and
the cache of aliases that Podman keeps. An ordinary user's own files are those of ~/.config/containers. Later files
win. Everything else in them (mirrors, insecure, blocked) is skopeo's business. (containers-registries.conf(5).)
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

FILES = ("/etc/containers/registries.conf", "/usr/share/containers/registries.conf")
DROP_INS = "/etc/containers/registries.conf.d"
CACHE = "/var/cache/containers/short-name-aliases.conf"


class Registries:
    """What completes a short name. search: hosts in order; aliases: short repository → full repository."""

    __slots__ = ("search", "aliases", "source")

    def __init__(self, search: list[str], aliases: dict[str, str], source: str) -> None:
        self.search = search
        self.aliases = aliases
        self.source = source


def load(settings: Settings) -> Registries:
    """Read the files; a missing one is empty, a broken one is a RemoraError that names it."""
    given = settings.environ.get("CONTAINERS_REGISTRIES_CONF", "")
    files: Sequence[str] = FILES
    folders, cache = [DROP_INS], CACHE
    if settings.rootless:
        from remora.frontend.rootless.folders import configuration

        own = configuration(settings.environ, settings.uid)
        files = (f"{own}/registries.conf", *FILES)
        folders.append(f"{own}/registries.conf.d")
        cache = f"{settings.home}/.cache/containers/short-name-aliases.conf"
    main = given or next((path for path in files if os.path.exists(path)), FILES[0])
    found = Registries([], {}, main)
    for path in (cache, main, *(path for folder in folders for path in _drop_ins(folder))):
        try:
            with open(path, encoding="utf-8") as file:
                document = toml.loads(file.read())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RemoraError(f"reading the registry configuration {path}: {os_error_text(error)}")
        except ValueError as error:
            raise RemoraError(f"reading the registry configuration {path}: {error}", "correct the file")
        if "unqualified-search-registries" in document:
            found.search = text_list(document["unqualified-search-registries"])
        for name, target in as_map(document.get("aliases")).items():
            found.aliases[name] = as_text(target)
    return found


def _drop_ins(folder: str) -> list[str]:
    """The files of a drop-in folder in order."""
    try:
        return sorted(f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".conf"))
    except OSError:
        return []
