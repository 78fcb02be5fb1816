"""The commands on real containers: what they print, what they end with, and bad luck told in a line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.waiting import eventually

SLEEP = ("busybox", "sleep", "1000")
STUBBORN = ("busybox", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")


def said(remora: Remora, *words: str, status: int = 125) -> str:
    """The one line of a command that fails."""
    result = remora.run(*words, status=status)
    assert result.stderr.startswith("Error: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def state(remora: Remora, name: str, field: str) -> str:
    return remora("inspect", "--format", f"{{{{.State.{field}}}}}", name)


def logged(remora: Remora, name: str, text: str) -> None:
    """Wait until the log of a container is this."""
    eventually(lambda: remora("logs", name) == text, f"log of {name}: {text!r}")


# ---- ps ----------------------------------------------------------------------------------------


def test_ps_shows_what_runs_and_with_all_everything_oldest_first(remora: Remora) -> None:
    first = remora("run", "-d", "--name", "one", "--label", "a=b", *SLEEP)
    remora.run("run", "--name", "two", "busybox", "sh", "-c", "exit 3", status=3)
    remora("create", "--name", "three", "busybox", "true")
    lines = remora("ps").splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    assert lines[0].split()[-1] == "NAMES"
    assert len(lines) == 2
    assert lines[1].startswith(first[:12] + "  localhost/busybox:latest")
    assert remora("ps", "-q") == first[:12]
    assert remora("ps", "-q", "--no-trunc") == first
    assert remora("ps", "-a", "--format", "{{.Names}}:{{.State}}").splitlines() == [
        "one:running",
        "two:exited",
        "three:created",
    ]
    assert remora("ps", "--noheading", "-n", "2").split()[-1] == "three"
    assert len(remora("ps", "-n", "2", "-q").splitlines()) == 2
    assert remora("ps", "-l", "--format", "{{.Names}}") == "three"
    assert remora("ps", "-a", "--sort", "names", "--format", "{{.Names}}").split() == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["status=exited"], ["two"]),
        (["status=exited", "status=running"], ["one", "two"]),
        (["name=^t"], ["two", "three"]),
        (["name=o"], ["one", "two"]),
        (["name=t.*e$"], ["three"]),
        (["label=a"], ["one"]),
        (["label=a=b", "label=c"], []),
        (["label!=a"], ["two", "three"]),
        (["exited=3"], ["two"]),
        (["exited=0", "exited=3"], ["two"]),
        (["ancestor=busybox"], ["one", "two", "three"]),
        (["ancestor=debian"], []),
        (["before=two"], ["one"]),
        (["since=one"], ["two", "three"]),
        (["since=one", "before=three"], ["two"]),
        (["volume=/srv"], ["three"]),
        (["network=host"], []),
        (["until=1h"], []),
    ],
)
def test_ps_filters(trio_of_containers: Remora, filters: list[str], names: list[str]) -> None:
    words = [word for text in filters for word in ("--filter", text)]
    assert trio_of_containers("ps", "-a", *words, "--format", "{{.Names}}").split() == names


@pytest.fixture(scope="module")
def trio_of_containers(tmp_path_factory: pytest.TempPathFactory, storage_conf: Path) -> Iterator[Remora]:
    remora = Remora(tmp_path_factory.mktemp("trio"), storage_conf)
    remora("run", "-d", "--name", "one", "--label", "a=b", *SLEEP)
    remora.run("run", "--name", "two", "busybox", "sh", "-c", "exit 3", status=3)
    remora("create", "--name", "three", "-v", "/tmp:/srv", "busybox", "true")
    yield remora
    remora.clear()


def test_ps_refuses_filters_that_make_no_sense(trio_of_containers: Remora) -> None:
    assert "did you mean label?" in said(trio_of_containers, "ps", "--filter", "lable=x")
    assert "unknown container state: blue" in said(trio_of_containers, "ps", "--filter", "status=blue")
    assert "KEY=VALUE" in said(trio_of_containers, "ps", "--filter", "name")
    assert "no such container" in said(trio_of_containers, "ps", "--filter", "before=nope")
    assert "no field 'Nope'" in said(trio_of_containers, "ps", "--format", "{{.Nope}}")


def test_ps_json_has_podmans_fields(trio_of_containers: Remora) -> None:
    one, two, three = json.loads(trio_of_containers("ps", "-a", "--format", "json", "--size"))
    assert (one["Names"], one["State"], one["Exited"], one["ExitCode"]) == (["one"], "running", False, 0)
    assert (one["Labels"], one["Command"], one["Image"]) == ({"a": "b"}, ["sleep", "1000"], "localhost/busybox:latest")
    assert one["Pid"] == int(state(trio_of_containers, "one", "Pid"))
    assert (two["Names"], two["State"], two["Exited"], two["ExitCode"], two["Pid"]) == (["two"], "exited", True, 3, 0)
    assert abs(two["ExitedAt"] - time.time()) < 600
    assert three["StartedAt"] == -62135596800
    assert three["Mounts"] == ["/srv"]
    assert one["Size"]["rootFsSize"] > 1_000_000
    missing = {"AutoRemove", "CreatedAt", "Created", "Id", "ImageID", "Networks", "Ports", "Status"} - set(one)
    assert not missing


def test_ps_sweeps_what_a_killed_command_left_half_made(remora: Remora) -> None:
    remora("create", "--name", "half", "busybox", "true")
    found = remora("inspect", "-f", "{{.Id}}", "half")
    (remora.root / "containers" / found / "spec.json").unlink()
    assert remora("ps", "-aq") == ""
    assert os.listdir(remora.root / "containers") == []
    assert os.listdir(remora.root / "names") == []
    assert os.listdir(remora.root / "images") == []


def test_a_corrupt_record_is_named_by_ps_and_removed_by_rm(remora: Remora) -> None:
    remora("run", "-d", "--name", "broken", *SLEEP)
    pid = int(state(remora, "broken", "Pid"))
    found = remora("inspect", "-f", "{{.Id}}", "broken")
    remora("create", "--name", "whole", "busybox", "true")
    spec = remora.root / "containers" / found / "spec.json"
    spec.write_text('{"version": 1')
    result = remora.run("ps", "-a", "--format", "{{.Names}}")
    assert result.stdout == "whole\n"
    assert str(spec) in result.stderr
    assert f"remora rm -f {found[:12]}" in result.stderr
    for command in ("inspect", "start", "logs", "wait", "stop", "attach"):
        assert str(spec) in said(remora, command, "broken")
    assert "is running" in said(remora, "rm", "broken", status=2)
    assert remora("rm", "-f", "-t", "0", "broken") == "broken"
    assert not os.path.exists(f"/proc/{pid}")
    assert remora.run("ps", "-a", "--format", "{{.Names}}").stderr == ""
    assert os.listdir(remora.root / "names") == ["whole"]


def test_a_damaged_state_file_is_named_and_the_truth_told_all_the_same(remora: Remora) -> None:
    found = remora("run", "-d", "--name", "web", *SLEEP)
    pid = int(state(remora, "web", "Pid"))
    path = remora.runroot / found / "state"
    path.write_bytes(b"\xc1garbage")
    result = remora.run("ps", "--format", "{{.Names}} {{.State}} {{.Pid}}")
    assert result.stdout == f"web running {pid}\n"
    assert str(path) in result.stderr
    assert "remora rm -f web" in result.stderr
    assert remora("exec", "web", "echo", "in") == "in"
    remora("kill", "web")
    assert remora("wait", "web") == "137"
    remora("start", "web")
    path.write_bytes(b"")
    assert remora("rm", "-f", "-t", "0", "web") == "web"
    assert remora.run("ps", "-a", "--noheading").stderr == ""


def test_a_lost_monitor_with_a_damaged_state_file_leaves_nothing_behind_after_rm(remora: Remora) -> None:
    found = remora("run", "-d", "--name", "web", *SLEEP)
    pid, monitor = int(state(remora, "web", "Pid")), int(state(remora, "web", "ConmonPid"))
    os.kill(monitor, signal.SIGKILL)
    eventually(lambda: "lost" in remora("ps"), "the monitor is gone")
    (remora.runroot / found / "state").write_bytes(b"garbage")
    assert "Exited (unknown)" in remora.run("ps", "-a").stdout
    remora("rm", "-f", "web")
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the process is gone")
    assert os.listdir(remora.runroot / "runtime") == []


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
    assert '"none" log driver' in said(remora, "logs", "quiet")
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
        (["-u", "nobody-here", "web", "true"], 125, "nobody-here"),
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
    folder = f"/proc/{pid}/fd"
    return any("signalfd" in os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder))


# ---- inspect, rename, rm, info --------------------------------------------------------------------


def test_inspect_has_podmans_and_dockers_fields(remora: Remora) -> None:
    found = remora(
        "run", "-d", "--name", "web", "--label", "a=b", "-v", "/tmp:/srv:ro", "-e", "X=1", "-m", "64m", *SLEEP
    )
    (value,) = json.loads(remora("inspect", "web"))
    assert (value["Id"], value["Name"], value["Path"], value["Args"]) == (found, "web", "sleep", ["1000"])
    assert value["State"]["Status"] == "running"
    assert value["State"]["Running"] is True
    assert value["State"]["ConmonPid"] > 0
    assert value["ImageName"] == "localhost/busybox:latest"
    assert value["Config"]["Labels"] == {"a": "b"}
    assert "X=1" in value["Config"]["Env"]
    assert value["Mounts"][0]["Source"] == "/tmp"
    assert value["Mounts"][0]["RW"] is False
    assert value["HostConfig"]["Memory"] == 64 << 20
    assert value["HostConfig"]["NetworkMode"] == "none"
    text = remora(
        "inspect",
        "-f",
        '{{.State.Pid}} {{index .Config.Labels "a"}} {{.Name}}{{range .Mounts}} {{.Type}}{{end}}',
        "web",
    )
    assert text == f"{value['State']['Pid']} b web bind"
    remora("kill", "web")
    remora("wait", "web")
    (value,) = json.loads(remora("inspect", found[:10]))
    assert value["State"]["ExitCode"] == 137
    assert value["State"]["FinishedAt"] > value["State"]["StartedAt"] > value["Created"]
    assert (value["State"]["Pid"], value["State"]["ConmonPid"], value["State"]["OOMKilled"]) == (0, 0, False)


def test_inspect_of_an_image_and_of_both_kinds(remora: Remora) -> None:
    remora("create", "--name", "web", "busybox", "true")
    container, image = json.loads(remora("inspect", "web", "busybox"))
    assert image["RepoTags"] == ["localhost/busybox:latest"]
    assert image["Id"] == container["Image"]
    assert image["Config"]["Cmd"] == ["/bin/sh"]
    assert image["Digest"] == container["ImageDigest"]
    assert remora("inspect", "--type", "image", "-f", "{{.Os}}", "busybox") == "linux"
    assert remora("image", "inspect", "-f", "{{.Os}}", "busybox") == "linux"
    assert "image not known" in said(remora, "inspect", "--type", "image", "web2")
    assert "no such container" in said(remora, "inspect", "-f", "x", "--type", "container", "busybox")
    result = remora.run("inspect", "web", "nope", status=125)
    assert len(json.loads(result.stdout)) == 1
    assert 'no such object: "nope"' in result.stderr


def test_rename_while_it_runs(remora: Remora) -> None:
    found = remora("run", "-d", "--name", "web", *SLEEP)
    remora("create", "--name", "taken", "busybox", "true")
    remora("rename", "web", "shop")
    assert remora("inspect", "-f", "{{.Id}}", "shop") == found
    assert "no such container" in said(remora, "stop", "web")
    assert "already in use by" in said(remora, "rename", "shop", "taken")
    assert "invalid container name" in said(remora, "rename", "shop", "../x")
    assert remora("ps", "--format", "{{.Names}}") == "shop"
    remora("rm", "-f", "-t", "0", "shop")
    assert os.listdir(remora.root / "names") == ["taken"]


def test_rm_refuses_what_runs_and_names_what_is_not_there(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    remora("create", "--name", "new", "busybox", "true")
    result = remora.run("rm", "web", "new", status=2)
    assert result.stdout == "new\n"
    assert "remora rm --force web" in result.stderr
    assert 'no container with name or ID "nope"' in said(remora, "rm", "nope", status=1)
    assert remora("rm", "--ignore", "nope") == remora("rm", "-f", "nope") == ""
    assert remora("rm", "-f", "-t", "0", "web") == "web"
    assert os.listdir(remora.root / "containers") == os.listdir(remora.root / "names") == []
    assert os.listdir(remora.root / "images") == []
    assert [name for name in os.listdir(remora.runroot) if len(name) == 64] == []


def test_two_removals_of_the_same_containers_at_the_same_time_agree(remora: Remora) -> None:
    names = [f"c{number}" for number in range(6)]
    for name in names:
        remora("run", "-d", "--name", name, *SLEEP)
    both = [remora.popen("rm", "-f", "-t", "0", *names) for _ in range(2)]
    for process in both:
        output = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert output[1] == b""
    assert remora("ps", "-aq") == ""
    assert os.listdir(remora.root / "containers") == os.listdir(remora.root / "names") == []


def test_listing_while_containers_come_and_go_never_fails(remora: Remora) -> None:
    script = "for i in 1 2 3 4 5 6; do remora run --rm busybox true || exit 1; done"
    churn = subprocess.Popen(
        ["sh", "-c", script], env=remora.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while churn.poll() is None:
        result = remora.run("ps", "-a", "--format", "json")
        assert result.stderr == ""
        remora.run("inspect", *remora("ps", "-aq").split(), "busybox", status=None)
    assert churn.returncode == 0
    assert churn.communicate(timeout=60)[1] == b""


def test_info_and_version_tell_what_is_used(remora: Remora) -> None:
    remora("create", "--name", "web", "busybox", "true")
    facts = json.loads(remora("info", "--format", "json"))
    assert facts["store"]["root"] == str(remora.root)
    assert facts["store"]["containers"] == {"number": 1, "running": 0, "paused": 0, "stopped": 1, "unreadable": 0}
    assert facts["store"]["images"]["number"] == 1
    assert facts["host"]["ociRuntime"]["name"] in ("crun", "runc")
    assert Path(facts["monitor"]["path"]).name == "remora-monitor"
    assert "  kernel: " + os.uname().release in remora("info").splitlines()
    assert remora("info", "-f", "{{.host.cpus}}") == str(os.cpu_count())


def test_all_latest_and_cidfile_select_containers(remora: Remora, tmp_path: Path) -> None:
    one = remora("run", "-d", "--cidfile", str(tmp_path / "cid"), *SLEEP)
    two = remora("run", "-d", *SLEEP)
    assert remora("stop", "-t", "0", "--latest") == two
    assert remora("restart", "-t", "0", "--running") == one
    assert remora("kill", "--cidfile", str(tmp_path / "cid")) == one
    assert remora("wait", one) == "137"
    assert sorted(remora("start", "--all").split()) == sorted([one, two])
    assert sorted(remora("stop", "-t", "0", "--all").split()) == sorted([one, two])
    assert "exclude each other" in said(remora, "stop", "--all", one)
    assert "at least one name or id" in said(remora, "stop")
    assert "No such file" in said(remora, "kill", "--cidfile", "/nope")
    assert sorted(remora("rm", "--all").split()) == sorted([one, two])
