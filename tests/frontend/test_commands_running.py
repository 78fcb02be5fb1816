"""Starting, stopping, waiting for, reading and entering real containers: what is printed, and with which status."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.commands import SLEEP, logged, said, state
from tests.support.waiting import eventually

STUBBORN = ("busybox", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")


# ---- start, stop, kill, restart, pause -----------------------------------------------------------


def test_start_runs_a_container_again_and_passes_its_code_on(remora: Remora) -> None:
    remora.run("run", "--name", "job", "busybox", "sh", "-c", "echo x >> /count; wc -l < /count; exit 3", status=3)
    assert remora.run("start", "-a", "job", status=3).stdout.strip() == "2"
    assert remora("start", "job") == "job"
    assert remora("wait", "job") == "3"
    assert remora("logs", "job").split() == ["1", "2", "3"]
    assert "multiple containers" in said(remora, "start", "-a", "job", remora("create", "busybox", "true"))


def test_start_with_input_feeds_it(remora: Remora) -> None:
    remora("create", "-i", "--name", "cat", "busybox", "cat")
    assert remora.run("start", "-a", "-i", "cat", input="text\n").stdout == "text\n"


def test_starting_what_runs_changes_nothing(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    pid = state(remora, "web", "Pid")
    assert remora("start", "web") == "web"
    assert state(remora, "web", "Pid") == pid


def test_stop_kills_several_stubborn_containers_at_the_same_time(remora: Remora) -> None:
    for name in ("a", "b", "c"):
        remora("run", "-d", "--name", name, *STUBBORN)
        logged(remora, name, "ready")
    begin = time.monotonic()
    assert remora("stop", "-t", "1", "a", "b", "c").split() == ["a", "b", "c"]
    assert time.monotonic() - begin < 2.9
    assert remora("wait", "a", "b", "c").split() == ["137"] * 3
    assert remora("stop", "a") == "a"  # it is stopped already


def test_stop_sends_the_containers_own_signal(remora: Remora) -> None:
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    remora("run", "-d", "--name", "web", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    logged(remora, "web", "ready")
    remora("stop", "web")
    assert state(remora, "web", "ExitCode") == "7"


def test_kill_sends_any_signal_by_name_or_number(remora: Remora) -> None:
    script = "trap 'echo hup' HUP; trap 'echo usr' USR1; echo ready; while :; do sleep 0.05; done"
    remora("run", "-d", "--name", "web", "busybox", "sh", "-c", script)
    logged(remora, "web", "ready")
    assert remora("kill", "-s", "SIGHUP", "web") == "web"
    logged(remora, "web", "ready\nhup")
    remora("kill", "--signal", "10", "web")
    logged(remora, "web", "ready\nhup\nusr")
    assert "unknown signal" in said(remora, "kill", "-s", "BOGUS", "web")
    remora("kill", "web")
    assert remora("wait", "web") == "137"
    assert "can only kill running containers" in said(remora, "kill", "web")


def test_a_paused_container_is_listed_killed_and_stopped(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    assert "is not paused" in said(remora, "unpause", "web")
    assert remora("pause", "web") == "web"
    assert state(remora, "web", "Status") == "paused"
    assert "(Paused)" in remora("ps")
    assert "can't pause" in said(remora, "pause", "web")
    assert "remora unpause web" in said(remora, "exec", "web", "true")
    assert remora("unpause", "--all") == remora("inspect", "-f", "{{.Id}}", "web")
    assert remora("exec", "web", "echo", "thawed") == "thawed"
    remora("pause", "web")
    remora("kill", "web")
    assert remora("wait", "web") == "137"


def test_restart_gives_a_new_process_and_starts_what_does_not_run(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    pid = state(remora, "web", "Pid")
    assert remora("restart", "-t", "0", "web") == "web"
    assert state(remora, "web", "Pid") not in (pid, "0")
    remora("stop", "-t", "0", "web")
    remora("restart", "web")
    assert state(remora, "web", "Running") == "true"


@pytest.mark.parametrize("command", ["start", "stop", "kill", "restart", "pause", "unpause", "wait", "logs", "attach"])
def test_what_is_not_there_is_named_before_anything_is_done(remora: Remora, command: str) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    pid = state(remora, "web", "Pid")
    words = ["nope"] if command == "attach" else ["web", "nope"]
    assert 'no container with name or ID "nope" found: no such container' in said(remora, command, *words)
    assert (state(remora, "web", "Pid"), state(remora, "web", "Status")) == (pid, "running")


# ---- wait ----------------------------------------------------------------------------------------


def test_wait_prints_the_codes_in_the_order_given(remora: Remora) -> None:
    remora("run", "-d", "--name", "slow", "busybox", "sh", "-c", "sleep 0.4; exit 4")
    remora("run", "-d", "--name", "fast", "busybox", "sh", "-c", "exit 5")
    remora("create", "--name", "never", "busybox", "true")
    assert remora("wait", "slow", "fast", "slow", "never").split() == ["4", "5", "4", "0"]
    assert remora("wait", "--condition", "stopped", "fast") == "5"


def test_wait_for_a_container_that_removes_itself_gives_its_code_also_afterwards(remora: Remora) -> None:
    found = remora("run", "-d", "--rm", "--name", "gone", "busybox", "sh", "-c", "sleep 0.3; exit 6")
    removed = remora.popen("wait", "--condition", "removed", "gone")
    assert remora("wait", "gone") == "6"
    assert removed.communicate(timeout=60)[0] == b"6\n"
    assert remora("ps", "-aq") == ""
    assert remora("wait", found) == "6"
    assert remora("wait", found[:12]) == "6"


def test_wait_for_running_answers_when_it_is_started(remora: Remora) -> None:
    remora("create", "--name", "later", *SLEEP)
    waiting = remora.popen("wait", "--condition", "running", "--interval", "20ms", "later")
    remora("start", "later")
    assert waiting.communicate(timeout=60)[0] == b"-1\n"


# ---- logs ----------------------------------------------------------------------------------------


def test_logs_keep_the_streams_apart_and_the_bytes_exact(remora: Remora) -> None:
    remora.run("run", "--name", "web", "busybox", "sh", "-c", r"printf 'a\033[31mb\001\n'; echo err >&2; printf end")
    result = remora.run("logs", "web")
    assert (result.stdout, result.stderr) == ("a\x1b[31mb\x01\nend", "err\n")
    assert remora("logs", "--since", "1h", "web") == result.stdout
    assert remora("logs", "--until", "1h", "web") == ""
    assert remora.run("logs", "-t", "web").stderr.split()[1] == "err"
    assert "unable to interpret time value" in said(remora, "logs", "--since", "soon", "web")
    assert "whole number" in said(remora, "logs", "--tail", "few", "web")


def test_logs_show_so_many_lines_from_the_end(remora: Remora) -> None:
    remora.run("run", "--name", "web", "busybox", "sh", "-c", "for i in 1 2 3 4; do echo $i; done")
    assert remora("logs", "--tail", "2", "web").split() == ["3", "4"]
    assert remora("logs", "--tail=0", "web") == ""
    assert remora("logs", "--tail", "all", "web") == remora("logs", "--tail", "-1", "web") == remora("logs", "web")


def test_several_logs_have_their_names_before_each_line(remora: Remora) -> None:
    one = remora("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo 1; sleep 0.2; echo 2")
    two = remora("run", "-d", "--name", "two", "busybox", "sh", "-c", "echo 1; sleep 0.2; echo 2")
    assert sorted(remora("logs", "-f", "-n", "one", "two").splitlines()) == ["one 1", "one 2", "two 1", "two 2"]
    assert sorted(remora("logs", "one", "two").splitlines()) == sorted(
        f"{found[:12]} {number}" for found in (one, two) for number in (1, 2)
    )


def test_following_logs_ends_with_the_container_and_with_an_interrupt(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", "busybox", "sh", "-c", "echo begin; sleep 1000")
    following = remora.popen("logs", "-f", "web")
    assert following.stdout is not None
    assert following.stdout.readline() == b"begin\n"
    following.send_signal(signal.SIGINT)
    assert following.communicate(timeout=60)[1] == b""
    assert following.returncode in (130, -signal.SIGINT)
    following = remora.popen("logs", "-f", "web")
    assert following.stdout is not None
    assert following.stdout.readline() == b"begin\n"
    remora("kill", "web")
    assert following.communicate(timeout=60)[1] == b""
    assert following.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_following_several_logs_ends_with_a_signal_and_leaves_no_process(remora: Remora, number: int) -> None:
    for name in ("one", "two"):
        remora("run", "-d", "--name", name, "busybox", "sh", "-c", "echo begin; sleep 1000")
    following = remora.popen("logs", "-f", "-n", "one", "two")
    assert following.stdout is not None
    assert sorted(following.stdout.readline() for _ in range(2)) == [b"one begin\n", b"two begin\n"]
    following.send_signal(number)
    # The pipe's end is reached only when the processes that print have gone, too.
    assert following.communicate(timeout=60) == (b"", b"")
    assert following.returncode == 128 + number


def test_a_container_without_a_log_says_so(remora: Remora) -> None:
    remora("run", "--name", "quiet", "--log-driver", "none", "busybox", "true")
    assert "'none' log driver" in said(remora, "logs", "quiet")
    remora("create", "--name", "new", "busybox", "true")
    assert remora("logs", "new") == remora("logs", "-f", "new") == ""


# ---- exec, attach --------------------------------------------------------------------------------


def test_exec_passes_streams_environment_folder_user_and_code(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", "-e", "A=1", *SLEEP)
    script = "echo $A-$B; pwd; id -u; cat; echo err >&2; exit 5"
    result = remora.run(
        "exec", "-i", "-e", "B=2", "-w", "/tmp", "-u", "7", "web", "sh", "-c", script, input="in", status=5
    )
    assert (result.stdout, result.stderr) == ("1-2\n/tmp\n7\nin", "err\n")
    assert remora("exec", "web", "sh", "-c", "ls /proc/self/fd") == "0\n1\n2\n3"


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["web", "nosuch"], 127, "nosuch"),
        (["web", "/etc"], 126, "/etc"),
        (["-u", "nobody-here", "web", "true"], 126, "nobody-here"),
        (["web"], 125, "non-empty command"),
        ([], 125, "requires the name"),
        (["nope", "true"], 125, '"nope"'),
        (["done", "true"], 125, "remora start done"),
        (["--preserve-fds", "1", "web", "true"], 125, "descriptor 3 is not open"),
        (["-d", "web", "nosuch"], 127, "nosuch"),
    ],
)
def test_exec_that_fails_is_one_line_and_the_right_status(
    two_for_exec: Remora, words: list[str], status: int, text: str
) -> None:
    assert text in said(two_for_exec, "exec", *words, status=status)


@pytest.fixture(scope="module")
def two_for_exec(tmp_path_factory: pytest.TempPathFactory, storage_conf: Path) -> Iterator[Remora]:
    remora = Remora(tmp_path_factory.mktemp("exec"), storage_conf)
    remora("run", "-d", "--name", "web", *SLEEP)
    remora("run", "--name", "done", "busybox", "true")
    yield remora
    remora.clear()


def test_detached_exec_prints_its_session_and_goes_on(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    session = remora("exec", "-d", "web", "sh", "-c", "sleep 0.2; echo done > /tmp/file; sleep 1000")
    assert len(session) == 64
    assert json.loads(remora("inspect", "-f", "{{json .ExecIDs}}", "web")) == [session]
    eventually(lambda: remora.run("exec", "web", "cat", "/tmp/file", status=None).stdout == "done\n", "the file")


def test_exec_hands_descriptors_on(remora: Remora, tmp_path: Path) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    (tmp_path / "file").write_text("handed on")
    script = f"exec 3<{tmp_path}/file; exec remora exec --preserve-fds 1 web cat /proc/self/fd/3"
    result = subprocess.run(
        ["sh", "-c", script], env=remora.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == "handed on", result.stderr


def test_attach_shows_what_comes_and_ends_with_the_code(remora: Remora) -> None:
    remora("run", "-d", "-i", "--name", "web", "busybox", "sh", "-c", "read line; echo got $line; exit 4")
    assert remora.run("attach", "web", input="this\n", status=4).stdout == "got this\n"
    assert "you can only attach to running containers" in said(remora, "attach", "web")


def test_signals_of_an_attached_client_go_to_the_container(remora: Remora) -> None:
    script = "trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    remora("run", "-d", "--name", "web", "busybox", "sh", "-c", script)
    logged(remora, "web", "ready")
    attached = remora.popen("attach", "web")
    eventually(lambda: _is_relaying(attached.pid), "the client relays")
    attached.send_signal(signal.SIGTERM)
    assert attached.communicate(timeout=60)[0] == b"term\n"
    assert attached.returncode == 9


def _is_relaying(pid: int) -> bool:
    """Whether the client waits for packets: it blocks the signals it passes on and has a signal descriptor."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(fd.readlink()))
    return any("signalfd" in target for target in found)
