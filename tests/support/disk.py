"""A small file system of memory that can be filled to the last page or inode."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType

PAGE = 4096


class Disk:
    """A tmpfs mounted at `path`; unmounted at the end of the `with` block."""

    def __init__(self, path: Path, size: int = 16 << 20, inodes: int = 2000) -> None:
        self.path = path
        path.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes},mode=755", "small", str(path)], check=True
        )

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self, leave: int = 0) -> None:
        """Use up all but so many pages; what an earlier call took is given back first."""
        ballast = self.path / "ballast"
        ballast.unlink(missing_ok=True)
        free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_bsize // PAGE
        fd = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            if free > leave:
                os.posix_fallocate(fd, 0, (free - leave) * PAGE)
        finally:
            os.close(fd)

    def use_inodes(self, leave: int = 0) -> None:
        """Use up all but so many inodes; what an earlier call took is given back first."""
        folder = self.path / "inodes"
        folder.mkdir(exist_ok=True)
        for name in os.listdir(folder):
            (folder / name).unlink()
        for number in range(os.statvfs(self.path).f_ffree - leave):
            os.close(os.open(folder / str(number), os.O_WRONLY | os.O_CREAT))

    def free(self) -> None:
        """Give back all that was used up."""
        (self.path / "ballast").unlink(missing_ok=True)
        if (self.path / "inodes").exists():
            for name in os.listdir(self.path / "inodes"):
                (self.path / "inodes" / name).unlink()
