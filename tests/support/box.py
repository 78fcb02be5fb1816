"""A monitor with a real runtime and a bundle made by hand: no frontend, no image store."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from remora import monitor
from remora.monitor import Connection, MonitorGone, RequestFailed, core
from tests.support import host
from tests.support.waiting import eventually

DEADLINE = 20.0
STATUS = {"op": "status"}


def make_root(folder: Path) -> Path:
    """A root file system of busybox-static, shared by all and read-only to them."""
    root = folder / "root"
    for name in ("bin", "dev", "proc", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy(busybox, root / "bin/busybox")
    for applet in subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if applet != "busybox":
            os.link(root / "bin/busybox", root / "bin" / applet)
    return root


class Box:
    """One container: its folders, its monitor."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.id = secrets.token_hex(32)
        self.root = root
        self.folder = folder / self.id[:8]
        self.data = self.folder / "data"
        self.run = self.folder / "run" / self.id
        self.state = self.folder / "runtime"
        self.runtime = [shutil.which("runc") or "/usr/sbin/runc"]
        self.environment: dict[str, str] = {}
        self.binds: dict[str, Path] = {}  # folder below /tmp of the container: folder of the host
        self.namespaces: dict[str, int] = {}  # handed over: kind, descriptor
        self.preserved: list[int] = []
        self.held: list[int] = []  # open as long as the container lives
        self.stdio: tuple[int, ...] = ()  # with `passthrough`
        (self.data / "bundle").mkdir(parents=True)

    def process(self, *args: str, tty: bool = False) -> dict[str, object]:
        """An OCI process object."""
        path = ["PATH=/bin"]
        return {"user": {"uid": 0, "gid": 0}, "args": list(args), "env": path, "cwd": "/", "terminal": tty}

    def start(self, *args: str, tty: bool = False, **overrides: object) -> Connection:
        """Spawn the monitor; `overrides` go into its configuration. The container may still be starting."""
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "mode=620"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            *(
                {"destination": f"/tmp/{name}", "type": "bind", "source": str(folder), "options": ["bind"]}
                for name, folder in self.binds.items()
            ),
        ]
        linux: dict[str, object] = {
            "cgroupsPath": f"/remora/{self.id}",
            "namespaces": [
                {"type": name, "path": self.namespace_path(name)} if name in self.namespaces else {"type": name}
                for name in ("pid", "ipc", "uts", "mount", "network")
            ],
        }
        config = {
            "ociVersion": "1.0.2",
            "process": self.process(*args, tty=tty),
            "root": {"path": str(self.root), "readonly": True},
            "mounts": mounts,
            "linux": linux,
        }
        (self.data / "bundle/config.json").write_text(json.dumps(config))
        configuration: dict[str, object] = {
            "version": 1,
            "id": self.id,
            "name": "box",
            "data_dir": str(self.data),
            "run_dir": str(self.run),
            "runtime": [*self.runtime, "--root", str(self.state)],
            "env": ["PATH=" + os.environ["PATH"], *(f"{key}={value}" for key, value in self.environment.items())],
            "cgroup": f"/remora/{self.id}",
            "tty": tty,
            "stdin": False,
            "log": {"drivers": [{"driver": "k8s-file", "path": str(self.data / "log")}]},
            "restart": {"policy": "no", "max": 0},
            "stop_signal": 15,
            "stop_timeout": 10,
            "remove": [],
            "preserve_fds": len(self.preserved),
            "held_fds": len(self.held),
            "passthrough": bool(self.stdio),
            "namespaces": [{"type": name, "path": self.namespace_path(name)} for name in self.namespaces],
            **overrides,
        }
        environment = {key: os.environ[key] for key in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if key in os.environ}
        lock = monitor.lock(str(self.run))
        try:
            return monitor.spawn(
                configuration,
                lock_fd=lock,
                rootfs_fd=-1,
                stdio=self.stdio,
                namespaces=list(self.namespaces.values()),
                preserved=self.preserved,
                held=self.held,
                environment=environment,
            )
        finally:
            os.close(lock)

    def namespace_path(self, kind: str) -> str:
        """Where the monitor binds a namespace that was handed over."""
        return f"{self.data}/ns/{kind}"

    def started(self, *args: str, tty: bool = False, **overrides: object) -> Connection:
        """Start, and wait until the process runs."""
        connection = self.start(*args, tty=tty, **overrides)
        connection.started(DEADLINE)
        return connection

    def connect(self) -> Connection:
        """A further connection."""
        return Connection.open(str(self.run))

    def status(self) -> Mapping[str, object]:
        """The state map that the monitor tells; shows at once that it lives and answers."""
        with self.connect() as connection:
            connection.send(STATUS)
            reply = connection.reply("status", DEADLINE)["state"]
        assert isinstance(reply, dict)
        return reply

    def wait(self, condition: str = "exited") -> dict[str, object]:
        """The exit record, once the container has ended; the one on disk if there is no monitor any more."""
        try:
            with self.connect() as connection:
                connection.send({"op": "wait", "condition": condition})
                record = connection.reply("wait", DEADLINE)["record"]
                assert isinstance(record, dict)
                return record
        except MonitorGone:
            return self.record()

    def record(self) -> dict[str, object]:
        """The exit record on disk, when the monitor has ended."""
        assert monitor.wait_unlocked(str(self.run), DEADLINE), "the monitor does not end"
        record = monitor.read_record(str(self.data))
        assert record is not None, "no exit record"
        return record

    def monitor_pid(self) -> int:
        """The pid of the monitor, as it tells it."""
        pid = self.status()["monitor_pid"]
        assert isinstance(pid, int)
        return pid

    def leftovers(self) -> dict[str, object]:
        """What there is of the container outside of its data folder."""
        found: dict[str, object] = {
            "run folder": self.run.exists(),
            "runtime state": host.below(self.state),
            "cgroups": host.cgroups_of({self.id}),
            "processes": host.processes_of(self._folders(), {self.id}),
        }
        return {key: value for key, value in found.items() if value}

    def _folders(self) -> host.Folders:
        box = self

        class Folders:
            root = box.data
            runroot = box.run
            environment: dict[str, str] = {}

        return Folders()

    def assert_gone(self) -> None:
        """The monitor has ended and has left nothing but the data folder."""
        assert monitor.wait_unlocked(str(self.run), DEADLINE), "the monitor does not end"
        eventually(lambda: not self.leftovers(), f"nothing is left: {self.leftovers()}", timeout=10)

    def end(self) -> None:
        """Kill the container, whatever its state; remove what the test may have left."""
        try:
            with self.connect() as connection:
                connection.send({"op": "stop", "timeout": 0})
                with contextlib.suppress(RequestFailed, TimeoutError):
                    connection.reply("stop", DEADLINE)
        except MonitorGone:
            pass
        ended = monitor.wait_unlocked(str(self.run), DEADLINE)
        subprocess.run(
            ["runc", "--root", str(self.state), "delete", "--force", self.id], capture_output=True, check=False
        )
        assert ended, "the monitor does not end"


@contextlib.contextmanager
def boxes(folder: Path, root: Path) -> Iterator[list[Box]]:
    """A list that ends the boxes put into it."""
    made: list[Box] = []
    try:
        yield made
    finally:
        for box in made:
            box.end()


def received(connection: Connection, timeout: float = DEADLINE) -> tuple[bytes, dict[str, object] | None, list[str]]:
    """All of stdout and stderr, the exit record and the events, until the connection ends."""
    output = b""
    record = None
    events: list[str] = []
    while True:
        try:
            packet = connection.receive(timeout)
        except MonitorGone:
            return output, record, events
        if packet.kind in (core.STDOUT, core.STDERR):
            output += packet.payload
        elif packet.kind == core.EXIT:
            record = packet.message()
        elif packet.kind == core.CONTROL and "event" in packet.message():
            events.append(str(packet.message()["event"]))
