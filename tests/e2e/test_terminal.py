"""`-it` behaves like a local terminal; let go of with the keys, it is taken up again elsewhere."""

from __future__ import annotations

import os
import signal

import pytest

from tests.conftest import Remora
from tests.e2e.conftest import TerminalFactory
from tests.support import host
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

PROMPT = b"/ # "


def test_an_interactive_shell_echoes_answers_and_gives_its_exit_code(terminal: TerminalFactory) -> None:
    shell = terminal("run", "-it", "--rm", "busybox", "sh")
    shell.expect(PROMPT)
    assert shell.is_raw()
    shell.type("tty; echo $((6*7))\r")
    shell.expect("/dev/pts/0\r\n42\r\n")
    shell.expect(PROMPT)
    shell.type("exit 11\r")
    assert shell.wait() == 11
    assert shell.is_restored()


def test_the_window_has_its_size_before_the_command_starts(terminal: TerminalFactory) -> None:
    for number in range(10):
        command = terminal("run", "-it", "--rm", "busybox", "stty", "size", rows=31 + number, columns=113)
        command.expect(f"{31 + number} 113\r\n")
        assert command.wait() == 0


def test_a_new_window_size_reaches_the_command(terminal: TerminalFactory) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    command = terminal("run", "-it", "--rm", "--name", "resized", "busybox", "sh", "-c", script)
    command.expect("ready\r\n")
    command.resize(50, 132)
    command.expect("50 132\r\n")
    command.resize(10, 20)
    command.expect("10 20\r\n")


def test_ctrl_c_interrupts_the_foreground_of_the_container(terminal: TerminalFactory) -> None:
    script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    command = terminal("run", "-it", "--rm", "busybox", "sh", "-c", script)
    command.expect("ready\r\n")
    command.type(b"\x03")
    command.expect("caught\r\n")
    assert command.wait() == 3
    assert command.is_restored()


def test_ctrl_d_ends_the_input(terminal: TerminalFactory) -> None:
    command = terminal("run", "-it", "--rm", "busybox", "cat")
    command.type("text\r")
    command.expect("text\r\ntext\r\n")
    command.type(b"\x04")
    assert command.wait() == 0


def test_a_paste_of_64_kib_arrives_whole_line_by_line(terminal: TerminalFactory) -> None:
    """1024 lines at once into `cat` with the terminal's own line editing on."""
    lines = [f"{number:04d} {'abcdefghij' * 5} and so on" for number in range(1024)]
    text = "\n".join(lines) + "\n"
    assert len(text) >= 64 << 10
    command = terminal("run", "-it", "--rm", "busybox", "sh", "-c", "stty -echo; echo ready; exec cat")
    command.expect("ready\r\n")
    command.type(text)
    expected = text.replace("\n", "\r\n").encode()
    assert command.read_for(len(expected)) == expected
    command.type(b"\x04")
    assert command.wait() == 0


def test_a_paste_of_64_kib_of_any_bytes_arrives_whole_at_a_raw_program(terminal: TerminalFactory) -> None:
    data = os.urandom(65536)
    script = "stty raw -echo; echo ready; head -c 65536 | od -An -v -tx1 | tr -d ' \\n'"
    command = terminal("run", "-it", "--rm", "--detach-keys", "", "busybox", "sh", "-c", script)
    command.expect("ready\n")
    command.type(data)
    assert command.read_for(131072) == data.hex().encode()
    assert command.wait() == 0


def test_a_mebibyte_of_screen_output_arrives_whole(terminal: TerminalFactory) -> None:
    command = terminal("run", "-it", "--rm", "busybox", "seq", "1", "150000")
    assert command.wait(60) == 0
    assert command.screen == "".join(f"{number}\r\n" for number in range(1, 150001)).encode()


def test_the_detach_keys_let_go_and_attach_takes_up_again(remora: Remora, terminal: TerminalFactory) -> None:
    first = terminal("run", "-it", "--name", "kept", "busybox", "sh")
    first.expect(PROMPT)
    first.type("secret=1234\r")
    first.expect(PROMPT)
    first.type(b"\x10\x11")
    assert first.wait() == 0
    assert first.is_restored()
    assert remora("ps", "--format", "{{.Names}}") == "kept"

    second = terminal("attach", "kept")
    second.type("echo it is $secret\r")
    second.expect("it is 1234\r\n")
    second.expect(PROMPT)
    second.type("exit 12\r")
    assert second.wait() == 12
    assert second.is_restored()
    assert remora("wait", "kept") == "12"


