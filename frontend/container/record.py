"""A container's record on disk: spec.json, the folders, and finding one by name, id or the start of an id.

spec.json is the commit point: with it the container exists, without it the folder is half made or half removed.
It is only ever replaced as a whole (written beside, synced, renamed), so a reader sees the old or the new one.
"""

from __future__ import annotations

import errno
import os

from remora.frontend import jsontext
from remora.frontend.container import logs, names
from remora.frontend.container import spec as specs
from remora.frontend.errors import NoSuchContainer, RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

    from remora.frontend.container.spec import Spec
    from remora.frontend.settings import Settings

VERSION = 1
REGULAR = 0o10  # file type of a plain file in st_mode
LARGEST = 1 << 26  # bytes of a spec.json; the kernel takes some 6 MB of arguments and environment
HEX = frozenset("0123456789abcdef")


class CorruptRecord(RemoraError):
    """spec.json is there but can't be used."""

    __slots__ = ("container_id",)

    def __init__(self, container_id: str, path: str, why: str) -> None:
        super().__init__(f"reading {path}: {why}", f"`remora rm -f {container_id[:12]}` removes the container")
        self.container_id = container_id


class ContainerRecord:
    """One container: its spec and the paths that follow from its id."""

    __slots__ = ("spec", "data_dir", "run_dir", "synced")

    def __init__(self, settings: Settings, spec: Spec) -> None:
        self.spec = spec
        self.data_dir = settings.data_dir(spec["id"])
        self.run_dir = settings.run_dir(spec["id"])
        self.synced = True

    @property
    def id(self) -> str:
        return self.spec["id"]

    @property
    def name(self) -> str:
        return self.spec["name"]

    @property
    def bundle(self) -> str:
        return self.data_dir + "/bundle"

    @property
    def spec_path(self) -> str:
        return self.data_dir + "/spec.json"

    @property
    def log_path(self) -> str:
        """The log file that is read; "" when none of the drivers writes one."""
        paths = (logs.path_of(self, sink) for sink in self.spec["log"]["drivers"])
        return next((path for path in paths if path), "")

    def save(self, durable: bool = True) -> None:
        """Write spec.json: beside, then renamed; durable: synced, else `sync` is to follow. The folder must exist."""
        temporary = f"{self.spec_path}.{os.getpid()}"
        text = jsontext.dumps(self.spec).encode()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            try:
                view = memoryview(text)
                while view:
                    view = view[os.write(fd, view) :]
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, self.spec_path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        self.synced = durable
        if durable:
            _sync(self.data_dir, os.O_DIRECTORY)

    def sync(self) -> None:
        """Make what was saved survive a power cut."""
        _sync(self.spec_path, 0)
        _sync(self.data_dir, os.O_DIRECTORY)
        self.synced = True


