"""containers.conf: the machine's and the user's own defaults, shared with Podman and Buildah.

Read in this order, a later file replaces the keys it has (containers.conf(5)):

    /usr/share/containers/containers.conf
    /etc/containers/containers.conf, then containers.conf.d/*.conf beside it by name
    $XDG_CONFIG_HOME/containers/containers.conf (~/.config without it), then containers.conf.d/*.conf beside it
    the file in CONTAINERS_CONF_OVERRIDE

The file in CONTAINERS_CONF stands in place of all but the last. A list whose last element is `{append=true}` is added
to what the files before had, and so are later lists of that key. A key that is unknown here is another program's; one
that is asked for and has a wrong value is a RemoraError that names file, table and key.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SYSTEM = ("/usr/share/containers/containers.conf", "/etc/containers/containers.conf")
USER = "containers/containers.conf"


class Configuration:
    """The settings in effect, by table (`containers`, `engine.runtimes`) and key; empty where no file is.

    The getters return the default for a key that no file has.
    """

    __slots__ = ("_values", "_sources", "_appending")

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], object] = {}
        self._sources: dict[tuple[str, str], str] = {}
        self._appending: set[tuple[str, str]] = set()

    def add(self, path: str, document: Mapping[str, object], table: str = "") -> None:
        """Put the tables of one file over what there is."""
        for key, value in document.items():
            if isinstance(value, dict):
                self.add(path, value, f"{table}.{key}" if table else key)
                continue
            at = table, key
            if isinstance(value, list):
                value = self._list(at, value)
            self._values[at] = value
            self._sources[at] = path

    def _list(self, at: tuple[str, str], value: list[object]) -> list[object]:
        attributes = value[-1] if value else None
        if isinstance(attributes, dict) and attributes.keys() == {"append"}:
            value = value[:-1]
            if attributes["append"] is True:
                self._appending.add(at)
            else:
                self._appending.discard(at)
        before = self._values.get(at)
        return [*before, *value] if at in self._appending and isinstance(before, list) else value

    # ---- asking ------------------------------------------------------------------------------

    def has(self, table: str, key: str) -> bool:
        """Whether a file sets it."""
        return (table, key) in self._values

    def keys(self, table: str) -> list[str]:
        """The keys of a table that are set, in the order of the files."""
        return [key for name, key in self._values if name == table]

    def files(self) -> list[str]:
        """The files that set anything, in the order they were read."""
        return list(dict.fromkeys(self._sources.values()))

    def where(self, table: str, key: str) -> str:
        """For a message, in place of an option's name: `[containers] umask in /etc/containers/containers.conf`."""
        return f"[{table}] {key} in {self._sources.get((table, key), 'containers.conf')}"

    def text(self, table: str, key: str, default: str = "") -> str:
        value = self._values.get((table, key), default)
        if not isinstance(value, str):
            raise self.wrong(table, key, "a text expected")
        return value

    def flag(self, table: str, key: str, default: bool = False) -> bool:
        value = self._values.get((table, key), default)
        if not isinstance(value, bool):
            raise self.wrong(table, key, "true or false expected")
        return value

    def integer(self, table: str, key: str, default: int = 0, least: int | None = None, most: int | None = None) -> int:
        """A whole number, within bounds where they are given."""
        value = self._values.get((table, key), default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(table, key, "a whole number expected")
        if least is not None and value < least:
            raise self.wrong(table, key, f"the least is {least}")
        if most is not None and value > most:
            raise self.wrong(table, key, f"the most is {most}")
        return value

    def texts(self, table: str, key: str, default: Sequence[str] = ()) -> list[str]:
        value = self._values.get((table, key), default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise self.wrong(table, key, "a list of texts expected")
        return list(value)

    def tables(self, table: str, key: str) -> list[dict[str, object]]:
        """A list of inline tables, as `default_subnet_pools` is."""
        value = self._values.get((table, key), [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(table, key, "a list of tables expected")
        return value

    def choice(self, table: str, key: str, choices: Sequence[str], default: str = "") -> str:
        """One of the words; the default may be another."""
        value = self.text(table, key, default)
        if value == default or value in choices:
            return value
        from difflib import get_close_matches

        near = get_close_matches(value, choices, 1, 0.6)
        raise self.wrong(table, key, (f"did you mean {near[0]}? " if near else "") + f"One of {', '.join(choices)}")

    def size(self, table: str, key: str, default: int = 0) -> int:
        """Bytes: a number, or a text such as `64m`."""
        value = self._values.get((table, key), default)
        if isinstance(value, str):
            from remora.frontend.options import values

            return values.size(self.where(table, key), value)
        return self.integer(table, key, default)

    def wrong(self, table: str, key: str, expected: str) -> RemoraError:
        """The error for a value that can't be used; to be raised by the caller. expected: the remedy."""
        value = self._values.get((table, key))
        if isinstance(value, (dict, list)):
            shown = "a table" if isinstance(value, dict) else f"a list of {len(value)}"
        else:
            shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        return RemoraError(f"wrong value {shown} for {self.where(table, key)}", expected)


def load(environ: Mapping[str, str]) -> Configuration:
    """Read the files; none is an empty configuration.

    Raises RemoraError for a file that can't be read or is no TOML (with line and column), and for one that an
    environment variable names and that is not there.
    """
    found = Configuration()
    for path, asked in _files(environ):
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            if asked:
                raise RemoraError(
                    f"reading the configuration: {path} (from {asked}) does not exist",
                    f"unset {asked} or make the file",
                ) from None
            continue
        except OSError as error:
            raise RemoraError(f"reading the configuration {os_error_text(error)}", "make it readable") from None
        except UnicodeDecodeError:
            raise RemoraError(f"reading the configuration {path}: it is not UTF-8", "correct the file") from None
        if not text:
            continue
        from remora.frontend.images import toml

        try:
            document = toml.loads(text)
        except ValueError as error:  # TOMLDecodeError: with line and column
            raise RemoraError(f"reading the configuration {path}: {error}", "correct the file") from None
        found.add(path, document)
    return found


def _files(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The files to be read, and the variable that names one ("" for those that may be missing)."""
    given = environ.get("CONTAINERS_CONF", "")
    if given:
        yield given, "CONTAINERS_CONF"
    else:
        yield SYSTEM[0], ""
        yield SYSTEM[1], ""
        yield from _drop_ins(SYSTEM[1])
        folder = environ.get("XDG_CONFIG_HOME", "") or environ.get("HOME", "") + "/.config"
        if folder.startswith("/") and folder != "/.config":
            yield f"{folder}/{USER}", ""
            yield from _drop_ins(f"{folder}/{USER}")
    override = environ.get("CONTAINERS_CONF_OVERRIDE", "")
    if override:
        yield override, "CONTAINERS_CONF_OVERRIDE"


def _drop_ins(path: str) -> Iterator[tuple[str, str]]:
    try:
        names = os.listdir(path + ".d")
    except OSError:
        return
    for name in sorted(names):
        if name.endswith(".conf"):
            yield f"{path}.d/{name}", ""
