"""Names of stored images: add and take away, in images.json under its write lock.

A name belongs to one image at most: given to another, it moves. New names go to the end of `names`; at each change
all names are put to the front of `names-history`, the last one first, as containers/storage does it. An image
without names has no `names` key.
"""

from __future__ import annotations

from remora.frontend import jsontext
from remora.frontend.errors import RemoraError
from remora.frontend.images.decode import as_list, as_map, as_text, parse, text_list
from remora.frontend.images.locking import StoreLock
from remora.frontend.images.store import UnknownImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.images.store import Image, Store


def add(store: Store, image: Image, new: Sequence[str]) -> None:
    """Give an image further full names. Raises UnknownImage when it is gone by now."""
    if not image.writable:
        raise RemoraError(f"naming image {image.name}: it is in the read-only store {image.root}", "pull it anew")
    with _images(store) as lock:
        records = _read(lock)
        own = _record(records, image)
        for record in records:
            if record is not own:
                _set(record, [name for name in text_list(record.get("names")) if name not in new])
        _update(own, list(dict.fromkeys([*text_list(own.get("names")), *new])))
        _write(lock, records)


def remove(store: Store, image: Image, name: str) -> bool:
    """Take one full name from an image unless it is its last; False when it is (or is no longer its own)."""
    with _images(store) as lock:
        records = _read(lock)
        own = _record(records, image)
        held = text_list(own.get("names"))
        if name not in held or len(held) == 1:
            return False
        _update(own, [other for other in held if other != name])
        _write(lock, records)
    return True


def take(store: Store, image: Image, names: Sequence[str]) -> None:
    """Take full names from an image, the last one too; what it no longer has is no error.

    Raises UnknownImage when the image is gone by now.
    """
    if not image.writable:
        raise RemoraError(f"taking names from image {image.name}: it is in the read-only store {image.root}")
    with _images(store) as lock:
        records = _read(lock)
        own = _record(records, image)
        _update(own, [name for name in text_list(own.get("names")) if name not in names])
        _write(lock, records)


def _images(store: Store) -> StoreLock:
    return StoreLock(f"{store.root}/overlay-images", "images", write=True)


def _read(lock: StoreLock) -> list[dict[str, object]]:
    data = lock.read()
    try:
        return [as_map(record) for record in as_list(parse(data))] if data.strip() else []
    except ValueError as error:
        raise RemoraError(f"reading the image store: {lock.json_path} is damaged: {error}")


def _record(records: list[dict[str, object]], image: Image) -> dict[str, object]:
    for record in records:
        if as_text(record.get("id")) == image.id:
            return record
    raise UnknownImage(image.given or image.id)


def _set(record: dict[str, object], held: list[str]) -> None:
    if held:
        record["names"] = held
    else:
        record.pop("names", None)


def _update(record: dict[str, object], held: list[str]) -> None:
    _set(record, held)
    record["names-history"] = list(dict.fromkeys([*reversed(held), *text_list(record.get("names-history"))]))


def _write(lock: StoreLock, records: list[dict[str, object]]) -> None:
    lock.replace(jsontext.dumps(records).encode())
