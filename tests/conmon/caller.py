"""A caller of conmon, as Podman or CRI-O is one, made by hand: bundle, pipes, attach socket, fifos, real runc."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import host
from tests.support.columns import Monitor
from tests.support.waiting import eventually

DEADLINE = 20.0
RUNC = shutil.which("runc") or "/usr/sbin/runc"
STDOUT, STDERR = 2, 3  # first byte of a packet on the attach socket


class Pipe:
    """One of the `_OCI_…PIPE`s: ours and theirs, as the SEQPACKET pair that Podman makes or as a plain pipe."""

    def __init__(self, kind: str, *, ours_writes: bool = False) -> None:
        self._socket: socket.socket | None = None
        if kind == "seqpacket":
            self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.ours, self.theirs = self._socket.fileno(), other.detach()
        else:
            read, write = os.pipe()
            self.ours, self.theirs = (write, read) if ours_writes else (read, write)
        self._buffer = b""
        os.set_inheritable(self.theirs, True)

    def given(self) -> None:
        """The monitor has its end now: close ours of it."""
        os.close(self.theirs)
        self.theirs = -1

    def line(self, timeout: float = DEADLINE) -> str:
        """The next line without its newline; "" at the end."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.ours], [], [], left)[0], "nothing comes through the pipe"
            try:
                piece = os.read(self.ours, 65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                rest, self._buffer = self._buffer, b""
                return rest.decode(errors="surrogateescape")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="surrogateescape")

    def silent(self) -> bool:
        """Whether there is nothing to read, not even an end."""
        return not self._buffer and not select.select([self.ours], [], [], 0)[0]

    def close(self) -> None:
        for fd in (self.ours, self.theirs):
            if fd >= 0:
                os.close(fd)
        if self._socket:
            self._socket.detach()
        self.ours = self.theirs = -1


class Client:
    """A client of the attach socket."""

    def __init__(self, bundle: Path, name: str = "attach") -> None:
        folder = os.open(bundle, os.O_PATH)
        try:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.socket.settimeout(DEADLINE)
            self.socket.connect(f"/proc/self/fd/{folder}/{name}")
        finally:
            os.close(folder)

    def packet(self) -> tuple[int, bytes]:
        """Stream and bytes of the next packet; (0, b"") at the end."""
        try:
            data = self.socket.recv(1 << 17)
        except ConnectionResetError:
            data = b""
        return (data[0], data[1:]) if data else (0, b"")

    def rest(self) -> dict[int, bytes]:
        """All to the end, by stream."""
        found: dict[int, bytes] = {}
        while True:
            stream, data = self.packet()
            if not stream:
                return found
            found[stream] = found.get(stream, b"") + data

    def until(self, text: bytes) -> bytes:
        """Read until `text` has come; all that came."""
        seen = b""
        while text not in seen:
            stream, data = self.packet()
            assert stream, f"ended before {text!r}: {seen[-500:]!r}"
            seen += data
        return seen

    def send(self, data: bytes) -> None:
        """Write to the container's input, at most 32768 bytes in a packet."""
        for at in range(0, len(data), 32768):
            self.socket.sendall(data[at : at + 32768])

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


