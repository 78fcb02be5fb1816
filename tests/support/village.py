"""Real users, made with useradd, in a private mount namespace with an /etc of its own.

Nothing of the machine's own users is changed. A `Person` runs the command `remora` as that user, with a home and an
XDG_RUNTIME_DIR and nothing else in the environment: folders and store are where they are by default.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tests.conftest import DEADLINE, PROGRAM, Remora
from tests.support import host
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

# Within login.defs' UID_MIN … UID_MAX, or useradd gives no ranges.
FIRST_UID = 51001
SETUP = """
set -e
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
if [ -n "$2" ]; then
    # The program lies below a folder that others may not enter.
    mkdir "$1/program"
    mount --bind "$3" "$1/program"
    mount -t tmpfs -o mode=755 village "$2"
    mkdir -p "$3"
    mount --move "$1/program" "$3"
fi
echo ready
exec cat
"""


# Lines for `Person.altered`: an empty /tmp, which may be where the program is.
EMPTY_TMP = (
    "mount -t tmpfs tmp /mnt",
    f"mkdir /mnt/program && mount --bind {sys.prefix} /mnt/program",
    "mount -t tmpfs -o mode=1777 tmp /tmp",
    f"mkdir -p {sys.prefix} && mount --bind /mnt/program {sys.prefix}",
)


class Person(Remora):
    """The command `remora` as one user."""

    def __init__(self, village: Village, name: str, uid: int) -> None:
        self.name = name
        self.uid = uid
        self.folder = village.folder / name
        self.home = self.folder / "home"
        self.runtime = self.folder / "run"
        self.root = self.home / ".local/share/remora"
        self.runroot = self.runtime / "remora"
        self.store = self.home / ".local/share/containers/storage"
        self.environment = {
            **{key: os.environ[key] for key in ("REMORA_MONITOR", "ASAN_OPTIONS") if key in os.environ},
            "PATH": f"{PROGRAM.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "TERM": "xterm",
        }
        self.village = village
        self.prefix = self.entering()

    def entering(self, *script: str) -> list[str]:
        """Words that make what follows this user's; script: lines done before as root, in a further mount namespace."""
        person = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--init-groups"]
        if not script:
            return [*self.village.enter, *person]
        text = "set -e\n" + "\n".join(script) + '\nexec "$@"'
        return [*self.village.enter, "unshare", "-m", "sh", "-c", text, "sh", *person]

    def altered(self, *script: str, **environment: str) -> Person:
        """The same user where a script has changed the machine (in a mount namespace), or with another environment."""
        other = Person(self.village, self.name, self.uid)
        if script:
            other.prefix = other.entering(*script)
        other.environment = {**self.environment, **environment}
        return other

    def do(self, *words: str, input: bytes | None = None, status: int = 0) -> str:
        """Output of any program run as this user."""
        done = subprocess.run(
            [*self.prefix, *words],
            env=self.environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == status, f"{words}: {done.returncode} {done.stdout!r} {done.stderr!r}"
        return done.stdout.decode(errors="replace")

    def terminal(self, *arguments: str, rows: int = 24, columns: int = 80) -> Terminal:
        """`remora ARGUMENTS` on a pty of its own."""
        return Terminal([*self.prefix, str(PROGRAM), *arguments], self.environment, rows, columns)

    def make_folders(self) -> None:
        """The home and the run-time folder, empty, of this user alone."""
        self.folder.mkdir(mode=0o755)
        for path in (self.home, self.runtime):
            path.mkdir(mode=0o700)
            os.chown(path, self.uid, self.uid)

    def ids(self) -> set[int]:
        """All ids that are this user's: the own one and the ranges."""
        found = {self.uid}
        for line in (self.village.etc / "subuid").read_text().splitlines():
            owner, start, count = line.split(":")
            if owner == self.name:
                found.update(range(int(start), int(start) + int(count)))
        return found

    def processes(self) -> list[int]:
        """Living processes with one of the user's ids."""
        ids = self.ids()
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid in ids and host.alive(int(entry)):
                    found.append(int(entry))
            except FileNotFoundError:
                continue
        return found

    def leftovers(self) -> dict[str, object]:
        """What is there although no container is: nothing, if all goes well."""
        guards = self.store / "overlay-containers/containers.json"
        mounts = self.do("cat", "/proc/self/mountinfo")
        found: dict[str, object] = {
            "processes": [(pid, host.command_line(pid)) for pid in self.processes()],
            "mounts": [line for line in mounts.splitlines() if str(self.folder) in line],
            "folders": host.below(self.root / "containers"),
            "names": host.below(self.root / "names"),
            "image uses": host.below(self.root / "images"),
            "run folders": [name for name in host.below(self.runroot) if len(name) == 64],
            "runtime state": host.below(self.runroot / "runtime"),
            "guards": re.findall("remora-[0-9a-f]+-[0-9a-f]+", guards.read_text()) if guards.exists() else [],
        }
        return {key: value for key, value in found.items() if value}

    def assert_nothing_left(self) -> None:
        eventually(lambda: not self.leftovers(), f"nothing is left: {self.leftovers()}", 10)


class Village:
    """The namespace; ends, with everybody's files, when the `with` block does.

    enter: words that go into it. etc: its /etc. folder: where all homes are.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="remora-village-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.etc = self.folder / "etc"
        self._people = 0

    def __enter__(self) -> Village:
        self._holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", SETUP, "sh", self.folder, _closed(), sys.prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n", "the private mount namespace can't be made"
        self.enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]
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

    def person(self, name: str, *options: str) -> Person:
        """A new user; options: of useradd."""
        uid = FIRST_UID + self._people
        self._people += 1
        made = Person(self, name, uid)
        made.make_folders()
        self.root("useradd", "--no-log-init", f"--uid={uid}", f"--home-dir={made.home}", *options, name)
        return made


@contextmanager
def staying(person: Person) -> Iterator[Person]:
    """The person for one test: all containers are removed at its end, and nothing of them may be left."""
    try:
        yield person
    finally:
        person.clear()
    person.assert_nothing_left()


def import_image(person: Person, tar: Path, name: str = "busybox", options: Sequence[str] = ()) -> None:
    """`localhost/busybox:latest` in the person's store."""
    given = ("-q", "-c", 'CMD ["/bin/sh"]', "-c", "ENV PATH=/bin:/usr/bin", *options)
    person.do(str(PROGRAM), "import", *given, "-", name, input=tar.read_bytes())


def _closed() -> str:
    """The first folder on the way to the program that others may not enter; "" if there is none."""
    for folder in reversed([Path(sys.prefix), *Path(sys.prefix).parents]):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return str(folder)
    return ""
