"""Starts that are slow, cut off or overtaken: what is asked meanwhile holds, what fails says why and leaves nothing."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from remora.monitor import Connection, RequestFailed
from tests.support import host
from tests.support.box import DEADLINE, Box
from tests.support.waiting import eventually


class SlowRuntime:
    """A runtime in front of the real one: `run` (or another verb) tells its pid and waits until it is let go."""

    def __init__(self, folder: Path, box: Box, verb: str = "run") -> None:
        self._pid, self._go = folder / "pid", folder / "go"
        os.mkfifo(self._pid)
        os.mkfifo(self._go)
        script = folder / "slow-runc"
        script.write_text(
            "#!/bin/sh\n"
            f'case " $* " in *" {verb} "*) echo $$ >{self._pid}; read line <{self._go};; esac\n'
            f'exec {box.runtime[0]} "$@"\n'
        )
        script.chmod(0o755)
        box.runtime = [str(script)]

    def arrived(self) -> int:
        """Wait until the runtime has been called to start the container; its pid."""
        return int(self._pid.read_text())

    def go(self) -> None:
        """Let it start the container."""
        self._go.write_text("go\n")


@pytest.fixture
def slow(box: Box, tmp_path: Path) -> SlowRuntime:
    return SlowRuntime(tmp_path, box)


def states(connection: Connection) -> object:
    connection.send({"op": "status"})
    state = connection.reply("status", DEADLINE)["state"]
    assert isinstance(state, dict)
    return state["status"]


HANDLER = ("sh", "-c", "trap 'exit 33' TERM; trap 'echo usr' USR1; while :; do sleep 0.02; done")


# ---- asked while it starts ----


def test_a_stop_while_it_starts_is_done_as_soon_as_it_runs(box: Box, slow: SlowRuntime) -> None:
    spawner = box.start(*HANDLER, restart={"policy": "always", "max": 0})
    slow.arrived()
    with box.connect() as client:
        client.send({"op": "stop", "timeout": 10})
        assert states(client) == "starting"
        slow.go()
        reply = client.reply("stop", DEADLINE)
    record = reply["record"]
    # It may have been quicker than its own handlers: then it is the kill after the timeout that ends it, never none.
    assert isinstance(record, dict) and record["code"] in (33, 137, 143)
    spawner.close()
    box.assert_gone()


def test_a_stop_without_delay_while_it_starts_kills_it(box: Box, slow: SlowRuntime) -> None:
    spawner = box.start("sleep", "1000")
    slow.arrived()
    with box.connect() as client:
        client.send({"op": "stop", "timeout": 0})
        slow.go()
        record = client.reply("stop", DEADLINE)["record"]
    assert isinstance(record, dict) and (record["code"], record["signal"]) == (137, 9)
    spawner.close()
    box.assert_gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, 64])
def test_a_signal_while_it_starts_is_not_lost(box: Box, slow: SlowRuntime, number: int) -> None:
    script = f"trap 'exit 44' {number}; while :; do sleep 0.02; done"
    spawner = box.start("sh", "-c", script)
    slow.arrived()
    with box.connect() as client:
        assert client.request({"op": "signal", "signal": number})["ok"] is True
    slow.go()
    assert box.wait()["code"] == 44
    spawner.close()
    box.assert_gone()


def test_a_sigterm_to_the_monitor_while_it_starts_reaches_the_container(box: Box, slow: SlowRuntime) -> None:
    spawner = box.start(*HANDLER, restart={"policy": "always", "max": 0})
    slow.arrived()
    host.send(box.monitor_pid(), signal.SIGTERM)
    slow.go()
    assert box.wait()["code"] in (33, 137, 143)
    spawner.close()
    box.assert_gone()


def test_exec_pause_and_attach_while_it_starts_are_answered(box: Box, slow: SlowRuntime) -> None:
    box.start("sh", "-c", "echo line; sleep 1000")
    slow.arrived()
    with box.connect() as client:
        for op in ("exec", "pause", "unpause"):
            with pytest.raises(RequestFailed, match="not running"):
                client.request({"op": op, "session": "ab"})
        assert client.request({"op": "attach"})["ok"] is True
        slow.go()
        assert client.receive(DEADLINE).payload == b"line\n"


def test_a_client_that_leaves_while_it_starts_changes_nothing(box: Box, slow: SlowRuntime) -> None:
    spawner = box.start("sh", "-c", "exit 12", attach={"stdin": False, "owner": True, "block": True})
    slow.arrived()
    spawner.close()
    with box.connect() as client:
        client.send({"op": "wait"})
        slow.go()
        record = client.reply("wait", DEADLINE)["record"]
    assert isinstance(record, dict) and record["code"] == 12
    box.assert_gone()


def test_a_runtime_that_never_ends_does_not_keep_a_container_from_being_stopped(box: Box, slow: SlowRuntime) -> None:
    spawner = box.start("sleep", "1000")
    runtime = slow.arrived()
    with box.connect() as client:
        client.send({"op": "stop", "timeout": 1})
        record = client.reply("stop", DEADLINE)["record"]
    assert isinstance(record, dict) and record["why"] == "runtime-failed" and "signal 9" in str(record["error"])
    assert not host.alive(runtime)
    spawner.close()
    box.assert_gone()


# ---- paused ----


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_stop_while_it_is_being_paused_or_unpaused_is_done(box: Box, tmp_path: Path, verb: str) -> None:
    """On cgroup v1 a frozen process takes no signal at all: the stop has to thaw it."""
    slow = SlowRuntime(tmp_path, box, verb)
    spawner = box.started("sleep", "1000")
    with box.connect() as pauser, box.connect() as stopper:
        if verb == "resume":
            pauser.request({"op": "pause"})
        pauser.send({"op": "pause" if verb == "pause" else "unpause"})
        slow.arrived()
        stopper.send({"op": "stop", "timeout": 0})
        states(stopper)
        go = threading.Thread(target=slow.go)
        go.start()
        assert pauser.reply("pause" if verb == "pause" else "unpause", DEADLINE)["ok"] is True
        record = stopper.reply("stop", DEADLINE)["record"]
    go.join()
    assert isinstance(record, dict) and record["code"] == 137
    spawner.close()
    box.assert_gone()


def test_the_time_limit_ends_a_paused_container_too(box: Box) -> None:
    spawner = box.started("sleep", "1000", timeout=1)
    spawner.request({"op": "pause"})
    record = box.wait()
    assert (record["why"], record["code"]) == ("timeout", 137)
    spawner.close()
    box.assert_gone()


# ---- cut off ----


def failed(connection: Connection) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        connection.started(DEADLINE)
    return caught.value


def test_a_runtime_killed_before_it_began_is_a_clear_failure(box: Box, slow: SlowRuntime) -> None:
    spawner = box.start("sleep", "1000")
    runtime = slow.arrived()
    with box.connect() as waiter:
        waiter.send({"op": "wait", "condition": "running"})
        assert states(waiter) == "starting"
        host.send(runtime, signal.SIGKILL)
        error = failed(spawner)
        assert (error.phase, error.status) == ("start container", 125)
        assert "killed by signal 9" in error.error and "slow-runc" in error.object
        with pytest.raises(RequestFailed, match="has ended"):
            waiter.reply("wait", DEADLINE)
    spawner.close()
    box.assert_gone()
    assert box.record()["why"] == "runtime-failed"


@pytest.mark.parametrize("tty", [False, True])
def test_a_runtime_killed_at_any_moment_of_a_start_leaves_nothing(
    new_box: Callable[[], Box], tmp_path: Path, tty: bool
) -> None:
    """Killed after 0 to 60 ms: the container runs, or it is told that it doesn't, and nothing is left behind."""
    chance = random.Random(3)
    outcomes: set[str] = set()
    for number in range(12):
        box = new_box()
        folder = tmp_path / str(number)
        folder.mkdir()
        slow = SlowRuntime(folder, box)
        spawner = box.start("sleep", "1000", tty=tty)
        pidfd = os.pidfd_open(slow.arrived())
        slow.go()
        threading.Event().wait(number * 0.005 + chance.uniform(0, 0.005))
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.close(pidfd)
        try:
            spawner.started(DEADLINE)
            outcomes.add("started")
            spawner.send({"op": "stop", "timeout": 0})
            record = spawner.reply("stop", DEADLINE)["record"]
            assert isinstance(record, dict) and record["code"] == 137
        except RequestFailed as error:
            outcomes.add(f"failed {error.status}")
        spawner.close()
        box.assert_gone()
    assert "failed 125" in outcomes and outcomes <= {"started", "failed 125"}


