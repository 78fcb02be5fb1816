"""Guards: an image that a Remora container uses can't be deleted by Podman, Buildah or Skopeo.

They all refuse to delete an image that an entry of the store's containers.json names. Remora keeps one such entry,
the guard, for each image in use and each data folder; `<data>/images/<image id>/` holds one empty file for each
container that uses the image, so that most containers start and end without a change to the shared file.

    acquire    make the folder and this container's file, then make sure that the guard is there
    release    remove the file; if that was the last one, the guard goes, and then the folder

Races are settled by two rules. Who adds or removes a guard holds the write lock of containers.json; who deletes an
image holds it too, so under it an image that is there stays. And who removes a guard looks, under the lock, whether
the folder is still empty: whoever makes a file looks for the guard after that, so one of the two sees the other.
An empty folder is that of a guard that is still to be dropped (somebody was killed, or the store was full).

The guard has no layer of its own. `podman ps -a --external` lists it, `podman rmi -f` may delete it with the image;
the next acquire makes a new one.
"""

from __future__ import annotations

import errno
import os
import time

from remora.frontend import jsontext
from remora.frontend.builtin import sha256
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import configuration, names
from remora.frontend.images.decode import as_list, as_map, as_text, parse, text_list
from remora.frontend.images.locking import StoreLock
from remora.frontend.images.store import read_records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.images.configuration import StorageConfiguration
    from remora.frontend.settings import Settings


def guard_id(settings: Settings, image_id: str) -> str:
    """Id of the guard entry: the same for everyone who works on this data folder."""
    return sha256(f"remora-guard\0{settings.data}\0{image_id}".encode())


def guard_name(settings: Settings, image_id: str) -> str:
    """What `podman ps -a --external` shows."""
    return f"remora-{image_id[:12]}-{sha256(settings.data.encode())[:8]}"


