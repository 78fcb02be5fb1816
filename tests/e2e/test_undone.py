"""What a start has made outside is undone by the monitor, or by whoever meets the container after it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, Remora
from tests.support import host
from tests.support.helper import SCRIPT as HELPER
from tests.support.waiting import eventually

# The command `remora` with a part that needs something outside: a lease, and a line in a journal when it is undone.
DRIVER = """
import os, sys
from remora.frontend.cli import main
from remora.frontend.container import lifecycle
from remora.frontend.container.plan import Plan
from remora.frontend.errors import RemoraError

def needed(settings, record, *others):
    plan = Plan(record)
    plan.add_execute(["/bin/sh", "-c", "cat >>{folder}/journal"], record.name + "\\n")
    plan.add_unlink("{folder}/lease")
    if os.environ.get("HELPER"):
        plan.add_helper("side", ["/bin/sh", "-c", os.environ["HELPER"], plan.pidfile("side"), "{folder}/starts"])
    plan.save()
    with open("{folder}/lease", "x"):
        pass
    if os.environ.get("THEN") == "killed":
        os.kill(os.getpid(), 9)
    if os.environ.get("THEN") == "refused":
        raise RemoraError("no address is free")
    return plan

lifecycle._plan = needed
sys.exit(main())
"""


class Outside:
    """The command with that part, and what it has made."""

    def __init__(self, remora: Remora, folder: Path) -> None:
        self.remora = remora
        self.lease, self._journal, self._driver = folder / "lease", folder / "journal", folder / "driver.py"
        self._driver.write_text(DRIVER.format(folder=folder))

    def run(self, *arguments: str, then: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self._driver, *arguments],
            env={**self.remora.environment, "THEN": then},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    @property
    def undone(self) -> list[str]:
        """Names of the containers that were cleaned up after, in order."""
        return self._journal.read_text().split() if self._journal.exists() else []

    def is_undone(self, times: int) -> bool:
        return len(self.undone) == times

    def run_folders(self) -> list[str]:
        return [name for name in host.below(self.remora.runroot) if len(name) == 64]


@pytest.fixture
def outside(remora: Remora, tmp_path: Path) -> Outside:
    folder = tmp_path / "outside"
    folder.mkdir()
    return Outside(remora, folder)


def lose_monitor(remora: Remora, name: str) -> None:
    """Kill a container's monitor, both processes, and then the container."""
    keeper = int(remora("inspect", "-f", "{{.State.ConmonPid}}", name))
    init = int(remora("inspect", "-f", "{{.State.Pid}}", name))
    for pid in [*host.monitor_processes(keeper), init]:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not host.alive(init) and not host.alive(keeper), "they are dead")


@pytest.mark.parametrize("options", [("--rm",), ()], ids=["removed", "kept"])
def test_the_monitor_undoes_it_when_the_container_has_ended(outside: Outside, options: tuple[str, ...]) -> None:
    result = outside.run("run", *options, "--name", "web", "busybox", "echo", "hello")
    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr
    eventually(lambda: not outside.run_folders(), "the monitor has gone")
    assert outside.undone == ["web"] and not outside.lease.exists()


def test_each_start_makes_it_anew(outside: Outside) -> None:
    outside.run("create", "--name", "web", "busybox", "true")
    for count in (1, 2, 3):
        assert outside.run("start", "-a", "web").returncode == 0
        eventually(partial(outside.is_undone, count), "it is undone")
        eventually(lambda: not outside.run_folders(), "the monitor has gone")
    assert not outside.lease.exists()


@pytest.mark.parametrize("then", ["refused", "unknown program"])
def test_a_start_that_fails_has_undone_it_when_it_says_so(outside: Outside, then: str) -> None:
    command = "true" if then == "refused" else "nosuchcommand"
    result = outside.run("run", "--name", "web", "busybox", command, then=then)
    assert result.returncode in (125, 127) and result.stderr.count("\n") == 1, result.stderr
    assert outside.undone == ["web"] and not outside.lease.exists()


