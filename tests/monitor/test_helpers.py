"""Helpers: there before the container, started again when they die, ended with it, whatever is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from remora import monitor
from remora.frontend.container import cleanup
from remora.monitor import Connection, MonitorGone, RequestFailed
from tests.support import host
from tests.support.box import DEADLINE, Box, received
from tests.support.helper import SCRIPT, Helper
from tests.support.waiting import eventually

SLEEP = ("sh", "-c", "while :; do sleep 0.1; done")


def told(box: Box) -> list[dict[str, object]]:
    """What the monitor says of the helpers."""
    with box.connect() as connection:
        helpers = connection.request({"op": "status"})["helpers"]
    assert isinstance(helpers, list)
    return helpers


def parts(box: Box) -> tuple[int, int]:
    """Keeper and worker."""
    with box.connect() as connection:
        status = connection.request({"op": "status"})
    keeper, worker = status["keeper_pid"], status["worker_pid"]
    assert isinstance(keeper, int) and isinstance(worker, int)
    return keeper, worker


def connected(box: Box) -> Connection | None:
    """A connection to a monitor that may not listen yet."""
    try:
        return box.connect()
    except MonitorGone:
        return None


def replaced(box: Box, helper: Helper, dead: int) -> bool:
    return helper.pid not in (0, dead) and told(box)[0]["pid"] == helper.pid


def stop(box: Box) -> None:
    with box.connect() as connection:
        connection.request({"op": "stop", "timeout": 0})


def test_a_helper_is_ready_before_the_container_runs_and_ends_with_it(box: Box) -> None:
    helper = Helper(box)
    box.binds["run"] = box.run
    spawner = box.started(
        "sh", "-c", f"cat /tmp/run/{helper.name}.pid; exec sleep 1000", helpers=[helper.configuration]
    )
    spawner.close()
    pid = helper.pid
    assert host.parent(pid) == parts(box)[0], "the keeper has adopted it"
    assert told(box) == [{"name": "helper", "pid": pid, "restarts": 0, "error": ""}]
    eventually(lambda: f" stdout F {pid}\n" in (box.data / "log").read_text(), "the container has seen it")
    stop(box)
    box.assert_gone()
    assert not host.alive(pid) and helper.starts == 1


def test_they_are_started_in_their_order(box: Box) -> None:
    order = box.folder / "order"
    helpers = [Helper(box, name, f'echo {name} >>"{order}"; ' + SCRIPT) for name in ("one", "two", "three")]
    box.started(*SLEEP, helpers=[helper.configuration for helper in helpers]).close()
    assert order.read_text().split() == ["one", "two", "three"]
    assert [entry["pid"] for entry in told(box)] == [helper.pid for helper in helpers]
    stop(box)
    box.assert_gone()


def test_a_helper_stays_when_the_container_is_restarted(box: Box) -> None:
    helper = Helper(box)
    spawner = box.started(
        "sh",
        "-c",
        "read line; exit 3",
        stdin=True,
        attach={"stdin": True},
        restart={"policy": "on-failure", "max": 1},
        helpers=[helper.configuration],
    )
    pid = helper.pid
    spawner.send_packet(monitor.core.STDIN, b"\n")
    eventually(lambda: box.status()["restarts"] == 1 and box.status()["pid"], "it runs again", timeout=DEADLINE)
    assert (helper.pid, helper.starts) == (pid, 1) and host.alive(pid)
    spawner.send_packet(monitor.core.STDIN, b"\n")
    received(spawner)
    box.assert_gone()
    assert not host.alive(pid)


def test_a_dead_helper_is_started_again_and_counted(box: Box) -> None:
    helper = Helper(box)
    box.started(*SLEEP, helpers=[helper.configuration]).close()
    for count in (1, 2):
        dead = helper.pid
        died = time.monotonic()
        host.send(dead, signal.SIGKILL)
        eventually(partial(replaced, box, helper, dead), "another one")
        assert time.monotonic() - died >= 0.1 * count, "the back-off doubles"
        assert told(box)[0]["restarts"] == count
        assert told(box)[0]["error"] == "it was killed by signal 9"
    stop(box)
    box.assert_gone()
    assert helper.starts == 3


def test_a_helper_that_can_not_be_started_again_is_tried_on_and_its_words_are_told(box: Box) -> None:
    fail = box.folder / "fail"
    helper = Helper(box, script=f'if [ -e "{fail}" ]; then echo first >&2; echo no luck >&2; exit 4; fi; ' + SCRIPT)
    box.started(*SLEEP, helpers=[helper.configuration]).close()
    fail.touch()
    host.send(helper.pid, signal.SIGKILL)
    eventually(lambda: told(box)[0]["error"] == "first no luck", "its words are told", timeout=DEADLINE)
    assert told(box)[0]["pid"] == 0 and box.status()["status"] == "running"
    fail.unlink()
    eventually(lambda: told(box)[0]["pid"], "it is there again", timeout=DEADLINE)
    stop(box)
    box.assert_gone()


FAILURES = {
    "words": ("echo one >&2; echo two >&2; exit 3", "one two"),
    "silent": ("exit 3", "it ended with status 3 and said nothing"),
    "killed": ("kill -9 $$", "it was killed by signal 9"),
    "no pid": ("exit 0", "it has left no pid in its pid file"),
    "bad pid": ('echo none >"$0"', "it has left no pid in its pid file"),
    "left behind": (SCRIPT + "exit 5", "it ended with status 5 and said nothing"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_helper_that_fails_fails_the_start_and_leaves_nothing(box: Box, kind: str) -> None:
    script, words = FAILURES[kind]
    first, second = Helper(box, "first"), Helper(box, "second", script)
    connection = box.start(*SLEEP, helpers=[first.configuration, second.configuration])
    with pytest.raises(RequestFailed) as failed:
        connection.started(DEADLINE)
    connection.close()
    assert (failed.value.phase, failed.value.object, failed.value.error) == ("start helper", "second", words)
    assert failed.value.status == 125
    record = box.record()
    assert (record["why"], record["error"]) == ("runtime-failed", f"start helper second: {words}")
    box.assert_gone()
    assert first.starts == 1


def test_a_program_that_is_not_there_is_told(box: Box) -> None:
    helper = {"name": "pasta", "argv": ["/no/such/pasta"], "pidfile": str(box.run / "pid")}
    connection = box.start(*SLEEP, helpers=[helper])
    with pytest.raises(RequestFailed, match="the program could not be executed"):
        connection.started(DEADLINE)
    connection.close()
    box.assert_gone()


def test_a_container_can_be_stopped_while_a_helper_does_not_get_ready(box: Box) -> None:
    helper = Helper(box, script="exec sleep 1000")
    connection = box.start(*SLEEP, helpers=[helper.configuration])
    stopper = eventually(lambda: connected(box), "it listens")
    stopper.send({"op": "stop", "timeout": 1})
    with pytest.raises(RequestFailed, match="start helper"):
        connection.started(DEADLINE)
    connection.close()
    stopper.close()
    box.assert_gone()


def test_a_helper_that_ignores_sigterm_is_killed(box: Box) -> None:
    script = SCRIPT.replace("echo $$ >", "trap : TERM; echo $$ >")
    helper = Helper(box, script=script)
    box.started(*SLEEP, helpers=[helper.configuration]).close()
    pid = helper.pid
    stop(box)
    box.assert_gone()
    assert not host.alive(pid)


def test_a_killed_worker_and_a_killed_keeper_leave_the_helper_in_good_hands(box: Box) -> None:
    helper = Helper(box)
    box.started(*SLEEP, helpers=[helper.configuration]).close()
    pid = helper.pid
    keeper, worker = parts(box)
    host.send(worker, signal.SIGKILL)
    eventually(lambda: parts(box)[1] != worker, "another worker", timeout=DEADLINE)
    assert told(box)[0] == {"name": "helper", "pid": pid, "restarts": 0, "error": ""}
    host.send(pid, signal.SIGKILL)
    eventually(lambda: told(box)[0]["restarts"] == 1, "the new one knows of its end", timeout=DEADLINE)
    pid = helper.pid
    host.send(keeper, signal.SIGKILL)
    eventually(lambda: not host.alive(keeper), "it is dead")
    assert told(box)[0]["pid"] == pid
    stop(box)
    eventually(lambda: not host.alive(pid), "the worker alone has ended it", timeout=DEADLINE)


def test_without_a_keeper_a_dead_helper_stays_dead_and_that_is_told(box: Box) -> None:
    helper = Helper(box)
    box.started(*SLEEP, helpers=[helper.configuration]).close()
    keeper, _ = parts(box)
    host.send(keeper, signal.SIGKILL)
    eventually(lambda: not host.alive(keeper), "it is dead")
    host.send(helper.pid, signal.SIGKILL)
    eventually(lambda: "keeper was killed" in str(told(box)[0]["error"]), "it is told", timeout=DEADLINE)
    assert box.status()["status"] == "running"
    stop(box)


@pytest.mark.parametrize("written", [True, False], ids=["pid written", "pid not written"])
def test_whoever_meets_a_container_whose_monitor_was_killed_ends_its_helper(box: Box, written: bool) -> None:
    helper = Helper(box)
    connection = box.started(*SLEEP, helpers=[helper.configuration])
    cleanup.write(str(box.run), [], [str(helper.pidfile)])
    connection.close()
    pid, init = helper.pid, box.status()["pid"]
    for victim in parts(box):
        host.send(victim, signal.SIGKILL)
    assert isinstance(init, int)
    host.send(init, signal.SIGKILL)
    if not written:
        helper.pidfile.unlink()
    assert host.alive(pid)
    cleanup.finish(str(box.run))
    assert not host.alive(pid)
    assert not Path(cleanup.path(str(box.run))).exists()


def test_a_recycled_pid_in_a_pid_file_is_nobodys(box: Box, tmp_path: Path) -> None:
    with Sleeper() as other:
        pidfile = tmp_path / "helper.pid"
        pidfile.write_text(f"{other.pid}\n")
        cleanup.write(str(tmp_path), [], [str(pidfile)])
        cleanup.finish(str(tmp_path))
        assert host.alive(other.pid)


def kept_kb(pids: tuple[int, int]) -> int:
    """The memory that a monitor's two processes share to keep their state in."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Shmem:"))


