"""Terminals: the ctl and winsz fifos, the console socket, output flags."""

from __future__ import annotations

import fcntl
import os
import stat
import termios

import pytest

from tests.conmon.caller import STDOUT, Caller, Client
from tests.support.waiting import eventually

# Says its size at the start and after each change.
SIZES = "trap 'echo size $(stty size).' WINCH; echo ready $(stty size).; while :; do sleep 0.02; done"


def sized(caller: Caller) -> Client:
    """A running container that tells its sizes, and a client that has seen it start."""
    caller.create("sh", "-c", SIZES, tty=True)
    client = caller.client()
    caller.begin()
    client.until(b"ready")
    return client


def test_the_fifos_have_mode_0640(caller: Caller) -> None:
    caller.create("sleep", "1000", tty=True)
    for name in ("ctl", "winsz"):
        mode = (caller.bundle / name).stat().st_mode
        assert stat.S_ISFIFO(mode)
        assert stat.S_IMODE(mode) == 0o640


def test_old_fifos_and_sockets_are_replaced(caller: Caller) -> None:
    for name in ("ctl", "winsz", "attach"):
        (caller.bundle / name).write_text("old")
    caller.run("sh", "-c", "exit 4")
    assert caller.code() == "4"
    assert stat.S_ISFIFO((caller.bundle / "ctl").stat().st_mode)


@pytest.mark.parametrize(
    ("line", "rows", "columns"),
    [
        ("1 33 77", 33, 77),
        ("1 0032 0101", 32, 101),
        ("  1   40   90  ", 40, 90),
        ("1 +25 +81", 25, 81),
        ("1 50 60 more text", 50, 60),
    ],
)
def test_ctl_resizes(caller: Caller, line: str, rows: int, columns: int) -> None:
    client = sized(caller)
    caller.control("ctl", f"{line}\n".encode())
    client.until(f"size {rows} {columns}.".encode())


def test_winsz_resizes(caller: Caller) -> None:
    client = sized(caller)
    caller.control("winsz", b"21 31\n")
    client.until(b"size 21 31.")


def test_writers_come_and_go(caller: Caller) -> None:
    client = sized(caller)
    for rows in (30, 31, 32):
        caller.control("ctl", b"1 %d 70\n" % rows)
        client.until(b"size %d 70." % rows)


def test_a_line_may_come_in_pieces(caller: Caller) -> None:
    client = sized(caller)
    fd = os.open(caller.bundle / "ctl", os.O_WRONLY)
    os.write(fd, b"1 3")
    eventually(lambda: unread(fd) == 0, "the first piece is read")
    os.write(fd, b"5 71\n")
    os.close(fd)
    client.until(b"size 35 71.")


