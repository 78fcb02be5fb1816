"""A fake monitor: speaks the control protocol from Python, so that the client's side is tested by itself."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remora.monitor import Connection, Packet, RelayResult, core, pack, unpack
from tests.support.box import Box, boxes, make_root

DEADLINE = 20.0


class FakeMonitor:
    """The server's end of one attached connection, and a listening `ctl` socket for the second one."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = str(folder)
        folder.mkdir(mode=0o700)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(f"{folder}/ctl")
        self._listener.listen(8)
        self._listener.settimeout(DEADLINE)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(DEADLINE)
        self.socket = ours
        self.connection = Connection(theirs.detach(), self.run_dir)
        self._second: socket.socket | None = None

    @property
    def second(self) -> socket.socket:
        """The second connection; waits for it."""
        if self._second is None:
            self._second, _ = self._listener.accept()
            self._second.settimeout(DEADLINE)
        return self._second

    def lose(self) -> None:
        """End the attached connection without a word."""
        self.socket.close()

    def accept(self) -> None:
        """Wait for a new connection and make it the attached one."""
        self.socket, _ = self._listener.accept()
        self.socket.settimeout(DEADLINE)

    def send(self, kind: int, payload: bytes = b"") -> None:
        self.socket.sendall(bytes([kind]) + payload)

    def exit(self, code: int = 0) -> None:
        self.send(core.EXIT, pack({"code": code}))

    def receive(self, end: socket.socket | None = None) -> Packet:
        data = (end or self.socket).recv(core.PAYLOAD_MAX + 1)
        if not data:
            raise EOFError("the client ended the connection")
        return Packet(data[0], data[1:])

    def request(self) -> dict[str, object]:
        """The next request on the second connection."""
        packet = self.receive(self.second)
        assert packet.kind == core.CONTROL
        return unpack(packet.payload)

    def stdin(self, size: int) -> bytes:
        """So many bytes of input, or what came before its end."""
        data = b""
        while len(data) < size:
            packet = self.receive()
            if packet.kind == core.STDIN:
                if not packet.payload:
                    break
                data += packet.payload
        return data

    def close(self) -> None:
        self.socket.close()
        self.connection.close()
        self._listener.close()
        if self._second is not None:
            self._second.close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeMonitor]:
    monitor = FakeMonitor(tmp_path / "run")
    yield monitor
    monitor.close()


class RelayThread:
    """`Connection.relay` in a thread."""

    def __init__(self, fake: FakeMonitor, **options: Any) -> None:
        self.result: RelayResult | None = None
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self.result = fake.connection.relay(run_dir=fake.run_dir, **options)
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def end(self) -> RelayResult:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the relay does not end"
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


RelayFactory = Callable[..., RelayThread]


@pytest.fixture
def relay(fake: FakeMonitor) -> RelayFactory:
    return lambda **options: RelayThread(fake, **options)


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system for containers made without an image."""
    return make_root(tmp_path_factory.mktemp("root"))


@pytest.fixture
def new_box(tmp_path: Path, busybox_root: Path) -> Iterator[Callable[[], Box]]:
    """Makes containers with a monitor and without a frontend."""
    with boxes(tmp_path, busybox_root) as made:

        def make() -> Box:
            made.append(Box(tmp_path, busybox_root))
            return made[-1]

        yield make


@pytest.fixture
def box(new_box: Callable[[], Box]) -> Box:
    """One such container."""
    return new_box()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal of 24 rows and 80 columns: its two ends."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    yield master, slave
    os.close(master)
    os.close(slave)
