"""Volumes on disk: <data>/volumes/<name>/volume.json, and the files in _data.

Which containers use a volume is asked of their records, never counted. So that the answer holds, whoever makes a
container has the folder locked (flock, shared) until the record is there, and whoever removes a volume has it locked
alone while asking. A folder is made beside and renamed, and is renamed before it is removed: what has a name is whole.

An anonymous volume (its name is 64 hex digits, as random as an id) goes with the container that it was made for,
unless that is removed by `rm` without --volumes: then it is marked as one that stays.
"""

from __future__ import annotations

import fcntl
import os

from remora import monitor
from remora.frontend import jsontext
from remora.frontend.container import names
from remora.frontend.container import record as records
from remora.frontend.container.record import CorruptRecord, is_id
from remora.frontend.errors import NoSuchContainer, RemoraError, os_error_text
from remora.monitor import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

    class Volume(TypedDict):
        version: int
        name: str
        created_ns: int
        labels: dict[str, str]
        options: dict[str, str]
        # The container that an anonymous one was made for, "" = it has been given a name.
        owner: str
        # Whether an anonymous one is kept when that container is gone.
        kept: bool
        # No container has used it: it gets what the image has at the place, and that folder's owner.
        fresh: bool


VERSION = 1
FILE = "volume.json"
DATA = "_data"
NEW, GONE = ".new-", ".gone-"
LARGEST = 1 << 22  # bytes of a volume.json
ABSENT = 1
USED = 2


class NoSuchVolume(RemoraError):
    """No volume has this name (any more)."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(f'no such volume "{name}"', "`remora volume ls` lists the volumes", ABSENT)


def folder(settings: Settings) -> str:
    """Where all volumes are."""
    return settings.data + "/volumes"


def place(settings: Settings, name: str) -> str:
    """The files of a volume."""
    return f"{folder(settings)}/{name}/{DATA}"


def check_name(name: str) -> None:
    """Raise RemoraError when a volume can't have this name."""
    if not names.is_valid(name):
        raise RemoraError(f'invalid volume name "{name}"', "names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*")


def listed(settings: Settings) -> list[str]:
    """The names of all volumes, sorted."""
    try:
        return sorted(name for name in os.listdir(folder(settings)) if names.is_valid(name))
    except FileNotFoundError:
        return []


