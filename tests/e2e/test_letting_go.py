"""The main job: a container outlives the command that started it, and its exit code is there for whoever asks."""

from __future__ import annotations

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support import host
from tests.support.waiting import eventually


def shell(remora: Remora, script: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a shell script with `remora` on its PATH."""
    return subprocess.run(
        ["sh", "-c", script], env=remora.environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def test_the_shell_that_ran_a_detached_container_ends_and_its_monitor_lives_on_as_a_child_of_init(
    remora: Remora, tmp_path: Path
) -> None:
    """The hold is a fifo on the host: the container ends when, and only when, the test says so."""
    starter = subprocess.Popen(
        ["setsid", "sh", "-c", "remora run -d --name held -i busybox sh -c 'read line; exit 7'; exit 0"],
        env=remora.environment,
        stdout=subprocess.PIPE,
    )
    output, _ = starter.communicate(timeout=60)
    assert starter.returncode == 0
    container_id = output.decode().strip()
    assert len(container_id) == 64
    assert not host.alive(starter.pid)

    monitor = int(remora("inspect", "-f", "{{.State.ConmonPid}}", "held"))
    init = int(remora("inspect", "-f", "{{.State.Pid}}", "held"))
    assert host.alive(monitor)
    assert host.parent(monitor) == host.init_of_orphans()
    assert host.parent(init) == monitor
    assert host.command_line(monitor) == ["remora-monitor", container_id[:12], "held"]

    attached = remora.popen("attach", "held", stdin=subprocess.PIPE)
    assert attached.communicate(b"go\n", timeout=60) is not None
    assert attached.returncode == 7
    assert remora("wait", "held") == "7"
    assert remora("inspect", "-f", "{{.State.ExitCode}}", "held") == "7"
    assert remora("inspect", "-f", "{{.State.Status}}", "held") == "exited"
    result = shell(remora, "exit $(remora wait held)")
    assert result.returncode == 7, result.stderr
    eventually(lambda: not host.alive(monitor), "the monitor ends with its container")


def test_the_foreground_status_is_the_command_s_own_in_a_script(remora: Remora) -> None:
    result = shell(remora, "remora run --rm busybox sh -c 'exit 42'; echo $?; remora run --rm busybox true; echo $?")
    assert result.stdout == "42\n0\n"


@pytest.mark.parametrize("code", [0, 1, 125, 255])
def test_the_exit_code_of_a_container_that_ended_before_anyone_asked_is_kept(remora: Remora, code: int) -> None:
    container = remora("run", "-d", "busybox", "sh", "-c", f"exit {code}")
    monitor_gone = remora.runroot / container
    eventually(lambda: not monitor_gone.exists(), "the monitor is gone, nobody is left to ask")
    assert remora("wait", container) == str(code)
    assert remora("inspect", "-f", "{{.State.ExitCode}}", container) == str(code)
    assert f"Exited ({code})" in remora("ps", "-a", "--format", "{{.Status}}")


def test_a_container_killed_by_a_signal_counts_128_and_the_signal(remora: Remora) -> None:
    remora("run", "-d", "--name", "killed", "busybox", "sleep", "1000")
    remora("kill", "-s", "KILL", "killed")
    assert remora("wait", "killed") == "137"
    assert remora.run("run", "--rm", "busybox", "sh", "-c", "kill -USR1 $$; exit 9", status=None).returncode in (9, 138)


def test_a_waiter_that_was_waiting_gets_the_code_of_a_container_that_removes_itself(remora: Remora) -> None:
    container = remora("run", "-d", "--rm", "--name", "fleeting", "-i", "busybox", "sh", "-c", "read line; exit 23")
    waiters = [remora.popen("wait", name) for name in ("fleeting", container, container[:12])]
    for waiter in waiters:
        eventually(partial(host.waits_on_a_socket, waiter.pid), "each of the waiters is waiting")
    attached = remora.popen("attach", "fleeting", stdin=subprocess.PIPE)
    attached.communicate(b"\n", timeout=60)
    for waiter in waiters:
        output, errors = waiter.communicate(timeout=60)
        assert (output, waiter.returncode) == (b"23\n", 0), errors
    eventually(lambda: not remora("ps", "-aq"), "the container removes itself")
    host.assert_nothing_left(remora, {container})


def test_a_waiter_that_comes_after_a_container_removed_itself_gets_its_code_by_id(remora: Remora) -> None:
    container = remora("run", "-d", "--rm", "busybox", "sh", "-c", "exit 24")
    eventually(lambda: not (remora.runroot / container).exists(), "the container removes itself")
    assert not (remora.root / "containers" / container).exists()
    assert remora("wait", container) == "24"
    assert remora("wait", container[:12]) == "24"
    assert "no such container" in remora.run("wait", "0123456789ab", status=125).stderr.lower()


def test_waiting_for_several_prints_their_codes_in_the_order_asked(remora: Remora) -> None:
    first = remora("run", "-d", "-i", "busybox", "sh", "-c", "read line; exit 3")
    second = remora("run", "-d", "busybox", "sh", "-c", "exit 4")
    waiter = remora.popen("wait", first, second)
    assert remora("wait", second) == "4"
    attached = remora.popen("attach", first, stdin=subprocess.PIPE)
    attached.communicate(b"\n", timeout=60)
    assert waiter.communicate(timeout=60)[0] == b"3\n4\n"


def test_waiting_for_a_removal_ends_when_the_container_is_gone(remora: Remora) -> None:
    container = remora("run", "-d", "--rm", "-i", "busybox", "sh", "-c", "read line; exit 5")
    waiter = remora.popen("wait", "--condition", "removed", container)
    eventually(lambda: host.waits_on_a_socket(waiter.pid), "it waits")
    remora.popen("attach", container, stdin=subprocess.PIPE).communicate(b"\n", timeout=60)
    assert waiter.communicate(timeout=60)[0] == b"5\n"
    assert not (remora.root / "containers" / container).exists()


def test_fifty_containers_at_once_keep_their_codes_and_outputs_apart(remora: Remora) -> None:
    def start(number: int) -> str:
        script = f"echo out {number}; echo err {number} >&2; exit {number + 100}"
        return remora("run", "-d", "--name", f"many{number}", "busybox", "sh", "-c", script)

    numbers = range(50)
    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(start, numbers))
    assert len(set(ids)) == 50
    names = [f"many{number}" for number in numbers]
    assert remora("wait", *names).split() == [str(number + 100) for number in numbers]
    for number in numbers:
        log = remora.run("logs", f"many{number}")
        assert (log.stdout, log.stderr) == (f"out {number}\n", f"err {number}\n")
    codes = remora("inspect", "-f", "{{.State.ExitCode}}", *names).split()
    assert codes == [str(number + 100) for number in numbers]
    assert sorted(remora("ps", "-a", "--format", "{{.Names}}").split()) == sorted(names)


def test_fifty_foreground_containers_at_once_give_their_codes_and_outputs(remora: Remora) -> None:
    def go(number: int) -> tuple[str, str, int]:
        script = f"echo out {number}; echo err {number} >&2; exit {number}"
        result = remora.run("run", "--rm", "busybox", "sh", "-c", script, status=None)
        return result.stdout, result.stderr, result.returncode

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(go, range(50)))
    assert results == [(f"out {number}\n", f"err {number}\n", number) for number in range(50)]
    host.assert_nothing_left(remora, host.known_ids(remora))


def test_sigterm_to_the_monitor_is_passed_on_to_its_container(remora: Remora) -> None:
    script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    remora("run", "-d", "--name", "polite", "busybox", "sh", "-c", script)
    eventually(lambda: "ready" in remora("logs", "polite"), "the container runs")
    monitor = int(remora("inspect", "-f", "{{.State.ConmonPid}}", "polite"))
    host.send(monitor, signal.SIGTERM)
    assert remora("wait", "polite") == "9"
    assert remora("logs", "polite") == "ready\ntold"


def test_attaching_to_a_container_that_has_ended_says_so(remora: Remora) -> None:
    remora("run", "--name", "over", "busybox", "true")
    result = remora.run("attach", "over", status=125)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "over" in result.stderr and "running" in result.stderr


def test_a_stopped_container_starts_again_with_its_files_and_a_new_monitor(remora: Remora) -> None:
    script = "echo x >> /count; wc -l < /count; exit $(wc -l < /count)"
    remora.run("run", "--name", "again", "busybox", "sh", "-c", script, status=1)
    assert remora("inspect", "-f", "{{.State.ExitCode}}", "again") == "1"
    result = remora.run("start", "-a", "again", status=2)
    assert result.stdout == "2\n"
    remora("start", "again")
    assert remora("wait", "again") == "3"


def test_the_timeout_ends_a_container(remora: Remora) -> None:
    remora("run", "-d", "--name", "limited", "--timeout", "1", "busybox", "sleep", "1000")
    assert remora("wait", "limited") == "137"


def test_a_program_on_path_is_the_installed_one(remora: Remora) -> None:
    assert shell(remora, "command -v remora").stdout.strip() == str(PROGRAM)
