"""The relay as a process among others: signals, job control, stopping and going on."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import tty
from typing import Any

import pytest

from remora.monitor import RelayEnd, core
from tests.monitor.conftest import FakeMonitor
from tests.monitor.terminal import is_raw, next_stdin


class Child:
    """A relay in a process of its own, which leads a session with the pty as its terminal."""

    def __init__(self, fake: FakeMonitor, slave: int, **options: Any) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                os.setsid()
                fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
                for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):  # a shell ignores them in the background
                    signal.signal(number, signal.SIG_DFL)
                fake.socket.close()
                result = fake.connection.relay(run_dir=fake.run_dir, stdin=slave, stdout=slave, **options)
                status = result.end
            finally:
                os._exit(status)
        fake.connection.close()

    def wait(self, flags: int = 0) -> int:
        return os.waitpid(self.pid, flags)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_a_fatal_signal_puts_the_terminal_back_and_then_kills(
    fake: FakeMonitor, terminal: tuple[int, int], number: int
) -> None:
    _, slave = terminal
    before = termios.tcgetattr(slave)
    child = Child(fake, slave, raw=True)
    assert fake.receive().kind == core.RESIZE
    assert is_raw(slave)
    os.kill(child.pid, number)
    status = child.wait()
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number
    assert termios.tcgetattr(slave) == before


def test_signals_are_passed_on_and_overtake_blocked_input(fake: FakeMonitor, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    tty.setraw(slave)
    child = Child(fake, slave, proxy_signals=True, session="e1")
    os.write(master, b"x")
    assert fake.receive().payload == b"x"  # the relay is at work
    os.set_blocking(master, False)
    try:
        while True:
            os.write(master, b"x" * 4096)  # nobody takes these from the socket
    except BlockingIOError:
        pass
    for number in (signal.SIGTERM, signal.SIGUSR2):
        os.kill(child.pid, number)
        assert fake.request() == {"op": "signal", "session": "e1", "signal": number}
    fake.exit()
    assert os.waitstatus_to_exitcode(child.wait()) == RelayEnd.EXITED


def test_a_new_window_size_is_sent(fake: FakeMonitor, terminal: tuple[int, int]) -> None:
    _, slave = terminal
    child = Child(fake, slave, raw=True)
    assert fake.receive().kind == core.RESIZE
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 300, 0, 0))
    packet = fake.receive()
    assert packet.kind == core.RESIZE
    assert packet.payload == bytes([0x92, 0xCD, 0, 50, 0xCD, 1, 44])
    fake.exit()
    child.wait()


def test_being_stopped_gives_the_terminal_back_until_continued(fake: FakeMonitor, terminal: tuple[int, int]) -> None:
    _, slave = terminal
    before = termios.tcgetattr(slave)
    child = Child(fake, slave, raw=True)
    assert fake.receive().kind == core.RESIZE
    os.kill(child.pid, signal.SIGTSTP)
    assert os.WIFSTOPPED(child.wait(os.WUNTRACED))
    assert termios.tcgetattr(slave) == before
    os.kill(child.pid, signal.SIGCONT)
    assert fake.receive().kind == core.RESIZE
    assert is_raw(slave)
    fake.exit()
    assert os.waitstatus_to_exitcode(child.wait()) == RelayEnd.EXITED
    assert termios.tcgetattr(slave) == before


def test_raw_mode_comes_back_after_a_shell_changed_the_terminal_of_a_stopped_relay(
    fake: FakeMonitor, terminal: tuple[int, int]
) -> None:
    _, slave = terminal
    before = termios.tcgetattr(slave)
    child = Child(fake, slave, raw=True)
    assert fake.receive().kind == core.RESIZE
    os.kill(child.pid, signal.SIGSTOP)
    assert os.WIFSTOPPED(child.wait(os.WUNTRACED))
    termios.tcsetattr(slave, termios.TCSANOW, before)
    os.kill(child.pid, signal.SIGCONT)
    assert fake.receive().kind == core.RESIZE
    assert is_raw(slave)
    fake.exit()
    child.wait()
    assert termios.tcgetattr(slave) == before


def test_ignored_signals_stay_ignored(fake: FakeMonitor, terminal: tuple[int, int]) -> None:
    _, slave = terminal
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        child = Child(fake, slave, raw=True)
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert fake.receive().kind == core.RESIZE
    os.kill(child.pid, signal.SIGHUP)
    fake.send(core.STDOUT, b"x")
    fake.exit()
    assert os.waitstatus_to_exitcode(child.wait()) == RelayEnd.EXITED


def test_a_python_signal_handler_sees_its_signal(fake: FakeMonitor, terminal: tuple[int, int]) -> None:
    _, slave = terminal
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            fake.connection.relay(run_dir=fake.run_dir, stdin=slave, raw=True)
        except KeyboardInterrupt:
            status = 1 if is_raw(slave) else 42
        finally:
            os._exit(status)
    assert fake.receive().kind == core.RESIZE
    os.kill(pid, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_a_relay_in_the_background_waits_for_the_foreground(fake: FakeMonitor, terminal: tuple[int, int]) -> None:
    """A shell's part is played by a session leader, which starts the relay in a process group of its own."""
    _, slave = terminal
    before = termios.tcgetattr(slave)
    shell = os.fork()
    if shell == 0:
        status = 99
        try:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # as shells do
            job = os.fork()
            if job == 0:
                os.setpgid(0, 0)
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                fake.socket.close()
                os._exit(fake.connection.relay(run_dir=fake.run_dir, stdin=slave, stdout=slave, raw=True).end)
            fake.connection.close()
            _, stopped = os.waitpid(job, os.WUNTRACED)
            assert os.WIFSTOPPED(stopped)
            assert os.WSTOPSIG(stopped) == signal.SIGTTOU
            assert termios.tcgetattr(slave) == before
            os.tcsetpgrp(slave, job)
            os.kill(job, signal.SIGCONT)
            _, ended = os.waitpid(job, 0)
            status = os.waitstatus_to_exitcode(ended)
        finally:
            os._exit(status)
    fake.connection.close()
    assert fake.receive().kind == core.RESIZE
    assert is_raw(slave)
    fake.exit()
    assert os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1]) == RelayEnd.EXITED
    assert termios.tcgetattr(slave) == before


def test_an_idle_relay_uses_no_time(fake: FakeMonitor, terminal: tuple[int, int]) -> None:
    """Also with its input at an end and its second connection closed, which poll reports for ever."""
    master, slave = terminal
    tty.setraw(slave)
    child = Child(fake, slave, proxy_signals=True, handle_output_closed=True)
    os.write(master, b"x")
    assert next_stdin(fake).payload == b"x"
    os.kill(child.pid, signal.SIGUSR1)
    assert fake.request()["op"] == "signal"
    fake.second.close()
    used = os.sysconf("SC_CLK_TCK")

    def ticks() -> int:
        with open(f"/proc/{child.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    begin = ticks()
    fake.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        fake.receive()
    assert ticks() - begin < used // 10
    fake.exit()
    child.wait()
