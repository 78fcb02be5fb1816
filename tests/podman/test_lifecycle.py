"""stop, kill, restart, wait, rm, pause, limits: what an engine does with a running container."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.podman.engine import Podman
from tests.support.columns import CONMON, find_monitor
from tests.support.waiting import eventually

TRAPS = "trap 'echo term; exit 3' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def start(podman: Podman, script: str, *options: str) -> None:
    """A container `c` that has said `ready`."""
    podman.start("sh", "-c", script, options=["--name", "c", *options])
    podman.logged("c", b"ready")


def kernel() -> tuple[int, int]:
    words = os.uname().release.split(".")
    return int(words[0]), int(words[1])


def test_stop_asks_and_the_code_is_the_containers(podman: Podman) -> None:
    start(podman, TRAPS)
    podman("stop", "c")
    assert podman.state("c", "ExitCode") == "3"
    assert podman.logs("c") == b"ready\nterm\n"


def test_stop_kills_who_does_not_listen(podman: Podman) -> None:
    start(podman, DEAF)
    podman("stop", "-t", "1", "c")
    assert podman.state("c", "ExitCode") == "137"


def test_stop_uses_the_stop_signal(podman: Podman) -> None:
    start(podman, "trap 'exit 12' USR2; echo ready; while :; do sleep 0.05; done", "--stop-signal", "USR2")
    podman("stop", "c")
    assert podman.state("c", "ExitCode") == "12"


def test_kill_is_137(podman: Podman) -> None:
    start(podman, TRAPS)
    podman("kill", "c")
    assert podman("wait", "c") == "137"


def test_kill_sends_any_signal(podman: Podman) -> None:
    start(podman, TRAPS)
    podman("kill", "-s", "USR1", "c")
    podman.logged("c", b"usr1")
    assert podman.state("c", "Status") == "running"


def test_kill_ends_a_foreground_run_with_137(podman: Podman) -> None:
    with podman.popen("run", "--name", "c", "busybox", "sh", "-c", "echo ready; exec sleep 1000") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        podman("kill", "c")
        assert process.wait(30) == 137


def test_restart_makes_a_new_run_with_a_new_monitor(podman: Podman) -> None:
    start(podman, TRAPS)
    before = podman.monitor_pid("c")
    podman("restart", "c")
    assert podman.state("c", "Status") == "running"
    assert podman.monitor_pid("c") != before
    eventually(lambda: podman.logs("c") == b"ready\nterm\nready\n", "both runs are in the log")


def test_restart_on_failure_tries_so_often(podman: Podman) -> None:
    podman.run("run", "--name", "c", "--restart=on-failure:3", "busybox", "sh", "-c", "echo go; exit 3", status=3)
    eventually(lambda: podman("inspect", "-f", "{{.RestartCount}}", "c") == "3", "three restarts")
    eventually(lambda: podman.state("c", "Status") == "exited", "it gives up")
    assert podman.logs("c") == b"go\n" * 4
    assert podman.state("c", "ExitCode") == "3"


def test_restart_on_failure_leaves_success_alone(podman: Podman) -> None:
    podman.start("true", options=["--name", "c", "--restart=on-failure"])
    assert podman("wait", "c") == "0"
    assert podman("inspect", "-f", "{{.RestartCount}}", "c") == "0"


def test_restart_always_goes_on_until_stop(podman: Podman) -> None:
    podman.start(
        "sh",
        "-c",
        "echo x >> /n; [ $(wc -l < /n) -ge 3 ] && exec sleep 1000; exit 1",
        options=["--name", "c", "--restart=always"],
    )
    eventually(lambda: podman("inspect", "-f", "{{.RestartCount}}", "c") == "2", "two restarts")
    eventually(lambda: podman.state("c", "Status") == "running", "it runs")
    podman("stop", "-t", "0", "c")
    assert podman.state("c", "Status") == "exited"


def test_wait_gives_the_code_to_all_who_wait(podman: Podman) -> None:
    start(podman, "echo ready; while ! test -e /go; do sleep 0.05; done; exit 21")
    waiting = [podman.popen("wait", "c") for _ in range(3)]
    podman("exec", "c", "touch", "/go")
    for process in waiting:
        assert process.communicate(timeout=30)[0] == b"21\n"
    assert podman("wait", "c") == "21"


def test_rm_f_of_a_running_container_leaves_nothing(podman: Podman) -> None:
    start(podman, DEAF)
    pids = [podman.monitor_pid("c"), int(podman.state("c", "Pid"))]
    podman("rm", "-f", "-t", "0", "c")
    assert podman("ps", "-aq") == ""
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "its processes are gone")


def test_rm_of_a_running_container_is_refused(podman: Podman) -> None:
    start(podman, TRAPS)
    podman.run("rm", "c", status=2)


def test_the_end_unmounts_and_deletes(podman: Podman) -> None:
    start(podman, TRAPS)
    container = podman("inspect", "-f", "{{.Id}}", "c")
    podman("kill", "c")
    podman("wait", "c")
    eventually(lambda: container not in podman("mount"), "the cleanup command has unmounted it")
    eventually(lambda: not any(container in line for line in podman.processes()), "the monitor has ended")
    assert not os.path.exists(f"/run/runc/{container}")


def test_pause_and_unpause(podman: Podman) -> None:
    start(podman, TRAPS)
    podman("pause", "c")
    assert podman.state("c", "Status") == "paused"
    podman("unpause", "c")
    assert podman.state("c", "Status") == "running"
    podman("stop", "c")
    assert podman.state("c", "ExitCode") == "3"


def test_timeout_kills(podman: Podman) -> None:
    podman.start("sleep", "1000", options=["--name", "c", "--timeout", "1"])
    assert podman("wait", "c") in ("-1", "137")
    assert podman.state("c", "Status") == "exited"


def test_timeout_that_is_not_reached_changes_nothing(podman: Podman) -> None:
    podman.run("run", "--timeout", "100", "busybox", "sh", "-c", "exit 4", status=4)


def test_a_container_over_its_memory_is_137(podman: Podman, helper: Path) -> None:
    options = ["--memory", "16m", "--memory-swap", "16m", "-v", f"{helper}:/h"]
    podman.run("run", "--name", "c", *options, "busybox", "/h/helper", "eat", "90000000", status=137)


def test_init_without_a_child_left_ends(podman: Podman) -> None:
    podman.run("run", "--init", "busybox", "sh", "-c", "sleep 1000 & exit 6", status=6)


def test_the_monitor_hands_sigterm_on(podman: Podman) -> None:
    start(podman, TRAPS)
    os.kill(podman.monitor_pid("c"), signal.SIGTERM)
    assert podman("wait", "c") == "3"


def test_the_monitor_outlives_the_commands_process_group(podman: Podman) -> None:
    start(podman, TRAPS)
    pid = podman.monitor_pid("c")
    assert os.getsid(pid) == pid
    assert os.getpgid(pid) == pid


def worker_of(keeper: int) -> int:
    """The second process of a monitor; conmon has none: itself."""
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    program = os.readlink(f"/proc/{keeper}/exe")
    return next((int(pid) for pid in children if os.readlink(f"/proc/{pid}/exe") == program), keeper)


@pytest.mark.conmon_fails("it has but one process: the exit code is lost")
def test_a_killed_worker_loses_nothing(podman: Podman) -> None:
    start(podman, "echo ready; while ! test -e /go; do sleep 0.05; done; echo last; exit 21")
    os.kill(worker_of(podman.monitor_pid("c")), signal.SIGKILL)
    podman("exec", "c", "touch", "/go")
    eventually(lambda: podman.state("c", "Status") == "exited", "it is over", podman.monitor.patience)
    assert podman.state("c", "ExitCode") == "21"
    assert podman.logs("c") == b"ready\nlast\n"


@pytest.mark.conmon_fails("the exit code is lost")
@pytest.mark.skipif(kernel() < (6, 15), reason="the exit status of another's child is known from kernel 6.15 on")
def test_a_killed_monitor_loses_no_exit_code(podman: Podman) -> None:
    start(podman, "echo ready; while ! test -e /go; do sleep 0.05; done; echo last; exit 21")
    os.kill(podman.monitor_pid("c"), signal.SIGKILL)
    podman("exec", "c", "touch", "/go")
    # Nobody is left who may run the exit command: Podman's own next command cleans up.
    eventually(lambda: podman.state("c", "Status") in ("exited", "stopped"), "it is over", podman.monitor.patience)
    assert podman.state("c", "ExitCode") == "21"
    assert podman.logs("c") == b"ready\nlast\n"
    podman("start", "c")


def test_many_containers_end_at_once_with_their_own_codes(podman: Podman) -> None:
    running = [podman.popen("run", "--rm", "busybox", "sh", "-c", f"echo {n}; exit {n}") for n in range(10, 18)]
    results = [process.communicate(timeout=60)[0] for process in running]
    assert results == [b"%d\n" % n for n in range(10, 18)]
    assert [process.returncode for process in running] == list(range(10, 18))


def test_containers_of_both_monitors_live_side_by_side(podman: Podman) -> None:
    """Each start takes the monitor that is configured then; neither minds what the other left."""
    other = find_monitor(CONMON).path
    words = list(podman.words)
    words[words.index("--conmon") + 1] = other
    start(podman, TRAPS)
    for argv in (words, podman.words):
        subprocess.run([*argv, "restart", "c"], env=podman.environment, check=True, capture_output=True, timeout=60)
        assert os.readlink(f"/proc/{podman.monitor_pid('c')}/exe") == os.path.realpath(
            argv[words.index("--conmon") + 1]
        )
    podman("stop", "c")
    assert podman.state("c", "ExitCode") == "3"
    assert podman.logs("c") == b"ready\nterm\n" * 3
