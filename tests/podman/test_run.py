"""`podman run`: streams, exit codes, terminals, what is handed into the container."""

from __future__ import annotations

import hashlib
import os
import re
import select
import signal
import socket
from pathlib import Path

import pytest

from tests.podman.engine import Podman, press
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

MEGABYTE = 1 << 20


def sh(script: str) -> tuple[str, str, str, str]:
    return ("busybox", "sh", "-c", script)


def test_run_hands_each_stream_on_by_itself(podman: Podman) -> None:
    result = podman.run("run", *sh("echo out; echo err >&2; printf end"))
    assert (result.stdout, result.stderr) == (b"out\nend", b"err\n")


@pytest.mark.parametrize("code", [0, 1, 3, 125, 126, 127, 137, 255])
def test_run_returns_the_exit_code(podman: Podman, code: int) -> None:
    podman.run("run", "--name", "c", *sh(f"exit {code}"), status=code)
    assert podman.state("c", "ExitCode") == str(code)
    assert podman.state("c", "Status") == "exited"


def test_run_of_a_bad_option_is_125(podman: Podman) -> None:
    podman.run("run", "--log-driver", "bogus", *sh("true"), status=125)


def test_run_of_a_bad_log_option_is_125_with_the_monitors_words(podman: Podman) -> None:
    result = podman.run("run", "--log-opt", "tag=x", *sh("true"), status=None)
    assert result.returncode != 0
    assert b"k8s-file doesn't support --log-tag" in result.stderr


def test_run_of_a_file_that_is_no_program_is_126(podman: Podman) -> None:
    result = podman.run("run", "busybox", "/etc/passwd", status=126)
    assert b"permission denied" in result.stderr.lower()


def test_run_of_a_missing_program_is_127(podman: Podman) -> None:
    result = podman.run("run", "busybox", "/no/such", status=127)
    assert b"no such file" in result.stderr.lower()


def test_run_d_of_a_missing_program_is_127_and_says_why(podman: Podman) -> None:
    result = podman.run("run", "-d", "busybox", "nosuchprogram", status=127)
    assert b"nosuchprogram" in result.stderr


def test_run_killed_from_inside_is_128_plus_signal(podman: Podman) -> None:
    podman.run("run", "--init", *sh("kill -9 $$"), status=137)
    podman.run("run", "--init", *sh("kill -15 $$"), status=143)


def test_run_d_goes_on_by_itself(podman: Podman) -> None:
    container = podman.start("sh", "-c", "echo started; exec sleep 1000")
    assert re.fullmatch("[0-9a-f]{64}", container)
    assert podman.state(container, "Status") == "running"
    podman.logged(container, b"started\n")
    assert os.path.exists(f"/proc/{podman.monitor_pid(container)}")


def test_run_rm_leaves_no_container(podman: Podman) -> None:
    podman.run("run", "--rm", "--name", "gone", *sh("exit 4"), status=4)
    eventually(lambda: podman("ps", "-aq") == "", "the container is removed")


def test_run_d_rm_removes_the_container_at_its_end(podman: Podman) -> None:
    container = podman.start("sleep", "1000", options=["--rm"])
    podman("kill", container)
    eventually(lambda: podman("ps", "-aq") == "", "the monitor has it removed")


def test_run_gives_all_of_a_large_output(podman: Podman) -> None:
    lines = b"".join(b"%d\n" % number for number in range(1, 1000001))
    result = podman.run("run", *("busybox", "seq", "1", "1000000"))
    assert hashlib.sha256(result.stdout).hexdigest() == hashlib.sha256(lines).hexdigest()


def test_run_i_takes_megabytes_of_input(podman: Podman) -> None:
    data = os.urandom(5 * MEGABYTE)
    result = podman.run("run", "-i", *sh("sha256sum"), input=data)
    assert result.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_run_i_echoes_megabytes_back(podman: Podman) -> None:
    data = os.urandom(3 * MEGABYTE)
    assert podman.run("run", "-i", *sh("cat"), input=data).stdout == data


def test_run_i_goes_on_after_the_end_of_its_input(podman: Podman) -> None:
    result = podman.run("run", "-i", *sh("cat; echo more; exit 6"), input=b"in\n", status=6)
    assert result.stdout == b"in\nmore\n"


def test_run_without_i_has_no_input(podman: Podman) -> None:
    assert podman.run("run", *sh("cat; echo done"), input=b"unread\n").stdout == b"done\n"


