"""`remora monitor …`: what monitors are made of, new log files, and a newer program under a running container."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from remora import monitor
from tests.conftest import Remora
from tests.support import host
from tests.support.commands import SLEEP, logged
from tests.support.waiting import eventually

COUNT = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; read end; exit 9"


def status(remora: Remora, name: str) -> Mapping[str, object]:
    found: dict[str, object] = json.loads(remora("monitor", "status", "--format", "json", name))[0]
    return found


@pytest.fixture
def program(tmp_path: Path, remora: Remora) -> Path:
    """A copy of the monitor program that this test's containers use, and that it may replace."""
    path = tmp_path / "bin" / "remora-monitor"
    path.parent.mkdir()
    shutil.copy(monitor.monitor_program(), path)
    remora.environment["REMORA_MONITOR"] = str(path)
    return path


def install_again(program: Path) -> None:
    """As a package manager does it: a new file takes the place of the old one."""
    shutil.copy(program, f"{program}.new")
    os.rename(f"{program}.new", program)


def test_the_list_tells_processes_memory_and_version_of_each(remora: Remora) -> None:
    assert remora("monitor", "ls", "--format", "json") == "[]"
    assert remora("monitor", "ls").split()[:2] == ["CONTAINER", "ID"]
    one, two = (remora("run", "-d", "--name", name, *SLEEP) for name in ("one", "two"))
    remora("create", "--name", "idle", "busybox", "true")
    found = json.loads(remora("monitor", "ls", "--format", "json"))
    assert [(row["ID"], row["Name"], row["Status"]) for row in found] == [
        (one, "one", "running"),
        (two, "two", "running"),
    ]
    for row in found:
        assert host.command_line(row["KeeperPid"])[0] == "remora-monitor"
        assert host.alive(row["WorkerPid"])
        assert row["Version"] == json.loads(remora("info", "--format", "json"))["monitor"]["version"]
        assert row["Installed"] is True and row["Workers"] == 1 and row["Memory"] > 4096
    heading, *lines = remora("monitor", "ls").splitlines()
    assert heading.split()[-2:] == ["MEMORY", "SINCE"]
    assert [line.split()[:2] for line in lines] == [[one[:12], "one"], [two[:12], "two"]]
    assert remora("monitor", "ls", "--format", "{{.Name}}").split() == ["one", "two"]


def test_a_container_that_does_not_run_has_no_monitor(remora: Remora) -> None:
    remora("create", "--name", "idle", "busybox", "true")
    for command in ("status", "upgrade", "reopen-logs"):
        result = remora.run("monitor", command, "idle", status=125)
        assert "container idle: the container is created, it has none" in result.stderr
        assert result.stderr.count("\n") == 1 and result.stdout == ""
        assert remora("monitor", command, "--all") == ""


