"""Nothing happens, nothing is done: ten seconds under strace without one system call of any process of a monitor."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remora.monitor import Connection
from tests.conmon.caller import Caller
from tests.support import host
from tests.support.box import DEADLINE, Box
from tests.support.helper import Helper
from tests.support.waiting import eventually
from tests.survival.conftest import BoxFactory
from tests.survival.conmon_phases import parts_of as conmon_parts_of
from tests.survival.grounds import conmon_program
from tests.survival.parts import Parts, switches
from tests.survival.phases import parts_of, verdict

SECONDS = 10
ASLEEP = ("epoll_", "restart_syscall", "waitid(", "wait4(", "poll(", "rt_sigtimedwait", "read(", "futex(")
REST = 1.5  # seconds without a wake-up, longer than any timer that follows traffic

pytestmark = pytest.mark.skipif(
    subprocess.run(["strace", "-V"], capture_output=True, check=False).returncode != 0, reason="strace is not installed"
)


def at_rest(monitors: list[Parts]) -> bool:
    """Whether no process of the monitors woke up for a while."""
    before = {pid: switches(pid) for parts in monitors for pid in parts.pids()}
    time.sleep(REST)  # the passing of time is what is looked at
    return before == {pid: switches(pid) for parts in monitors for pid in parts.pids()}


def calls_while_idle(monitors: list[Parts], output: Path, seconds: float = SECONDS) -> list[str]:
    """System calls within some seconds, but for the one in which each process sleeps."""
    eventually(lambda: at_rest(monitors), "the monitors have come to rest", timeout=30)
    pids = [pid for parts in monitors for pid in parts.pids()]
    words = [word for pid in pids for word in ("-p", str(pid))]
    subprocess.run(["timeout", str(seconds), "strace", "-f", "-qq", "-o", output, *words], check=False)
    lines = output.read_text().splitlines()
    # Shown once for each process, when strace comes: the call that it sleeps in, which strace's leaving ends.
    asleep = [line for line in lines if any(word in line for word in ASLEEP)]
    shown = {line.split()[0] for line in asleep}
    assert len(shown) == len(asleep) == len(pids), lines
    return [line for line in lines if line not in asleep]


CONMON_CASES: dict[str, Callable[[Caller], object]] = {
    "pipes": lambda caller: caller.run("sleep", "1000"),
    "tty": lambda caller: caller.run("sleep", "1000", tty=True),
    "attached": lambda caller: (caller.run("cat", options=["-i"]), caller.client()),
    "attached tty": lambda caller: (caller.run("cat", options=["-i"], tty=True), caller.client()),
}


@contextlib.contextmanager
def callers(folder: Path, root: Path) -> Iterator[list[Caller]]:
    """Containers with a monitor in conmon's place, one for each case."""
    made: list[Caller] = []
    try:
        for start in CONMON_CASES.values():
            made.append(Caller(conmon_program(), folder, root))
            start(made[-1])
        yield made
    finally:
        for caller in made:
            caller.close()


CASES: dict[str, Callable[[Box], Connection]] = {
    "pipes": lambda box: box.started("sleep", "1000"),
    "tty": lambda box: box.started("sleep", "1000", tty=True),
    "attached": lambda box: box.started("cat", stdin=True, attach={"stdin": True, "block": True}),
    "attached tty": lambda box: box.started("cat", tty=True, stdin=True, attach={"stdin": True}),
    "helped": lambda box: box.started("sleep", "1000", helpers=[Helper(box).configuration]),
    "restarting": lambda box: box.started("sleep", "1000", restart={"policy": "always", "max": 0}),
}


def test_idle_monitors_make_no_system_call_for_ten_seconds(
    new_box: BoxFactory, tmp_path: Path, busybox_root: Path
) -> None:
    """With pipes and with a terminal, with nobody and with an idle client attached, after a kill of the worker; native
    monitors and such in conmon's place, all at once."""
    started = [(case, box := new_box(), start(box)) for case, start in CASES.items()]
    monitors = [parts_of(box) for _, box, _ in started]
    for case, _, spawner in started:
        if "attached" not in case:
            spawner.close()
    killed = monitors[-1]
    if killed.is_split:
        killed.await_successor(killed.kill("worker"))
    with callers(tmp_path, busybox_root) as conmons:
        all_ = [*monitors, *(conmon_parts_of(caller) for caller in conmons)]
        assert calls_while_idle(all_, tmp_path / "trace") == []
        for caller in conmons:
            caller.runc("kill", caller.id, "KILL")
            assert caller.code() == "137"
    for (_, box, spawner), parts in zip(started, monitors, strict=True):
        assert host.alive(parts.keeper)
        with box.connect() as client:
            client.send({"op": "stop", "timeout": 0})
            verdict(client.reply("stop", DEADLINE)["record"], 137)
        spawner.close()
        box.assert_gone()