@pytest.mark.parametrize("command", ["start", "rm", "rm --all", "restart"])
def test_after_a_killed_monitor_the_next_command_undoes_it(outside: Outside, command: str) -> None:
    assert outside.run("run", "-d", "--name", "web", "busybox", "sleep", "1000").returncode == 0
    assert outside.lease.exists()
    lose_monitor(outside.remora, "web")
    assert outside.undone == []
    verb, *more = command.split()
    outside.remora(verb, *(more or ["web"]))
    assert outside.undone == ["web"] and not outside.lease.exists()


def test_a_container_that_lives_on_without_its_monitor_is_undone_once_it_is_removed(outside: Outside) -> None:
    assert outside.run("run", "-d", "--name", "web", "busybox", "sleep", "1000").returncode == 0
    keeper = int(outside.remora("inspect", "-f", "{{.State.ConmonPid}}", "web"))
    for pid in host.monitor_processes(keeper):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not host.alive(keeper), "it is dead")
    sweep(outside.remora)
    assert outside.undone == [] and outside.lease.exists(), "it is in use"
    outside.remora("rm", "-f", "-t", "0", "web")
    assert outside.undone == ["web"] and not outside.lease.exists()
    assert outside.run_folders() == []


@pytest.mark.parametrize("command", ["start web", "rm web", "sweep"])
def test_after_a_killed_command_the_next_one_undoes_it(outside: Outside, command: str) -> None:
    result = outside.run("run", "-d", "--name", "web", "busybox", "true", then="killed")
    assert result.returncode == -signal.SIGKILL and outside.lease.exists()
    if command == "sweep":
        sweep(outside.remora)
    else:
        outside.remora(*command.split())
    assert outside.undone == ["web"] and not outside.lease.exists()


def test_a_keeper_killed_alone_leaves_it_to_the_next_start(outside: Outside) -> None:
    assert outside.run("run", "-d", "--name", "web", "busybox", "sleep", "1000").returncode == 0
    keeper = int(outside.remora("inspect", "-f", "{{.State.ConmonPid}}", "web"))
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: not host.alive(keeper), "it is dead")
    outside.remora("stop", "-t", "0", "web")
    assert outside.lease.exists()
    assert outside.remora("inspect", "-f", "{{.State.ExitCode}}", "web") == "137"
    outside.remora("start", "web")
    assert outside.undone == ["web"] and not outside.lease.exists()


def test_a_helper_is_told_and_ended_by_who_removes_a_container_whose_monitor_was_killed(outside: Outside) -> None:
    outside.remora.environment["HELPER"] = HELPER
    assert outside.run("run", "-d", "--name", "web", "busybox", "sleep", "1000").returncode == 0
    (helper,) = json.loads(outside.remora("monitor", "status", "--format", "json", "web"))[0]["Helpers"]
    assert helper == {"Name": "side", "Pid": helper["Pid"], "Restarts": 0, "Error": ""}
    assert host.alive(helper["Pid"])
    lose_monitor(outside.remora, "web")
    assert host.alive(helper["Pid"])
    outside.remora("rm", "web")
    assert not host.alive(helper["Pid"]) and outside.undone == ["web"]
    assert outside.run_folders() == []


def test_a_container_that_ended_without_its_keeper_can_be_started_again(outside: Outside) -> None:
    script = "until [ -e /go ]; do sleep 0.05; done"
    assert outside.run("run", "-d", "--name", "web", "busybox", "sh", "-c", script).returncode == 0
    keeper = int(outside.remora("inspect", "-f", "{{.State.ConmonPid}}", "web"))
    init = int(outside.remora("inspect", "-f", "{{.State.Pid}}", "web"))
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: not host.alive(keeper), "it is dead")
    Path(f"/proc/{init}/root/go").touch()
    assert outside.remora("wait", "web") == "0"
    outside.remora("start", "-a", "web")
    assert outside.undone == ["web"]


def sweep(remora: Remora) -> None:
    """As a command about networks does."""
    program = """
import os
from remora.frontend import settings
from remora.frontend.container import cleanup
cleanup.sweep(settings.Settings(os.environ["REMORA_ROOT"], os.environ["REMORA_RUNROOT"], environ=os.environ))
"""
    subprocess.run([sys.executable, "-c", program], env=remora.environment, check=True, timeout=DEADLINE)