def acquire(settings: Settings, image_id: str, container_id: str) -> None:
    """Keep the image from being deleted as long as the container exists. Idempotent.

    Raises RemoraError when the image is gone or the store can't be written; nothing is left behind then.
    """
    _check(image_id, container_id)
    folder = f"{settings.images}/{image_id}"
    reference = f"{folder}/{container_id}"
    while True:
        try:
            try:
                os.mkdir(folder, 0o700)
            except FileExistsError:
                pass
            os.close(os.open(reference, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            break
        except FileNotFoundError:  # the last user removed the folder in between, or this is the first container
            os.makedirs(settings.images, 0o700, exist_ok=True)
        except OSError as error:
            _remove_folder(folder)
            raise RemoraError(
                f"marking image {image_id[:12]} as used: {os_error_text(error)}",
                "make room on its file system" if error.errno == errno.ENOSPC else "",
            )
    try:
        store = configuration.load(settings)
        if not _present(settings, store, image_id):
            _add(settings, store, image_id)
    except BaseException:
        release(settings, image_id, container_id)
        _remove_folder(folder)
        raise


def release(settings: Settings, image_id: str, container_id: str) -> None:
    """Undo acquire; drops the guard when no container is left. Idempotent.

    In a store that can't be written now (full, say) the guard stays, and the empty folder with it: a later release or
    sweep finds it and tries again.
    """
    _check(image_id, container_id)
    folder = f"{settings.images}/{image_id}"
    try:
        os.unlink(f"{folder}/{container_id}")
    except FileNotFoundError:
        pass
    release_unused(settings, image_id)


def release_unused(settings: Settings, image_id: str) -> None:
    """As drop_if_unused, for callers whose own work is done: a store that can't be written now is no error."""
    try:
        drop_if_unused(settings, image_id)
    except RemoraError:
        pass


def drop_if_unused(settings: Settings, image_id: str) -> None:
    """Remove the guard and the image's folder if no container uses it. Idempotent; no store: no guard.

    The folder goes last, so that whoever is killed here leaves a trace for the next sweep.
    """
    _check(image_id, "")
    folder = f"{settings.images}/{image_id}"
    if _is_used(folder):
        return
    store = configuration.load(settings)
    if not _present(settings, store, image_id) and not os.path.isdir(folder):
        return
    own = guard_id(settings, image_id)
    with _containers(store, write=True) as lock:
        if _is_used(folder):
            return
        records = _records(lock)
        kept = [record for record in records if as_text(as_map(record).get("id")) != own]
        if len(kept) < len(records):
            _replace(lock, kept)
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # A new user came just now; it looks for the guard after us, for that takes the lock.
            if len(kept) < len(records):
                _replace(lock, records)


def _is_used(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except FileNotFoundError:
        return False


def _remove_folder(path: str) -> None:
    """Remove it if it is empty."""
    try:
        os.rmdir(path)
    except OSError:
        pass


def users(settings: Settings, image_id: str) -> list[str]:
    """Ids of Remora's containers that use the image."""
    try:
        return sorted(name for name in os.listdir(f"{settings.images}/{image_id}") if names.is_id(name))
    except FileNotFoundError:
        return []


def entries(store: StorageConfiguration, image_id: str) -> list[dict[str, object]]:
    """Every entry of containers.json that uses the image, guards among them."""
    with _containers(store, write=False) as lock:
        records = [as_map(record) for record in _records(lock)]
    return [record for record in records if as_text(record.get("image")) == image_id]


def foreign_users(settings: Settings, store: StorageConfiguration, image_id: str) -> list[str]:
    """Ids of entries of other programs (or of other Remora data folders) that use the image."""
    own = guard_id(settings, image_id)
    return [id for id in (as_text(record.get("id")) for record in entries(store, image_id)) if id != own]


def is_guard(record: dict[str, object]) -> bool:
    """Whether an entry of containers.json is a guard of some Remora."""
    return not as_text(record.get("layer")) and any(name.startswith("remora-") for name in text_list(record["names"]))


def _check(image_id: str, container_id: str) -> None:
    """Both become paths."""
    if not names.is_id(image_id) or (container_id and not names.is_id(container_id)):
        raise RemoraError(f'guarding an image: "{image_id}" and "{container_id}" must be 64 hex digits')


def _containers(store: StorageConfiguration, *, write: bool) -> StoreLock:
    return StoreLock(f"{store.graph_root}/overlay-containers", "containers", write=write)


def _present(settings: Settings, store: StorageConfiguration, image_id: str) -> bool:
    """Whether the guard is there: a search for its id, without parsing, under the read lock."""
    needle = guard_id(settings, image_id).encode()
    with _containers(store, write=False) as lock:
        return needle in lock.read()


def _add(settings: Settings, store: StorageConfiguration, image_id: str) -> None:
    own = guard_id(settings, image_id)
    with _containers(store, write=True) as lock:
        images = read_records(f"{store.graph_root}/overlay-images/images.json")
        image = next((image for image in images if as_text(image.get("id")) == image_id), None)
        if image is None:
            if _elsewhere(store, image_id):
                return  # an additional store is read-only: nobody can delete from it through this one
            raise RemoraError(f"image {image_id[:12]} was removed while the container was being made", "fetch it again")
        records = _records(lock)
        if any(as_text(as_map(record).get("id")) == own for record in records):
            return
        now = time.time()
        name = guard_name(settings, image_id)
        shown = next(iter(text_list(image.get("names"))), image_id)
        records.append(
            {
                "id": own,
                "names": [name],
                "image": image_id,
                "layer": "",
                "metadata": _text(
                    {"image-name": shown, "image-id": image_id, "name": name, "created-at": int(now)}
                ).decode(),
                "created": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}Z",
                "flags": {"MountLabel": "", "ProcessLabel": ""},
            }
        )
        _replace(lock, records)


def _elsewhere(store: StorageConfiguration, image_id: str) -> bool:
    return any(
        as_text(image.get("id")) == image_id
        for root in store.additional
        for image in read_records(f"{root}/overlay-images/images.json")
    )


def _records(lock: StoreLock) -> list[object]:
    data = lock.read()
    try:
        return as_list(parse(data)) if data.strip() else []
    except ValueError as error:
        raise RemoraError(f"reading the image store: {lock.json_path} is damaged: {error}", "repair or remove the file")


def _replace(lock: StoreLock, records: list[object]) -> None:
    lock.replace(_text(records))


def _text(value: object) -> bytes:
    return jsontext.dumps(value).encode()
