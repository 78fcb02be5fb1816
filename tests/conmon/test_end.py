"""How a container ends: files, exit command, time limit, signals; what is released when."""

from __future__ import annotations

import os
import signal
import stat
import time

import pytest

from tests.conmon.caller import Caller
from tests.support import host
from tests.support.waiting import eventually

READY = "trap 'exit 9' {}; touch /shared/ready; while :; do sleep 0.02; done"


def ready(caller: Caller) -> None:
    eventually((caller.shared / "ready").exists, "the container is ready")


def command(caller: Caller, script: str) -> list[str]:
    """Options for an exit command that is a shell script."""
    words = ["-c", script, "exit-command", "one", "two words", ""]
    return ["--exit-command", "/bin/sh", *(word for arg in words for word in ("--exit-command-arg", arg))]


def test_these_files_are_left(caller: Caller) -> None:
    caller.run("sh", "-c", "exit 3")
    caller.monitor_ended()
    for path in (caller.exit_file(), caller.persist / "exit"):
        assert path.read_text() == "3"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert sorted(os.listdir(caller.exits)) == [caller.id]
    assert sorted(os.listdir(caller.persist)) == ["exit"]
    left = set(os.listdir(caller.bundle)) - {"config.json"}
    assert left == {"ctl", "winsz"}, "the attach socket is removed, the fifos stay"
    assert caller.pidfile.exists()
    assert caller.monitor_pidfile.exists()
    assert os.listdir(caller.cwd) == []


@pytest.mark.parametrize(("script", "code"), [("exit 0", "0"), ("exit 255", "255"), ("exec sleep 1000", "137")])
def test_the_exit_file_has_the_code_or_128_plus_the_signal(caller: Caller, script: str, code: str) -> None:
    caller.run("sh", "-c", script)
    if code == "137":
        caller.runc("kill", caller.id, "KILL")
    assert caller.code() == code


def test_without_exit_and_persist_folder_all_works(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 3"])
    words = caller.options("--sync")
    for name in ("--exit-dir", "--persist-dir"):
        at = words.index(name)
        del words[at : at + 2]
    spawned = caller.spawn(words)
    spawned.report()
    caller.begin()
    assert spawned.status() == 3


# ---- exit command -------------------------------------------------------------------------------------------


def test_the_exit_command_gets_its_words_and_finds_the_exit_file(caller: Caller) -> None:
    script = f'cat {caller.exit_file()}; echo; printf "<%s>" "$@"; exec >&-'
    out = caller.folder / "out"
    caller.run("sh", "-c", "exit 7", options=command(caller, f"{{ {script}; }} > {out}.new; mv {out}.new {out}"))
    eventually(out.exists, "the exit command has run")
    assert out.read_text() == "7\n<one><two words><>"


def test_the_exit_command_has_the_monitors_environment_and_folder_and_no_descriptor(caller: Caller) -> None:
    out = caller.folder / "out"
    script = f"{{ pwd; echo $MARK; for fd in /proc/$$/fd/*; do readlink $fd; done; }} > {out}.new; mv {out}.new {out}"
    caller.configure(["true"])
    caller.created(caller.spawn(caller.options(*command(caller, script)), env={"MARK": "kept"}))
    caller.begin()
    eventually(out.exists, "the exit command has run")
    lines = out.read_text().splitlines()
    assert lines[:2] == [str(caller.cwd), "kept"]
    assert set(lines[2:]) <= {"/dev/null", f"{out}.new"}


def test_the_monitor_waits_for_the_exit_command_and_returns_the_containers_code(caller: Caller) -> None:
    mark = caller.folder / "mark"
    caller.configure(["sh", "-c", "exit 6"])
    spawned = caller.spawn(caller.options("--sync", *command(caller, f"sleep 0.3; touch {mark}; exit 11")))
    spawned.report()
    caller.begin()
    assert spawned.status() == 6
    assert mark.exists()


def test_the_exit_delay_passes_before_the_exit_command(caller: Caller) -> None:
    mark = caller.folder / "mark"
    caller.run("true", options=["--exit-delay", "1", *command(caller, f"touch {mark}")])
    caller.code()
    before = caller.exit_file().stat().st_mtime
    eventually(mark.exists, "the exit command has run")
    assert mark.stat().st_mtime - before >= 0.9


def test_a_missing_exit_command_changes_nothing(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 6"])
    spawned = caller.spawn(caller.options("--sync", "--exit-command", "/no/such/program"))
    spawned.report()
    caller.begin()
    assert spawned.status() == 6
    assert caller.code() == "6"


def test_inherited_descriptors_are_released_before_the_exit_file(caller: Caller) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    caller.configure(["sh", "-c", "while ! test -e /shared/go; do sleep 0.02; done"])
    caller.created(caller.spawn(caller.options(), pass_fds=[write]))
    os.close(write)
    os.set_blocking(read, False)
    caller.begin()
    with pytest.raises(BlockingIOError):
        os.read(read, 1)  # the monitor keeps it, as it keeps the ports that Podman parks
    (caller.shared / "go").touch()
    caller.code()
    assert os.read(read, 1) == b""
    os.close(read)


# ---- time limit ---------------------------------------------------------------------------------------------


def test_the_time_limit_kills_and_says_minus_1(caller: Caller) -> None:
    caller.run("sh", "-c", "sleep 1000; true", options=["--timeout", "1"])
    started = time.monotonic()
    assert caller.code() == "-1"
    assert time.monotonic() - started < 10
    assert (caller.persist / "exit").read_text() == "-1"
    caller.monitor_ended()
    eventually(lambda: '"running"' not in caller.runc("state", caller.id, check=False), "its process is gone")


def test_a_time_limit_that_is_not_reached_changes_nothing(caller: Caller) -> None:
    caller.run("sh", "-c", "exit 4", options=["--timeout", "100"])
    assert caller.code() == "4"
    caller.monitor_ended()


# ---- signals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_the_monitor_passes_signals_on(caller: Caller, name: str) -> None:
    caller.run("sh", "-c", READY.format(name))
    ready(caller)
    os.kill(caller.monitor_pid(), signal.Signals[f"SIG{name}"])
    assert caller.code() == "9"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGPIPE])
