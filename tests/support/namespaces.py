"""Namespaces made for a test: each held by a process that does nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

OPTIONS = {"network": "--net", "ipc": "--ipc", "uts": "--uts", "cgroup": "--cgroup", "user": "--user"}
FILES = {"network": "net"}  # where the name below /proc/PID/ns is another


class Holder:
    """A process in fresh namespaces of these kinds."""

    def __init__(self, *kinds: str) -> None:
        options = [OPTIONS[kind] for kind in kinds]
        self._process = subprocess.Popen(
            ["unshare", *options, "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self.pid = self._process.pid

    def open(self, kind: str) -> int:
        """A descriptor of its namespace."""
        return os.open(f"/proc/{self.pid}/ns/{FILES.get(kind, kind)}", os.O_RDONLY | os.O_CLOEXEC)

    def run(self, *argv: str) -> str:
        """What a program says in its network namespace."""
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *argv]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def close(self) -> None:
        """End it; its namespaces live as long as others hold them."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def identity(path: str | Path | int) -> tuple[int, int]:
    """What tells a namespace from all others: of a descriptor, or of a file that is or refers to one."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def of_process(pid: int, kind: str) -> tuple[int, int]:
    """The namespace that a process is in."""
    return identity(f"/proc/{pid}/ns/{FILES.get(kind, kind)}")
