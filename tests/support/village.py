"""People who use the command `remora`: real users (users.py).

A `Person` runs the command `remora` as that user, with a home and an
XDG_RUNTIME_DIR and nothing else in the environment: folders and store are where they are by default.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import DEADLINE, PROGRAM, Remora
from tests.support import host
from tests.support.terminal import Terminal
from tests.support.users import Users
from tests.support.waiting import eventually

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
        self.home = village.home(name)
        self.runtime = village.runtime(name)
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
        person = self.village.become(self.uid)
        if not script:
            return person
        text = "set -e\n" + "\n".join(script) + '\nexec "$@"'
        entering = len(self.village.enter)
        return [*person[:entering], "unshare", "-m", "sh", "-c", text, "sh", *person[entering:]]

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

    def use_network(self, mode: str) -> None:
        """The network of containers for which none is named."""
        path = self.home / ".config/containers/containers.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[containers]\nnetns = "{mode}"\n')

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


class Village(Users):
    """The namespace, with people who use the command."""

    def person(self, name: str, *options: str) -> Person:
        """A new user; options: of useradd."""
        made = Person(self, name, self.add(name, *options))
        made.use_network("none")  # this machine's may not be touched; and not everybody may open /dev/net/tun
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
