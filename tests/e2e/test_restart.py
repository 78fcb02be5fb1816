"""Restart policies: the monitor starts its container again, with a pause that grows."""

from __future__ import annotations

import json
import signal
from datetime import datetime
from itertools import pairwise

from tests.conftest import Remora
from tests.support import host
from tests.support.waiting import eventually


def restarts(remora: Remora, name: str) -> int:
    return int(remora("inspect", "-f", "{{.RestartCount}}", name))


def test_on_failure_restarts_as_often_as_allowed_and_reports_the_last_code(remora: Remora) -> None:
    remora("run", "-d", "--name", "failing", "--restart", "on-failure:3", "busybox", "sh", "-c", "date +%s.%N; exit 3")
    assert remora("wait", "failing") == "3"
    assert restarts(remora, "failing") == 3
    assert len(remora("logs", "failing").splitlines()) == 4


def test_the_pause_between_restarts_begins_at_100_ms_and_doubles(remora: Remora) -> None:
    remora("run", "-d", "--name", "failing", "--restart", "on-failure:4", "busybox", "sh", "-c", "echo up; exit 1")
    assert remora("wait", "failing") == "1"
    stamps = [line.split()[0] for line in remora("logs", "-t", "failing").splitlines()]
    times = [datetime.fromisoformat(stamp[:26]) for stamp in stamps]  # without the last digits and the zone
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert len(gaps) == 4
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert least <= gap < least + 2.0


def test_on_failure_leaves_a_success_alone(remora: Remora) -> None:
    remora("run", "-d", "--name", "fine", "--restart", "on-failure", "busybox", "true")
    assert remora("wait", "fine") == "0"
    assert restarts(remora, "fine") == 0


def test_on_failure_ends_at_the_first_success(remora: Remora) -> None:
    script = "echo x >> /runs; test $(wc -l < /runs) -ge 3"
    remora("run", "-d", "--name", "third", "--restart", "on-failure", "busybox", "sh", "-c", script)
    assert remora("wait", "third") == "0"
    assert restarts(remora, "third") == 2


def test_always_restarts_after_success_until_it_is_stopped(remora: Remora) -> None:
    remora("run", "-d", "--name", "eager", "--restart", "always", "busybox", "true")
    eventually(lambda: restarts(remora, "eager") >= 2, "it has been started again twice")
    remora("stop", "-t", "1", "eager")
    assert remora("inspect", "-f", "{{.State.Status}}", "eager") == "exited"
    count = restarts(remora, "eager")
    remora("start", "eager")
    eventually(lambda: remora("ps", "-q", "--filter", "name=eager"), "it is up again")
    remora("rm", "-f", "-t", "0", "eager")
    assert count >= 2


def test_a_stop_while_it_waits_for_its_restart_is_final(remora: Remora) -> None:
    remora("run", "-d", "--name", "waiting", "--restart", "unless-stopped", "busybox", "false")
    eventually(lambda: restarts(remora, "waiting") >= 3, "the pause has grown")
    remora("stop", "waiting")
    assert remora("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "waiting") == "exited 1"
    assert remora("ps", "-q") == ""


def test_a_restarting_container_says_so(remora: Remora) -> None:
    remora("run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", "exit 4")
    eventually(lambda: restarts(remora, "again") >= 3, "the pause is long enough to be seen")
    state = eventually(
        lambda: next((one for one in [json.loads(remora("inspect", "again"))[0]["State"]] if one["Restarting"]), None),
        "it waits for its next start",
    )
    assert state["Status"] == "restarting"
    remora("rm", "-f", "again")


def test_an_end_by_a_signal_is_followed_by_a_restart_and_the_container_keeps_its_files(remora: Remora) -> None:
    script = "echo x >> /runs; exec sleep 1000"
    remora("run", "-d", "--name", "killed", "--restart", "always", "busybox", "sh", "-c", script)
    first = remora("inspect", "-f", "{{.State.Pid}}", "killed")
    host.send(int(first), signal.SIGKILL)
    eventually(lambda: remora("inspect", "-f", "{{.State.Pid}}", "killed") not in ("0", first), "a new process")
    eventually(lambda: remora("exec", "killed", "cat", "/runs") == "x\nx", "the files of the first run")
    assert restarts(remora, "killed") == 1


def test_a_kill_by_command_is_final_as_a_stop_is(remora: Remora) -> None:
    remora("run", "-d", "--name", "killed", "--restart", "always", "busybox", "sleep", "1000")
    remora("kill", "killed")
    assert remora("wait", "killed") == "137"
    assert restarts(remora, "killed") == 0


def test_an_attached_client_stays_over_a_restart(remora: Remora) -> None:
    script = "echo x >> /runs; n=$(wc -l < /runs); echo run $n; test $n -lt 3 && exit 1; exit 5"
    result = remora.run("run", "--restart", "on-failure:2", "busybox", "sh", "-c", script, status=5)
    assert result.stdout == "run 1\nrun 2\nrun 3\n"


def test_ten_seconds_of_health_take_the_pause_back_to_its_beginning(remora: Remora) -> None:
    """Three quick failures, a run of ten seconds, one more failure: the pause after it is a short one again."""
    script = "echo x >> /runs; n=$(wc -l < /runs); echo begin; test $n -eq 5 && sleep 10.2; echo end; test $n -lt 6"
    remora("run", "-d", "--name", "ill", "--restart", "unless-stopped", "busybox", "sh", "-c", script)
    eventually(lambda: remora("logs", "ill").count("begin") >= 6, "the run after the healthy one", timeout=60)
    lines = [line.split() for line in remora("logs", "-t", "ill").splitlines()]
    times = [(datetime.fromisoformat(line[0][:26]), line[-1]) for line in lines]
    begins = [time for time, word in times if word == "begin"]
    ends = [time for time, word in times if word == "end"]
    pauses = [(begin - end).total_seconds() for begin, end in zip(begins[1:], ends, strict=False)]
    assert pauses[3] >= 0.8
    assert 0.1 <= pauses[4] < 0.8
    remora("rm", "-f", "-t", "0", "ill")
