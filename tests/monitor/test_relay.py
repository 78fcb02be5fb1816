"""The relay of an attached terminal, against a fake monitor and real pipes and ptys."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import socket
import termios
import threading
from pathlib import Path

import pytest

from remora.monitor import RelayEnd, core, pack
from tests.monitor.conftest import FakeMonitor, RelayFactory
from tests.monitor.terminal import is_raw, next_stdin

DETACH = b"\x10\x11"


def read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := os.read(fd, size - len(data))):
        data += piece
    return data


def test_output_goes_to_its_stream_and_the_exit_record_comes_back(fake: FakeMonitor, relay: RelayFactory) -> None:
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    running = relay(stdout=out_write, stderr=err_write)
    fake.send(core.STDOUT, b"one")
    fake.send(core.STDERR, b"two")
    fake.exit(7)
    result = running.end()
    assert (result.end, result.exit) == (RelayEnd.EXITED, {"code": 7})
    assert os.read(out_read, 100) == b"one"
    assert os.read(err_read, 100) == b"two"
    for fd in (out_read, out_write, err_read, err_write):
        os.close(fd)


def test_end_of_input_is_passed_on_and_output_goes_on(fake: FakeMonitor, relay: RelayFactory) -> None:
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    running = relay(stdin=in_read, stdout=out_write)
    os.write(in_write, b"last words")
    os.close(in_write)
    assert fake.receive().payload == b"last words"
    assert fake.receive().payload == b""
    fake.send(core.STDOUT, b"answer")
    fake.exit()
    assert running.end().end == RelayEnd.EXITED
    assert os.read(out_read, 100) == b"answer"
    for fd in (in_read, out_read, out_write):
        os.close(fd)


def test_an_input_file_is_read_from_where_it_stands(fake: FakeMonitor, relay: RelayFactory, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"skipped, not skipped")
    with path.open("rb") as file:
        os.lseek(file.fileno(), 9, os.SEEK_SET)
        running = relay(stdin=file.fileno())
        assert fake.stdin(100) == b"not skipped"
        fake.exit()
        running.end()


def test_input_that_can_not_be_read_is_at_its_end(fake: FakeMonitor, relay: RelayFactory, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    running = relay(stdin=folder)
    assert fake.receive().payload == b""
    fake.exit()
    running.end()
    os.close(folder)


def test_a_hung_up_terminal_is_not_the_end_of_input(fake: FakeMonitor, relay: RelayFactory) -> None:
    master, slave = pty.openpty()
    out_read, out_write = os.pipe()
    running = relay(stdin=slave, stdout=out_write, raw=True)
    assert fake.receive().kind == core.RESIZE
    os.close(master)
    for _ in range(2):  # one whole round of the relay lies between them
        fake.send(core.STDOUT, b"x")
        assert os.read(out_read, 1) == b"x"
    fake.exit()
    running.end()
    fake.connection.close()
    assert fake.socket.recv(100) == b"", "an end of input was sent"
    for fd in (slave, out_read, out_write):
        os.close(fd)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_large_copy_in_and_out_is_complete(fake: FakeMonitor, relay: RelayFactory, kind: str) -> None:
    total = 64 << 20
    block = os.urandom(1 << 20)
    if kind == "pipe":
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
    else:
        in_read, in_write = (end.detach() for end in socket.socketpair())
        out_read, out_write = (end.detach() for end in socket.socketpair())
    running = relay(stdin=in_read, stdout=out_write)
    digests = [hashlib.sha256(), hashlib.sha256()]

    def feed() -> None:
        for _ in range(total >> 20):
            digests[0].update(block)
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(in_write, rest) :]
        os.close(in_write)

    def echo() -> None:
        while (packet := fake.receive()).payload:
            fake.send(core.STDOUT, packet.payload)
        fake.exit()

    threads = [threading.Thread(target=feed), threading.Thread(target=echo)]
    for thread in threads:
        thread.start()
    seen = 0
    while seen < total:
        data = os.read(out_read, 1 << 16)
        digests[1].update(data)
        seen += len(data)
    for thread in threads:
        thread.join()
    assert running.end().end == RelayEnd.EXITED
    assert digests[0].digest() == digests[1].digest()
    for fd in (in_read, out_read, out_write):
        os.close(fd)


def test_a_blocked_reader_stops_the_monitor_and_loses_nothing(fake: FakeMonitor, relay: RelayFactory) -> None:
    out_read, out_write = os.pipe()
    running = relay(stdout=out_write)
    fake.socket.settimeout(0.3)
    sent = 0
    try:
        while sent < 1000:
            fake.send(core.STDOUT, b"%-65536d" % sent)
            sent += 1
    except TimeoutError:
        pass
    assert sent < 100, "the relay takes packets that it can't deliver"
    fake.socket.settimeout(20)
    finish = threading.Thread(target=fake.exit)
    finish.start()
    for number in range(sent):
        assert int(read_exactly(out_read, 65536).rstrip()) == number
    finish.join()
    assert running.end().end == RelayEnd.EXITED
    os.close(out_read)
    os.close(out_write)


def test_the_flags_of_shared_descriptors_are_left_alone(
    fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]
) -> None:
    _, slave = terminal
    in_read, in_write = os.pipe()
    running = relay(stdin=in_read, stdout=slave)
    fake.send(core.STDOUT, b"x")
    os.write(in_write, b"y")
    assert next_stdin(fake).payload == b"y"
    assert not fcntl.fcntl(in_read, fcntl.F_GETFL) & os.O_NONBLOCK
    assert not fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK
    fake.exit()
    running.end()
    os.close(in_read)
    os.close(in_write)


def test_no_descriptor_is_left_behind(fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    _, slave = terminal
    running = relay(stdin=slave, stdout=slave, stderr=slave, raw=True, handle_output_closed=True)
    fake.send(core.STDOUT, b"x")
    fake.exit()
    running.end()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_terminal_is_raw_meanwhile_and_put_back_after(
    fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    running = relay(stdin=slave, stdout=slave, raw=True)
    assert fake.receive().kind == core.RESIZE  # after raw mode was entered
    assert is_raw(slave)
    fake.send(core.STDOUT, b"a\nb")
    assert read_exactly(master, 3) == b"a\nb", "output is changed on the way"
    os.write(master, b"\x03")
    assert next_stdin(fake).payload == b"\x03"
    fake.exit()
    running.end()
    assert termios.tcgetattr(slave) == before


def test_without_raw_the_terminal_is_left_alone(
    fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    before = termios.tcgetattr(slave)
    running = relay(stdin=slave)
    os.write(master, b"line\n")
    assert next_stdin(fake).payload == b"line\n"
    assert termios.tcgetattr(slave) == before
    fake.exit()
    running.end()


def test_the_window_size_is_sent_at_the_start(
    fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]
) -> None:
    _, slave = terminal
    running = relay(stdin=slave, raw=True)
    packet = fake.receive()
    assert packet.kind == core.RESIZE
    assert packet.payload == bytes([0x92, 0xCD, 0, 24, 0xCD, 0, 80])
    fake.exit()
    running.end()


@pytest.mark.parametrize("size", [65536, 1 << 20])
def test_a_large_paste_arrives_whole(
    fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int], size: int
) -> None:
    master, slave = terminal
    running = relay(stdin=slave, raw=True, detach_keys=DETACH)
    fake.receive()
    paste = os.urandom(size).replace(b"\x10", b"_")

    def type_it() -> None:
        rest = memoryview(paste)
        while rest:
            rest = rest[os.write(master, rest) :]

    thread = threading.Thread(target=type_it)
    thread.start()
    assert fake.stdin(size) == paste
    thread.join()
    fake.exit()
    running.end()


def test_detach_keys_end_the_relay_and_are_not_passed_on(
    fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    running = relay(stdin=slave, raw=True, detach_keys=DETACH)
    fake.receive()
    os.write(master, b"before" + DETACH)
    assert next_stdin(fake).payload == b"before"
    result = running.end()
    assert (result.end, result.exit) == (RelayEnd.DETACHED, None)
    assert not is_raw(slave)


def test_detach_keys_are_seen_when_typed_one_by_one(
    fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    running = relay(stdin=slave, raw=True, detach_keys=b"abc")
    fake.receive()
    for key in (b"a", b"b", b"c"):
        os.write(master, key)
    assert running.end().end == RelayEnd.DETACHED


def test_a_held_prefix_comes_out_by_itself(fake: FakeMonitor, relay: RelayFactory, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    running = relay(stdin=slave, raw=True, detach_keys=DETACH)
    fake.receive()
    os.write(master, b"\x10")
    assert next_stdin(fake).payload == b"\x10"
    os.write(master, b"\x11")
    assert next_stdin(fake).payload == b"\x11", "the keys were too far apart"
    fake.exit()
    assert running.end().end == RelayEnd.EXITED


def test_detach_keys_in_piped_data_are_data(fake: FakeMonitor, relay: RelayFactory) -> None:
    in_read, in_write = os.pipe()
    running = relay(stdin=in_read, detach_keys=DETACH)
    os.write(in_write, b"a" + DETACH + b"b")
    os.close(in_write)
    assert fake.stdin(100) == b"a" + DETACH + b"b"
    fake.exit()
    assert running.end().end == RelayEnd.EXITED
    os.close(in_read)


def test_a_lost_monitor_is_told_apart_from_being_cut_off(fake: FakeMonitor, relay: RelayFactory) -> None:
    running = relay()
    fake.socket.close()
    assert running.end().end == RelayEnd.LOST


def test_being_cut_off_is_reported(fake: FakeMonitor, relay: RelayFactory) -> None:
    running = relay()
    fake.send(core.CONTROL, pack({"event": "lagging"}))
    fake.socket.close()
    assert running.end().end == RelayEnd.LAGGED


def test_the_exit_record_is_seen_though_input_was_left_unread(fake: FakeMonitor, relay: RelayFactory) -> None:
    in_read, in_write = os.pipe()
    running = relay(stdin=in_read)
    os.write(in_write, b"nobody reads this")
    fake.socket.recv(1, socket.MSG_PEEK)
    fake.exit(3)
    fake.socket.close()
    result = running.end()
    assert (result.end, result.exit) == (RelayEnd.EXITED, {"code": 3})
    os.close(in_read)
    os.close(in_write)


def test_a_closed_output_ends_the_relay(fake: FakeMonitor, relay: RelayFactory) -> None:
    out_read, out_write = os.pipe()
    os.close(out_read)
    running = relay(stdout=out_write)
    fake.send(core.STDOUT, b"x")
    assert running.end().end == RelayEnd.OUTPUT_CLOSED
    os.close(out_write)


def test_a_hung_up_terminal_ends_the_relay_and_is_not_the_containers_business(
    fake: FakeMonitor, relay: RelayFactory
) -> None:
    master, slave = pty.openpty()
    running = relay(stdin=slave, stdout=slave, raw=True, handle_output_closed=True)
    assert fake.receive().kind == core.RESIZE
    os.close(master)
    fake.send(core.STDOUT, b"x")
    assert running.end().end == RelayEnd.OUTPUT_CLOSED
    fake.connection.close()
    try:
        said = fake.socket.recv(100)
    except ConnectionResetError:
        said = b""  # the hang-up was seen first, and the output left unread
    assert said == b""
    os.close(slave)


def test_a_hung_up_terminal_ends_the_relay_of_a_session_that_says_nothing(
    fake: FakeMonitor, relay: RelayFactory
) -> None:
    master, slave = pty.openpty()
    running = relay(stdin=slave, stdout=slave, raw=True, handle_output_closed=True)
    assert fake.receive().kind == core.RESIZE
    os.close(master)
    assert running.end().end == RelayEnd.OUTPUT_CLOSED
    os.close(slave)


def test_a_closed_output_is_told_to_the_container_when_asked(fake: FakeMonitor, relay: RelayFactory) -> None:
    out_read, out_write = os.pipe()
    os.close(out_read)
    running = relay(stdout=out_write, session="s1", handle_output_closed=True)
    fake.send(core.STDOUT, b"x")
    assert fake.request() == {"op": "close_output", "session": "s1", "stream": "stdout"}
    fake.send(core.STDOUT, b"dropped")
    fake.exit(141)
    result = running.end()
    assert (result.end, result.exit) == (RelayEnd.EXITED, {"code": 141})
    os.close(out_write)


def test_what_came_before_the_relay_is_not_lost(fake: FakeMonitor, relay: RelayFactory) -> None:
    out_read, out_write = os.pipe()
    fake.send(core.STDOUT, b"early ")
    fake.send(core.CONTROL, pack({"op": "attach", "ok": True, "tty": False}))
    assert fake.connection.reply("attach")["tty"] is False
    running = relay(stdout=out_write)
    fake.send(core.STDOUT, b"late")
    fake.exit()
    running.end()
    assert os.read(out_read, 100) == b"early late"
    os.close(out_read)
    os.close(out_write)
