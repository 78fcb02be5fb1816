"""sd_notify: who says READY, and what gets through from a container."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.podman.engine import Podman


class Notify:
    """The socket of a service manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)

    def receive(self) -> list[str]:
        """The lines of the next datagram."""
        return self._socket.recv(65536).decode().splitlines()

    def silent(self) -> bool:
        """Whether no datagram is there."""
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        self._socket.close()
        self.path.unlink()


@pytest.fixture
def notify(podman: Podman) -> Iterator[Notify]:
    made = Notify(podman.folder / "notify")
    yield made
    made.close()


def test_sdnotify_conmon_is_ready_at_the_start(podman: Podman, notify: Notify) -> None:
    words = ["run", "-d", "--name", "c", "--sdnotify=conmon", "busybox", "sleep", "1000"]
    podman.run(*words, env={"NOTIFY_SOCKET": str(notify.path)})
    pid = podman.monitor_pid("c")
    assert sorted(notify.receive()) == [f"MAINPID={pid}", "READY=1"]
    assert os.path.exists(f"/proc/{pid}")


def test_sdnotify_container_is_ready_when_the_container_says_so(podman: Podman, notify: Notify, helper: Path) -> None:
    script = "echo start; while ! test -e /go; do sleep 0.05; done; /h/helper notify READY=1; exec sleep 1000"
    words = ["run", "-d", "--name", "c", "--sdnotify=container", "-v", f"{helper}:/h", "busybox", "sh", "-c", script]
    podman.run(*words, env={"NOTIFY_SOCKET": str(notify.path)})
    assert notify.receive() == [f"MAINPID={podman.monitor_pid('c')}"]
    podman.logged("c", b"start")
    assert notify.silent(), "nobody is ready before the container is"
    podman("exec", "c", "touch", "/go")
    assert notify.receive() == ["READY=1"]


def test_sdnotify_container_can_not_fool_the_manager(podman: Podman, notify: Notify, helper: Path) -> None:
    messages = ("MAINPID=1", "FDSTORE=1", "NOTIFYACCESS=all", "BARRIER=1", "READY=1\nMAINPID=1")
    script = "; ".join(f"/h/helper notify '{message}'" for message in messages)
    script += "; while ! test -e /go; do sleep 0.05; done"
    words = ["run", "-d", "--name", "c", "--sdnotify=container", "-v", f"{helper}:/h", "busybox", "sh", "-c", script]
    podman.run(*words, env={"NOTIFY_SOCKET": str(notify.path)})
    monitor = podman.monitor_pid("c")
    podman("exec", "c", "touch", "/go")
    podman("wait", "c")
    # Podman's own and the relay's, in either order.
    assert sorted([notify.receive(), notify.receive()]) == [[f"MAINPID={monitor}"], ["READY=1"]]
    assert notify.silent()


def test_sdnotify_ignore_says_nothing(podman: Podman, notify: Notify) -> None:
    words = ["run", "--sdnotify=ignore", "busybox", "sh", "-c", "echo socket=$NOTIFY_SOCKET"]
    assert podman.run(*words, env={"NOTIFY_SOCKET": str(notify.path)}).stdout == b"socket=\n"
    assert notify.silent()
