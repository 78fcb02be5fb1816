"""Input, output and exit status of containers without a terminal: complete, apart, and never stalled by a reader."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.waiting import eventually

MIB = 1 << 20


def test_a_gibibyte_goes_in_and_comes_out_unchanged(remora: Remora) -> None:
    process = remora.popen("run", "-i", "--name", "copy", "busybox", "cat", stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    block = os.urandom(MIB)
    sent = [0]

    def feed(stdin: int) -> None:
        for number in range(1024):
            # Each block differs from the others, so that one that is lost, doubled or misplaced shows.
            piece = number.to_bytes(8, "big") + block[8:]
            sent[0] = zlib.crc32(piece, sent[0])
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(stdin, rest) :]
        os.close(stdin)

    feeder = threading.Thread(target=feed, args=(os.dup(process.stdin.fileno()),))
    process.stdin.close()
    feeder.start()
    received = size = 0
    while piece := os.read(process.stdout.fileno(), MIB):
        received = zlib.crc32(piece, received)
        size += len(piece)
    feeder.join()
    assert process.wait(60) == 0
    assert size == 1 << 30
    assert received == sent[0]

    reader = remora.popen("logs", "copy")
    assert reader.stdout is not None
    logged = size = 0
    while piece := os.read(reader.stdout.fileno(), MIB):
        logged = zlib.crc32(piece, logged)
        size += len(piece)
    assert (size, logged) == (1 << 30, sent[0]), "the log has it all, byte by byte"
    assert reader.wait(60) == 0


def test_a_reader_that_goes_away_ends_the_pipeline_at_once(remora: Remora) -> None:
    begin = time.monotonic()
    result = subprocess.run(
        ["bash", "-c", "remora run --rm busybox sh -c 'yes; exit $?' | head -1; echo ${PIPESTATUS[0]}"],
        env=remora.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stdout.splitlines() == ["y", "141"], result.stderr
    assert result.stderr == ""
    assert time.monotonic() - begin < 5.0
    eventually(lambda: not remora("ps", "-aq"), "the container has ended, too")


def test_a_reader_that_goes_away_leaves_the_other_stream_and_the_log_alone(remora: Remora) -> None:
    script = "echo one; read line; echo two 2>/dev/null; echo three >&2; exit 4"
    process = remora.popen("run", "-i", "--name", "half", "busybox", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None and process.stdin is not None
    assert process.stdout.readline() == b"one\n"
    process.stdout.close()
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.stderr.read() == b"three\n"
    assert process.wait(30) == 4
    assert remora.run("logs", "half").stderr == "three\n"


def test_a_pipeline_that_takes_both_streams_ends_as_well(remora: Remora) -> None:
    result = subprocess.run(
        ["bash", "-c", "remora run --rm busybox sh -c 'yes >&2; exit $?' 2>&1 | head -1; echo ${PIPESTATUS[0]}"],
        env=remora.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stdout.splitlines() == ["y", "141"], result.stderr


def test_stdout_and_stderr_stay_apart_and_complete(remora: Remora) -> None:
    script = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf 'no newline'"
    result = remora.run("run", "--name", "both", "busybox", "sh", "-c", script)
    out = "".join(f"out {number}\n" for number in range(2000)) + "no newline"
    err = "".join(f"err {number}\n" for number in range(2000))
    assert result.stdout == out
    assert result.stderr == err
    log = remora.run("logs", "both")
    assert (log.stdout, log.stderr) == (out, err)


def test_the_end_of_input_reaches_the_container(remora: Remora) -> None:
    result = remora.run("run", "-i", "--rm", "busybox", "sh", "-c", "wc -c; echo goes on", input="12345")
    assert result.stdout == "5\ngoes on\n"


def test_half_closed_input_of_an_attached_client_is_carried_on_and_output_goes_on(remora: Remora) -> None:
    remora("run", "-d", "-i", "--name", "half", "busybox", "sh", "-c", "cat; echo after; exit 3")
    client = remora.popen("attach", "half", stdin=subprocess.PIPE)
    output, errors = client.communicate(b"before\n", timeout=60)
    assert (output, errors, client.returncode) == (b"before\nafter\n", b"", 3)


def test_without_interactive_the_container_reads_nothing(remora: Remora) -> None:
    assert remora.run("run", "--rm", "busybox", "wc", "-c", input="12345").stdout == "0\n"


@pytest.mark.parametrize("option", ["--rm", "--tty"])
def test_a_user_without_rights_can_open_its_own_output_by_name(remora: Remora, option: str) -> None:
    script = "id -u; echo out > /dev/stdout; echo err > /dev/stderr; echo self > /proc/self/fd/1"
    result = remora.run("run", option, "-u", "1000:1000", "busybox", "sh", "-c", script)
    lines = (result.stdout + result.stderr).replace("\r", "").splitlines()
    assert sorted(lines) == ["1000", "err", "out", "self"]


def test_a_second_attach_sees_the_same_output(remora: Remora) -> None:
    script = (
        "read line; echo start; i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo oops >&2; exit 6"
    )
    remora("run", "-d", "-i", "--name", "seen", "busybox", "sh", "-c", script)
    watchers = [remora.popen("attach", "--no-stdin", "seen") for _ in range(2)]
    for watcher in watchers:
        eventually(partial(host.waits_on_a_socket, watcher.pid), "both are attached")
    speaker = remora.popen("attach", "seen", stdin=subprocess.PIPE)
    expected = "start\n" + "".join(f"line {number}\n" for number in range(500))
    for client in (speaker, *watchers):
        output, errors = client.communicate(b"go\n" if client is speaker else None, timeout=60)
        assert (output.decode(), errors, client.returncode) == (expected, b"oops\n", 6)


def test_a_stopped_attach_client_does_not_slow_the_container(remora: Remora) -> None:
    """256 MiB of output while an attached client stands still: the container ends, and the client is told."""
    script = "read line; dd if=/dev/zero bs=1M count=256 2>/dev/null; exit 5"
    remora("run", "-d", "-i", "--log-driver", "none", "--name", "busy", "busybox", "sh", "-c", script)
    monitor = int(remora("inspect", "-f", "{{.State.ConmonPid}}", "busy"))
    frozen = remora.popen("attach", "--no-stdin", "busy", stdout=subprocess.PIPE)
    eventually(lambda: host.waits_on_a_socket(frozen.pid), "it is attached")
    frozen.send_signal(signal.SIGSTOP)
    eventually(lambda: host.state(frozen.pid) == "T", "it stands still")
    try:
        starter = remora.popen("attach", "busy", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert starter.stdin is not None
        starter.stdin.write(b"\n")
        starter.stdin.close()
        assert remora("wait", "busy") == "5"
        assert host.state(frozen.pid) == "T"
        assert not host.alive(monitor) or host.own_memory_kb(monitor) < 8 << 10
    finally:
        frozen.send_signal(signal.SIGCONT)
    output, errors = frozen.communicate(timeout=60)
    assert len(output) < 256 * MIB
    assert frozen.returncode == 125
    assert b"busy" in errors and errors.count(b"\n") == 1


def test_the_foreground_client_slows_the_container_instead_of_losing_bytes(remora: Remora) -> None:
    """A client that stands still for a while, as `run … | less` does, gets every byte afterwards."""
    process = remora.popen(
        "run", "--rm", "--name", "slow", "--log-driver", "none", "busybox", "dd", "if=/dev/zero", "bs=1M", "count=64"
    )
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 1000)
    eventually(lambda: host.state(process.pid) == "S", "nobody reads: the client waits")
    assert remora("inspect", "-f", "{{.State.Status}}", "slow") == "running"
    rest, _ = process.communicate(timeout=60)
    assert len(first) + len(rest) == 64 * MIB
    assert process.returncode == 0


def test_the_output_of_a_command_that_lives_a_millisecond_is_complete_five_hundred_times(remora: Remora) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; echo error >&2; printf end"
    expected = "".join(f"line {number}\n" for number in range(1, 10)) + "end"

    def go(number: int) -> tuple[str, str]:
        result = remora.run("run", "--rm", "busybox", "sh", "-c", script)
        return result.stdout, result.stderr

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(go, range(500)))
    assert [result for result in results if result != (expected, "error\n")] == []


def test_the_output_of_a_short_command_on_a_terminal_is_complete_a_hundred_times(remora: Remora) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: remora("run", "--rm", "-t", "busybox", "seq", "1", "300"), range(100)))
    expected = "\n".join(str(number) for number in range(1, 301))
    assert [result for result in results if result != expected] == []


def test_the_log_of_a_short_detached_command_is_complete_a_hundred_times(remora: Remora) -> None:
    def go(number: int) -> str:
        container = remora("run", "-d", "busybox", "seq", "1", "300")
        remora("wait", container)
        return remora("logs", container)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(go, range(100)))
    expected = "\n".join(str(number) for number in range(1, 301))
    assert [result for result in results if result != expected] == []


def test_only_the_streams_asked_for_are_attached(remora: Remora) -> None:
    script = "echo out; echo err >&2"
    result = remora.run("run", "--rm", "-a", "stderr", "busybox", "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("", "err\n")
    result = remora.run("run", "--rm", "-a", "stdout", "busybox", "sh", "-c", script)
    assert (result.stdout, result.stderr) == ("out\n", "")


def test_descriptors_that_are_handed_on_arrive(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "three").write_text("from three\n")
    result = subprocess.run(
        ["sh", "-c", f"exec 3<{tmp_path}/three; exec remora run --rm --preserve-fds 1 busybox sh -c 'cat <&3'"],
        env=remora.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.stdout, result.returncode) == ("from three\n", 0), result.stderr


@pytest.mark.parametrize("options", [[], ["-i"], ["-t"], ["-it"], ["-u", "1000"], ["--init"], ["--privileged"]])
def test_a_container_has_the_three_standard_descriptors_and_no_other(remora: Remora, options: list[str]) -> None:
    """The caller's own open files are offered on purpose; the fourth is the listing's own."""
    read, write = os.pipe()
    for fd in (read, write):
        os.set_inheritable(fd, True)
    process = subprocess.Popen(
        ["remora", "run", "--rm", *options, "busybox", "ls", "/proc/self/fd"],
        env=remora.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=[read, write],
    )
    output, _ = process.communicate(timeout=60)
    os.close(read)
    os.close(write)
    assert output.split() == [b"0", b"1", b"2", b"3"]


def test_signals_to_the_foreground_client_go_to_the_container(remora: Remora) -> None:
    script = "trap 'echo usr1' USR1; trap 'echo term; exit 8' TERM; echo ready; while :; do sleep 0.05; done"
    process = remora.popen("run", "--rm", "busybox", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == b"usr1\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == b"term\n"
    assert process.wait(30) == 8


def test_without_the_signal_proxy_a_signal_ends_the_client_alone(remora: Remora) -> None:
    process = remora.popen(
        "run", "--sig-proxy=false", "--name", "stays", "busybox", "sh", "-c", "echo ready; sleep 1000"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert remora("inspect", "-f", "{{.State.Status}}", "stays") == "running"


def test_a_large_environment_and_long_arguments_arrive(remora: Remora, tmp_path: Path) -> None:
    big = "x" * 100_000
    (tmp_path / "env").write_text(f"BIG={big}\n")
    result = remora.run("run", "--rm", "--env-file", f"{tmp_path}/env", "busybox", "sh", "-c", "echo -n $BIG | md5sum")
    assert result.stdout.split()[0] == hashlib.md5(big.encode(), usedforsecurity=False).hexdigest()