def load(settings: Settings, name: str) -> Volume:
    """A volume by its name. Raises NoSuchVolume, RemoraError for a record that can't be used."""
    if not names.is_valid(name):
        raise NoSuchVolume(name)
    path = f"{folder(settings)}/{name}/{FILE}"
    try:
        found = jsontext.loads(core.read_file(path, LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchVolume(name) from None
    except (OSError, ValueError, RecursionError) as error:
        why = os_error_text(error) if isinstance(error, OSError) else "not a valid record"
        raise RemoraError(f"reading {path}: {why}", f"`remora volume rm {name}` removes the volume") from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise RemoraError(f"reading {path}: not a record of this version", f"`remora volume rm {name}` removes it")
    volume: Volume = {
        "version": VERSION,
        "name": name,
        "created_ns": int(found.get("created_ns", 0)),
        "labels": found.get("labels") or {},
        "options": found.get("options") or {},
        "owner": str(found.get("owner", "")),
        "kept": bool(found.get("kept", False)),
        "fresh": bool(found.get("fresh", False)),
    }
    return volume


def save(home: str, volume: Volume, durable: bool = False) -> None:
    """Write a volume's record: beside, then renamed. The lock must be held. durable: synced."""
    path = f"{home}/{FILE}"
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(jsontext.dumps(volume).encode())
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path + ".new", path)


def new(name: str, labels: Mapping[str, str], options: Mapping[str, str], owner: str = "") -> Volume:
    """The record of a volume that is to be made."""
    import time

    return {
        "version": VERSION,
        "name": name,
        "created_ns": time.time_ns(),
        "labels": dict(labels),
        "options": dict(options),
        "owner": owner,
        "kept": False,
        "fresh": True,
    }


def make(settings: Settings, volume: Volume, durable: bool = True) -> int:
    """Make a volume; the descriptor that holds it locked alone is the caller's.

    Raises FileExistsError when there is one of this name.
    """
    base = folder(settings)
    os.makedirs(base, 0o700, exist_ok=True)
    while True:
        temporary = f"{base}/{NEW}{os.urandom(8).hex()}"
        os.mkdir(temporary, 0o700)
        fd = _lock_path(temporary, fcntl.LOCK_EX)
        if fd >= 0:
            break
    try:
        os.mkdir(f"{temporary}/{DATA}", 0o755)
        os.chmod(f"{temporary}/{DATA}", 0o755)  # whatever the umask is
        save(temporary, volume, durable)
        try:
            os.rename(temporary, f"{base}/{volume['name']}")
        except OSError as error:
            import errno

            if error.errno == errno.ENOTEMPTY:
                raise FileExistsError(errno.EEXIST, "volume exists", volume["name"]) from None
            raise
        return fd
    except BaseException:
        os.close(fd)
        monitor.remove_tree(temporary)
        raise


def lock(settings: Settings, name: str, *, alone: bool, wait: bool = True) -> int:
    """Lock a volume, shared or alone; the descriptor is the caller's.

    Raises NoSuchVolume; BlockingIOError when it is locked and `wait` is off.
    """
    kind = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    while names.is_valid(name):
        path = f"{folder(settings)}/{name}"
        fd = _lock_path(path, kind)
        if fd >= 0:
            return fd
        if not os.path.isdir(path):
            break
    raise NoSuchVolume(name)


def _lock_path(path: str, kind: int) -> int:
    """-1: the folder is another one by now, or gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, kind)
        if os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False)):
            return fd
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return -1


# ---- who uses them


def users(
    settings: Settings, name: str = "", corrupt: list[CorruptRecord] | None = None
) -> dict[str, list[ContainerRecord]]:
    """The containers of each volume that has any. name: only this one is asked for.

    Raises CorruptRecord for a container whose record can't be read (it might use any), unless these are collected.
    """
    found: dict[str, list[ContainerRecord]] = {}
    for container_id in records.ids(settings):
        try:
            record = records.load(settings, container_id)
        except NoSuchContainer:
            continue
        except CorruptRecord as error:
            if corrupt is None:
                raise
            corrupt.append(error)
            continue
        for used in {item["source"] for item in record.spec["mounts"] if item["type"] == "volume"}:
            if not name or used == name:
                found.setdefault(used, []).append(record)
    return found


# ---- removal; done inside the user's namespace, where files of other ids can be removed


def remove(settings: Settings, name: str) -> None:
    """Remove a volume that no container uses.

    Raises NoSuchVolume, RemoraError when it is in use, CorruptRecord when that can't be known.
    """
    fd = lock(settings, name, alone=True)
    try:
        used = users(settings, name).get(name, [])
        if used:
            told = ", ".join(record.name for record in used[:4]) + (" …" if len(used) > 4 else "")
            raise RemoraError(
                f'volume "{name}" is being used by the following container(s): {told}: volume is being used',
                f"`remora volume rm --force {name}` removes them, too",
                USED,
            )
        _discard(settings, name)
    finally:
        os.close(fd)


def _discard(settings: Settings, name: str) -> None:
    base = folder(settings)
    gone = f"{base}/{GONE}{os.urandom(8).hex()}"
    os.rename(f"{base}/{name}", gone)
    monitor.remove_tree(gone)


def sweep(settings: Settings) -> None:
    """Remove anonymous volumes whose container is gone, and what interrupted commands have left. Idempotent."""
    base = folder(settings)
    try:
        entries = os.listdir(base)
    except FileNotFoundError:
        return
    for entry in entries:
        if not is_id(entry) and not entry.startswith((NEW, GONE)):
            continue
        try:
            _sweep_one(settings, entry)
        except (OSError, RemoraError):
            continue  # somebody is at work on it, or it goes another time


def _sweep_one(settings: Settings, entry: str) -> None:
    if is_id(entry) and not _is_orphan(settings, entry):
        return
    path = f"{folder(settings)}/{entry}"
    fd = _lock_path(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if fd < 0:
        return
    try:
        if not is_id(entry):
            monitor.remove_tree(path)
        elif _is_orphan(settings, entry) and not users(settings, entry):
            _discard(settings, entry)
    finally:
        os.close(fd)


def _is_orphan(settings: Settings, name: str) -> bool:
    volume = load(settings, name)
    owner = volume["owner"]
    return bool(owner) and not volume["kept"] and not os.path.lexists(settings.data_dir(owner) + "/spec.json")