class Spawned:
    """One start of the monitor: the first process, and our ends of its pipes."""

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str],
        sync: str,
        start: bool,
        attach: bool,
        stdin: int,
        pass_fds: Sequence[int],
        cwd: Path,
    ) -> None:
        kind = sync or "seqpacket"
        self.sync = Pipe(kind)
        self.start = Pipe(kind, ours_writes=True)
        self.attach = Pipe(kind)
        pipes = {"_OCI_SYNCPIPE": (bool(sync), self.sync), "_OCI_STARTPIPE": (start, self.start)}
        pipes["_OCI_ATTACHPIPE"] = (attach, self.attach)
        environment = {"PATH": os.environ["PATH"], "HOME": "/root", **env}
        inherited = list(pass_fds)
        for name, (wanted, pipe) in pipes.items():
            if wanted:
                environment[name] = str(pipe.theirs)
                inherited.append(pipe.theirs)
        self.out_path = folder / f"out-{secrets.token_hex(3)}"
        with open(self.out_path, "wb") as out, open(f"{self.out_path}-err", "wb") as err:
            self.process = subprocess.Popen(
                argv, env=environment, stdin=stdin, stdout=out, stderr=err, pass_fds=inherited, cwd=cwd
            )
        for pipe in (self.sync, self.start, self.attach):
            pipe.given()

    def status(self) -> int:
        """Exit status of the first process."""
        return self.process.wait(DEADLINE)

    def out(self) -> str:
        return self.out_path.read_text(errors="surrogateescape")

    def err(self) -> str:
        return Path(f"{self.out_path}-err").read_text(errors="surrogateescape")

    def report(self) -> dict[str, object]:
        """The next object on the sync pipe; empty at the end."""
        line = self.sync.line()
        assert line == "" or re.fullmatch(r'\{"\w+": -?\d+(, "message": ".*")?\}', line), line
        return json.loads(line) if line else {}

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.sync, self.start, self.attach):
            pipe.close()


