"""The steps that an image was made in, newest first: from the `history` of its configuration and the store's layers.

Each entry that made a layer (not `empty_layer`) stands for the next layer of the chain (OCI image configuration).
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.images.decode import as_list, as_map, as_text, rfc3339_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.images.store import Image, Store

MISSING = "<missing>"


class Step:
    """One step. image: id of the image that ended here, MISSING when the store has none; names: that image's.

    created_ns: wall clock, 0 = unknown. size: bytes of its layer, 0 when it made none.
    """

    __slots__ = ("comment", "created", "created_by", "created_ns", "image", "names", "size")

    def __init__(self, entry: dict[str, object]) -> None:
        self.image = MISSING
        self.names: list[str] = []
        self.created = as_text(entry.get("created"))
        self.created_ns = rfc3339_ns(self.created)
        self.created_by = as_text(entry.get("created_by"))
        self.comment = as_text(entry.get("comment"))
        self.size = 0


def steps(store: Store, image: Image) -> list[Step]:
    """Newest first. Layers that no entry speaks of come last, as steps of which only the size is known.

    Raises RemoraError when the image's configuration can't be read.
    """
    entries = [as_map(entry) for entry in as_list(image.document.get("history"))]
    layers = store.layers(image.root)
    chain = layers.chain(image.layer)
    ends = _ends(store, image)
    found = []
    for count in range(len(entries), 0, -1):
        entry = entries[count - 1]
        step = Step(entry)
        ended = ends.get((count, chain[0])) if chain else None
        if ended is not None:
            step.image, step.names = ended.id, ended.names
        if chain and entry.get("empty_layer") is not True:
            step.size = layers.size(chain.pop(0))
        found.append(step)
    for layer in chain:
        step = Step({})
        step.size = layers.size(layer)
        found.append(step)
    if found:
        found[0].image, found[0].names = image.id, image.names
    return found


def _ends(store: Store, image: Image) -> dict[tuple[int, str], Image]:
    """Other images by the length of their history and their top layer."""
    chain = set(store.layers(image.root).chain(image.layer))
    found: dict[tuple[int, str], Image] = {}
    for other in store.images():
        if other.layer in chain and other.id != image.id:
            try:
                length = len(as_list(other.document.get("history")))
            except RemoraError:
                continue  # a damaged image is another command's business
            found.setdefault((length, other.layer), other)
    return found
