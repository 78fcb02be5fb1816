"""`remora container exists` and `remora image exists`: status 0 when it is there, 1 when it is not; no output."""

from __future__ import annotations

import os

from remora.frontend.errors import NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE_container_exists = "remora container exists web || remora run -d --name web quay.io/me/web"
EXAMPLE_image_exists = "remora image exists quay.io/me/web || remora pull quay.io/me/web"
ABSENT = 1


def add_arguments_container_exists(parser: ArgumentParser) -> None:
    parser.add_argument("--external", action="store_true", help="Accepted for compatibility: only Remora's count")
    parser.add_argument("container", metavar="CONTAINER", help="Name or id")


def run_container_exists(arguments: Namespace, settings: Settings) -> int:
    """A record that can't be read is there, too: `rm` removes it."""
    from remora.frontend.container import record as records

    try:
        container_id = records.find_id(settings, arguments.container)
    except NoSuchContainer:
        return ABSENT
    return 0 if os.path.lexists(settings.data_dir(container_id) + "/spec.json") else ABSENT


def add_arguments_image_exists(parser: ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="Name or id")


def run_image_exists(arguments: Namespace, settings: Settings) -> int:
    """Any other error (a damaged store, an ambiguous name) is told as usual."""
    from remora.frontend.images.store import Store, UnknownImage

    try:
        Store(settings).find(arguments.image)
    except UnknownImage:
        return ABSENT
    return 0
