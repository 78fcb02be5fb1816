"""The store's locks and how its JSON files are replaced.

Each JSON file of the store has a lock file beside it: a POSIX record lock over the whole file, shared to read,
exclusive to change. A program that changed the JSON then writes 64 bytes into the lock file, still holding the lock;
the others compare them with what they saw last and read the JSON again when they differ. (containers/storage.)

Closing *any* descriptor of a lock file drops all of this process's locks on it, so a lock file is opened only here,
and never twice at a time. Order where several are held: layers, images, containers.
"""

from __future__ import annotations

import fcntl
import os
import time

from remora.frontend.errors import RemoraError, os_error_text

TOKEN_LENGTH = 64
_counter = [0]


class StoreLock:
    """One lock file, held while the `with` block runs.

    folder: of the store, `<graph root>/overlay-images` say; file: the stem, `images`.
    write: exclusive (folder and lock file are made if they aren't there), else shared.
    """

    __slots__ = ("_fd", "file", "folder", "write")

    def __init__(self, folder: str, file: str, *, write: bool) -> None:
        self.folder = folder
        self.file = file
        self.write = write
        self._fd = -1

    @property
    def json_path(self) -> str:
        """The file that the lock guards."""
        return f"{self.folder}/{self.file}.json"

    def __enter__(self) -> StoreLock:
        path = f"{self.folder}/{self.file}.lock"
        try:
            if self.write:
                os.makedirs(self.folder, 0o700, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.lockf(self._fd, fcntl.LOCK_EX if self.write else fcntl.LOCK_SH)
        except OSError as error:
            self.__exit__()
            if not self.write and isinstance(error, FileNotFoundError):
                return self  # no such store yet: nothing to read, nothing to lock
            raise RemoraError(f"locking the image store {path}: {os_error_text(error)}")
        return self

    def __exit__(self, *_: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def read(self) -> bytes:
        """The JSON file as it is, b"" when there is none."""
        try:
            with open(self.json_path, "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise RemoraError(f"reading the image store {self.json_path}: {os_error_text(error)}")

    def replace(self, data: bytes) -> None:
        """Put a new JSON file in place of the old one, durably, and tell the other programs. Needs the write lock."""
        temporary = f"{self.folder}/.remora-{os.getpid()}.tmp"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                os.fchmod(fd, 0o600)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(temporary, self.json_path)
        except OSError as error:
            try:
                os.unlink(temporary)
            except OSError:
                pass
            raise RemoraError(
                f"writing the image store {self.json_path}: {os_error_text(error)}",
                "make room on its file system" if error.errno in (28, 122) else "",
            )
        self._touch()

    def _touch(self) -> None:
        """The last-writer token: time, a counter, our pid and random bytes."""
        _counter[0] += 1
        head = (
            time.time_ns().to_bytes(8, "little") + _counter[0].to_bytes(8, "little") + os.getpid().to_bytes(4, "little")
        )
        os.pwrite(self._fd, head + os.urandom(TOKEN_LENGTH - len(head)), 0)
