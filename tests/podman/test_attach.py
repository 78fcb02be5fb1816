"""`podman attach` and `start -a`: several clients, input, the exit code."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from tests.podman.engine import Podman, press
from tests.support.waiting import eventually

# Writes a line for each it reads; the fifo lets a test say when.
TOLD = "mkfifo /f; exec 3<>/f; echo ready; while read x <&3; do [ $x = end ] && exit 5; echo said $x; done"


def tell(podman: Podman, word: str) -> None:
    # The exec may itself be cut off by the end that it asks for.
    podman.run("exec", "c", "sh", "-c", f"echo {word} > /f", status=None if word == "end" else 0)


def lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_attach_sees_what_comes_and_ends_with_the_container(podman: Podman) -> None:
    podman.start("sh", "-c", TOLD, options=["--name", "c"])
    podman.logged("c", b"ready")
    with podman.popen("attach", "--no-stdin", "c") as process:
        attach_by_words(podman, process)
        tell(podman, "end")
        process.wait(30)
    assert podman("wait", "c") == "5"


def attach_by_words(podman: Podman, *processes: subprocess.Popen[bytes]) -> None:
    """Say words until each client has seen one: then all are attached."""
    for process in processes:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

    missing = set(processes)

    def seen() -> bool:
        tell(podman, "hello")
        for process in list(missing):
            assert process.stdout is not None
            if process.stdout.read():
                missing.discard(process)
        return not missing

    eventually(seen, "each client sees the output")
    for process in processes:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), True)


def test_attach_of_several_clients_gives_each_all(podman: Podman) -> None:
    podman.start("sh", "-c", TOLD, options=["--name", "c"])
    podman.logged("c", b"ready")
    clients = [podman.popen("attach", "--no-stdin", "c") for _ in range(3)]
    try:
        attach_by_words(podman, *clients)
        tell(podman, "last")
        tell(podman, "end")
        for client in clients:
            out, _ = client.communicate(timeout=30)
            assert b"said last\n" in out
    finally:
        for client in clients:
            client.kill()
            client.communicate()


def test_attach_hands_input_in(podman: Podman) -> None:
    podman.start("sh", "-c", "read x; echo got $x; exit 3", options=["-i", "--name", "c"])
    podman.run("attach", "c", input=b"word\n", status=None)
    assert podman("wait", "c") == "3"
    assert b"got word" in podman.logs("c")


def test_attach_of_a_terminal(podman: Podman) -> None:
    podman.start("sh", "-c", "while read x; do echo got $x; done; exit 4", options=["-it", "--name", "c"])
    with podman.terminal("attach", "c", rows=20, columns=70) as term:
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type(b"one\r")
        term.expect("got one")
        term.type(b"\x04")
        term.wait()
    assert podman("wait", "c") == "4"


def test_attach_uses_its_own_detach_keys(podman: Podman) -> None:
    podman.start("sh", "-c", "while read x; do echo got $x; done", options=["-it", "--name", "c"])
    with podman.terminal("attach", "--detach-keys", "ctrl-a,x", "c") as term:
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type(b"one\r")
        term.expect("got one")
        press(term, b"\x01", b"x")
        assert term.wait() == 0
    assert podman.state("c", "Status") == "running"


def test_attach_of_a_killed_client_leaves_the_container_alone(podman: Podman) -> None:
    podman.start("sh", "-c", TOLD, options=["--name", "c"])
    podman.logged("c", b"ready")
    with podman.popen("attach", "--no-stdin", "c") as process:
        attach_by_words(podman, process)
        process.kill()
    tell(podman, "after")
    tell(podman, "end")
    assert podman("wait", "c") == "5"
    assert podman.logs("c").endswith(b"said after\n")


def test_start_a_shows_the_output_from_its_beginning(podman: Podman) -> None:
    podman("create", "--name", "c", "busybox", "sh", "-c", "echo one; echo two >&2; exit 6")
    result = podman.run("start", "-a", "c", status=6)
    assert (result.stdout, result.stderr) == (b"one\n", b"two\n")


def test_start_again_runs_again(podman: Podman) -> None:
    podman("create", "--name", "c", "busybox", "sh", "-c", "echo x >> /count; cat /count; exit 2")
    assert podman.run("start", "-a", "c", status=2).stdout == b"x\n"
    assert podman.run("start", "-a", "c", status=2).stdout == b"x\nx\n"


def test_start_ai_takes_input(podman: Podman) -> None:
    data = os.urandom(1 << 20)
    podman("create", "-i", "--name", "c", "busybox", "sha256sum")
    result = podman.run("start", "-a", "-i", "c", input=data)
    assert result.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.conmon_fails("a client that does not read stops the container")
def test_attach_of_a_client_that_does_not_read_stops_nobody(podman: Podman) -> None:
    script = "read x; seq 1 400000; touch /done; exec sleep 1000"
    podman.start("sh", "-c", script, options=["-i", "--name", "c"])
    with podman.popen("attach", "c", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        try:
            eventually(
                lambda: podman.run("exec", "c", "test", "-e", "/done", status=None).returncode == 0,
                "all is written",
                podman.monitor.patience,
            )
        finally:
            process.kill()
            process.communicate()
