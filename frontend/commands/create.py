"""`remora create`: make a container from an image without starting it. `run` shares the way to the request."""

from __future__ import annotations

import os

from remora.frontend.container import creation
from remora.frontend.options import request, table, values
from remora.frontend.options.defaults import pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.spec import Spec
    from remora.frontend.images.store import Image
    from remora.frontend.settings import Settings

INTERSPERSED = False
EXAMPLE = "remora create --name web -v ./site:/srv:ro busybox httpd -f -h /srv"
PULL_POLICIES = ("always", "missing", "never", "newer")


def add_arguments(parser: ArgumentParser) -> None:
    table.add_arguments(parser, "create")


def run(arguments: Namespace, settings: Settings) -> int:
    """Make the container and print its id."""
    created = creation.create(settings, resolve(arguments, settings, "create"))
    os.close(created.lock)
    os.write(1, f"{created.record.id}\n".encode())
    return 0


def resolve(arguments: Namespace, settings: Settings, command: str) -> Spec:
    """The whole request: options checked, then the image found or pulled, then its configuration applied."""
    if settings.outside:
        from remora.frontend.rootless import folders

        folders.prepare(settings)  # a home that can't be used is told before a file in it that can't be read
    spec = request.read(arguments, settings, command)
    maps = (arguments.userns, arguments.uidmap, arguments.gidmap, arguments.subuidname, arguments.subgidname)
    if any(maps) or settings.conf.has("containers", "userns"):
        from remora.frontend.options import userns

        userns.read(settings, arguments, spec)
    if settings.outside:
        from remora.frontend.rootless import entering

        entering.enter_for(settings, spec)
    where, policy = pick(settings, "--pull", arguments.pull, "pull_policy", "engine")
    policy = values.choice(where, policy or "missing", PULL_POLICIES)
    if arguments.rootfs:
        request.apply_rootfs(spec, arguments, settings)
        return spec
    image = _image(arguments, settings, policy)
    request.apply_image(
        spec,
        arguments,
        settings,
        {
            "id": image.id,
            "name": image.name,
            "given": arguments.image,
            "digest": image.digest,
            "lower": image.lower,
        },
        image.config,
    )
    return spec


def _image(arguments: Namespace, settings: Settings, policy: str) -> Image:
    from remora.frontend.images.store import Store, UnknownImage

    if policy in ("missing", "never"):
        try:
            return Store(settings).find(arguments.image)
        except UnknownImage:
            if policy == "never":
                raise
    from remora.frontend.images import pull

    return pull.pull(settings, arguments.image, tls_verify=arguments.tls_verify, quiet=arguments.quiet, policy=policy)