def test_one_that_is_not_there_does_not_keep_the_others_from_it(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    remora("create", "--name", "idle", "busybox", "true")
    result = remora.run("monitor", "status", "-f", "{{.Name}}", "idle", "web", status=125)
    assert result.stdout == "web\n" and "idle" in result.stderr


def test_the_status_counts_what_was_logged(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", "busybox", "sh", "-c", "echo hello; exec sleep 1000")
    logged(remora, "web", "hello")
    assert "  Written: 6" in remora("monitor", "status", "web").splitlines()
    (found,) = json.loads(remora("inspect", "web"))
    counters = found["State"]["LogStatistics"]
    assert counters == status(remora, "web")["Log"]
    assert (counters["Written"], counters["Dropped"], counters["Stdout"]["Written"]) == (6, 0, 6)
    (driver,) = counters["Drivers"]
    assert (driver["Driver"], driver["Path"], driver["Written"]) == ("k8s-file", found["LogPath"], 6)
    assert driver["Size"] == os.stat(found["LogPath"]).st_size
    remora("stop", "-t", "0", "web")
    remora("wait", "web")
    ended = json.loads(remora("inspect", "web"))[0]["State"]
    assert (ended["LogBytes"], ended["LogDropped"], ended["LogStatistics"]["Written"]) == (6, 0, 6)


def test_logs_go_on_in_a_new_file_after_the_old_one_was_renamed(remora: Remora, tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    remora("run", "-d", "-i", "--name", "web", "--log-opt", f"path={path}", "busybox", "cat")
    speaker = remora.popen("attach", "web", stdin=subprocess.PIPE)
    assert speaker.stdin is not None and speaker.stdout is not None
    for word, old in (("before", None), ("after", tmp_path / "ctr.log.old")):
        if old is not None:
            path.rename(old)
            assert remora("monitor", "reopen-logs", "web") == "web"
        speaker.stdin.write(f"{word}\n".encode())
        speaker.stdin.flush()
        assert speaker.stdout.readline().decode() == f"{word}\n"
    assert path.read_text().endswith("after\n") and "before" not in path.read_text()
    assert (tmp_path / "ctr.log.old").read_text().endswith("before\n")
    speaker.kill()
    speaker.communicate()


def test_without_a_log_file_there_is_none_to_reopen(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", "--log-driver", "none", *SLEEP)
    result = remora.run("monitor", "reopen-logs", "web", status=125)
    assert '"none" log driver: there is no file to reopen' in result.stderr


def test_an_upgrade_goes_on_as_the_program_that_is_installed(remora: Remora, program: Path) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    before = status(remora, "web")
    pid = remora("inspect", "-f", "{{.State.Pid}}", "web")
    assert before["Installed"] is True
    install_again(program)
    assert status(remora, "web")["Installed"] is False
    assert "(replaced)" in remora("monitor", "ls")
    assert remora("monitor", "upgrade", "web") == "web"
    after = status(remora, "web")
    assert after["Installed"] is True and after["KeeperPid"] == before["KeeperPid"]
    assert remora("inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "web") == f"{pid} running"
    assert remora("exec", "web", "echo", "fine") == "fine"
    remora("stop", "-t", "0", "web")
    assert remora("wait", "web") == "137"


def test_an_upgrade_loses_no_output_no_client_and_no_exit_code(remora: Remora, program: Path) -> None:
    remora("run", "-d", "-i", "--name", "web", "busybox", "sh", "-c", "read go; " + COUNT)
    waiter = remora.popen("wait", "web")
    foreground = remora.popen("attach", "web", stdin=subprocess.PIPE)
    assert foreground.stdin is not None and foreground.stdout is not None
    foreground.stdin.write(b"go\n")
    foreground.stdin.flush()
    assert foreground.stdout.readline() == b"line 0\n"
    for _ in range(3):
        install_again(program)
        assert remora("monitor", "upgrade", "--all") == remora("inspect", "-f", "{{.Id}}", "web")
    foreground.stdin.write(b"end\n")
    foreground.stdin.close()
    lines = foreground.stdout.read().split(b"\n")
    assert lines == [*(b"line %d" % number for number in range(1, 3000)), b""]
    assert foreground.wait(60) == 9
    assert waiter.communicate(timeout=60) == (b"9\n", b"")
    assert remora("logs", "web").split("\n") == [f"line {number}" for number in range(3000)]


def test_a_program_that_is_none_upgrades_nothing(remora: Remora, program: Path) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    before = status(remora, "web")
    program.rename(f"{program}.away")
    assert "is no program" in remora.run("monitor", "upgrade", "web", status=125).stderr
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    assert remora.run("monitor", "upgrade", "web", status=125).stderr.count("\n") == 1
    Path(f"{program}.away").rename(program)
    assert status(remora, "web")["KeeperPid"] == before["KeeperPid"]
    assert remora("exec", "web", "echo", "fine") == "fine"


def test_a_killed_worker_is_counted_and_replaced(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    before = status(remora, "web")
    assert before["WorkerPid"] != before["KeeperPid"]
    host.send(int(str(before["WorkerPid"])), signal.SIGKILL)
    eventually(lambda: status(remora, "web")["Workers"] == 2, "a second worker was started")
    after = status(remora, "web")
    assert after["WorkerPid"] != before["WorkerPid"] and after["KeeperPid"] == before["KeeperPid"]
