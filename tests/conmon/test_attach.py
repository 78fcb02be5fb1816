"""The attach socket: framing, input, its path, several clients."""

from __future__ import annotations

import os
import select
import shutil
import socket
import stat
import threading
from pathlib import Path

import pytest

from tests.conmon.caller import STDERR, STDOUT, Caller, Client
from tests.support.columns import Monitor
from tests.support.waiting import eventually


def test_packets_carry_their_stream_and_8192_bytes(caller: Caller) -> None:
    script = (
        "head -c 20000 /dev/zero | tr '\\0' x > /tmp/x; cat /shared/go >/dev/null; cat /tmp/x; sleep 0.2; echo err >&2"
    )
    os.mkfifo(caller.shared / "go")
    caller.create("sh", "-c", script)
    client = caller.client()
    caller.begin()
    (caller.shared / "go").write_text("")
    packets = []
    while (packet := client.packet())[0]:
        packets.append(packet)
    assert all(len(data) <= 8192 for _, data in packets)
    assert b"".join(data for stream, data in packets if stream == STDOUT) == b"x" * 20000
    assert packets[-1] == (STDERR, b"err\n")


def test_a_client_from_before_the_start_sees_all(caller: Caller) -> None:
    caller.create("sh", "-c", "echo one; echo two >&2; exit 3")
    client = caller.client()
    caller.begin()
    assert client.rest() == {STDOUT: b"one\n", STDERR: b"two\n"}
    assert caller.code() == "3"


@pytest.mark.parametrize("tty", [False, True])
def test_a_monitor_that_is_slow_to_watch_the_memory_loses_no_client(caller: Caller, tty: bool) -> None:
    """The process may have come and gone before the monitor gets round to looking at who is attached."""
    calls = "eventfd2,inotify_add_watch"
    delay = ["-e", f"trace={calls}", "-e", f"inject={calls}:delay_exit=300000"]
    caller.prefix = ["strace", "-D", "-f", "-qq", "-o", str(caller.folder / "trace"), *delay]
    caller.create("sh", "-c", "echo out; exit 3", tty=tty)
    client = caller.client()
    caller.begin()
    assert client.rest() == {STDOUT: b"out\r\n" if tty else b"out\n"}
    assert caller.code() == "3"


def test_every_client_gets_all(caller: Caller) -> None:
    caller.create("sh", "-c", "seq 1 20000")
    clients = [caller.client() for _ in range(3)]
    caller.begin()
    wanted = b"".join(b"%d\n" % n for n in range(1, 20001))
    results: list[bytes] = [b""] * 3

    def read(number: int) -> None:
        results[number] = clients[number].rest()[STDOUT]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [wanted] * 3


def test_input_reaches_the_container_and_its_end_too(caller: Caller) -> None:
    caller.create("sh", "-c", "cat; echo over", options=["-i"])
    client = caller.client()
    caller.begin()
    client.send(b"hello\n")
    assert client.until(b"hello\n") == b"hello\n"
    client.half_close()
    assert client.rest() == {STDOUT: b"over\n"}, "a half-closed client still gets output"


def test_input_before_the_start_is_kept(caller: Caller) -> None:
    caller.create("cat", options=["-i"])
    client = caller.client()
    client.send(b"early\n")
    client.half_close()
    caller.begin()
    assert client.rest() == {STDOUT: b"early\n"}


def test_megabytes_of_input_come_through(caller: Caller) -> None:
    data = os.urandom(3 << 20)
    caller.create("sh", "-c", "wc -c; sleep 0", options=["-i"])
    client = caller.client()
    caller.begin()
    client.send(data)
    client.half_close()
    assert client.rest() == {STDOUT: b"%d\n" % len(data)}


def test_32768_bytes_of_a_packet_are_taken(caller: Caller) -> None:
    caller.create("wc", "-c", options=["-i"])
    client = caller.client()
    caller.begin()
    client.socket.sendall(b"x" * 32768)
    client.half_close()
    assert client.rest() == {STDOUT: b"32768\n"}


@pytest.mark.conmon_fails("the tail of a packet beyond 32768 bytes is lost")
def test_a_larger_packet_is_not_cut(caller: Caller) -> None:
    caller.create("wc", "-c", options=["-i"])
    client = caller.client()
    caller.begin()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    client.socket.sendall(b"x" * 65536)
    client.half_close()
    assert client.rest() == {STDOUT: b"65536\n"}


def test_without_i_input_is_dropped_and_at_its_end(caller: Caller) -> None:
    caller.create("sh", "-c", "cat; echo over")
    client = caller.client()
    client.send(b"unread\n")
    caller.begin()
    assert client.rest() == {STDOUT: b"over\n"}


def test_a_client_that_goes_ends_the_input(caller: Caller) -> None:
    caller.create("sh", "-c", "cat; echo over", options=["-i"])
    first, second = caller.client(), caller.client()
    caller.begin()
    first.send(b"one\n")
    for client in (first, second):
        assert client.until(b"one\n") == b"one\n"
    first.close()
    assert second.rest() == {STDOUT: b"over\n"}


