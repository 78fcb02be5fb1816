"""The same with crun, Debian's own choice for Podman, whose words and console differ from runc's.

Where the host has cgroup v1 with an empty v2 beside it, crun refuses; there it is run in a mount namespace without v2.
"""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Iterator

import pytest

from tests.podman.engine import Podman, World
from tests.support.waiting import eventually

HIDE = """
if grep -q " /sys/fs/cgroup/unified " /proc/self/mounts; then umount /sys/fs/cgroup/unified; fi
echo ready
exec cat
"""


@pytest.fixture(scope="session")
def without_unified(world: World) -> Iterator[list[str]]:
    """The words that enter a namespace below the private one, where crun works."""
    argv = [*world.enter, "unshare", "-m", "--propagation", "private", "sh", "-c", HIDE]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]
        holder.kill()


@pytest.fixture
def crun(podman: Podman, without_unified: list[str]) -> Iterator[Podman]:
    """Podman that takes crun."""
    made = copy.copy(podman)
    made.words = [*without_unified, *podman.words[len(podman.world.enter) :], "--runtime", "crun"]
    yield made
    made.clear()  # what crun has made, crun removes


def test_crun_run_gives_output_and_code(crun: Podman) -> None:
    result = crun.run("run", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5", status=5)
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


def test_crun_says_why_it_can_not_start(crun: Podman) -> None:
    assert b"/no/such" in crun.run("run", "busybox", "/no/such", status=127).stderr
    assert b"Permission denied" in crun.run("run", "busybox", "/etc/passwd", status=126).stderr


def test_crun_of_a_terminal(crun: Podman) -> None:
    with crun.terminal("run", "-it", "busybox", "sh", "-c", "echo ready; read x; stty size; exit 7", rows=31) as term:
        term.expect("ready")
        eventually(lambda: term.is_raw(), "the terminal is raw")
        term.type(b"word\r")
        term.expect("31 80")
        assert term.wait() == 7


def test_crun_exec_with_and_without_a_terminal(crun: Podman) -> None:
    crun.start("sleep", "1000", options=["--name", "c"])
    assert crun.run("exec", "-i", "c", "sh", "-c", "cat; exit 3", input=b"in", status=3).stdout == b"in"
    assert b"/dev/pts/" in crun.run("exec", "-t", "c", "tty").stdout
    assert b"/no/such" in crun.run("exec", "c", "/no/such", status=127).stderr
    crun("kill", "c")
    assert crun("wait", "c") == "137"


def test_crun_logs_restart_and_stop(crun: Podman) -> None:
    script = "trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    crun.start("sh", "-c", script, options=["--name", "c"])
    crun.logged("c", b"ready")
    crun("restart", "c")
    eventually(lambda: crun.logs("c") == b"ready\nterm\nready\n", "both runs are in the log")
    crun("stop", "c")
    assert crun.state("c", "ExitCode") == "3"