@pytest.mark.parametrize(
    ("runtime", "says"),
    [("/no/such/runtime", "status 127"), ("/bin/false", "status 1"), ("/etc/fstab", "status 127")],
)
def test_a_runtime_that_is_none_is_named(box: Box, runtime: str, says: str) -> None:
    box.runtime = [runtime]
    spawner = box.start("sleep", "1000")
    error = failed(spawner)
    assert (error.phase, error.object, error.status) == ("start container", runtime, 125)
    assert says in error.error
    spawner.close()
    box.assert_gone()


def test_what_a_runtime_prints_instead_of_logging_is_told(box: Box, tmp_path: Path) -> None:
    script = tmp_path / "chatty"
    script.write_text("#!/bin/sh\necho 'out of luck' >&2\nexit 3\n")
    script.chmod(0o755)
    box.runtime = [str(script)]
    assert failed(box.start("true")).error == "out of luck"


def test_a_runtime_that_says_it_started_but_names_no_process_is_not_believed(box: Box, tmp_path: Path) -> None:
    script = tmp_path / "liar"
    for text, phase in (("", "read pid file"), ("99999999", "watch process"), ("x", "read pid file")):
        script.write_text(
            '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = --pid-file ] && printf "%s" "' + text + '" >"$2"; shift; done\n'
        )
        script.chmod(0o755)
        box.runtime = [str(script)]
        spawner = box.start("true")
        assert failed(spawner).phase == phase
        spawner.close()
        box.assert_gone()