def test_what_was_started_detached_with_a_terminal_is_attached_to(remora: Remora, terminal: TerminalFactory) -> None:
    remora("run", "-d", "-it", "--name", "later", "busybox", "sh")
    one = terminal("attach", "later", rows=33, columns=99)
    one.type("stty size\r")
    one.expect("33 99\r\n")
    two = terminal("attach", "later", rows=33, columns=99)
    two.type("echo se''en by both\r")
    two.expect("seen by both\r\n")
    one.expect("seen by both\r\n")
    one.type(b"\x10\x11")
    assert one.wait() == 0
    two.type("exit 4\r")
    assert two.wait() == 4


def test_other_detach_keys_can_be_chosen(terminal: TerminalFactory) -> None:
    command = terminal("run", "-it", "--detach-keys", "ctrl-a,d", "busybox", "sh")
    command.expect(PROMPT)
    command.type(b"\x01d")
    assert command.wait() == 0
    assert command.is_restored()


def test_a_detach_prefix_that_goes_nowhere_is_handed_on_after_a_short_time(terminal: TerminalFactory) -> None:
    reads = "; ".join(f"dd bs=1 count={count} 2>/dev/null | od -An -tx1" for count in (1, 2))
    script = f"stty raw -echo; echo ready; {reads}"
    command = terminal("run", "-it", "--rm", "busybox", "sh", "-c", script)
    command.expect("ready\n")
    command.type(b"\x10")
    command.expect("10\n")
    command.type(b"\x10x")
    command.expect("10 78\n")
    assert command.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_client_restores_the_terminal(
    remora: Remora, terminal: TerminalFactory, number: signal.Signals
) -> None:
    remora("run", "-d", "-it", "--name", "stays", "busybox", "sh")
    client = terminal("attach", "--sig-proxy=false", "stays")
    client.type("\r")
    client.expect(PROMPT)
    assert client.is_raw()
    client.process.send_signal(number)
    client.wait()
    assert client.is_restored()
    assert remora("inspect", "-f", "{{.State.Status}}", "stays") == "running"


def test_the_terminal_is_restored_when_the_monitor_is_lost(remora: Remora, terminal: TerminalFactory) -> None:
    client = terminal("run", "-it", "--name", "lost", "busybox", "sh")
    client.expect(PROMPT)
    host.kill_monitor(int(remora("inspect", "-f", "{{.State.ConmonPid}}", "lost")))
    assert client.wait() == 125
    assert client.is_restored()
    assert b"lost" in client.screen.splitlines()[-1]


def test_the_terminal_is_restored_when_the_container_is_killed(remora: Remora, terminal: TerminalFactory) -> None:
    client = terminal("run", "-it", "--name", "killed", "busybox", "sh")
    client.expect(PROMPT)
    remora("kill", "killed")
    assert client.wait() == 137
    assert client.is_restored()


def test_a_hung_up_terminal_leaves_the_container_running(remora: Remora, terminal: TerminalFactory) -> None:
    client = terminal("run", "-it", "--name", "stays", "busybox", "sh")
    client.expect(PROMPT)
    client.hang_up()
    assert client.process.wait(10) != 0
    assert remora("inspect", "-f", "{{.State.Status}}", "stays") == "running"
    again = terminal("attach", "stays")
    again.type("echo he''re\r")
    again.expect("here\r\n")


def test_ctrl_z_suspends_a_program_inside_and_fg_resumes_it(terminal: TerminalFactory) -> None:
    shell = terminal("run", "-it", "--rm", "busybox", "sh")
    shell.expect(PROMPT)
    shell.type("sleep 1000\r")
    shell.expect("sleep 1000\r\n")
    eventually(lambda: _suspended(shell), "the shell has its prompt back")
    shell.type("jobs\r")
    shell.expect("Stopped")


def _suspended(shell: Terminal) -> bool:
    shell.type(b"\x1a")
    try:
        shell.expect("Stopped", timeout=0.5)
    except AssertionError:
        return False
    return True


def test_a_full_screen_program_gets_keys_and_draws(terminal: TerminalFactory) -> None:
    editor = terminal("run", "-it", "--rm", "-e", "TERM=xterm", "busybox", "sh", "-c", "vi /note; cat /note")
    editor.expect("/note")
    editor.type("ihello")
    editor.expect("hello")
    editor.type("\x1b")
    editor.expect("- /note")  # an escape key that is followed at once looks like a function key
    editor.type(":wq\r")
    editor.expect("hello\r\n")
    assert editor.wait() == 0


def test_tty_without_a_terminal_on_our_side_still_gives_the_container_one(remora: Remora) -> None:
    result = remora.run("run", "-t", "--rm", "busybox", "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo yes")
    assert result.stdout.strip() == "yes"
    assert result.stderr == ""
