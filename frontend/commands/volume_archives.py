"""`remora volume export` and `import`: the files of a volume as a tar archive."""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.volumes import archives, options, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE_volume_export = "remora volume export data --output data.tar"
EXAMPLE_volume_import = "remora volume import data data.tar"


def add_arguments_volume_export(parser: ArgumentParser) -> None:
    text = "Write to this file instead of the standard output"
    parser.add_argument("--output", "-o", default="", metavar="FILE", help=text)
    parser.add_argument("volume", metavar="VOLUME")


def run_volume_export(arguments: Namespace, settings: Settings) -> int:
    """Write the archive; a file that is not whole is removed."""
    folder, lock = _open(settings, arguments.volume)
    try:
        if not arguments.output:
            if os.isatty(1):
                raise RemoraError("an archive is not for a terminal", "add --output FILE, or redirect the output")
            archives.write(folder, 1)
            return 0
        fd = _file(arguments.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            archives.write(folder, fd)
        except BaseException:
            if os.path.isfile(arguments.output):
                os.unlink(arguments.output)
            raise
        finally:
            os.close(fd)
    finally:
        os.close(lock)
    return 0


def add_arguments_volume_import(parser: ArgumentParser) -> None:
    parser.add_argument("volume", metavar="VOLUME")
    parser.add_argument("file", metavar="FILE")


def run_volume_import(arguments: Namespace, settings: Settings) -> int:
    """Add the files of the archive (`-`: the standard input) to those of the volume."""
    folder, lock = _open(settings, arguments.volume)
    try:
        fd = os.dup(0) if arguments.file == "-" else _file(arguments.file, os.O_RDONLY)
        try:
            archives.read(folder, fd)
        finally:
            os.close(fd)
    finally:
        os.close(lock)
    return 0


def _open(settings: Settings, name: str) -> tuple[str, int]:
    """The folder of a volume, and the descriptor that keeps it from being removed."""
    lock = store.lock(settings, name, alone=False)
    try:
        volume = store.load(settings, name)
        if options.is_tmpfs(volume["options"]):
            raise RemoraError(f'volume "{name}" is a tmpfs: it has files only in containers that run')
        if options.is_bind(volume["options"]):
            return volume["options"].get("device", ""), lock
        return store.place(settings, name), lock
    except BaseException:
        os.close(lock)
        raise


def _file(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RemoraError(f"opening {os_error_text(error)}", "name another file, or - for the standard input") from None