def _sync(path: str, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def load(settings: Settings, container_id: str) -> ContainerRecord:
    """The record of a container by its full id.

    Raises NoSuchContainer without spec.json, CorruptRecord when it can't be used.
    """
    path = settings.data_dir(container_id) + "/spec.json"
    try:
        text = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchContainer(container_id) from None
    except OSError as error:
        raise CorruptRecord(container_id, path, error.strerror or "unreadable") from None
    try:
        spec = jsontext.loads(text)
    except (ValueError, RecursionError):
        raise CorruptRecord(container_id, path, "not a valid record (broken JSON)") from None
    why = _complaint(spec, container_id)
    if why or not _is_spec(spec):
        raise CorruptRecord(container_id, path, why)
    specs.complete(spec)
    log = logs.modern(spec["log"])
    if log is None:
        raise CorruptRecord(container_id, path, "not a valid record (no usable 'log')")
    spec["log"] = log
    return ContainerRecord(settings, spec)


def _read(path: str) -> bytes:
    """A whole plain file; nothing else that may stand in its place can make us wait or fill the memory."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if status.st_mode >> 12 != REGULAR:
            raise OSError(errno.EINVAL, "not a plain file")
        if status.st_size > LARGEST:
            raise OSError(errno.EFBIG, "too large")
        pieces = []
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


# What every command relies on; the other keys are always written by the same program.
_NEEDED: tuple[tuple[str, type], ...] = (
    ("name", str),
    ("created_ns", int),
    ("args", list),
    ("env", list),
    ("labels", dict),
    ("mounts", list),
    ("log", dict),
    ("restart", dict),
    ("stop_signal", int),
    ("stop_timeout", int),
    ("tty", bool),
    ("stdin_open", bool),
    ("remove", bool),
    ("network", str),
    ("detach_keys", str),
    ("runtime", str),
)


def _is_spec(value: object) -> TypeGuard[Spec]:
    """For the type checker: what `_complaint` has nothing against."""
    return isinstance(value, dict)


def _complaint(spec: object, container_id: str) -> str:
    """Why this can't be the spec of the container; "" when it can."""
    if not isinstance(spec, dict):
        return "not a valid record (no object)"
    if spec.get("version") != VERSION:
        return f"version {spec.get('version')!r} is not known here"
    if spec.get("id") != container_id:
        return "not a valid record (another container's id)"
    for key, kind in _NEEDED:
        if not isinstance(spec.get(key), kind):
            return f"not a valid record (no usable {key!r})"
    if not names.is_valid(spec["name"]):
        return "not a valid record (no usable 'name')"
    image = spec.get("image")
    if image is not None and not (isinstance(image, dict) and isinstance(image.get("id"), str)):
        return "not a valid record (no usable 'image')"
    return ""


def ids(settings: Settings) -> list[str]:
    """The ids of all container folders and run folders, whether whole or not, in no order."""
    found: set[str] = set()
    for folder in (settings.containers, settings.run):
        try:
            found.update(name for name in os.listdir(folder) if is_id(name))
        except FileNotFoundError:
            pass
    return list(found)


def is_id(text: str) -> bool:
    """Whether this is a full container id (64 lower-case hex digits)."""
    return len(text) == 64 and HEX.issuperset(text)


def records(settings: Settings, corrupt: list[CorruptRecord] | None = None) -> Iterator[ContainerRecord]:
    """Every container; corrupt ones are appended to `corrupt`, half-made ones that nobody works on are swept."""
    for container_id in ids(settings):
        try:
            yield load(settings, container_id)
        except NoSuchContainer:
            from remora.frontend.container import sweep

            try:
                sweep.sweep_if_stale(settings, container_id)
            except (OSError, RemoraError):
                continue  # a listing doesn't fail because of it; `rm` names what is in the way
        except CorruptRecord as error:
            if corrupt is not None:
                corrupt.append(error)


def find_id(settings: Settings, given: str) -> str:
    """The full id of the container called `given`: its name, its id, or the beginning of its id.

    Raises NoSuchContainer, and RemoraError when several ids begin so.
    """
    if names.is_valid(given):
        named = names.owner(settings, given)
        if named is not None:
            return named
    if not given or not HEX.issuperset(given) or len(given) > 64:
        raise NoSuchContainer(given)
    if len(given) == 64:
        return given
    matches = [name for name in ids(settings) if name.startswith(given)]
    if not matches:
        raise NoSuchContainer(given)
    if len(matches) > 1:
        raise RemoraError(
            f'more than one container has an ID beginning with "{given}"',
            "give more digits: " + ", ".join(sorted(name[: len(given) + 6] for name in matches)[:4]),
        )
    return matches[0]


def find(settings: Settings, given: str) -> ContainerRecord:
    """The container called `given` (name, id or the beginning of an id).

    Raises NoSuchContainer (naming what was asked for), CorruptRecord, and RemoraError for an ambiguous beginning.
    """
    container_id = find_id(settings, given)
    try:
        return load(settings, container_id)
    except NoSuchContainer:
        raise NoSuchContainer(given) from None
