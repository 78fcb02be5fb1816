"""Where conmon is known to be wrong: what its users suffered from, and what Remora does instead."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conmon.caller import RUNC, STDOUT, Caller, Client
from tests.support import host
from tests.support.waiting import eventually

GO = "while ! test -e /shared/go; do sleep 0.02; done"


def members(caller: Caller) -> list[int]:
    """The monitor's processes: the one in its pid file and its relatives of the same program."""
    pid = caller.monitor_pid()
    try:
        program = os.readlink(f"/proc/{pid}/exe")
        family = (pid, *_children(pid), host.parent(pid))
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) in family:
            try:
                if os.readlink(f"/proc/{entry}/exe") == program:
                    found.append(int(entry))
            except OSError:
                continue
    return found


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(caller: Caller) -> None:
    """Wait until the container's own process runs: then whoever attaches is no longer the foreground."""
    pid = int(caller.pidfile.read_text())
    # Empty in the middle of an execve.
    eventually(lambda: (line := host.command_line(pid)) and "runc" not in line[0], "the container's process runs")


def taken_on(caller: Caller, count: int) -> list[Client]:
    """So many clients, accepted: taken on only once there is output, they would pass for the foreground, which is
    waited for."""
    monitor = members(caller)[0]
    before = host.descriptors(monitor)
    clients = [caller.client() for _ in range(count)]
    eventually(lambda: host.descriptors(monitor) >= before + count, "all are taken on")
    return clients


def kernel() -> tuple[int, int]:
    words = os.uname().release.split(".")
    return int(words[0]), int(words[1])


def ticks(pids: list[int]) -> int:
    """Processor time of these processes, in clock ticks."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


@pytest.mark.conmon_fails("a client that does not read stops the container")
def test_a_client_that_does_not_read_stops_neither_container_nor_log(caller: Caller) -> None:
    caller.run("sh", "-c", f"{GO}; seq 1 300000; exit 3")
    running(caller)
    taken_on(caller, 1)  # never read
    (caller.shared / "go").touch()
    eventually(caller.exit_file().exists, "the container ends", caller.monitor.patience)
    assert caller.code() == "3"
    assert caller.records()[-1] == ("stdout", "F", "300000")


@pytest.mark.conmon_fails("the other clients wait with it")
def test_a_client_that_does_not_read_stops_no_other_client(caller: Caller) -> None:
    caller.run("sh", "-c", f"{GO}; seq 1 300000")
    running(caller)
    _, other = taken_on(caller, 2)
    other.socket.settimeout(caller.monitor.patience)
    (caller.shared / "go").touch()
    assert other.rest()[STDOUT].endswith(b"\n300000\n")


def test_a_client_from_before_the_start_may_be_slow_and_loses_nothing(caller: Caller) -> None:
    """It is the foreground: `podman run … | slow` must not lose a byte."""
    caller.create("sh", "-c", "seq 1 300000; touch /shared/written")
    client = caller.client()
    caller.begin()
    time.sleep(2.5)  # longer than any other client is waited for
    assert not (caller.shared / "written").exists(), "the container waits"
    assert client.rest() == {STDOUT: b"".join(b"%d\n" % n for n in range(1, 300001))}


def test_a_stopped_client_does_not_delay_the_end(caller: Caller) -> None:
    caller.create("sh", "-c", f"{GO}; echo x; exit 4")
    caller.client()
    caller.begin()
    (caller.shared / "go").touch()
    assert caller.code() == "4"
    caller.monitor_ended()


def test_a_descriptor_kept_open_costs_no_processor_time(caller: Caller) -> None:
    caller.run("sh", "-c", "touch /shared/ready; exec sleep 1000", options=["-i"])
    eventually((caller.shared / "ready").exists, "the container is ready")
    pid = int(caller.pidfile.read_text())
    keeper = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
    pids = members(caller)
    before = ticks(pids)
    time.sleep(0.3)  # what is measured: time in which nothing happens
    assert ticks(pids) - before <= 1
    os.kill(pid, signal.SIGKILL)
    assert caller.code() == "137"
    caller.monitor_ended()
    os.close(keeper)


@pytest.mark.parametrize(
    "tty",
    [False, pytest.param(True, marks=pytest.mark.conmon_fails("it looks at a hung-up terminal ten times a second"))],
)
def test_nothing_wakes_an_idle_monitor(caller: Caller, tty: bool) -> None:
    # With a terminal whose container has closed it: a hung-up pty.
    script = "exec </dev/null >/dev/null 2>&1; touch /shared/ready; exec sleep 1000"
    caller.run("sh", "-c", script, tty=tty)
    eventually((caller.shared / "ready").exists, "the container is ready")
    out = caller.folder / "trace"
    pids = members(caller)
    argv = ["strace", "-f", "-qq", "-o", str(out), *(word for pid in pids for word in ("-p", str(pid)))]
    tracer = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        eventually(lambda: _traced(pids), "strace has attached")
        for _ in range(3):  # a timer gives memory back once, soon after the last traffic
            lines = _calls(out)
            time.sleep(1.2)  # what is measured: time in which nothing happens
            if _calls(out) == lines:
                return
        pytest.fail(f"it never rests: {_calls(out)[-5:]}")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)


def _traced(pids: list[int]) -> bool:
    return all(not re.search(r"TracerPid:\t0$", Path(f"/proc/{pid}/status").read_text(), re.M) for pid in pids)


def _calls(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# A runtime that stays: it takes over init as a subreaper, and goes when init has.
STAYING = """#!{python}
import ctypes, os, sys
if "create" not in sys.argv:
    os.execv({runc!r}, [{runc!r}, *sys.argv[1:]])
