"""The files of a volume as a tar archive, and back.

Containers may be at work in the volume meanwhile, and archives be anybody's: all of it is done by a child process whose
root folder is the volume, so that no symbolic link, `..` or swapped folder leads out. Owners are numbers, extended
attributes are kept (PAX records SCHILY.xattr, as GNU tar and libarchive write them), hard links as well.
"""

from __future__ import annotations

import os
import stat

from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable

XATTR = "SCHILY.xattr."


def write(folder: str, fd: int) -> None:
    """Write what is in the folder to a descriptor. Raises RemoraError."""
    import tarfile

    def act() -> None:
        with (
            os.fdopen(os.dup(fd), "wb") as file,
            tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            _add(archive, ".")

    _in_folder(f"exporting {folder}", folder, act)


def _add(archive: tarfile.TarFile, name: str) -> None:
    try:
        if stat.S_ISSOCK(os.lstat(name).st_mode):
            return
        member = archive.gettarinfo(name)
        member.uname = member.gname = ""
        for key in os.listxattr(name, follow_symlinks=False):
            value = os.getxattr(name, key, follow_symlinks=False)
            member.pax_headers = {**member.pax_headers, XATTR + key: value.decode("utf-8", "surrogateescape")}
        if not member.isreg():
            archive.addfile(member)
        else:
            with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    return  # swapped meanwhile
                member.size = status.st_size
                archive.addfile(member, file)
    except FileNotFoundError:
        return  # removed meanwhile
    if member.isdir():
        try:
            entries = sorted(os.listdir(name))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            _add(archive, f"{name}/{entry}")


def read(folder: str, fd: int) -> None:
    """Put what is in an archive (plain, or packed by gzip, bzip2 or xz) into the folder. Raises RemoraError."""
    import bz2  # before the root folder is another one
    import gzip
    import lzma
    import tarfile
    import zlib

    del bz2, gzip, lzma, zlib

    def act() -> None:
        try:
            with (
                os.fdopen(os.dup(fd), "rb") as file,
                tarfile.open(fileobj=file, mode="r|*", tarinfo=tarfile.TarInfo, errorlevel=1) as archive,
            ):
                folders = []
                for member in archive:
                    _extract(archive, member)
                    if member.isdir():
                        folders.append(member)
                for member in reversed(folders):  # their times, once nothing is added any more
                    archive.utime(member, member.name.lstrip("/") or ".")
        except tarfile.TarError as error:
            raise OSError(f"not a tar archive, or a damaged one: {error}") from None

    _in_folder(f"importing into {folder}", folder, act)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    path = member.name.lstrip("/") or "."
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        os.chown(path, member.uid, member.gid)
        os.chmod(path, member.mode & 0o7777)
    else:
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
            os.unlink(path)
        archive.extract(member, "/", numeric_owner=True)
    for key, value in member.pax_headers.items():
        if key.startswith(XATTR):
            data = value.encode("utf-8", "surrogateescape")
            os.setxattr(path, key[len(XATTR) :], data, follow_symlinks=False)


def _in_folder(what: str, folder: str, act: Callable[[], None]) -> None:
    """Do something in a child process that has the folder as its root. Raises RemoraError with what went wrong."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            os.chroot(folder)
            os.chdir("/")
            act()
            status = 0
        except OSError as error:
            os.write(write_end, os_error_text(error).encode("utf-8", "surrogateescape")[:4000])
        except BaseException as error:
            os.write(write_end, f"{type(error).__name__}: {error}".encode("utf-8", "surrogateescape")[:4000])
        finally:
            os._exit(status)
    os.close(write_end)
    said = b""
    while piece := os.read(read_end, 4096):
        said += piece
    os.close(read_end)
    if os.waitpid(pid, 0)[1]:
        raise RemoraError(f"{what}: {said.decode('utf-8', 'surrogateescape') or 'cut off'}")