class Caller:
    """One container: its folders, its configuration, the monitors started for it."""

    def __init__(self, monitor: Monitor, folder: Path, root: Path) -> None:
        self.monitor = monitor
        self.id = secrets.token_hex(32)
        self.folder = folder / self.id[:6]
        self.bundle = self.folder / "b"
        self.exits = self.folder / "exits"
        self.persist = self.folder / "persist"
        self.log = self.folder / "log"
        self.pidfile = self.folder / "pid"
        self.monitor_pidfile = self.folder / "conmon-pid"
        self.cwd = self.folder / "cwd"
        self.prefix: list[str] = []
        self._root = root
        self._spawned: list[Spawned] = []
        self._clients: list[Client] = []
        for path in (self.bundle, self.exits, self.persist, self.cwd):
            path.mkdir(parents=True)

    # ---- configuration -------------------------------------------------------------------------------------

    @staticmethod
    def process_object(args: Sequence[str], tty: bool = False, user: int = 0) -> dict[str, object]:
        return {
            "user": {"uid": user, "gid": user},
            "args": list(args),
            "env": ["PATH=/bin"],
            "cwd": "/",
            "terminal": tty,
            "capabilities": {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
        }

    def configure(self, args: Sequence[str], *, tty: bool = False, user: int = 0, memory: int = 0) -> None:
        """Write config.json. memory: limit in bytes, 0 = none."""
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "mode=620"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/shared", "type": "bind", "source": str(self.shared), "options": ["bind", "rw"]},
        ]
        linux: dict[str, object] = {
            "cgroupsPath": f"/conmon-test-{self.id[:12]}",
            "namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", "network")],
        }
        if memory:
            linux["resources"] = {"memory": {"limit": memory, "swap": memory}}
        config = {
            "ociVersion": "1.0.2",
            "process": self.process_object(args, tty, user),
            "root": {"path": str(self._root), "readonly": True},
            "mounts": mounts,
            "linux": linux,
        }
        (self.bundle / "config.json").write_text(json.dumps(config))

    @property
    def shared(self) -> Path:
        """A folder that the container sees as /shared."""
        path = self.folder / "shared"
        if not path.exists():
            path.mkdir()
            path.chmod(0o777)
        return path

    def options(self, *more: str, api: int = 1, log: Sequence[str] = (), full_attach: bool = True) -> list[str]:
        """The options that a create always has, and more."""
        words = ["--api-version", "1"] if api else []
        words += ["-c", self.id, "-u", self.id, "-r", RUNC, "-b", str(self.bundle), "-p", str(self.pidfile)]
        words += ["-n", "named", "--exit-dir", str(self.exits), "--persist-dir", str(self.persist)]
        words += ["--full-attach"] if full_attach else []
        for path in log or [f"k8s-file:{self.log}"]:
            words += ["-l", path]
        words += ["--log-level", "warning", "--conmon-pidfile", str(self.monitor_pidfile)]
        words += ["--runtime-arg", "--root", "--runtime-arg", str(self.folder / "runc")]
        return [*words, *more]

    # ---- starting -------------------------------------------------------------------------------------------

    def spawn(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        sync: str = "seqpacket",
        start: bool = False,
        attach: bool = False,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> Spawned:
        """Start the monitor with these words. sync: `seqpacket`, `pipe`, or "" for none; start, attach: whether
        those pipes are given."""
        made = Spawned(
            [*self.prefix, self.monitor.path, *words],
            self.folder,
            env=env or {},
            sync=sync,
            start=start,
            attach=attach,
            stdin=stdin,
            pass_fds=pass_fds,
            cwd=self.cwd,
        )
        self._spawned.append(made)
        return made

    def create(self, *args: str, options: Sequence[str] = (), tty: bool = False) -> Spawned:
        """Configure, spawn, read the pid; the container's process waits for `begin`."""
        self.configure(args, tty=tty)
        made = self.spawn(self.options(*(["-t"] if tty else []), *options))
        self.created(made)
        return made

    def created(self, spawned: Spawned) -> int:
        """The pid that the sync pipe tells; fails with what the monitor said otherwise."""
        report = spawned.report()
        pid = report.get("data", report.get("pid"))
        assert isinstance(pid, int) and pid > 0, f"{report} {spawned.err()}"
        assert spawned.status() == 0
        return pid

    def begin(self) -> None:
        """Let the container's process run."""
        self.runc("start", self.id)

    def run(self, *args: str, options: Sequence[str] = (), tty: bool = False) -> Spawned:
        """`create` and `begin`."""
        made = self.create(*args, options=options, tty=tty)
        self.begin()
        return made

    def runc(self, *words: str, check: bool = True) -> str:
        argv = [RUNC, "--root", str(self.folder / "runc"), *words]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    # ---- looking --------------------------------------------------------------------------------------------

    def client(self) -> Client:
        """Attach. At once, as the socket is there when the sync pipe has told the pid."""
        made = Client(self.bundle)
        self._clients.append(made)
        return made

    def exit_file(self) -> Path:
        return self.exits / self.id

    def code(self) -> str:
        """What the exit file says, once it is there."""
        eventually(self.exit_file().exists, "the exit file is written")
        return self.exit_file().read_text()

    def monitor_pid(self) -> int:
        return int(self.monitor_pidfile.read_text())

    def monitor_ended(self) -> None:
        """Wait until the monitor is gone."""
        pid = self.monitor_pid()
        eventually(lambda: not host.alive(pid), "the monitor ends")

    def records(self, path: Path | None = None) -> list[tuple[str, str, str]]:
        """Stream, tag and content of each record of the log."""
        text = (path or self.log).read_bytes().decode(errors="surrogateescape")
        found = []
        for line in text.split("\n")[:-1]:
            match = re.fullmatch(
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d (stdout|stderr) ([FP]) (.*)", line, re.S
            )
            assert match, line
            found.append((match[1], match[2], match[3]))
        assert text == "" or text.endswith("\n")
        return found

    def logged(self, *wanted: tuple[str, str, str]) -> None:
        """Wait until the log has exactly these records."""
        eventually(lambda: self.log.exists() and self.records() == list(wanted), f"records {wanted}")

    def control(self, name: str, data: bytes) -> None:
        """Write to a fifo as a caller does."""
        fd = os.open(self.bundle / name, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    # ---- the end --------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """What runs with this container's folder or id in its arguments, or is an exec's monitor of it."""
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]
        marks = (str(self.folder), self.id)
        return [
            pid
            for pid in pids
            if host.alive(pid) and any(mark in word for word in host.command_line(pid) for mark in marks)
        ]

    def close(self) -> None:
        """End everything."""
        for client in self._clients:
            client.close()
        for spawned in self._spawned:
            spawned.close()
        if (self.folder / "runc" / self.id).exists():
            self.runc("delete", "-f", self.id, check=False)
        deadline = time.monotonic() + 1
        while (pids := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.005)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
