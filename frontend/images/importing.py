"""`import`: a tarball of a root file system becomes an image of one layer."""

from __future__ import annotations

import os
import sys
import time

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import changes, layout, names, skopeo
from remora.frontend.images.store import ARCHITECTURES, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from remora.frontend.settings import Settings


def import_tarball(
    settings: Settings,
    source: str,
    name: str = "",
    *,
    change: Sequence[str] = (),
    message: str = "",
    architecture: str = "",
    system: str = "linux",
    variant: str = "",
    quiet: bool = False,
) -> str:
    """Make an image of a tarball and return its id (64 hex digits).

    source: path, `-` for stdin, or an http(s) URL; plain, gzip, bzip2 or xz. name: "" leaves the image untagged.
    change: Dockerfile instructions for its configuration. message: comment in its history.
    """
    full_name = names.new_name(name) if name else ""
    config = changes.apply(change)
    store = Store(settings)
    machine = os.uname().machine
    with skopeo.TemporaryFolder(settings.environ) as folder:
        with _open(source) as file:
            created_ns = _created_ns(file)
            layer = layout.add_layer(folder, file, "the tarball on stdin" if source == "-" else source)
        image_id = layout.finish(
            folder,
            layer,
            config,
            created_ns=created_ns,
            message=message,
            architecture=architecture or ARCHITECTURES.get(machine, machine),
            system=system or "linux",
            variant=variant,
        )
        skopeo.run(
            [
                "copy",
                *(("-q",) if quiet else ()),
                f"oci:{folder}:{layout.REFERENCE}",
                store.transport + (full_name or f"@{image_id}"),
            ],
            phase=f"importing {source}",
            environ=settings.tool_environ,
            quiet=quiet,
            folder=store.root,
        )
    return image_id


def _open(source: str) -> BinaryIO:
    if source == "-":
        if sys.stdin.isatty():
            raise RemoraError("importing from stdin: it is a terminal", "redirect a tarball to it")
        return open(0, "rb", buffering=0, closefd=False)
    if source.startswith(("http://", "https://")):
        return _download(source)
    try:
        return open(source, "rb", buffering=0)
    except OSError as error:
        raise RemoraError(f"importing {source}: {os_error_text(error)}")


def _download(url: str) -> BinaryIO:
    from typing import cast
    from urllib.request import urlopen

    try:
        return cast("BinaryIO", urlopen(url, timeout=60))
    except OSError as error:  # URLError, HTTPError and TimeoutError are OSErrors
        raise RemoraError(f"importing {url}: {getattr(error, 'reason', None) or error}", "check the address")


def _created_ns(file: BinaryIO) -> int:
    """When the image was made: the tarball's own time, so that the same file makes the same image; else now."""
    from stat import S_ISREG

    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return time.time_ns()
    return status.st_mtime_ns if S_ISREG(status.st_mode) else time.time_ns()
