"""A connection that is lost while the container has a monitor: made anew, asked again, and nothing said but a loss."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from remora.monitor import Connection, MonitorGone, RelayEnd, RequestFailed, core, pack, unpack
from tests.monitor.conftest import DEADLINE, FakeMonitor, RelayFactory


@pytest.fixture
def lock(fake: FakeMonitor) -> Iterator[int]:
    """The lock of the run folder, held as by a living monitor."""
    fd = core.lock(fake.run_dir)
    yield fd
    os.close(fd)


def asked(fake: FakeMonitor) -> dict[str, object]:
    packet = fake.receive()
    assert packet.kind == core.CONTROL
    return unpack(packet.payload)


def answer(fake: FakeMonitor, **reply: object) -> None:
    fake.send(core.CONTROL, pack({"ok": True, **reply}))


@pytest.mark.usefixtures("lock")
def test_a_relay_goes_on_over_a_new_connection(fake: FakeMonitor, relay: RelayFactory) -> None:
    read, write = os.pipe()
    thread = relay(stdout=write, stderr=write, session="ab", block=True, owner=True, positions=(0, 0))
    fake.send(core.STDOUT, b"one ")
    assert os.read(read, 10) == b"one "
    fake.lose()
    fake.accept()
    wanted = {"stdin": False, "stdout": True, "stderr": True, "block": True, "owner": True}
    assert asked(fake) == {"op": "attach", "session": "ab", **wanted}
    answer(fake, op="attach", tty=False, stdout_bytes=4, stderr_bytes=0)
    fake.send(core.CONTROL, pack({"event": "resumed"}))
    fake.send(core.STDOUT, b"two")
    fake.exit(7)
    result = thread.end()
    assert (result.end, result.exit, result.lost) == (RelayEnd.EXITED, {"code": 7}, 0)
    assert os.read(read, 10) == b"two"
    # What comes after the end is read from the connection that took the other's place.
    fake.send(core.CONTROL, pack({"event": "removed"}))
    assert fake.connection.receive(DEADLINE).message() == {"event": "removed"}
    os.close(read)
    os.close(write)


@pytest.mark.usefixtures("lock")
def test_what_was_read_meanwhile_is_known_to_be_missing(fake: FakeMonitor, relay: RelayFactory) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    thread = relay(stdout=null, stderr=null, positions=(100, 0))
    fake.send(core.STDOUT, b"12345")
    fake.send(core.STDERR, b"123")
    fake.lose()
    fake.accept()
    asked(fake)
    answer(fake, op="attach", stdout_bytes=125, stderr_bytes=3)
    fake.send(core.CONTROL, pack({"event": "lost", "bytes": 9}))
    fake.exit()
    assert thread.end().lost == 20 + 9
    os.close(null)


@pytest.mark.usefixtures("lock")
def test_input_that_was_not_taken_goes_to_the_new_connection(fake: FakeMonitor, relay: RelayFactory) -> None:
    read, write = os.pipe()
    thread = relay(stdin=read)
    os.write(write, b"first")
    assert fake.stdin(5) == b"first"
    fake.lose()
    os.write(write, b"second")
    fake.accept()
    assert asked(fake)["stdin"] is True
    answer(fake, op="attach")
    assert fake.stdin(6) == b"second"
    os.close(write)
    assert fake.stdin(1) == b""
    fake.exit()
    assert thread.end().end == RelayEnd.EXITED
    os.close(read)


@pytest.mark.usefixtures("lock")
def test_a_container_that_ended_meanwhile_is_asked_how(fake: FakeMonitor, relay: RelayFactory) -> None:
    thread = relay()
    fake.lose()
    fake.accept()
    asked(fake)
    answer(fake, op="attach", ok=False, error="the container is not running")
    fake.accept()
    assert asked(fake) == {"op": "wait", "condition": "exited"}
    answer(fake, op="wait", record={"code": 3, "known": True})
    result = thread.end()
    assert (result.end, result.exit) == (RelayEnd.EXITED, {"code": 3, "known": True})


@pytest.mark.usefixtures("lock")
def test_an_exec_that_ended_meanwhile_is_found_among_the_last_results(fake: FakeMonitor, relay: RelayFactory) -> None:
    thread = relay(session="ee")
    fake.lose()
    fake.accept()
    asked(fake)
    answer(fake, op="attach", ok=False)
    fake.accept()
    assert asked(fake) == {"op": "status"}
    mine = {"session": "ee", "running": False, "known": True, "code": 5}
    answer(fake, op="status", execs=[{**mine, "session": "dd", "code": 1}, mine])
    result = thread.end()
    assert (result.end, result.exit) == (RelayEnd.EXITED, mine)


def test_without_a_monitor_the_session_is_lost_at_once(fake: FakeMonitor, relay: RelayFactory) -> None:
    os.close(core.lock(fake.run_dir))
    thread = relay()
    fake.lose()
    assert thread.end().end == RelayEnd.LOST


@pytest.mark.usefixtures("lock")
def test_a_monitor_that_takes_nobody_is_given_up(fake: FakeMonitor, relay: RelayFactory) -> None:
    thread = relay()
    fake.lose()
    closer = threading.Thread(target=_close_all, args=(fake,), daemon=True)
    closer.start()
    assert thread.end().end == RelayEnd.LOST


def _close_all(fake: FakeMonitor) -> None:
    while True:
        try:
            fake.accept()
        except OSError:
            return
        fake.socket.close()


@pytest.mark.usefixtures("lock")
def test_a_request_whose_reply_is_lost_is_made_again(fake: FakeMonitor) -> None:
    replies: list[dict[str, object]] = []
    request = {"op": "wait", "condition": "exited"}
    fake.connection.send(request)
    assert asked(fake) == request
    thread = threading.Thread(target=lambda: replies.append(fake.connection.answer(request)), daemon=True)
    thread.start()
    fake.lose()
    fake.accept()
    assert asked(fake) == request
    answer(fake, op="wait", record={"code": 4})
    thread.join(DEADLINE)
    assert replies == [{"op": "wait", "ok": True, "record": {"code": 4}}]
    assert fake.connection.renewed == 1


@pytest.mark.usefixtures("lock")
def test_descriptors_go_with_the_request_that_is_made_again(fake: FakeMonitor) -> None:
    read, write = os.pipe()
    fake.lose()
    thread = threading.Thread(target=lambda: fake.connection.request({"op": "exec"}, [write]), daemon=True)
    thread.start()
    fake.accept()
    fds = _receive_fds(fake)
    answer(fake, op="exec")
    thread.join(DEADLINE)
    os.write(fds[0], b"x")
    assert os.read(read, 1) == b"x"
    for fd in (read, write, *fds):
        os.close(fd)


def _receive_fds(fake: FakeMonitor) -> list[int]:
    import socket

    _, fds, _, _ = socket.recv_fds(fake.socket, core.PAYLOAD_MAX, 4)
    return fds


@pytest.mark.usefixtures("lock")
def test_a_refusal_is_not_a_loss(fake: FakeMonitor) -> None:
    answer(fake, op="pause", ok=False, error="no")
    with pytest.raises(RequestFailed):
        fake.connection.request({"op": "pause"})
    assert fake.connection.renewed == 0


def test_without_a_lock_the_monitor_is_gone(fake: FakeMonitor) -> None:
    fake.lose()
    with pytest.raises(MonitorGone):
        fake.connection.request({"op": "status"})


@pytest.mark.usefixtures("lock")
def test_a_connection_of_unknown_origin_is_not_made_anew(fake: FakeMonitor) -> None:
    with Connection(os.dup(fake.connection.fileno())) as connection:
        fake.lose()
        with pytest.raises(MonitorGone):
            connection.request({"op": "status"})


def test_losses_before_the_relay_are_counted(fake: FakeMonitor, relay: RelayFactory) -> None:
    fake.send(core.CONTROL, pack({"event": "lost", "bytes": 7}))
    answer(fake, op="attach")
    assert fake.connection.request({"op": "attach"})["ok"] is True
    fake.exit()
    assert relay().end().lost == 7
