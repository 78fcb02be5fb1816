"""System calls of a monitor that fail once: an exit code is never lost or wrong, and it neither hangs nor spins.

strace makes the Nth call of a kind fail. It follows the monitor only, never its children.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remora import monitor
from remora.monitor import Connection, RequestFailed, core
from tests.support import host
from tests.support.box import DEADLINE, Box, boxes, make_root, received
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    subprocess.run(["strace", "-V"], capture_output=True, check=False).returncode != 0, reason="strace is not installed"
)

SCRIPT = ("sh", "-c", "trap '' PIPE; read line; echo out; echo err >&2; exit 7")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("root"))


@pytest.fixture
def new_box(tmp_path: Path, root: Path) -> Iterator[Callable[[], Box]]:
    with boxes(tmp_path, root) as made:

        def make() -> Box:
            made.append(Box(tmp_path, root))
            return made[-1]

        yield make


@pytest.fixture
def box(new_box: Callable[[], Box]) -> Box:
    return new_box()


class Injection:
    """strace on one process with one fault; ended with the block."""

    def __init__(self, pid: int, call: str, error: str, nth: int) -> None:
        fault = f"inject={call}:error={error}:when={nth}"
        argv = ["strace", "-qqq", "-o", "/dev/null", "-e", f"trace={call}", "-e", fault, "-p", str(pid)]
        self._strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        eventually(lambda: self._traces(pid), "strace is attached")

    @staticmethod
    def _traces(pid: int) -> bool:
        status = Path(f"/proc/{pid}/status").read_text()
        return "TracerPid:\t0\n" not in status

    def __enter__(self) -> Injection:
        return self

    def __exit__(self, *_: object) -> None:
        self._strace.send_signal(signal.SIGINT)
        self._strace.wait(DEADLINE)


AT_EXIT = [
    ("epoll_wait", "EINTR", 1),
    ("recvmsg", "EINTR", 1),
    *(("read", error, nth) for error, nth in (("EINTR", 1), ("EIO", 2), ("EINTR", 3))),
    # 1: the container's input; then the log, twice; the state file.
    *(("write", error, nth) for error in ("EIO", "ENOSPC", "EINTR") for nth in (1, 2, 3, 4)),
    ("pwrite64", "EIO", 1),
    ("pwrite64", "ENOSPC", 1),
    ("pwrite64", "EINTR", 1),
    ("fdatasync", "EIO", 1),
    ("fdatasync", "ENOSPC", 1),
    *(("openat", error, nth) for error in ("EMFILE", "ENOSPC") for nth in (1, 2, 3)),
    ("renameat", "ENOSPC", 1),
    *(("epoll_ctl", "ENOMEM", nth) for nth in (1, 2, 3, 4, 5, 6)),
    ("clone", "EAGAIN", 1),
    ("clone", "ENOMEM", 1),
    ("pidfd_open", "EMFILE", 1),
    ("mmap", "ENOMEM", 1),
    ("sendto", "ENOBUFS", 1),
    ("sendto", "ENOMEM", 2),
    ("accept4", "EMFILE", 1),
    ("unlinkat", "EIO", 1),
    ("timerfd_settime", "EINVAL", 1),
]


def names(case: tuple[str, str, int]) -> str:
    return f"{case[0]}-{case[1]}-{case[2]}"


@pytest.mark.parametrize("case", AT_EXIT, ids=names)
def test_a_call_that_fails_once_while_a_container_ends_costs_no_exit_code(box: Box, case: tuple[str, str, int]) -> None:
    spawner = box.started(*SCRIPT, stdin=True, attach={"stdin": True})
    pid = box.monitor_pid()
    with box.connect() as waiter:
        waiter.send({"op": "wait"})
        waiter.send({"op": "status"})
        packet = waiter.receive(DEADLINE).message()
        assert packet["op"] == "status"
        with Injection(pid, *case):
            spawner.send_packet(core.STDIN, b"\n")
            record = waiter.reply("wait", DEADLINE)["record"]
            _, told, _ = received(spawner)
    spawner.close()
    assert isinstance(record, dict) and (record["known"], record["code"]) == (True, 7)
    assert told is not None and told["code"] == 7
    assert box.record()["code"] == 7
    allowed = {"run folder"} if case[0] == "unlinkat" else set()
    eventually(lambda: set(box.leftovers()) <= allowed, f"nothing is left: {box.leftovers()}", timeout=5)


AT_START = [
    ("epoll_wait", "EINTR", 1),
    *(("openat", error, nth) for error in ("EMFILE", "ENOMEM") for nth in (1, 2, 3, 5, 8)),
    *(("read", error, nth) for error in ("EIO", "EINTR") for nth in (1, 2, 4)),
    ("pidfd_open", "EMFILE", 1),
    ("pidfd_open", "ENOMEM", 1),
    *(("epoll_ctl", "ENOMEM", nth) for nth in range(1, 8)),
    ("eventfd2", "EMFILE", 1),
    ("write", "ENOSPC", 1),
    ("write", "ENOSPC", 2),
    ("renameat", "ENOSPC", 1),
    ("sendto", "ENOBUFS", 1),
    ("mmap", "ENOMEM", 1),
    ("fcntl", "EMFILE", 1),
]


def slow(box: Box, folder: Path) -> None:
    """Let the runtime wait in front of a start until somebody writes to `go`."""
    for name in ("arrived", "go"):
        os.mkfifo(folder / name)
    script = folder / "slow"
    wait = f"echo >{folder}/arrived; read line <{folder}/go"
    script.write_text(f'#!/bin/sh\ncase " $* " in *" run "*) {wait};; esac\nexec {box.runtime[0]} "$@"\n')
    script.chmod(0o755)
    box.runtime = [str(script)]


def right_or_clear(box: Box, spawner: Connection) -> str:
    """Let it run to its end: `started`, with its own code, or a failure that was told. What is there of it is gone."""
    try:
        spawner.started(DEADLINE)
    except RequestFailed as error:
        phase = error.phase
        spawner.close()
        box.assert_gone()
        return phase
    spawner.send_packet(core.STDIN, b"\n")
    _, told, _ = received(spawner)
    assert told is not None and (told["known"], told["code"]) == (True, 7)
    spawner.close()
    assert box.record()["code"] == 7
    box.assert_gone()
    return "started"


@pytest.mark.parametrize("case", AT_START, ids=names)
def test_a_call_that_fails_once_while_a_container_starts_is_told_or_costs_nothing(
    box: Box, tmp_path: Path, case: tuple[str, str, int]
) -> None:
    slow(box, tmp_path)
    spawner = box.start(*SCRIPT, stdin=True, attach={"stdin": True})
    (tmp_path / "arrived").read_bytes()
    with Injection(box.monitor_pid(), *case):
        (tmp_path / "go").write_text("\n")
        right_or_clear(box, spawner)


def test_too_few_descriptors_at_any_step_of_a_start_are_told(
    new_box: Callable[[], Box], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor gets 7, 8, 9 … of them until it can do everything."""
    program = tmp_path / "monitor"
    monkeypatch.setenv("REMORA_MONITOR", str(program))
    real = os.path.join(os.path.dirname(monitor.core.__file__), "remora-monitor")
    outcomes = []
    for limit in range(7, 60):
        program.write_text(f'#!/bin/sh\nulimit -n {limit}\nexec {os.environ.get("REAL_MONITOR", real)} "$@"\n')
        program.chmod(0o755)
        box = new_box()
        try:
            spawner = box.start(*SCRIPT, stdin=True, attach={"stdin": True})
        except OSError:
            outcomes.append("not executed")
            continue
        outcomes.append(right_or_clear(box, spawner))
        if outcomes[-3:] == ["started"] * 3:
            break
    assert outcomes[-1] == "started" and len(set(outcomes)) > 5, outcomes
    assert not host.processes_of(box._folders(), {box.id})