read, write = os.pipe()
if os.fork() == 0:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    child = os.posix_spawn({runc!r}, [{runc!r}, *sys.argv[1:]], os.environ)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.write(write, bytes([status]))
    os.close(write)
    os.wait()
    os._exit(0)
os.close(write)
sys.exit(os.read(read, 1)[0])
"""


@pytest.mark.conmon_fails("it waits for SIGCHLD of that process, which never comes")
@pytest.mark.skipif(kernel() < (6, 15), reason="the exit status of another's child is known from kernel 6.15 on")
def test_the_end_is_seen_of_a_process_that_is_no_child(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text(STAYING.format(python=sys.executable, runc=RUNC))
    runtime.chmod(0o755)
    caller.configure(["sh", "-c", f"{GO}; exit 6"])
    caller.created(caller.spawn([str(runtime) if word == RUNC else word for word in caller.options()]))
    caller.begin()
    (caller.shared / "go").touch()
    eventually(caller.exit_file().exists, "the end is seen", caller.monitor.patience)
    assert caller.code() == "6"


def test_a_burst_of_lines_on_ctl_is_handled_whole(caller: Caller) -> None:
    caller.run("sh", "-c", f"{GO}; exit 3")
    for _ in range(20):
        caller.control("ctl", b"2 0 0\n" * 10)
    (caller.shared / "go").touch()
    assert caller.code() == "3"


@pytest.mark.conmon_fails("it keeps the connections of clients that have gone")
def test_a_hundred_attaches_leave_no_descriptor(caller: Caller) -> None:
    caller.create("sh", "-c", GO)
    caller.begin()
    pids = members(caller)
    before = [host.descriptors(pid) for pid in pids]
    for _ in range(100):
        eventually(lambda: _attached_and_gone(caller), "a client gets its turn")
    patience = caller.monitor.patience
    eventually(lambda: [host.descriptors(pid) for pid in pids] == before, "as many descriptors as before", patience)


def _attached_and_gone(caller: Caller) -> bool:
    try:
        caller.client().close()
    except BlockingIOError:  # the listener's queue is full
        return False
    return True


def test_the_log_is_on_disk_before_the_exit_file(caller: Caller) -> None:
    """In the order of the system calls: the last write to the log, then the exit file's rename."""
    caller.configure(["sh", "-c", "echo last"])
    out = caller.folder / "trace"
    caller.prefix = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "200",
        "-o",
        str(out),
        "-e",
        "trace=write,writev,pwritev,pwrite64,rename,renameat,renameat2",
    ]
    spawned = caller.spawn(caller.options("--sync"))
    assert int(str(spawned.report()["data"])) > 0
    caller.begin()
    spawned.status()
    text = out.read_text()
    assert -1 < text.rindex("last") < text.index(f'{caller.exits}/{caller.id}"')


