"""The sync pipe: every cell of its table, through both kinds of pipe; the start pipe; daemonising."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from pathlib import Path

import pytest

from tests.conmon.caller import RUNC, Caller, Client, Spawned
from tests.support import host
from tests.support.waiting import eventually

KINDS = ("seqpacket", "pipe")
WAITS = ("sh", "-c", "while ! test -e /shared/go; do sleep 0.02; done; exit 5")


def go(caller: Caller) -> None:
    (caller.shared / "go").touch()


def exec_words(caller: Caller, *args: str, api: int = 1, tty: bool = False) -> list[str]:
    """Options of an exec; its exit file goes to a folder of its own."""
    spec = caller.folder / "process.json"
    spec.write_text(json.dumps(caller.process_object(args, tty)))
    (caller.folder / "exec-exits").mkdir(exist_ok=True)
    words = ["--api-version", "1"] if api else []
    words += ["-c", caller.id, "-r", RUNC, "-p", str(caller.folder / "exec-pid"), "-l", "none"]
    words += ["-u", "f" * 64] if api else []
    words += ["--exit-dir", str(caller.folder / "exec-exits"), "-e", "--exec-process-spec", str(spec)]
    words += ["-t"] if tty else []
    return [*words, "--runtime-arg", "--root", "--runtime-arg", str(caller.folder / "runc")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("api", "key"), [(1, "data"), (0, "pid")])
def test_create_tells_the_pid_once_and_then_the_end(caller: Caller, kind: str, api: int, key: str) -> None:
    caller.configure(["sh", "-c", "exit 3"])
    spawned = caller.spawn(caller.options(api=api), sync=kind)
    report = spawned.report()
    assert list(report) == [key]
    pid = report[key]
    assert isinstance(pid, int)
    assert caller.pidfile.read_text() == str(pid)
    assert Path(f"/proc/{pid}").exists()
    assert spawned.status() == 0
    caller.begin()
    assert caller.code() == "3"
    assert spawned.report() == {}, "the end of a container is not told here"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("api", "key"), [(1, "data"), (0, "pid")])
def test_a_failed_create_tells_the_runtimes_words(caller: Caller, kind: str, api: int, key: str) -> None:
    caller.configure(["/no/such/program"])
    spawned = caller.spawn(caller.options(api=api), sync=kind)
    report = spawned.report()
    assert sorted(report) == sorted([key, "message"])
    assert report[key] == -1
    assert "/no/such/program" in str(report["message"])
    assert spawned.report() == {}
    assert spawned.status() == 0, "the first process has gone before"


def test_a_failed_create_leaves_no_exit_file_and_runs_the_exit_command(caller: Caller) -> None:
    mark = caller.folder / "mark"
    command = ["--exit-command", "/bin/touch", "--exit-command-arg", str(mark)]
    caller.configure(["/no/such/program"])
    spawned = caller.spawn(caller.options(*command))
    assert spawned.report()["data"] == -1
    eventually(mark.exists, "the exit command has run")
    caller.monitor_ended()
    assert not caller.exit_file().exists()
    assert not (caller.persist / "exit").exists()


def test_a_failed_create_ends_with_1_under_sync(caller: Caller) -> None:
    caller.configure(["/no/such/program"])
    spawned = caller.spawn(caller.options("--sync"))
    assert spawned.report()["data"] == -1
    assert spawned.status() == 1


def test_a_broken_bundle_is_told(caller: Caller) -> None:
    caller.configure(["true"])
    (caller.bundle / "config.json").write_text("{")
    spawned = caller.spawn(caller.options())
    report = spawned.report()
    assert report["data"] == -1
    assert report["message"]


def test_a_message_with_quotes_and_control_bytes_is_still_json(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text("#!/bin/sh\nprintf 'say \"a\\\\b\"\\r\\n\\ttab \\001 \\037 / \\177 \\303\\251' >&2\nexit 1\n")
    runtime.chmod(0o755)
    caller.configure(["true"])
    words = [str(runtime) if word == RUNC else word for word in caller.options()]
    line = caller.spawn(words).sync.line()
    # 2.1.6 lets 0x1f through as it is; a strict parser refuses that byte.
    message = json.loads(line, strict=False)["message"]
    assert message == 'say "a\\b"\r\n\ttab \x01 \x1f / \x7f é'


def test_a_long_message_is_cut(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text("#!/bin/sh\nhead -c 20000 /dev/zero | tr '\\0' x >&2\nexit 1\n")
    runtime.chmod(0o755)
    caller.configure(["true"])
    words = [str(runtime) if word == RUNC else word for word in caller.options()]
    message = json.loads(caller.spawn(words, sync="pipe").sync.line())["message"]
    assert 1000 <= len(message) <= 8191
    assert set(message) == {"x"}


@pytest.mark.conmon_fails("nothing is written when the runtime says nothing")
def test_a_silent_runtime_is_told_as_minus_1(caller: Caller) -> None:
    caller.configure(["true"])
    words = ["/bin/false" if word == RUNC else word for word in caller.options()]
    assert caller.spawn(words).report().get("data") == -1


@pytest.mark.conmon_fails("both wait for each other")
def test_a_runtime_with_more_to_say_than_a_pipe_holds_is_heard(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text("#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2\nexit 1\n")
    runtime.chmod(0o755)
    caller.configure(["true"])
    words = [str(runtime) if word == RUNC else word for word in caller.options()]
    line = caller.spawn(words, sync="pipe").sync.line(caller.monitor.patience)
    assert set(json.loads(line)["message"]) == {"x"}


@pytest.mark.only("remora")  # conmon would watch, and at last signal, process 1
def test_the_pid_file_of_an_earlier_run_is_not_taken_for_a_new_one(caller: Caller) -> None:
    caller.configure(["true"])
    caller.pidfile.write_text("1")
    words = ["/bin/true" if word == RUNC else word for word in caller.options("--sync")]
    spawned = caller.spawn(words)
    assert spawned.report()["data"] == -1


def test_a_runtime_without_a_pid_file_is_a_failure(caller: Caller) -> None:
    caller.configure(["true"])
    words = ["/bin/true" if word == RUNC else word for word in caller.options("--sync")]
    spawned = caller.spawn(words)
    assert spawned.report().get("data", -1) == -1
    assert spawned.status() == 1


def test_without_any_pipe_all_works(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 9"])
    spawned = caller.spawn(caller.options(), sync="")
    assert spawned.status() == 0
    eventually(
        lambda: caller.pidfile.exists() and '"created"' in caller.runc("state", caller.id, check=False), "created"
    )
    caller.begin()
    assert caller.code() == "9"


# ---- exec ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tty", [False, True])
def test_exec_of_api_1_tells_pid_and_status(caller: Caller, kind: str, tty: bool) -> None:
    caller.run(*WAITS)
    spawned = caller.spawn(exec_words(caller, "sh", "-c", "exit 7", tty=tty), sync=kind)
    pid = spawned.report()["data"]
    assert isinstance(pid, int) and pid > 0
    assert (caller.folder / "exec-pid").read_text() == str(pid)
    assert spawned.report() == {"data": 7}
    assert spawned.report() == {}
    assert (caller.folder / "exec-exits" / caller.id).read_text() == "7", "named after the container"
    go(caller)


@pytest.mark.parametrize("kind", KINDS)
def test_exec_of_api_0_tells_the_status_only(caller: Caller, kind: str) -> None:
    caller.run(*WAITS)
    spawned = caller.spawn(exec_words(caller, "sh", "-c", "exit 7", api=0), sync=kind)
    assert spawned.report() == {"exit_code": 7}
    assert spawned.report() == {}
    go(caller)


@pytest.mark.parametrize(("api", "key"), [(1, "data"), (0, "exit_code")])
def test_a_failed_exec_tells_the_runtimes_words(caller: Caller, api: int, key: str) -> None:
    caller.run(*WAITS)
    report = caller.spawn(exec_words(caller, "/no/such", api=api)).report()
    assert report[key] == -1
    assert "/no/such" in str(report["message"])
    go(caller)


@pytest.mark.parametrize(("api", "key"), [(1, "data"), (0, "exit_code")])
def test_exec_over_its_time_is_told(caller: Caller, api: int, key: str) -> None:
    caller.run(*WAITS)
    spawned = caller.spawn([*exec_words(caller, "sleep", "1000", api=api), "--timeout", "1"])
    if api:
        assert int(str(spawned.report()["data"])) > 0
    assert spawned.report() == {key: -1, "message": "command timed out"}
    go(caller)


def test_exec_killed_by_a_signal_is_128_plus_signal(caller: Caller) -> None:
    caller.run(*WAITS)
    spawned = caller.spawn(exec_words(caller, "sh", "-c", "kill -9 $$"))
    spawned.report()
    assert spawned.report() == {"data": 137}
    go(caller)


def exec_attached(caller: Caller, *args: str, options: tuple[str, ...] = ()) -> tuple[Spawned, Path]:
    """An exec as Podman makes it: a bundle of its own, the attach pipe, attached before it starts."""
    bundle = caller.folder / "session"
    bundle.mkdir()
    words = [*exec_words(caller, *args), "-b", str(bundle), "--full-attach", "--exec-attach", *options]
    return caller.spawn(words, start=True, attach=True), bundle


@pytest.mark.parametrize("stdin", [True, False])
def test_exec_attach_waits_to_be_attached(caller: Caller, stdin: bool) -> None:
    caller.run(*WAITS)
    spawned, bundle = exec_attached(
        caller, "sh", "-c", "cat; echo out; echo err >&2; exit 4", options=("-i",) if stdin else ()
    )
    os.write(spawned.start.ours, b"\0")
    assert spawned.attach.line() == '{"data": 0}'
    assert spawned.sync.silent(), "the second byte of the start pipe is awaited"
    client = Client(bundle)
    os.write(spawned.start.ours, b"\0")
    assert int(str(spawned.report()["data"])) > 0
    if stdin:
        client.send(b"in\n")
        client.half_close()
    assert client.rest() == {2: b"in\nout\n" if stdin else b"out\n", 3: b"err\n"}
    assert spawned.report() == {"data": 4}
    client.close()
    go(caller)


def test_a_failed_exec_attach_ends_the_client(caller: Caller) -> None:
    caller.run(*WAITS)
    spawned, bundle = exec_attached(caller, "/no/such")
    os.write(spawned.start.ours, b"\0")
    assert spawned.attach.line() == '{"data": 0}'
    client = Client(bundle)
    os.write(spawned.start.ours, b"\0")
    report = spawned.report()
    assert isinstance(report["data"], int) and report["data"] < 0
    assert "/no/such" in str(report["message"])
    assert client.rest() == {}
    client.close()
    go(caller)


# ---- start pipe and daemonising -----------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["byte", "end"])
def test_the_start_pipe_holds_everything_back(caller: Caller, release: str) -> None:
    caller.configure(["true"])
    spawned = caller.spawn(caller.options(), start=True)
    eventually(lambda: host.state(spawned.process.pid) == "S" and caller.log.exists(), "it waits for the start pipe")
    assert not caller.monitor_pidfile.exists()
    assert spawned.process.poll() is None
    assert spawned.sync.silent()
    if release == "byte":
        os.write(spawned.start.ours, b"\0")
    else:
        spawned.start.close()
    caller.created(spawned)


def test_the_monitors_pid_is_on_disk_when_the_first_process_ends(caller: Caller) -> None:
    caller.configure(["sleep", "1000"])
    spawned = caller.spawn(caller.options())
    assert spawned.status() == 0
    text = caller.monitor_pidfile.read_text()
    assert text.isdigit()
    assert stat.S_IMODE(caller.monitor_pidfile.stat().st_mode) == 0o644
    caller.created(spawned)
    pid = int(text)
    assert pid != spawned.process.pid
    assert os.getsid(pid) == pid
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3


def test_sync_stays_in_front_and_returns_the_code(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 5"])
    spawned = caller.spawn(caller.options("--sync"))
    assert int(str(spawned.report()["data"])) > 0
    assert not caller.monitor_pidfile.exists()
    caller.begin()
    assert spawned.status() == 5
    assert caller.code() == "5"


def test_sync_returns_128_plus_signal(caller: Caller) -> None:
    caller.configure(["sleep", "1000"])
    spawned = caller.spawn(caller.options("--sync"))
    pid = int(str(spawned.report()["data"]))
    caller.begin()
    os.kill(pid, signal.SIGKILL)
    assert spawned.status() == 137


def test_options_with_equals_signs_and_stray_words_are_taken(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 2"])
    words = ["--api-version=1", *caller.options()[2:], "--timeout=100", "stray"]
    caller.created(caller.spawn(words))
    caller.begin()
    assert caller.code() == "2"


def test_long_names_of_all_short_options_are_taken(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 6"])
    long = {"-c": "--cid", "-u": "--cuuid", "-r": "--runtime", "-b": "--bundle", "-p": "--container-pidfile"}
    long |= {"-n": "--name", "-l": "--log-path", "--conmon-pidfile": "-P", "--persist-dir": "-0"}
    caller.created(caller.spawn([long.get(word, word) for word in caller.options()]))
    caller.begin()
    assert caller.code() == "6"


def test_the_runtime_is_called_with_these_words(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {caller.folder}/words\nexit 1\n')
    runtime.chmod(0o755)
    more = ["-s", "--no-pivot", "--no-new-keyring", "--runtime-opt", "--one", "--runtime-opt=two", "-t"]
    words = [str(runtime) if word == RUNC else word for word in caller.options(*more)]
    spawned = caller.spawn([*words, "--runtime-arg=--glob"])
    spawned.sync.line()
    caller.monitor_ended()
    got = (caller.folder / "words").read_text().splitlines()
    console = got[-2]
    assert re.fullmatch(r"/tmp/conmon-term\.\w{6}", console)
    assert got == [
        *(
            "--systemd-cgroup",
            "--root",
            str(caller.folder / "runc"),
            "--glob",
            "create",
            "--bundle",
            str(caller.bundle),
        ),
        *("--pid-file", str(caller.pidfile), "--no-pivot", "--no-new-keyring", "--one", "two"),
        *("--console-socket", console, caller.id),
    ]
    if caller.monitor.is_conmon:
        Path(console).unlink()  # left behind when the runtime fails
    assert not Path(console).exists()


def test_restore_calls_the_runtimes_restore(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {caller.folder}/words\nexit 1\n')
    runtime.chmod(0o755)
    words = [
        str(runtime) if word == RUNC else word for word in caller.options("--restore", "/images", "--runtime-opt", "-x")
    ]
    caller.spawn(words).sync.line()
    caller.monitor_ended()
    assert (caller.folder / "words").read_text().splitlines()[2:] == [
        *("restore", "--bundle", str(caller.bundle), "--pid-file", str(caller.pidfile)),
        *("--detach", "--image-path", "/images", "--work-path", str(caller.bundle), "-x", caller.id),
    ]


def test_exec_calls_the_runtime_with_these_words(caller: Caller) -> None:
    runtime = caller.folder / "runtime"
    runtime.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {caller.folder}/words\nexit 1\n')
    runtime.chmod(0o755)
    words = [str(runtime) if word == RUNC else word for word in exec_words(caller, "true")]
    spawned = caller.spawn([*words, "-s", "--runtime-opt", "--one"])
    spawned.sync.line()
    eventually(lambda: not caller.processes(), "the monitor ends")
    assert (caller.folder / "words").read_text().splitlines() == [
        *("--root", str(caller.folder / "runc"), "exec", "--pid-file", str(caller.folder / "exec-pid")),
        *("--process", str(caller.folder / "process.json"), "--detach", "--one", caller.id),
    ]


@pytest.mark.parametrize("api", [0, 1])
def test_defaults_of_bundle_and_pid_file_are_the_callers_folder(caller: Caller, api: int) -> None:
    caller.configure(["sh", "-c", "exit 3"])
    os.rename(caller.bundle / "config.json", caller.cwd / "config.json")
    words = caller.options(api=api)
    for name in ("-b", "-p"):
        at = words.index(name)
        del words[at : at + 2]
    spawned = caller.spawn(words)
    pid = caller.created(spawned)
    assert (caller.cwd / f"pidfile-{caller.id}").read_text() == str(pid)
    assert (caller.cwd / "attach").is_socket()
    caller.begin()
    assert caller.code() == "3"
