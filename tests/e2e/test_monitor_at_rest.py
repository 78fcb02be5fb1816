"""What a monitor costs while nothing happens, and what the commands cost before anything happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.waiting import eventually

HEAVY = {
    "trio",
    "psutil",
    "subprocess",
    "asyncio",
    "dataclasses",
    "importlib.resources",
    "importlib.metadata",
    "shutil",
}


def switches(pid: int) -> int:
    """How often a process has gone to sleep by itself."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])


@pytest.fixture
def monitor(remora: Remora) -> int:
    remora("run", "-d", "-it", "--name", "quiet", "--restart", "always", "busybox", "sleep", "1000")
    return int(remora("inspect", "-f", "{{.State.ConmonPid}}", "quiet"))


def quiet_for(pid: int, seconds: float) -> bool:
    before = switches(pid)
    time.sleep(seconds)  # the passing of time is what is looked at
    return switches(pid) == before


def test_an_idle_monitor_makes_no_system_call(monitor: int, tmp_path: Path) -> None:
    eventually(lambda: quiet_for(monitor, 3.0), "three seconds without a wake-up", timeout=30)
    trace = tmp_path / "trace"
    subprocess.run(["timeout", "3", "strace", "-f", "-qq", "-o", trace, "-p", str(monitor)], check=False, timeout=30)
    calls = trace.read_text().splitlines()
    # The call that it sleeps in is shown once, when strace comes and when it leaves.
    assert len(calls) <= 1 and all(
        "epoll" in call or "restart_syscall" in call or "rt_sigtimedwait" in call for call in calls
    ), calls


def test_an_idle_monitor_is_small(monitor: int) -> None:
    eventually(lambda: host.own_memory_kb(monitor) < 200, "its memory has settled")
    assert len(list(Path(f"/proc/{monitor}/task").iterdir())) == 1, "one thread"


def test_a_process_listing_shows_no_more_than_id_and_name(remora: Remora) -> None:
    container = remora("run", "-d", "--name", "plain", "-e", "SECRET=hidden", "busybox", "sleep", "1000")
    monitor = int(remora("inspect", "-f", "{{.State.ConmonPid}}", "plain"))
    assert host.command_line(monitor) == ["remora-monitor", container[:12], "plain"]
    assert "hidden" not in Path(f"/proc/{monitor}/environ").read_text()


def test_a_monitor_holds_nothing_of_its_caller(remora: Remora, tmp_path: Path) -> None:
    """Neither descriptors nor folder, session or controlling terminal."""
    with (tmp_path / "open").open("w") as file:
        subprocess.run(
            ["remora", "run", "-d", "--name", "apart", "busybox", "sleep", "1000"],
            env=remora.environment,
            cwd=tmp_path,
            pass_fds=[file.fileno()],
            stdout=subprocess.DEVNULL,
            check=True,
        )
    monitor = int(remora("inspect", "-f", "{{.State.ConmonPid}}", "apart"))
    targets = [str(entry.readlink()) for entry in Path(f"/proc/{monitor}/fd").iterdir()]
    assert not [target for target in targets if str(tmp_path / "open") in target]
    assert Path(f"/proc/{monitor}/cwd").readlink() == Path("/")
    stat = Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()
    session, terminal = stat[3], stat[4]
    assert session != Path("/proc/self/stat").read_text().rpartition(")")[2].split()[3]
    assert terminal == "0"


def test_an_idle_monitor_is_not_killed_by_signals_that_mean_nothing_to_it(remora: Remora, monitor: int) -> None:
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        host.send(monitor, number)
    assert remora("exec", "quiet", "echo", "here") == "here"
    assert host.alive(monitor)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--rm", "busybox", "true"],
        ["run", "-d", "busybox", "true"],
        ["exec", "quiet", "true"],
        ["wait", "over"],
        ["ps", "-a"],
        ["logs", "over"],
        ["kill", "quiet"],
        ["rm", "-f", "-t", "0", "quiet"],
        ["stop", "-t", "0", "quiet"],
        ["start", "over"],
        ["attach", "--no-stdin", "short"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_quick_command_imports_nothing_slow(remora: Remora, tmp_path: Path, arguments: list[str]) -> None:
    remora("run", "-d", "--name", "quiet", "busybox", "sleep", "1000")
    remora("run", "--name", "over", "busybox", "true")
    remora("run", "-d", "--name", "short", "busybox", "sleep", "2")
    program = (
        "import json, sys\n"
        "from remora.frontend.cli import main\n"
        "status = main(sys.argv[2:])\n"
        "open(sys.argv[1], 'w').write(json.dumps(sorted(sys.modules)))\n"
        "sys.exit(status)\n"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program, tmp_path / "modules", *arguments],
        env=remora.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    loaded = set(json.loads((tmp_path / "modules").read_text()))
    assert "remora.frontend.cli" in loaded
    assert loaded & HEAVY == set()