@pytest.mark.conmon_fails("the reset that such a client leaves is no end to it")
def test_a_client_that_goes_with_output_unread_ends_the_input(caller: Caller) -> None:
    caller.create("sh", "-c", "cat; echo over", options=["-i"])
    first, second = caller.client(), caller.client()
    second.socket.settimeout(caller.monitor.patience)
    caller.begin()
    first.send(b"one\n")
    second.until(b"one\n")
    select.select([first.socket], [], [], 3)
    first.close()
    assert second.rest() == {STDOUT: b"over\n"}


def test_leave_stdin_open_lets_a_later_client_write(caller: Caller) -> None:
    caller.create("sh", "-c", "read a; read b; echo $a $b", options=["-i", "--leave-stdin-open"])
    first = caller.client()
    caller.begin()
    first.send(b"one\n")
    first.close()
    second = caller.client()
    second.send(b"two\n")
    assert second.rest() == {STDOUT: b"one two\n"}


def test_leave_stdin_open_survives_a_half_close(caller: Caller) -> None:
    caller.create("sh", "-c", "read a; echo got $a", options=["-i", "--leave-stdin-open"])
    first = caller.client()
    caller.begin()
    first.half_close()
    second = caller.client()
    second.send(b"one\n")
    assert first.rest() == second.rest() == {STDOUT: b"got one\n"}


def test_a_terminal_has_one_stream(caller: Caller) -> None:
    caller.create("sh", "-c", "echo out; echo err >&2", tty=True)
    client = caller.client()
    caller.begin()
    assert client.rest() == {STDOUT: b"out\r\nerr\r\n"}


def test_a_terminals_input_outlives_its_client(caller: Caller) -> None:
    caller.create("sh", "-c", "read a; read b; echo got $a $b", tty=True)
    first = caller.client()
    caller.begin()
    first.send(b"one\n")
    first.until(b"one")
    first.close()
    second = caller.client()
    second.send(b"two\n")
    assert b"got one two" in second.rest()[STDOUT]


def test_a_client_without_output_sees_the_end(caller: Caller) -> None:
    caller.create("sh", "-c", "exit 8")
    client = caller.client()
    caller.begin()
    assert client.rest() == {}
    assert caller.code() == "8"


@pytest.mark.conmon_fails("the connection ends before")
def test_the_exit_file_is_there_when_a_client_sees_the_end(caller: Caller) -> None:
    caller.create("sh", "-c", "exit 8")
    client = caller.client()
    caller.begin()
    client.rest()
    assert caller.exit_file().read_text() == "8"
    assert (caller.persist / "exit").read_text() == "8"


def test_full_attach_works_in_a_bundle_with_a_long_path(monitor: Monitor, tmp_path: Path, rootfs: Path) -> None:
    folder = tmp_path / ("long-" * 20) / ("longer-" * 15)
    folder.mkdir(parents=True)
    caller = Caller(monitor, folder, rootfs)
    try:
        caller.create("echo", "through")
        client = caller.client()
        mode = (caller.bundle / "attach").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o700
        caller.begin()
        assert client.rest() == {STDOUT: b"through\n"}
        caller.code()
        eventually(lambda: not (caller.bundle / "attach").exists(), "the socket is removed")
    finally:
        caller.close()


@pytest.mark.parametrize("length", [60, 105, 106, 107])
def test_the_short_path_is_a_link_in_the_socket_folder(caller: Caller, length: int) -> None:
    """The path of the link, `FOLDER/ID`, has so many bytes; of 107 the last is cut off."""
    base = Path("/tmp") / f"cs-{caller.id[:6]}"
    sockets = base / ("d" * (length - len(str(base)) - 2 - 32))
    sockets.mkdir(parents=True)
    try:
        unique = caller.id[:32]
        link = sockets / unique
        assert len(str(link)) == length
        caller.configure(["echo", "through"])
        words = caller.options("--socket-dir-path", str(sockets), full_attach=False)
        words[words.index("-u") + 1] = unique
        caller.created(caller.spawn(words))
        wanted = link if length < 107 else sockets / unique[:-1]
        assert os.readlink(wanted) == str(caller.bundle)
        client = Client(wanted)
        caller.begin()
        assert client.rest() == {STDOUT: b"through\n"}
        client.close()
        caller.code()
        eventually(lambda: not (caller.bundle / "attach").exists(), "the socket is removed")
    finally:
        caller.close()
        shutil.rmtree(base)


def test_a_missing_socket_folder_is_fatal_after_daemonising(caller: Caller) -> None:
    caller.configure(["true"])
    spawned = caller.spawn(caller.options("--socket-dir-path", "/no/folder", full_attach=False))
    assert spawned.status() == 0
    assert spawned.report().get("data", -1) == -1
    assert not caller.pidfile.exists()


def test_a_client_that_vanishes_in_the_middle_harms_nobody(caller: Caller) -> None:
    caller.create("sh", "-c", "seq 1 100000")
    victim, other = caller.client(), caller.client()
    caller.begin()
    victim.packet()
    victim.close()
    assert other.rest()[STDOUT].endswith(b"\n100000\n")
    assert caller.code() == "0"