def test_other_signals_do_the_monitor_nothing(caller: Caller, number: int) -> None:
    caller.run("sh", "-c", "while ! test -e /shared/go; do sleep 0.02; done; echo out; exit 5")
    os.kill(caller.monitor_pid(), number)
    (caller.shared / "go").touch()
    assert caller.code() == "5"
    assert caller.records() == [("stdout", "F", "out")]


def test_sigterm_before_the_start_ends_it_with_1(caller: Caller) -> None:
    caller.configure(["true"])
    spawned = caller.spawn(caller.options(), start=True)
    eventually(lambda: host.state(spawned.process.pid) == "S" and caller.log.exists(), "it waits for the start pipe")
    spawned.process.send_signal(signal.SIGTERM)
    assert spawned.status() == 1
    assert not caller.pidfile.exists()


# ---- output -------------------------------------------------------------------------------------------------


def test_all_output_is_in_the_log_before_the_exit_file(caller: Caller) -> None:
    caller.run("sh", "-c", "seq 1 50000")
    caller.code()
    assert [content for _, tag, content in caller.records() if tag == "F"][-1] == "50000"


def test_a_child_left_behind_does_not_delay_the_end(caller: Caller) -> None:
    # The child leaves the pid namespace's fate to the kernel: it dies with init. One that joined from outside does not.
    caller.run("sh", "-c", "while ! test -e /shared/go; do sleep 0.02; done; echo last; exit 3")
    pid = int(caller.pidfile.read_text())
    holder = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
    try:
        (caller.shared / "go").touch()
        assert caller.code() == "3"
        caller.monitor_ended()
    finally:
        os.close(holder)
    assert caller.records() == [("stdout", "F", "last")]


def test_the_streams_are_pipes_that_can_be_opened_again(caller: Caller) -> None:
    caller.run("sh", "-c", "echo out > /proc/self/fd/1; echo err > /proc/self/fd/2")
    caller.code()
    assert sorted(caller.records()) == [("stderr", "F", "err"), ("stdout", "F", "out")]


def test_a_container_that_closes_its_output_goes_on(caller: Caller) -> None:
    caller.run("sh", "-c", "exec >&- 2>&-; while ! test -e /shared/go; do sleep 0.02; done; exit 8")
    (caller.shared / "go").touch()
    assert caller.code() == "8"


def test_a_runtime_delete_from_outside_is_an_end(caller: Caller) -> None:
    caller.run("sleep", "1000")
    caller.runc("delete", "-f", caller.id)
    assert caller.code() == "137"
    caller.monitor_ended()


def test_a_created_container_that_is_deleted_ends_the_monitor(caller: Caller) -> None:
    caller.create("sleep", "1000")
    caller.runc("delete", "-f", caller.id)
    assert caller.code() == "137"
    caller.monitor_ended()
