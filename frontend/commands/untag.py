"""`remora untag`: take names from an image; the image stays, even when it has none left."""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.images.store import Image, Store
    from remora.frontend.settings import Settings

EXAMPLE = "remora untag busybox quay.io/me/busybox:1.35"


def add_arguments(parser: ArgumentParser) -> None:
    """An image and the names to take from it."""
    parser.add_argument("image", metavar="IMAGE", help="Name or id of the image")
    parser.add_argument("names", nargs="*", metavar="NAME", help="Names to take away (default: all)")


def run(arguments: Namespace, settings: Settings) -> int:
    """Prints nothing. All names are looked at before the first goes."""
    from remora.frontend.images import naming
    from remora.frontend.images.store import Store

    store = Store(settings)
    image = store.find(arguments.image)
    held = [_held(store, image, name) for name in arguments.names]
    naming.take(store, image, held or image.names)
    return 0


def _held(store: Store, image: Image, given: str) -> str:
    """The full name that is meant. Raises RemoraError when it is not a name of this image."""
    from remora.frontend.images.store import UnknownImage

    try:
        found = store.find(given)
    except UnknownImage:
        found = None
    if found is None or found.id != image.id or not found.matched:
        has = f"it has {', '.join(image.names)}" if image.names else "it has none"
        raise RemoraError(f"taking a name from image {image.id[:12]}: {given}: tag not known", has)
    return found.matched
