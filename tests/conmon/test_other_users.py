"""What another user may do to a container through the files that its monitor makes: nothing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conmon.caller import Caller
from tests.support.columns import Monitor
from tests.support.people import BOB, as_user


@pytest.fixture
def caller(monitor: Monitor, rootfs: Path) -> Iterator[Caller]:
    """A container whose bundle every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="conmon-users-", dir="/tmp"))
    made = Caller(monitor, folder, rootfs)
    for path in (folder, made.folder, made.bundle):
        path.chmod(0o755)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


def connecting(bundle: Path) -> Callable[[], str]:
    def act() -> str:
        os.chdir(bundle)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect("attach")
        return "connected"

    return act


def opening(path: Path, flags: int) -> Callable[[], str]:
    def act() -> str:
        os.close(os.open(path, flags | os.O_NONBLOCK))
        return "opened"

    return act


def test_another_user_reaches_neither_attach_socket_nor_fifos_nor_log(caller: Caller) -> None:
    caller.create("sh", "-c", "echo secret; sleep 1000", tty=True)
    client = caller.client()
    caller.begin()
    client.until(b"secret")
    assert str(sorted(os.listdir(caller.bundle))) == as_user(BOB, lambda: sorted(os.listdir(caller.bundle)))
    assert as_user(0, connecting(caller.bundle)) == "connected"
    assert as_user(BOB, connecting(caller.bundle)) == "EACCES"
    for name in ("ctl", "winsz"):
        fifo = caller.bundle / name
        assert stat.S_IMODE(fifo.stat().st_mode) == 0o640
        assert as_user(0, opening(fifo, os.O_RDWR)) == "opened"
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            assert as_user(BOB, opening(fifo, flags)) == "EACCES"
    assert stat.S_IMODE((caller.bundle / "attach").stat().st_mode) == 0o700
    assert as_user(BOB, opening(caller.log, os.O_RDONLY)) == "EACCES"
