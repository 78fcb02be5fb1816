"""`remora rmi`: untag and delete images."""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, error_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.images.store import Image, Store
    from remora.frontend.settings import Settings

EXAMPLE = "remora rmi quay.io/me/busybox:1.35"


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman rmi` has them."""
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="Names or ids of the images")
    parser.add_argument("-a", "--all", action="store_true", help="Remove all images")
    parser.add_argument(
        "-f", "--force", action="store_true", help="Remove all names, and Remora's containers that use the image"
    )
    parser.add_argument("-i", "--ignore", action="store_true", help="Don't mind images that aren't there")
    parser.add_argument("--no-prune", action="store_true", help="Accepted for compatibility")


def run(arguments: Namespace, settings: Settings) -> int:
    """Each image that can't be removed gets a line on stderr; 2 if one was in use, 1 if one was unknown."""
    from remora.frontend.images import removal
    from remora.frontend.images.store import Store, UnknownImage

    if arguments.all and arguments.images:
        raise RemoraError("removing images: either --all or names, not both")
    if not arguments.all and not arguments.images:
        raise RemoraError("image name or ID must be specified", "or --all")
    store = Store(settings)
    status = 0
    wanted = (
        [image.id for image in store.images() if image.writable]
        if arguments.all
        else list(dict.fromkeys(arguments.images))
    )
    for given in wanted:
        try:
            _remove(settings, store, store.find(given), arguments.force, arguments.all)
        except UnknownImage as error:
            if arguments.ignore or arguments.force or arguments.all:
                continue
            error.hint = "`remora images -a` lists the images"
            _say(error)
            status = max(status, removal.UNKNOWN)
        except RemoraError as error:
            _say(error)
            status = max(status, error.status) if removal.IN_USE not in (status, error.status) else removal.IN_USE
    return status


def _remove(settings: Settings, store: Store, image: Image, force: bool, every_name: bool) -> None:
    from remora.frontend.images import removal

    def remove_containers(ids: list[str]) -> None:
        from remora.frontend import cli

        options = ["--root", settings.data, "--runroot", settings.run]
        stdout = os.dup(1)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:  # the ids that `rm` prints are not what was asked for here
            os.dup2(null, 1)
            cli.main([*options, "rm", "--force", "--time", "0", *ids], settings.environ)
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
            os.close(null)

    lines = removal.remove(
        settings, store, image, force=force, every_name=every_name, remove_containers=remove_containers
    )
    os.write(1, "".join(line + "\n" for line in lines).encode())


def _say(error: RemoraError) -> None:
    os.write(2, error_line(str(error)))
