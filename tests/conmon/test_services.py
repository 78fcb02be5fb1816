"""sd_notify relay, socket activation, passthrough, out of memory, restricting the monitor's own life."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conmon.caller import RUNC, Caller
from tests.support.columns import Monitor
from tests.support.waiting import eventually


class Relay:
    """A container's notify socket as the monitor made it, and the manager's socket behind it."""

    def __init__(self, caller: Caller) -> None:
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(caller.folder / "manager"))
        self.manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.manager.settimeout(caller.monitor.patience + 3)
        (caller.bundle / "notify").mkdir()
        caller.create("sleep", "1000", options=["--sdnotify-socket", str(caller.folder / "manager")])
        self.path = caller.bundle / "notify" / "notify.sock"
        self._container = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._container.connect(str(self.path))

    def passes(self, message: str) -> str:
        """What the manager gets for a message; "" for nothing (a second message tells)."""
        self._container.send(message.encode())
        self._container.send(b"WATCHDOG=1")
        first = self.manager.recv(65536).decode()
        if first == "WATCHDOG=1" and message != "WATCHDOG=1":
            return ""
        assert self.manager.recv(65536) == b"WATCHDOG=1"
        return first

    def close(self) -> None:
        self.manager.close()
        self._container.close()


@pytest.fixture
def relay(caller: Caller) -> Iterator[Relay]:
    made = Relay(caller)
    yield made
    made.close()


def test_ready_and_watchdog_pass(relay: Relay) -> None:
    assert relay.path.stat().st_mode & 0o777 == 0o777
    assert relay.passes("READY=1") == "READY=1"
    assert relay.passes("READY=1\n") == "READY=1"


@pytest.mark.parametrize("message", ["MAINPID=1", "FDSTORE=1", "BARRIER=1", "NOTIFYACCESS=all", "\n\n", "rubbish"])
def test_what_could_fool_the_manager_is_dropped(relay: Relay, message: str) -> None:
    assert relay.passes(message) == ""


@pytest.mark.parametrize("message", ["READY=1\nMAINPID=1", "MAINPID=1\nREADY=1\nFDSTORE=1"])
def test_of_a_mixed_message_only_the_harmless_part_passes(relay: Relay, message: str) -> None:
    assert relay.passes(message) == "READY=1"


@pytest.mark.conmon_fails("it takes an empty message for the end")
def test_an_empty_message_does_not_end_the_relay(relay: Relay) -> None:
    assert relay.passes("") == ""
    assert relay.passes("READY=1") == "READY=1"


@pytest.mark.conmon_fails("READY=1 is looked for anywhere in the message")
def test_only_whole_lines_count(relay: Relay) -> None:
    assert relay.passes("XREADY=12") == ""


@pytest.mark.only("remora")
def test_status_and_stopping_pass(relay: Relay) -> None:
    assert relay.passes("STATUS=well\nSTOPPING=1\nMAINPID=1") == "STATUS=well\nSTOPPING=1"


def test_a_missing_notify_folder_ends_it_after_daemonising(caller: Caller) -> None:
    caller.configure(["true"])
    spawned = caller.spawn(caller.options("--sdnotify-socket", str(caller.folder / "manager")))
    assert spawned.status() == 0
    assert spawned.report().get("data", -1) == -1
    assert not caller.pidfile.exists()


# ---- socket activation --------------------------------------------------------------------------------------

TOLD = """#!/bin/sh
echo "$LISTEN_PID $LISTEN_FDS $$ $(readlink /proc/$$/fd/{fd})" > {out}
exit 1
"""


def told(caller: Caller, words: list[str], listen_pid: str) -> list[str]:
    """LISTEN_PID, LISTEN_FDS, its own pid and descriptor 3 as the runtime sees them."""
    runtime = caller.folder / "runtime"
    out = caller.folder / "listen"
    runtime.write_text(TOLD.format(out=out, fd=3))
    runtime.chmod(0o755)
    caller.configure(["true"])
    argv = [caller.monitor.path, *(str(runtime) if word == RUNC else word for word in caller.options(*words))]
    pid = "$$" if listen_pid == "self" else listen_pid
    script = f'fd=$1; shift; [ "$fd" = 3 ] || exec 3<&"$fd"; export LISTEN_PID={pid} LISTEN_FDS=1; exec "$@"'
    with socket.socket(socket.AF_UNIX) as listener:
        subprocess.run(
            ["bash", "-c", script, "bash", str(listener.fileno()), *argv],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
        )
    eventually(lambda: out.exists() and out.read_text().endswith("\n"), "the runtime was called")
    return out.read_text().split()


def test_listen_pid_is_left_alone_when_it_is_another(caller: Caller) -> None:
    assert told(caller, [], "1")[:2] == ["1", "1"]


def test_listen_pid_of_the_monitor_becomes_the_runtimes(caller: Caller) -> None:
    pid, _, runtime, fd = told(caller, ["--sync"], "self")
    assert pid == runtime
    assert fd.startswith("socket:")


def test_replace_listen_pid_makes_it_the_runtimes(caller: Caller) -> None:
    pid, _, runtime, fd = told(caller, ["--replace-listen-pid"], "1")
    assert pid == runtime
    assert fd.startswith("socket:")


def test_listening_sockets_reach_the_container(caller: Caller) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(caller.folder / "socket"))
        listener.listen()
        caller.configure(["sh", "-c", "readlink /proc/self/fd/3; echo $LISTEN_FDS"])
        script = 'fd=$1; shift; [ "$fd" = 3 ] || exec 3<&"$fd"; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        words = [caller.monitor.path, *caller.options("--runtime-opt", "--preserve-fds", "--runtime-opt", "1")]
        subprocess.run(
            ["bash", "-c", script, "bash", str(listener.fileno()), *words],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=True,
        )
    eventually(lambda: '"created"' in caller.runc("state", caller.id, check=False), "created")
    caller.begin()
    caller.code()
    assert caller.records()[0][2].startswith("socket:")


# ---- passthrough --------------------------------------------------------------------------------------------


def test_passthrough_is_the_callers_own_output(caller: Caller) -> None:
    caller.configure(["sh", "-c", "echo out; echo err >&2; exit 3"])
    spawned = caller.spawn(caller.options(log=["passthrough"]))
    caller.created(spawned)
    assert set(os.listdir(caller.bundle)) == {"config.json"}, "no socket, no fifo"
    caller.begin()
    assert caller.code() == "3"
    assert (spawned.out(), spawned.err()) == ("out\n", "err\n")


def test_passthrough_hands_the_callers_input_in(caller: Caller) -> None:
    read, write = os.pipe()
    caller.configure(["cat"])
    spawned = caller.spawn(caller.options(log=["passthrough"]), stdin=read)
    os.close(read)
    caller.created(spawned)
    caller.begin()
    os.write(write, b"typed\n")
    os.close(write)
    assert caller.code() == "0"
    assert spawned.out() == "typed\n"


# ---- out of memory ------------------------------------------------------------------------------------------


def test_an_oom_kill_leaves_its_mark(caller: Caller) -> None:
    caller.configure(["dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=60"], memory=16 << 20)
    caller.created(caller.spawn(caller.options()))
    caller.begin()
    assert caller.code() == "137"
    caller.monitor_ended()
    mark = caller.persist / "oom"
    assert mark.exists()
    assert mark.read_bytes() == b""
    beside = caller.cwd if caller.monitor.is_conmon else caller.bundle
    assert (beside / "oom").exists(), "where callers without such a folder look"


def test_no_oom_leaves_no_mark(caller: Caller) -> None:
    caller.configure(["true"], memory=64 << 20)
    caller.created(caller.spawn(caller.options()))
    caller.begin()
    caller.code()
    caller.monitor_ended()
    assert not (caller.persist / "oom").exists()


# ---- its own life -------------------------------------------------------------------------------------------


def test_no_descriptor_of_the_monitor_reaches_the_container(caller: Caller) -> None:
    caller.run("sh", "-c", "exec ls /proc/self/fd", options=["-i"])
    caller.code()
    assert [content for _, _, content in caller.records()] == ["0", "1", "2", "3"]  # 3 is the folder being listed


def test_the_callers_pipes_do_not_reach_the_runtime(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    out = caller.folder / "fds"
    runtime.write_text(f"#!/bin/sh\nls -l /proc/$$/fd > {out}.new; mv {out}.new {out}\nexit 1\n")
    runtime.chmod(0o755)
    caller.configure(["true"])
    spawned = caller.spawn([str(runtime) if word == RUNC else word for word in caller.options()], start=True)
    os.write(spawned.start.ours, b"\0")
    eventually(out.exists, "the runtime was called")
    assert "socket:" not in out.read_text()


def test_the_exec_of_a_runtime_that_can_not_be_executed_is_a_failure(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text("#!/no/interpreter\n")
    runtime.chmod(0o755)
    caller.configure(["true"])
    words = [str(runtime) if word == RUNC else word for word in caller.options("--sync")]
    spawned = caller.spawn(words)
    assert spawned.report().get("data", -1) == -1
    assert spawned.status() == 1


@pytest.mark.only("remora")
def test_it_may_be_called_conmon(monitor: Monitor, tmp_path: Path) -> None:
    link = tmp_path / "conmon"
    shutil.copy(monitor.path, link)
    result = subprocess.run([link], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert result.stderr == "conmon: Container ID not provided. Use --cid\n"


@pytest.mark.parametrize("syslog", [False, True])
def test_syslog_without_a_log_daemon_is_no_obstacle(caller: Caller, syslog: bool) -> None:
    caller.run("sh", "-c", "exit 2", options=["--syslog"] if syslog else [])
    assert caller.code() == "2"


def test_debug_messages_do_not_disturb(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 2"])
    words = caller.options()
    words[words.index("--log-level") + 1] = "trace"
    caller.created(caller.spawn(words))
    caller.begin()
    assert caller.code() == "2"


def test_a_relay_does_not_keep_the_monitor_alive(caller: Caller) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(caller.folder / "manager"))
        (caller.bundle / "notify").mkdir()
        caller.run("true", options=["--sdnotify-socket", str(caller.folder / "manager")])
        caller.monitor_ended()
        assert not select.select([manager], [], [], 0)[0]
