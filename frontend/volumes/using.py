"""A container and its volumes: made when it is made, filled at the first start, let go of when it is removed."""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container.record import ContainerRecord, is_id
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.volumes import options as makers
from remora.frontend.volumes import store
from remora.frontend.volumes.store import NoSuchVolume
from remora.monitor import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from remora.frontend.container.spec import Mount, Spec
    from remora.frontend.settings import Settings
    from remora.frontend.volumes.memory import Memory
    from remora.frontend.volumes.store import Volume

COPY_WORDS = frozenset(("copy", "nocopy"))
EVERYBODY = [(0, 0, 0xFFFFFFFF)]
LAST_USE = "/volumes-gone"  # in the data folder: what a monitor removes to see that it is the one who tidies up


def _mounts(spec: Spec) -> Iterator[Mount]:
    return (item for item in spec["mounts"] if item["type"] == "volume")


def claim(settings: Settings, spec: Spec) -> list[int]:
    """Make the volumes that are missing, and give the anonymous ones their names.

    The descriptors keep them from being removed: they are to be closed when spec.json is there.
    Raises RemoraError, OSError; then none is held.
    """
    anonymous = set()
    for item in _mounts(spec):
        if not item["source"]:
            item["source"] = os.urandom(32).hex()
            anonymous.add(item["source"])
    held: list[int] = []
    try:
        # In the order of their names: who waits for one holds none that comes after it.
        for name in sorted({item["source"] for item in _mounts(spec)}):
            held.append(_claim(settings, name, spec["id"] if name in anonymous else ""))
    except BaseException:
        release(held)
        raise
    return held


def _claim(settings: Settings, name: str, owner: str) -> int:
    while True:
        try:
            return store.lock(settings, name, alone=False)
        except NoSuchVolume:
            pass
        try:
            return store.make(settings, store.new(name, {}, {}, owner), durable=not owner)
        except FileExistsError:
            continue  # somebody was faster


def release(held: Sequence[int]) -> None:
    """Close what `claim` returned."""
    for fd in held:
        os.close(fd)


def memory(settings: Settings, record: ContainerRecord) -> Memory | None:
    """What a start needs of the volumes that are a tmpfs; None when there are none. To be closed by the caller."""
    for item in _mounts(record.spec):
        if makers.is_tmpfs(_load(settings, record, item["source"])["options"]):
            from remora.frontend.volumes.memory import Memory

            made = Memory()
            try:
                made.open(settings, record)
            except BaseException:
                made.close()
                raise
            return made
    return None


def resolved(settings: Settings, record: ContainerRecord, memory: Memory | None = None) -> ContainerRecord:
    """The record with bind mounts in place of its volumes, as a start needs it.

    Raises RemoraError when a volume is gone.
    """
    shared = memory.paths if memory is not None else {}
    mounts = [
        _resolved(settings, record, item, shared) if item["type"] == "volume" else item
        for item in record.spec["mounts"]
    ]
    spec = record.spec.copy()
    spec["mounts"] = mounts
    made = ContainerRecord(settings, spec)
    made.synced = record.synced
    return made


def _resolved(settings: Settings, record: ContainerRecord, item: Mount, shared: Mapping[str, str]) -> Mount:
    volume = _load(settings, record, item["source"])
    options = [word for word in item["options"] if word not in COPY_WORDS]
    if volume["options"] and item["source"] not in shared:
        what = f'starting container {record.name}: volume "{volume["name"]}"'
        if makers.is_tmpfs(volume["options"]):
            options = [word for word in options if word != "U"]
            options += ["notmpcopyup"] if "nocopy" in item["options"] else []
        return makers.mount(volume["options"], what, item["target"], options)
    for word in ("nosuid", "nodev"):
        if word not in options and word[2:] not in options:
            options.append(word)
    return {
        "type": "bind",
        "source": shared.get(item["source"]) or store.place(settings, item["source"]),
        "target": item["target"],
        "options": options,
    }


def _load(settings: Settings, record: ContainerRecord, name: str) -> Volume:
    try:
        return store.load(settings, name)
    except NoSuchVolume:
        raise RemoraError(
            f'starting container {record.name}: its volume "{name}" is gone',
            f"`remora volume create {name}` makes an empty one",
        ) from None


def fill(settings: Settings, record: ContainerRecord, root_fd: int) -> list[str]:
    """Give volumes that were never used what the image has at their place.

    root_fd: of the container's root. Returns the volumes for which it has no folder: they are to be `give`n.
    """
    found = []
    for item in _mounts(record.spec):
        name = item["source"]
        if not _load(settings, record, name)["fresh"]:
            continue
        fd = store.lock(settings, name, alone=True)
        try:
            volume = store.load(settings, name)
            if volume["fresh"]:
                if not volume["options"] and not _fill(settings, item, root_fd):
                    found.append(name)
                volume["fresh"] = False
                store.save(f"{store.folder(settings)}/{name}", volume)
        except OSError as error:
            raise RemoraError(
                f'starting container {record.name}: copying from the image to volume "{name}": {os_error_text(error)}',
                f"add nocopy to the options of {item['target']} to start with an empty one",
            ) from None
        finally:
            os.close(fd)
    return found


def _fill(settings: Settings, item: Mount, root_fd: int) -> bool:
    """False: there is no such folder in the image."""
    data = store.place(settings, item["source"])
    if os.listdir(data):
        return True  # somebody has put files there
    try:
        source = monitor.open_in_root(root_fd, item["target"], os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        if "nocopy" in item["options"]:
            status = os.fstat(source)
            os.chown(data, status.st_uid, status.st_gid)
            os.chmod(data, status.st_mode & 0o7777)
            return True
        copy = data + ".new"
        monitor.remove_tree(copy)  # of a start that was killed
        try:
            core.copy_shifted(source, copy, EVERYBODY, EVERYBODY, 0, 0)
            os.rename(copy, data)
        except BaseException:
            monitor.remove_tree(copy)
            raise
        return True
    finally:
        os.close(source)


def give(settings: Settings, volumes: Sequence[str], uid: int, gid: int) -> None:
    """Make a user of the container the owner of volumes that have no folder in the image."""
    for name in volumes:
        os.chown(store.place(settings, name), uid, gid)


# ---- the end


def removal(settings: Settings, record: ContainerRecord) -> list[list[str]]:
    """Steps of a `--rm` container's removal, after that of its record; empty when no anonymous volume is its."""
    if not any(is_id(item["source"]) for item in _mounts(record.spec)):
        return []
    folder = record.data_dir + LAST_USE
    os.makedirs(folder, 0o700, exist_ok=True)
    return [["last_use", folder, *settings.own_command(), "_unvolume"]]


def keep(settings: Settings, record: ContainerRecord) -> None:
    """The anonymous volumes of a container are to outlive it. To be called before its record is removed."""
    for item in _mounts(record.spec):
        name = item["source"]
        if not is_id(name):
            continue
        try:
            fd = store.lock(settings, name, alone=True)
            try:
                volume = store.load(settings, name)
                if volume["owner"] == record.id and not volume["kept"]:
                    volume["kept"] = True
                    store.save(f"{store.folder(settings)}/{name}", volume)
            finally:
                os.close(fd)
        except NoSuchVolume:
            continue
