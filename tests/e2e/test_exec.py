"""`exec`: other processes in a running container, each with its own streams, terminal and exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Remora
from tests.e2e.conftest import TerminalFactory
from tests.support import host
from tests.support.terminal import Terminal
from tests.support.waiting import eventually


@pytest.fixture
def box(remora: Remora) -> Remora:
    """A container `box` that runs."""
    remora("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    return remora


@pytest.mark.parametrize("code", [0, 1, 42, 125, 126, 127, 255])
def test_the_exit_code_is_the_command_s_own(box: Remora, code: int) -> None:
    """Also where the engine has a meaning of its own for the number: no message then."""
    result = box.run("exec", "box", "sh", "-c", f"exit {code}", status=code)
    assert result.stderr == ""


def test_a_command_that_is_not_there_is_127_with_one_line(box: Remora) -> None:
    result = box.run("exec", "box", "no-such-program", status=127)
    assert "no-such-program" in result.stderr and result.stderr.count("\n") == 1


def test_a_command_that_is_no_program_is_126_with_one_line(box: Remora) -> None:
    result = box.run("exec", "box", "/etc/passwd", status=126)
    assert "/etc/passwd" in result.stderr and result.stderr.count("\n") == 1


def test_a_working_directory_that_is_not_there_is_told(box: Remora) -> None:
    result = box.run("exec", "-w", "/nowhere", "box", "true", status=None)
    assert result.returncode in (125, 126, 127)
    assert "/nowhere" in result.stderr and result.stderr.count("\n") == 1


def test_a_signal_that_ends_the_command_counts_128_and_its_number(box: Remora) -> None:
    box.run("exec", "box", "sh", "-c", "kill -KILL $$", status=137)
    box.run("exec", "box", "sh", "-c", "kill -TERM $$", status=143)


def test_streams_are_apart_and_input_has_an_end(box: Remora) -> None:
    result = box.run("exec", "-i", "box", "sh", "-c", "cat; echo err >&2; exit 9", input="in\n", status=9)
    assert (result.stdout, result.stderr) == ("in\n", "err\n")


def test_without_interactive_the_command_reads_nothing(box: Remora) -> None:
    assert box.run("exec", "box", "wc", "-c", input="12345").stdout == "0\n"


def test_a_hundred_mebibytes_go_through(box: Remora) -> None:
    process = box.popen("exec", "-i", "box", "md5sum", stdin=subprocess.PIPE)
    assert process.stdin is not None
    block = bytes(1 << 20)
    for _ in range(100):
        process.stdin.write(block)
    output, _ = process.communicate(timeout=60)
    assert output.split()[0] == b"2f282b84e7e608d5852449ed940bfc51"


def test_environment_user_and_working_directory_are_as_asked(box: Remora) -> None:
    script = "echo $COLOUR $(id -u):$(id -g) $(pwd)"
    result = box("exec", "-e", "COLOUR=red", "-u", "1000:1000", "-w", "/tmp", "box", "sh", "-c", script)
    assert result == "red 1000:1000 /tmp"


def test_a_user_without_rights_can_open_its_own_output_by_name(box: Remora) -> None:
    result = box.run("exec", "-u", "1000", "box", "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_it_has_the_three_standard_descriptors_and_no_other(box: Remora) -> None:
    for options in ([], ["-i"], ["-t"]):
        assert box("exec", *options, "box", "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


def test_a_detached_command_runs_on_and_prints_its_session(box: Remora) -> None:
    session = box("exec", "-d", "box", "sh", "-c", "echo done > /tmp/mark")
    assert len(session) == 64
    eventually(lambda: box.run("exec", "box", "cat", "/tmp/mark", status=None).stdout == "done\n", "it did its work")


def test_the_terminal_has_its_size_before_the_command_starts(box: Remora, terminal: TerminalFactory) -> None:
    for number in range(10):
        command = terminal("exec", "-it", "box", "stty", "size", rows=41 + number, columns=121)
        command.expect(f"{41 + number} 121\r\n")
        assert command.wait() == 0
        assert command.is_restored()


def test_an_interactive_shell_in_it_resizes_and_gives_its_code(box: Remora, terminal: TerminalFactory) -> None:
    shell = terminal("exec", "-it", "box", "sh")
    shell.expect("/ # ")
    shell.resize(44, 144)
    eventually(lambda: _size(shell) == b"44 144", "the new size has arrived")
    shell.type("exit 21\r")
    assert shell.wait() == 21
    assert shell.is_restored()


def _size(shell: Terminal) -> bytes:
    shell.type("stty size\r")
    shell.expect("stty size\r\n")
    return shell.expect("\r\n/ # ")


def test_a_process_left_behind_that_holds_the_output_does_not_hold_up_the_end(box: Remora) -> None:
    begin = time.monotonic()
    result = box.run("exec", "box", "sh", "-c", "sleep 1000 & echo started; exit 5", status=5)
    assert result.stdout == "started\n"
    assert time.monotonic() - begin < 10.0


def test_many_at_once_keep_their_codes_and_outputs_apart(box: Remora) -> None:
    def go(number: int) -> tuple[int, str, str]:
        script = f"echo out {number}; echo err {number} >&2; exit {number}"
        result = box.run("exec", "box", "sh", "-c", script, status=None)
        return result.returncode, result.stdout, result.stderr

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(go, range(40)))
    assert results == [(number, f"out {number}\n", f"err {number}\n") for number in range(40)]


def test_the_end_of_the_container_ends_what_runs_in_it(box: Remora) -> None:
    process = box.popen("exec", "box", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    box("kill", "box")
    assert process.wait(30) == 137


def test_a_killed_client_leaves_the_container_and_its_monitor_alone(box: Remora) -> None:
    process = box.popen("exec", "box", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert box("exec", "box", "echo", "still here") == "still here"
    assert box("inspect", "-f", "{{.State.Status}}", "box") == "running"


def test_in_a_container_that_does_not_run_it_says_so(remora: Remora) -> None:
    remora("run", "--name", "over", "busybox", "true")
    result = remora.run("exec", "over", "true", status=125)
    assert "over" in result.stderr and result.stderr.count("\n") == 1


def test_two_hundred_commands_and_two_hundred_attachments_leave_the_monitor_as_it_was(box: Remora) -> None:
    monitor = int(box("inspect", "-f", "{{.State.ConmonPid}}", "box"))
    run_dir = str(box.runroot / box("inspect", "-f", "{{.Id}}", "box"))

    def attach_and_leave(_: int) -> None:
        from remora.monitor import Connection

        connection = Connection.open(run_dir)
        connection.request(
            {"op": "attach", "session": "", "stdin": False, "stdout": True, "stderr": True, "block": False}
        )
        connection.close()

    def work(times: int) -> None:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: box("exec", "box", "echo", "hi"), range(times)))
        assert results == ["hi"] * times
        for number in range(times):
            attach_and_leave(number)

    settled = eventually(lambda: _settled(monitor), "the monitor is at rest")
    work(8)  # buffers that are kept are there now
    eventually(lambda: host.descriptors(monitor) == settled, f"back to {settled} descriptors")
    memory = host.own_memory_kb(monitor)
    work(200)
    eventually(lambda: host.descriptors(monitor) == settled, f"back to {settled} descriptors")
    assert children(monitor) == 2, "only the worker and the container's own process are left"
    eventually(lambda: host.own_memory_kb(monitor) <= memory + 16, f"back to {memory} KB")


def _settled(monitor: int) -> int:
    before = host.descriptors(monitor)
    return before if children(monitor) == 2 and host.state(monitor) == "S" else 0


def children(pid: int) -> int:
    """How many children a process has, zombies too."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return len(file.read().split())


def test_a_descriptor_is_handed_on(box: Remora) -> None:
    read, write = os.pipe()
    os.write(write, b"through three")
    os.close(write)
    result = subprocess.run(
        ["bash", "-c", f"exec 3<&{read}; exec remora exec --preserve-fds 1 box sh -c 'cat <&3'"],
        env=box.environment,
        pass_fds=[read],
        capture_output=True,
        timeout=60,
        check=False,
    )
    os.close(read)
    assert result.stdout == b"through three", result.stderr
