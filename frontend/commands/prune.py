"""`remora container prune` and `remora image prune`: remove what nobody needs, after a question.

Printed is what was removed, one id a line, as Podman does it.
"""

from __future__ import annotations

import sys

from remora.frontend.commands import selection
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.images.store import Image, Store
    from remora.frontend.settings import Settings

EXAMPLE_container_prune = "remora container prune --force --filter until=24h"
EXAMPLE_image_prune = "remora image prune --all --force --filter label!=keep"
CONTAINER_FILTERS = ("label", "label!", "until")
IMAGE_FILTERS = ("dangling", "label", "label!", "until")
FORCE = "Do not ask"


def sure(warning: str) -> bool:
    """Ask on stderr; anything but yes on stdin is no."""
    sys.stderr.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    return answer.strip().lower() in ("y", "yes")


def _check(filters: Sequence[str], known: Sequence[str]) -> None:
    """Raises RemoraError for a filter that would make no sense for what is to go."""
    for text in filters:
        key, equals, _ = text.partition("=")
        if not equals:
            raise RemoraError(f'invalid filter "{text}"', "KEY=VALUE expected")
        if key not in known:
            raise RemoraError(f"{key} is an invalid filter", f"known are {', '.join(known)}")


# ---- containers --------------------------------------------------------------------------------


def add_arguments_container_prune(parser: ArgumentParser) -> None:
    text = "Only containers that match: label, label!, until"
    parser.add_argument("--filter", action="append", metavar="KEY=VALUE", help=text)
    parser.add_argument("--force", "-f", action="store_true", help=FORCE)


def run_container_prune(arguments: Namespace, settings: Settings) -> int:
    """Remove all that have no process, are not about to start and have no restart to come."""
    from remora.frontend.arguments import ArgumentParser
    from remora.frontend.commands import rm
    from remora.frontend.container import record as records
    from remora.frontend.container import state as states
    from remora.frontend.container.filters import Filters

    _check(arguments.filter, CONTAINER_FILTERS)
    filters = Filters(settings, arguments.filter)
    if not arguments.force and not sure("This will remove all non running containers."):
        return 0
    found = []
    for record in sorted(records.records(settings), key=lambda record: record.spec["created_ns"]):
        state = states.derive(settings, record)
        if not state.live and filters.matches(record, state):
            found.append(record.id)
    if not found:
        return 0
    # Without --force of `rm`: one that was started meanwhile stays.
    parser = ArgumentParser("remora rm")
    rm.add_arguments(parser)
    return rm.remove(parser.parse_args(["--ignore", *found]), settings, selection.put)


# ---- images ------------------------------------------------------------------------------------


def add_arguments_image_prune(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="All images that no container uses")
    text = "Only images that match: " + ", ".join(IMAGE_FILTERS)
    parser.add_argument("--filter", action="append", metavar="KEY=VALUE", help=text)
    parser.add_argument("--force", "-f", action="store_true", help=FORCE)


def run_image_prune(arguments: Namespace, settings: Settings) -> int:
    """Remove images without a name, or, with --all, without a container; those that become so by it as well."""
    from remora.frontend.images.store import Store

    _check(arguments.filter, IMAGE_FILTERS)
    filters = [text for text in arguments.filter if not text.startswith("dangling=")]
    everything = arguments.all or any(_all_meant(text) for text in arguments.filter)
    filters.append("containers=false" if everything else "dangling=true")
    _select(settings, Store(settings), filters)  # a wrong filter is told before the question
    warning = (
        "This command removes all images without at least one container associated with them."
        if everything
        else "This command removes all dangling images."
    )
    if not arguments.force and not sure(warning):
        return 0
    outcome = selection.Outcome()
    tried: set[str] = set()
    while True:
        store = Store(settings)
        images = [image for image in _select(settings, store, filters) if image.id not in tried]
        if not images:
            return outcome.status
        for image in images:
            tried.add(image.id)
            outcome.attempt(_remove, settings, store, image)


def _all_meant(text: str) -> bool:
    """Docker's `dangling=false`. Raises RemoraError for what is neither true nor false."""
    key, _, value = text.partition("=")
    if key != "dangling":
        return False
    if value.lower() not in ("true", "1", "t", "false", "0", "f"):
        raise RemoraError(f'invalid image filter "{text}"', "true or false expected")
    return value.lower() in ("false", "0", "f")


def _select(settings: Settings, store: Store, filters: Sequence[str]) -> list[Image]:
    from remora.frontend.images import listing

    return [image for image in listing.select(settings, store, filters) if image.writable]


def _remove(settings: Settings, store: Store, image: Image) -> None:
    """Delete one; one that got a container just now, or is gone by now, is no error."""
    from remora.frontend.images import removal
    from remora.frontend.images.store import UnknownImage

    try:
        removal.remove(settings, store, store.find(image.id), force=False, every_name=True)
    except (UnknownImage, removal.ImageInUse):
        return
    selection.put(image.id)
