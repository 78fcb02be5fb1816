"""The worker of a monitor is killed while commands talk to it: they go on as if nothing had been."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.conftest import Remora
from tests.e2e.conftest import TerminalFactory
from tests.support import host
from tests.support.commands import SLEEP
from tests.support.waiting import eventually
from tests.survival.parts import Parts

TALK = ("busybox", "sh", "-c", "while read line; do echo got $line; done; exit 3")


def worker(remora: Remora, name: str) -> int:
    return Parts(int(remora("inspect", "-f", "{{.State.ConmonPid}}", name))).worker


def kill_worker(remora: Remora, name: str) -> None:
    """And see that another one is there."""
    parts = Parts(int(remora("inspect", "-f", "{{.State.ConmonPid}}", name)))
    parts.await_successor(parts.kill("worker"))


def running(remora: Remora, name: str) -> None:
    eventually(lambda: remora.run("inspect", "-f", "{{.State.Status}}", name, status=None).stdout == "running\n", name)


def say(process: subprocess.Popen[bytes], word: str) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{word}\n".encode())
    process.stdin.flush()
    assert process.stdout.readline() == f"got {word}\n".encode()


@pytest.mark.parametrize("remove", [(), ("--rm",)])
def test_a_foreground_run_keeps_its_streams_and_its_exit_code(remora: Remora, remove: tuple[str, ...]) -> None:
    process = remora.popen("run", *remove, "-i", "--name", "web", *TALK, stdin=subprocess.PIPE)
    running(remora, "web")
    for number in range(4):
        say(process, f"word {number}")
        kill_worker(remora, "web")
    say(process, "last")
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 3


def test_attach_exec_and_wait_go_on(remora: Remora) -> None:
    remora("run", "-d", "-i", "--name", "web", *TALK)
    waiter = remora.popen("wait", "web")
    attached = remora.popen("attach", "web", stdin=subprocess.PIPE)
    inside = remora.popen("exec", "-i", "web", *TALK[1:], stdin=subprocess.PIPE)
    say(attached, "one")
    say(inside, "two")
    for _ in range(3):
        kill_worker(remora, "web")
        say(inside, "three")
        say(attached, "four")
    assert inside.communicate(timeout=60) == (b"", b"") and inside.returncode == 3
    assert attached.communicate(timeout=60) == (b"", b"") and attached.returncode == 3
    assert waiter.communicate(timeout=60) == (b"3\n", b"")


def test_a_stop_that_waits_is_answered(remora: Remora) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    remora("run", "-d", "--name", "web", "busybox", "sh", "-c", script)
    eventually(lambda: remora("logs", "web") == "ready", "the trap is set")
    stopper = remora.popen("stop", "-t", "3", "web")
    eventually(lambda: host.waits_on_a_socket(stopper.pid), "stop has asked")
    kill_worker(remora, "web")
    assert stopper.communicate(timeout=60) == (b"web\n", b"")
    assert remora("wait", "web") == "137"


def test_a_terminal_goes_on(remora: Remora, terminal: TerminalFactory) -> None:
    shown = terminal("run", "-it", "--name", "web", "busybox", "sh")
    running(remora, "web")
    shown.type(b"echo $((40 + 2))\r")
    shown.expect(b"42")
    kill_worker(remora, "web")
    shown.type(b"echo $((50 + 3))\r")
    shown.expect(b"53")
    shown.type(b"exit 6\r")
    assert shown.wait() == 6


def test_a_new_attachment_works_after_a_kill(remora: Remora) -> None:
    remora("run", "-d", "-i", "--name", "web", *TALK)
    kill_worker(remora, "web")
    attached = remora.popen("attach", "web", stdin=subprocess.PIPE)
    say(attached, "here")
    assert attached.communicate(timeout=60)[0] == b"" and attached.returncode == 3


def test_commands_that_come_while_the_worker_is_killed_again_and_again_are_answered(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    for _ in range(10):
        pid = worker(remora, "web")
        process = remora.popen("exec", "web", "sh", "-c", "echo said; exit 4")
        host.send(pid, signal.SIGKILL)
        assert process.communicate(timeout=60)[0] in (b"said\n", b"")
        assert process.returncode == 4
    remora("stop", "-t", "0", "web")
    assert remora("wait", "web") == "137"
