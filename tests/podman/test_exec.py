"""`podman exec`: streams, terminals, exit codes, nothing left behind."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.podman.engine import Podman
from tests.support.waiting import eventually


@pytest.fixture
def c(podman: Podman, helper: Path) -> str:
    """A running container by name."""
    podman.start("sleep", "1000", options=["--name", "c", "-v", f"{helper}:/h"])
    return "c"


def test_exec_hands_each_stream_on_by_itself(podman: Podman, c: str) -> None:
    result = podman.run("exec", c, "sh", "-c", "echo out; echo err >&2; exit 5", status=5)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 137])
def test_exec_returns_the_exit_code(podman: Podman, c: str, code: int) -> None:
    podman.run("exec", c, "sh", "-c", f"exit {code}", status=code)


def test_exec_killed_by_a_signal_is_128_plus_signal(podman: Podman, c: str) -> None:
    podman.run("exec", c, "sh", "-c", "kill -9 $$", status=137)


def test_exec_of_a_missing_program_is_127(podman: Podman, c: str) -> None:
    result = podman.run("exec", c, "/no/such", status=127)
    assert b"no such file" in result.stderr.lower()


def test_exec_of_a_file_that_is_no_program_is_126(podman: Podman, c: str) -> None:
    result = podman.run("exec", c, "/etc/passwd", status=126)
    assert b"permission denied" in result.stderr.lower()


def test_exec_i_echoes_megabytes_back(podman: Podman, c: str) -> None:
    data = os.urandom(3 << 20)
    assert podman.run("exec", "-i", c, "cat", input=data).stdout == data


def test_exec_i_goes_on_after_the_end_of_its_input(podman: Podman, c: str) -> None:
    result = podman.run("exec", "-i", c, "sh", "-c", "wc -c; echo more", input=b"12345")
    assert result.stdout == b"5\nmore\n"


def test_exec_gives_all_of_a_large_output(podman: Podman, c: str) -> None:
    lines = b"".join(b"%d\n" % number for number in range(1, 500001))
    out = podman.run("exec", c, "seq", "1", "500000").stdout
    assert hashlib.sha256(out).hexdigest() == hashlib.sha256(lines).hexdigest()


def test_exec_of_short_commands_never_loses_output(podman: Podman, c: str) -> None:
    for number in range(8):
        assert podman("exec", c, "echo", str(number)) == str(number)


def test_exec_without_t_is_no_terminal(podman: Podman, c: str) -> None:
    assert podman.run("exec", c, "tty", status=1).stdout == b"not a tty\n"


def test_exec_t_is_a_terminal(podman: Podman, c: str) -> None:
    result = podman.run("exec", "-t", c, "sh", "-c", "tty; echo err >&2; exit 3", status=3)
    assert b"/dev/pts/" in result.stdout
    assert b"err\r\n" in result.stdout


def test_exec_it_takes_input_and_a_new_size(podman: Podman, c: str) -> None:
    # The trap is set after the first line: the client sends a size of its own accord when it begins.
    script = "echo ready; read x; trap 'echo now $(stty size)' WINCH; echo got $x; while read x; do :; done; exit 6"
    with podman.terminal("exec", "-it", c, "sh", "-c", script) as term:
        term.expect("ready")
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type(b"one\r")
        term.expect("got one")
        term.resize(30, 101)
        term.type(b"\r")  # wakes the read, so that the trap is run
        term.expect("now 30 101")
        term.type(b"\x04")
        assert term.wait() == 6
        assert term.is_restored()


def test_exec_d_goes_on_by_itself(podman: Podman, c: str) -> None:
    podman("exec", "-d", c, "sh", "-c", "echo x > /mark")
    eventually(lambda: podman.run("exec", c, "cat", "/mark", status=None).stdout == b"x\n", "the command has run")


def test_exec_d_of_a_missing_program_fails(podman: Podman, c: str) -> None:
    assert podman.run("exec", "-d", c, "/no/such", status=None).returncode in (125, 126, 127)


def test_exec_with_user_folder_and_environment(podman: Podman, c: str) -> None:
    words = ["exec", "--user", "1000", "--workdir", "/tmp", "--env", "A=b", c, "sh", "-c", "echo $(id -u) $PWD $A"]
    assert podman(*words) == "1000 /tmp b"


def test_exec_lets_another_user_open_its_stdout_again(podman: Podman, c: str) -> None:
    words = ["exec", "--user", "1000", c, "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"]
    result = podman.run(*words, status=None)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"out\n", b"err\n")


def test_execs_at_once_keep_apart(podman: Podman, c: str) -> None:
    running = [podman.popen("exec", "-i", c, "sh", "-c", f"cat; exit {n}", stdin=subprocess.PIPE) for n in range(6)]
    results = [process.communicate(b"%d" % n * 100000, timeout=60)[0] for n, process in enumerate(running)]
    assert results == [b"%d" % n * 100000 for n in range(6)]
    assert [process.returncode for process in running] == list(range(6))


def test_exec_leaves_no_process_behind(podman: Podman, c: str) -> None:
    before = len(podman.processes())
    for _ in range(3):
        podman("exec", c, "true")
    eventually(lambda: len(podman.processes()) == before, "the exec sessions' monitors end")


def test_exec_returns_although_a_child_keeps_the_output_open(podman: Podman, c: str) -> None:
    podman.run("exec", c, "/h/helper", "leave", "1000", timeout=20)


def test_exec_in_a_stopped_container_is_refused(podman: Podman, c: str) -> None:
    podman("kill", c)
    podman("wait", c)
    assert podman.run("exec", c, "true", status=None).returncode in (125, 255)


def test_exec_ends_with_the_container(podman: Podman, c: str) -> None:
    with podman.popen("exec", c, "sh", "-c", "echo in; exec sleep 1000") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        podman("kill", c)
        assert process.wait(30) == 137