def unread(fd: int) -> int:
    """Bytes that lie in a fifo."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4), "little")


@pytest.mark.conmon_fails("both fifos share one buffer")
def test_pieces_of_the_two_fifos_do_not_mix(caller: Caller) -> None:
    client = sized(caller)
    client.socket.settimeout(caller.monitor.patience)
    fd = os.open(caller.bundle / "ctl", os.O_WRONLY)
    os.write(fd, b"1 3")
    eventually(lambda: unread(fd) == 0, "the first piece is read")
    caller.control("winsz", b"20 20\n")
    client.until(b"size 20 20.")
    os.write(fd, b"5 71\n")
    os.close(fd)
    client.until(b"size 35 71.")


@pytest.mark.conmon_fails("the first line is handled again and again")
def test_several_lines_of_one_write_are_each_handled(caller: Caller) -> None:
    client = sized(caller)
    client.socket.settimeout(caller.monitor.patience)
    caller.control("ctl", b"1 11 41\n1 12 42\n1 13 43\n")
    client.until(b"size 13 43.")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"rubbish\n",
        b"9 1 1\n",
        b"1\n",
        b"1 2\n",
        b"\n",
        b"1 -5 -5\n",
        b"1 99999999999 1\n",
        b"x" * 300 + b"\n",
        b"\0\0\n",
    ],
)
def test_rubbish_harms_nobody(caller: Caller, rubbish: bytes) -> None:
    client = sized(caller)
    caller.control("ctl", rubbish)
    caller.control("winsz", b"44 66\n")
    client.until(b"size 44 66.")
    caller.runc("kill", caller.id, "KILL")
    assert caller.code() == "137"


def test_a_size_sent_before_the_start_is_the_first_size(caller: Caller) -> None:
    caller.create("sh", "-c", SIZES, tty=True)
    client = caller.client()
    caller.control("ctl", b"1 45 67\n")
    caller.begin()
    client.until(b" 45 67.")


def test_a_terminal_turns_newlines_into_cr_lf(caller: Caller) -> None:
    caller.create("sh", "-c", "echo one", tty=True)
    client = caller.client()
    caller.begin()
    assert client.rest() == {STDOUT: b"one\r\n"}
    caller.code()
    assert caller.records() == [("stdout", "F", "one\r")]


def test_the_console_socket_is_gone_after_the_start(caller: Caller) -> None:
    before = {name for name in os.listdir("/tmp") if name.startswith("conmon-term.")}
    caller.create("sleep", "1000", tty=True)
    assert {name for name in os.listdir("/tmp") if name.startswith("conmon-term.")} <= before


def test_the_console_socket_lies_in_tmpdir(caller: Caller) -> None:
    place = caller.folder / "t"
    place.mkdir()
    place.chmod(0o500)
    caller.configure(["sleep", "1000"], tty=True)
    trace = caller.folder / "runtime"
    trace.write_text(f'#!/bin/sh\necho "$@" > {caller.folder}/words\nexit 1\n')
    trace.chmod(0o755)
    words = [str(trace) if word.endswith("/runc") and "-r" in word else word for word in caller.options("-t")]
    words[words.index("-r") + 1] = str(trace)
    caller.spawn(words, env={"TMPDIR": str(place)}).sync.line()
    caller.monitor_ended()
    assert f"--console-socket {place}/conmon-term." in (caller.folder / "words").read_text()


def test_a_large_paste_that_nobody_reads_blocks_nothing(caller: Caller) -> None:
    caller.create(
        "sh",
        "-c",
        "stty raw -echo; echo ready; while ! test -e /shared/go; do sleep 0.02; done; echo went; exit 3",
        tty=True,
    )
    client = caller.client()
    caller.begin()
    client.until(b"ready")
    client.socket.setblocking(False)
    try:
        for _ in range(100):
            client.socket.send(b"x" * 30000)
    except BlockingIOError:
        pass
    other = caller.client()
    (caller.shared / "go").touch()
    other.until(b"went")
    assert caller.code() == "3"


def test_megabytes_typed_into_a_terminal_come_through(caller: Caller) -> None:
    caller.create("sh", "-c", "stty raw -echo; echo ready; head -c 500000 | wc -c", tty=True)
    client = caller.client()
    caller.begin()
    client.until(b"ready")
    client.send(b"x" * 500000)
    assert b"500000" in client.rest()[STDOUT]


def test_a_terminal_may_be_closed_and_opened_again_inside(caller: Caller) -> None:
    script = "exec </dev/null >/dev/null 2>&1; sleep 0.3; echo back > /dev/console; exit 6"
    caller.create("sh", "-c", script, tty=True)
    client = caller.client()
    caller.begin()
    out = client.rest().get(STDOUT, b"")
    assert caller.code() == "6"
    assert out in (b"back\r\n", b"")  # a runtime without /dev/console can't


def test_ctl_2_reopens_the_log(caller: Caller) -> None:
    caller.run("sh", "-c", "echo one; while ! test -e /shared/go; do sleep 0.02; done; echo two")
    caller.logged(("stdout", "F", "one"))
    old = caller.folder / "log.old"
    caller.log.rename(old)
    caller.control("ctl", b"2 0 0\n")
    eventually(caller.log.exists, "the new log is there")
    (caller.shared / "go").touch()
    caller.code()
    caller.logged(("stdout", "F", "two"))
    assert caller.records(old) == [("stdout", "F", "one")]