def test_run_it_is_a_terminal_of_the_right_size(podman: Podman) -> None:
    with podman.terminal("run", "-it", *sh("tty; stty size; read x; echo got $x; exit 7"), rows=33, columns=99) as term:
        term.expect("/dev/pts/0")
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type("word\r")
        term.expect("got word")
        assert term.wait() == 7
        assert b"33 99" in term.screen
        assert term.is_restored()


def test_run_it_hands_a_new_window_size_in(podman: Podman) -> None:
    script = "trap 'echo now $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done"
    with podman.terminal("run", "-it", "--name", "c", *sh(script)) as term:
        term.expect("ready")
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.resize(41, 123)
        os.kill(term.process.pid, 0)
        term.expect("now 41 123")
        podman("kill", "c")
        assert term.wait() == 137


def test_run_it_takes_a_large_paste(podman: Podman) -> None:
    script = "stty raw -echo; echo ready; head -c 300000 | sha256sum; stty sane"
    data = os.urandom(300000).translate(bytes(b if b != 16 else 17 for b in range(256)))  # no detach key in it
    with podman.terminal("run", "-it", *sh(script)) as term:
        term.expect("ready")
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type(data)
        term.expect(hashlib.sha256(data).hexdigest())
        assert term.wait() == 0


def test_run_t_without_input_makes_cr_lf(podman: Podman) -> None:
    assert podman.run("run", "-t", *sh("echo a; echo b >&2")).stdout == b"a\r\nb\r\n"


def test_run_it_detaches_at_its_keys_and_can_be_attached_again(podman: Podman) -> None:
    def session(*words: str) -> Terminal:
        return podman.terminal(*words)

    script = "echo ready; while read x; do echo got $x; done"
    with session("run", "-it", "--name", "c", *sh(script)) as term:
        term.expect("ready")
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type(b"one\r")
        term.expect("got one")
        press(term, b"\x10", b"\x11")
        assert term.wait() == 0
        assert term.is_restored()
    assert podman.state("c", "Status") == "running"
    with session("attach", "c") as term:
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type(b"two\r")
        term.expect("got two")
        term.type(b"\x04")
        assert term.wait() == 0
    assert podman("logs", "c").count("got ") == 2


def test_run_passes_signals_on(podman: Podman) -> None:
    script = "trap 'echo term; exit 9' TERM; trap 'echo winch' WINCH; echo ready; while :; do sleep 0.05; done"
    with podman.popen("run", *sh(script)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while not select.select([process.stdout], [], [], 0.05)[0]:  # until then the client hands no signal on
            process.send_signal(signal.SIGWINCH)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().endswith(b"winch\nterm\n")
        assert process.wait(30) == 9


def test_run_goes_on_when_its_client_is_killed(podman: Podman) -> None:
    with podman.popen(
        "run", "--name", "c", *sh("echo ready; while ! test -e /go; do sleep 0.05; done; exit 8")
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    podman("exec", "c", "touch", "/go")
    assert podman("wait", "c") == "8"


def test_run_hands_listening_sockets_in(podman: Podman, helper: Path) -> None:
    path = podman.folder / "listen"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen()
        words = ["run", "-d", "--name", "c", "-v", f"{helper}:/h", "busybox", "/h/helper", "accept"]
        podman.run_with_fd_3(listener.fileno(), *words, listen=True)
        client.connect(str(path))
        assert client.makefile().read() == "fds=1 pid=1 self=1\n"
        assert podman("wait", "c") == "0"
    path.unlink()


def test_run_preserve_fds_hands_descriptors_in(podman: Podman) -> None:
    read, write = os.pipe()
    try:
        podman.run_with_fd_3(write, "run", "--preserve-fds", "1", *sh("echo through >&3"))
        assert os.read(read, 100) == b"through\n"
    finally:
        os.close(read)
        os.close(write)


def test_run_lets_another_user_open_its_stdout_again(podman: Podman) -> None:
    result = podman.run("run", "--user", "1000", *sh("echo out > /dev/stdout; echo err > /dev/stderr"), status=None)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"out\n", b"err\n")


def test_run_keeps_host_descriptors_out(podman: Podman) -> None:
    # 3 is the folder that ls reads.
    assert podman("run", "busybox", "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


def test_run_ends_although_a_child_keeps_the_output_open(podman: Podman, helper: Path) -> None:
    result = podman.run(
        "run", "--rm", "--pid", "host", "-v", f"{helper}:/h", "busybox", "/h/helper", "leave", "3", timeout=20
    )
    assert result.stdout == b""


def test_run_of_a_short_command_never_loses_output(podman: Podman) -> None:
    for number in range(8):
        assert podman.run("run", "--rm", *sh(f"echo {number}")).stdout == b"%d\n" % number