# ---- configurations that can't be ----


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"id": "short"}, "id"),
        ({"run_dir": "relative"}, "run_dir"),
        ({"version": 2}, "version"),
        ({"runtime": []}, "runtime"),
        ({"runtime": "runc"}, "runtime"),
        ({"env": [5]}, "env"),
        ({"log": {"drivers": [{"driver": "syslog"}]}}, "log drivers"),
        ({"log": {"stderr": {"policy": "rate"}}}, "log stderr"),
        ({"restart": {"policy": "maybe"}}, "restart"),
        ({"preserve_fds": 2000}, "preserve_fds"),
        ({"held_fds": 17}, "held_fds"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_key(box: Box, overrides: dict[str, object], says: str) -> None:
    error = failed(box.start("true", **overrides))  # type: ignore[arg-type]
    assert error.phase == "read configuration" and says in error.object
    eventually(lambda: not host.processes_of(box._folders(), {box.id}), "it has ended")


@pytest.mark.parametrize(
    ("overrides", "phase"),
    [
        ({"log": {"drivers": [{"driver": "k8s-file", "path": "/no/such/folder/log"}]}}, "open log"),
        ({"log": {"drivers": [{"driver": "k8s-file", "path": "/proc"}]}}, "open log"),
        ({"rootfs": "/no/such/folder/merged"}, "make the mount point"),
    ],
)
def test_a_path_that_cannot_be_opened_is_named_and_nothing_is_left(
    box: Box, overrides: dict[str, object], phase: str
) -> None:
    spawner = box.start("true", **overrides)  # type: ignore[arg-type]
    error = failed(spawner)
    assert error.phase == phase and error.errno != 0
    spawner.close()
    box.assert_gone()


# ---- restarts ----


def test_restarts_count_their_pauses_double_and_a_stop_between_them_is_final(box: Box) -> None:
    spawner = box.started("sh", "-c", "exit 3", restart={"policy": "always", "max": 0}, attach={})
    times = [time.monotonic()]
    restarts = 0
    while restarts < 4:
        packet = spawner.receive(DEADLINE)
        if packet.kind == 0 and packet.message().get("event") == "restarted":
            times.append(time.monotonic())
            restarts += 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(times[1:])]
    for pause, least in zip(pauses, (0.2, 0.4, 0.8), strict=True):
        assert least * 0.9 < pause < least + 2
    with box.connect() as client:
        client.send({"op": "stop"})
        record = client.reply("stop", DEADLINE)["record"]
    assert isinstance(record, dict) and record["code"] == 3 and record["restarts"] >= 4
    spawner.close()
    box.assert_gone()
