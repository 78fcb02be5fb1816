"""A container's file system as a tarball: without what is mounted in it, of which the places stay."""

from __future__ import annotations

import os

from remora.frontend.container import record as records
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.files import archive, roots, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings


def export(settings: Settings, given: str, output: str) -> None:
    """Write the tarball to a file, or to stdout where `output` is "". Raises RemoraError."""
    if not output and os.isatty(1):
        raise RemoraError(f"exporting {given}: standard output is a terminal", "redirect it, or name a file with -o")
    root = roots.open_roots(settings, [records.find(settings, given)])[0]
    made = False
    target = 1
    try:
        if output:
            made = not os.path.lexists(output)
            target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        archive.write(target, tree.walk(root.fd, tree.mount_id(root.fd)), "", root.inside)
    except BaseException as error:
        if made and target != 1:
            os.unlink(output)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise RemoraError(f"exporting {given}: {os_error_text(error)}") from None
        raise
    finally:
        if target != 1:
            os.close(target)
        root.close()