@pytest.mark.conmon_fails("it has but one process, which alone knows the exit code")
@pytest.mark.parametrize("killed", ["worker", "keeper"])
def test_a_killed_process_of_the_monitor_loses_nothing(caller: Caller, killed: str) -> None:
    if killed == "keeper" and kernel() < (6, 15):
        pytest.skip("the exit status of another's child is known from kernel 6.15 on")
    caller.create("sh", "-c", f"echo one; {GO}; echo two; exit 12")
    before = caller.client()
    before.socket.settimeout(caller.monitor.patience)
    caller.begin()
    before.until(b"one\n")
    keeper = caller.monitor_pid()
    pids = members(caller)
    assert len(pids) == (1 if caller.monitor.is_conmon else 2)
    victim = keeper if killed == "keeper" else next((pid for pid in pids if pid != keeper), keeper)
    os.kill(victim, signal.SIGKILL)
    after = caller.client()
    after.socket.settimeout(caller.monitor.patience)
    (caller.shared / "go").touch()
    assert before.rest() == after.rest() == {STDOUT: b"two\n"}
    eventually(caller.exit_file().exists, "the exit file is written", caller.monitor.patience)
    assert caller.code() == "12"
    assert caller.records() == [("stdout", "F", "one"), ("stdout", "F", "two")]


@pytest.mark.only("remora")
def test_a_worker_killed_again_and_again_loses_nothing(caller: Caller) -> None:
    caller.create("sh", "-c", "seq 1 200000; exit 12")
    caller.begin()
    keeper = caller.monitor_pid()
    killed = 0
    while not caller.exit_file().exists() and killed < 50:
        for pid in members(caller):
            if pid != keeper:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
    assert killed > 0
    assert caller.code() == "12"
    out = "".join(content + ("\n" if tag == "F" else "") for _, tag, content in caller.records())
    assert out == "".join(f"{n}\n" for n in range(1, 200001))


# ---- options of later versions of conmon ----------------------------------------------------------------------


def finish(caller: Caller, script: str, *options: str) -> None:
    caller.run("sh", "-c", script, options=options)
    caller.code()


@pytest.mark.only("remora")
def test_log_rotate_keeps_old_files_and_every_line(caller: Caller) -> None:
    finish(caller, "seq 1001 1100", "--log-size-max", "2000", "--log-rotate", "--log-max-files", "9")
    files = sorted(caller.folder.glob("log*"), key=lambda path: int(path.suffix[1:] or 0), reverse=True)
    assert len(files) > 2
    assert all(path.stat().st_size <= 2000 for path in files)
    assert [content for path in files for _, _, content in caller.records(path)] == [str(n) for n in range(1001, 1101)]


@pytest.mark.only("remora")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--log-max-files", "-1"], "conmon: log-max-files must be non-negative, got -1"),
        (
            ["--log-rotate", "--log-max-files", "0"],
            "conmon: log-max-files must be at least 1 when log-rotate is enabled, got 0",
        ),
        (
            ["--log-label", "=x", "-l", "journald"],
            "Container labels must be in format LABEL=VALUE (no LABEL present in '=x')",
        ),
        (
            ["--log-label", "x", "-l", "journald"],
            "Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'x')",
        ),
        (
            ["--log-label", "lower=1", "-l", "journald"],
            "Container label names must contain only uppercase letters, numbers and underscore",
        ),
        (["--log-label", "A=1"], "k8s-file doesn't support --log-label"),
    ],
)
def test_later_options_are_checked(caller: Caller, words: list[str], text: str) -> None:
    log = ["none"] if "journald" in words else []
    spawned = caller.spawn(caller.options(*words, log=log))
    assert spawned.status() == 1
    assert text in spawned.err() + spawned.out()


@pytest.mark.only("remora")
def test_a_window_size_that_no_terminal_holds_is_refused(caller: Caller) -> None:
    caller.create(
        "sh", "-c", "trap 'echo size $(stty size).' WINCH; echo ready; while :; do sleep 0.02; done", tty=True
    )
    client = caller.client()
    caller.begin()
    client.until(b"ready")
    caller.control("ctl", b"1 65536 80\n")
    caller.control("ctl", b"1 40 80\n")
    assert b"size 0" not in client.until(b"size 40 80.")


def test_a_client_that_connects_and_says_nothing_is_no_obstacle(caller: Caller) -> None:
    caller.run("sh", "-c", f"{GO}; exit 3")
    idle = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(20)]
    for one in idle:
        one.connect(str(caller.bundle / "attach"))
    (caller.shared / "go").touch()
    assert caller.code() == "3"
    for one in idle:
        one.close()
