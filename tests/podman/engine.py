"""One Podman with folders of its own, and the namespace that it runs in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.support import host
from tests.support.columns import Monitor
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

DEADLINE = 60.0
JOURNAL_CONF = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitIntervalSec=0\nForwardToSyslog=no\n"
MOUNTS = """
set -e
mkdir -p /run/systemd /run/log
mount -t tmpfs -o mode=755 journal-test /run/systemd
mkdir -p /run/systemd/journal
mount -t tmpfs -o mode=755 journal-test /run/log
mkdir -p /run/log/journal
mount --bind "$1" /etc/systemd/journald.conf
echo ready
exec cat
"""


def press(terminal: Terminal, *keys: bytes) -> None:
    """Type one key after the other, each when the one before has been read: Podman looks for detach keys that come in
    reads of their own."""
    for number, key in enumerate(keys):
        before = _bytes_read(terminal.process.pid)
        terminal.type(key)
        if number < len(keys) - 1:  # at the last one the command may be gone at once
            _wait_until_read(terminal, before)


def _wait_until_read(terminal: Terminal, before: int) -> None:
    def is_read() -> bool:
        return _bytes_read(terminal.process.pid) > before and not terminal.unread()

    eventually(is_read, "the key is read")


def _bytes_read(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


class World:
    """A mount namespace with a systemd-journald of its own; both end with the `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> World:
        conf = self._folder / "journald.conf"
        conf.write_text(JOURNAL_CONF)
        self._holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", MOUNTS, "sh", str(conf)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n", "the private mount namespace can't be made"
        self.enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        with open(self._folder / "journald.out", "wb") as out:
            self._journal = subprocess.Popen(
                [*self.enter, "setpriv", "--pdeathsig", "KILL", "/lib/systemd/systemd-journald"], stderr=out
            )
        socket = Path(f"/proc/{self._holder.pid}/root/run/systemd/journal/socket")
        eventually(socket.exists, "systemd-journald serves its socket")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._journal.kill()
        self._journal.wait()
        self._holder.kill()
        self._holder.wait()

    def journal(self, *matches: str) -> list[dict[str, object]]:
        """Entries of the journal that match."""
        out = subprocess.run(
            [*self.enter, "journalctl", "--no-pager", "--all", "-o", "json", *matches],
            check=True,
            capture_output=True,
            timeout=DEADLINE,
        ).stdout
        return [json.loads(line) for line in out.splitlines()]


class Podman:
    """The command `podman` with one monitor.

    folder: of this Podman alone; all its state is below. limits: default ulimits, as hard limits may be low.
    """

    def __init__(self, folder: Path, world: World, monitor: Monitor, limits: Sequence[str]) -> None:
        self.folder = folder
        self.world = world
        self.monitor = monitor
        ulimits = ", ".join(f'"{limit}"' for limit in limits)
        (folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = [{ulimits}]\nlog_driver = "k8s-file"\nnetns = "none"\n'
            '[network]\nnetwork_backend = "netavark"\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/runroot"\n'
        )
        (folder / "cwd").mkdir()
        self.environment: dict[str, str] = {
            **{key: value for key, value in os.environ.items() if key not in ("NOTIFY_SOCKET", "LISTEN_FDS")},
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        self.words = [
            *(*world.enter, "env", "-C", f"{folder}/cwd"),
            *("podman", "--root", f"{folder}/root", "--runroot", f"{folder}/runroot", "--tmpdir", f"{folder}/tmp"),
            *("--conmon", monitor.path, "--events-backend", "file"),
        ]

    def run(
        self,
        *arguments: str,
        status: int | None = 0,
        input: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `podman ARGUMENTS` to its end and check its exit status (`status=None`: any will do)."""
        result = subprocess.run(
            [*self.words, *arguments],
            env={**self.environment, **(env or {})},
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if status is not None:
            assert result.returncode == status, (
                f"podman {' '.join(arguments)} ended with {result.returncode}, not {status}\n"
                f"stdout: {result.stdout[-2000:]!r}\nstderr: {result.stderr[-2000:]!r}"
            )
        return result

    def run_with_fd_3(self, fd: int, *arguments: str, listen: bool = False) -> None:
        """Run `podman ARGUMENTS` with a descriptor at 3; `listen`: as systemd hands over a listening socket."""
        script = 'fd=$1; shift; [ "$fd" = 3 ] || exec 3<&"$fd"; '
        script += 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"' if listen else 'exec "$@"'
        subprocess.run(
            ["bash", "-c", script, "bash", str(fd), *self.words, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[fd],
            check=True,
            capture_output=True,
            timeout=DEADLINE,
        )

    def __call__(self, *arguments: str, input: bytes | None = None) -> str:
        """Standard output of a command that must succeed, without the newline at its end."""
        return self.run(*arguments, input=input).stdout.decode(errors="surrogateescape").removesuffix("\n")

    def popen(
        self, *arguments: str, stdin: int | None = subprocess.DEVNULL, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `podman ARGUMENTS` and return at once."""
        return subprocess.Popen(
            [*self.words, *arguments],
            env={**self.environment, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def terminal(self, *arguments: str, rows: int = 24, columns: int = 80) -> Terminal:
        """`podman ARGUMENTS` on a pty of its own."""
        return Terminal([*self.words, *arguments], {**self.environment, "TERM": "xterm"}, rows, columns)

    def start(self, *command: str, options: Sequence[str] = ()) -> str:
        """`run -d busybox COMMAND`: the container's id."""
        return self("run", "-d", *options, "busybox", *command)

    def state(self, container: str, field: str) -> str:
        """A field of `inspect`'s State."""
        return self("inspect", "-f", f"{{{{.State.{field}}}}}", container)

    def monitor_pid(self, container: str) -> int:
        return int(self.state(container, "ConmonPid"))

    def logs(self, container: str, *options: str) -> bytes:
        """Both streams of `logs`, stdout first."""
        result = self.run("logs", *options, container)
        return result.stdout + result.stderr

    def logged(self, container: str, text: bytes) -> None:
        """Wait until the log holds `text`."""
        eventually(lambda: text in self.logs(container), f"{text!r} in the log of {container}")

    def processes(self) -> list[str]:
        """What runs with one of this Podman's folders in its arguments."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid() and host.alive(int(entry)):
                argv = host.command_line(int(entry))
                if any(str(self.folder) in word for word in argv):
                    found.append(f"{entry}: {' '.join(argv)[:300]}")
        return found

    def clear(self) -> None:
        """Remove every pod and container."""
        self.run("pod", "rm", "-f", "-t", "0", "-a", status=None)
        self.run("rm", "-f", "-t", "0", "-a", status=None)

    def assert_nothing_left(self) -> None:
        """No monitor, no container folder, no exit file, no runtime state, no cgroup."""
        eventually(lambda: not self.processes(), f"processes end: {self.processes()}", 10)
        userdata = self.folder / "root" / "overlay-containers"
        left = [name for name in os.listdir(userdata) if len(name) == 64] if userdata.exists() else []
        exits = self.folder / "tmp" / "exits"
        left += os.listdir(exits) if exits.exists() else []
        assert left == [], "container folders or exit files are left behind"

    def close(self) -> None:
        """Give back the mount points that keep the folder from being removed."""
        for pid in [int(line.partition(":")[0]) for line in self.processes()]:
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["umount", "--quiet", self.folder / "root" / "overlay"], check=False)
