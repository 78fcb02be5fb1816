"""`remora tag`: give an image further names."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora tag busybox quay.io/me/busybox:1.35"


def add_arguments(parser: ArgumentParser) -> None:
    """An image and its new names."""
    parser.add_argument("image", metavar="IMAGE", help="Name or id of the image")
    parser.add_argument("names", nargs="+", metavar="NAME", help="New names; short ones go to localhost/")


def run(arguments: Namespace, settings: Settings) -> int:
    """Prints nothing."""
    from remora.frontend.images import names, naming
    from remora.frontend.images.store import Store

    store = Store(settings)
    image = store.find(arguments.image)
    naming.add(store, image, [names.new_name(name) for name in arguments.names])
    return 0
