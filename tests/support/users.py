"""Real users, made with useradd, in a private mount namespace with an /etc of its own; the machine has none of them."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE = 60.0
# Within login.defs' UID_MIN … UID_MAX, or useradd gives no ranges.
UIDS = (10000, 59000)
# Multiples of 65536 that are below its SUB_UID_MAX.
RANGES = (100, 9000)
SETUP = """
set -e
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
"""
READY = """
echo ready
exec cat
"""


class Users:
    """The namespace; ends, with everybody's files, when the `with` block does.

    enter: words that go into it. etc: its /etc. folder: where all homes are. within: words that go into the network and
    mount namespaces of a private host, where all this is to be.
    """

    def __init__(self, within: Sequence[str] = ()) -> None:
        self._within = list(within)
        self.folder = Path(tempfile.mkdtemp(prefix="users-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.etc = self.folder / "etc"
        # Others may be at the same: numbers are not to meet.
        self._uid = random.randrange(*UIDS)
        self._range = random.randrange(*RANGES) << 16

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(
            [*self._within, "unshare", "-m", "--propagation", "private", "sh", "-c", SETUP + reachable() + READY]
            + ["sh", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n", "the private mount namespace can't be made"
        self.enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--net=/proc/{self._holder.pid}/ns/net"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._holder.kill()
        self._holder.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def root(self, *words: str) -> str:
        """Output of a program run as root in here."""
        done = subprocess.run([*self.enter, *words], capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def add(self, name: str, *options: str) -> int:
        """Make a user with a home (NAME/home) and a run-time folder (NAME/run), empty; options: of useradd. The uid."""
        uid = self._uid
        self._uid += 1
        (self.folder / name).mkdir(mode=0o755)
        for path in (self.home(name), self.runtime(name)):
            path.mkdir(mode=0o700)
            os.chown(path, uid, uid)
        ranges = [word for kind in "UG" for word in ("-K", f"SUB_{kind}ID_MIN={self._range}")]
        self.root("useradd", "--no-log-init", f"--uid={uid}", f"--home-dir={self.home(name)}", *ranges, *options, name)
        return uid

    def home(self, name: str) -> Path:
        return self.folder / name / "home"

    def runtime(self, name: str) -> Path:
        return self.folder / name / "run"

    def become(self, uid: int) -> list[str]:
        """Words that make what follows this user's."""
        return [*self.enter, "setpriv", f"--reuid={uid}", f"--regid={uid}", "--init-groups"]


def reachable() -> str:
    """Lines of shell that put the program and its interpreter, where they lie below a folder that others may not enter,
    into an empty folder in its place. In a mount namespace of one's own; $1: a folder for what is on its way."""
    programs: dict[str, list[str]] = {}
    for path in dict.fromkeys((sys.prefix, sys.base_prefix)):
        if closed := _closed(Path(path)):
            programs.setdefault(closed, []).append(path)
    lines = []
    for number, (closed, paths) in enumerate(programs.items()):
        on_their_way = [(shlex.quote(path), f'"$1/program{number}-{at}"') for at, path in enumerate(paths)]
        for path, place in on_their_way:
            lines += [f"mkdir {place}", f"mount --bind {path} {place}"]
        lines.append(f"mount -t tmpfs -o mode=755 village {shlex.quote(closed)}")
        for path, place in on_their_way:
            lines += [f"mkdir -p {path}", f"mount --move {place} {path}"]
    return "\n".join(["", *lines, ""])


def _closed(path: Path) -> str:
    """The first folder on the way to it that others may not enter; "" if there is none."""
    for folder in reversed([path, *path.parents]):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return str(folder)
    return ""
