"""`rmi`: take a name from an image, or delete the image when it was the last one.

The rules are Podman's: a name takes itself away while the image has others; an id needs `--force` when the image
has several names; nothing that a container uses is deleted (exit status 2). skopeo does the deleting: it takes the
store's locks, looks for containers under them and removes the layers that nobody needs.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.images import guard, naming, skopeo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from remora.frontend.images.store import Image, Store
    from remora.frontend.settings import Settings

IN_USE = 2
UNKNOWN = 1


class ImageInUse(RemoraError):
    """A container uses the image."""

    __slots__ = ()

    def __init__(self, image: Image, user: str, hint: str) -> None:
        super().__init__(
            f"image {image.matched or image.id[:12]} used by {user}: image is in use by a container", hint, IN_USE
        )


def remove(
    settings: Settings,
    store: Store,
    image: Image,
    *,
    force: bool,
    every_name: bool = False,
    remove_containers: Callable[[list[str]], None] | None = None,
) -> list[str]:
    """Untag or delete a found image; the lines that tell what was done.

    every_name: delete whatever names it has (`--all`). remove_containers: removes Remora's containers, for force.
    Raises ImageInUse, or RemoraError when it can't be done.
    """
    if not image.writable:
        raise RemoraError(f"removing image {image.name}: it is in the read-only store {image.root}")
    if image.matched and not every_name and naming.remove(store, image, image.matched):
        return [f"Untagged: {image.matched}"]
    if not image.matched and len(image.names) > 1 and not force and not every_name:
        raise RemoraError(
            f'unable to delete image "{image.given}" by ID with more than one tag ({", ".join(image.names)})',
            "`rmi -f` removes them all",
        )
    _refuse_users(settings, store, image, remove_containers if force else None)
    try:
        skopeo.run(
            ["delete", f"{store.transport}@{image.id}"],
            phase=f"removing image {image.name}",
            environ=settings.tool_environ,
            quiet=True,
            folder=store.root,
        )
    except skopeo.SkopeoFailed as error:
        if "is in use by a container" in error.text:
            raise ImageInUse(image, _user_in(error.text), "`podman ps -a --external` lists them") from None
        raise
    return [*(f"Untagged: {name}" for name in image.names), f"Deleted: {image.id}"]


def _refuse_users(
    settings: Settings, store: Store, image: Image, remove_containers: Callable[[list[str]], None] | None
) -> None:
    own = guard.users(settings, image.id)
    foreign = guard.foreign_users(settings, store.configuration, image.id)
    if foreign:
        raise ImageInUse(image, foreign[0], "another program's container: `podman ps -a --external` lists it")
    if own and remove_containers is not None:
        remove_containers(own)
        own = guard.users(settings, image.id)
    if own:
        raise ImageInUse(image, own[0], f"`remora rm -f {own[0][:12]}` removes it")
    guard.drop_if_unused(settings, image.id)


def _user_in(text: str) -> str:
    """The id in `image used by ID: …`."""
    return text.partition("used by ")[2].partition(":")[0] or "another container"