def test_a_monitor_without_helpers_has_no_memory_for_them(new_box: Callable[[], Box]) -> None:
    plain, helped = new_box(), new_box()
    plain.started(*SLEEP).close()
    helped.started(*SLEEP, helpers=[Helper(helped).configuration]).close()
    page = os.sysconf("SC_PAGE_SIZE") // 1024
    without, with_ = parts(plain), parts(helped)
    eventually(lambda: kept_kb(without) <= 3 * page, "an idle monitor needs three pages")
    eventually(lambda: kept_kb(with_) == 4 * page, "and one more for a helper")


class Sleeper:
    """A process that has nothing to do with any container."""

    def __init__(self) -> None:
        import subprocess

        self._process = subprocess.Popen(["sleep", "1000"])
        self.pid = self._process.pid

    def __enter__(self) -> Sleeper:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def test_a_shared_one_is_watched_and_started_again_but_outlives_the_container(box: Box) -> None:
    helper = Helper(box)
    other = box.folder / "of-somebody-else"
    # Not the keeper's child, and not known by the run folder: the first start makes it, the next ones find it.
    script = f"""
    echo started >>"$1"
    [ -s {other} ] && kill -0 "$(cat {other})" 2>/dev/null || {{
        setsid sh -c 'echo $$ >{other}.new; mv {other}.new {other}; exec sleep 1000' >/dev/null 2>&1 &
        until [ -s {other} ]; do sleep 0.01; done
    }}
    cp {other} "$0"
    """
    helper.argv[2] = script
    box.started(*SLEEP, helpers=[{**helper.configuration, "shared": True}]).close()
    first = helper.pid
    try:
        assert told(box)[0]["pid"] == first
        other.unlink()
        host.send(first, signal.SIGKILL)
        eventually(lambda: replaced(box, helper, first), "it is started again")
        second = helper.pid
        stop(box)
        box.assert_gone()
        assert host.alive(second), "it is not this container's to end"
    finally:
        host.send(int(other.read_text()), signal.SIGKILL)
