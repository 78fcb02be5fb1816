"""The worker of a monitor has lost all rights that its loop doesn't need; the keeper and the container have not."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from remora.monitor import Connection, _core, core
from tests.support.box import DEADLINE, Box, received
from tests.support.helper import Helper
from tests.support.waiting import eventually

CAP_KILL = 1 << 5
CAP_DAC_OVERRIDE = 1 << 1
SLEEP = ("sh", "-c", "while :; do sleep 0.1; done")


def program() -> str:
    return os.environ.get("REMORA_MONITOR") or str(Path(_core.__file__).parent / "remora-monitor")


@pytest.fixture(autouse=True)
def _confines() -> None:
    text = subprocess.run([program()], capture_output=True, text=True, check=False).stderr
    assert text.startswith("remora-monitor ")
    if "(unconfined)" in text:
        pytest.skip("this build does not confine: sanitizers, or meson -Dconfine=false")


def status(box: Box) -> dict[str, object]:
    with box.connect() as connection:
        return connection.request({"op": "status"})


def fields(pid: object) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def assert_confined(pid: object, capabilities: int = CAP_KILL) -> None:
    have = fields(pid)
    assert int(have["CapEff"], 16) == int(have["CapPrm"], 16) == capabilities
    assert int(have["CapBnd"], 16) == int(have["CapInh"], 16) == int(have["CapAmb"], 16) == 0
    assert have["NoNewPrivs"] == "1"
    assert have["Seccomp"] == "2", "a filter"


def test_the_worker_is_left_with_the_right_to_signal_and_a_filter(box: Box) -> None:
    box.started(*SLEEP).close()
    told = status(box)
    assert told["worker_pid"] != told["keeper_pid"]
    assert_confined(told["worker_pid"])


def test_the_keeper_and_the_container_keep_what_they_had(box: Box) -> None:
    box.started(*SLEEP).close()
    told = status(box)
    ours = fields("self")
    keeper = fields(told["keeper_pid"])
    assert keeper["CapEff"] == ours["CapEff"] and keeper["CapBnd"] == ours["CapBnd"]
    assert (keeper["NoNewPrivs"], keeper["Seccomp"]) == (ours["NoNewPrivs"], ours["Seccomp"])
    container = fields(box.status()["pid"])
    assert container["NoNewPrivs"] == "0" and container["Seccomp"] == "0"


def test_a_worker_that_takes_over_is_confined_too(box: Box) -> None:
    box.started(*SLEEP).close()
    first = status(box)["worker_pid"]
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: status(box)["worker_pid"] != first, "another worker answers", timeout=DEADLINE)
    assert_confined(status(box)["worker_pid"])


def test_only_a_log_in_another_users_folder_keeps_the_right_to_write_there(box: Box, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o755)
    os.chown(foreign, 61001, 61001)
    log = foreign / "log"
    sink = {"driver": "k8s-file", "path": str(log), "max_size": 4096, "max_files": 2}
    spawner = box.started(
        "sh", "-c", "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; sleep 1000", log={"drivers": [sink]}
    )
    spawner.close()
    eventually(lambda: Path(f"{log}.1").exists(), "the log is rotated in that folder", timeout=DEADLINE)
    told = status(box)
    assert_confined(told["worker_pid"], CAP_KILL | CAP_DAC_OVERRIDE)
    assert told["workers"] == 1


def test_neither_helpers_nor_the_clean_up_make_the_worker_do_what_kills_it(box: Box) -> None:
    helper, out = Helper(box), box.folder / "out"
    step = ["execute", "", "/bin/sh", "-c", f'until [ -e "{box.folder}/go" ]; do sleep 0.02; done; echo >"{out}"']
    box.started(*SLEEP, helpers=[helper.configuration], cleanup=[step, ["unlink", str(out)], step]).close()
    os.kill(helper.pid, signal.SIGKILL)
    eventually(lambda: helper.starts == 2 and helper.pid, "it is started again", timeout=DEADLINE)
    with box.connect() as connection:
        connection.request({"op": "stop", "timeout": 0})
    assert status(box)["workers"] == 1
    (box.folder / "go").touch()
    box.assert_gone()
    assert out.exists()


def requests(box: Box) -> list[Callable[[Connection], object]]:
    """One of each kind, in an order in which all can be met."""

    def each(message: dict[str, object]) -> Callable[[Connection], object]:
        return lambda connection: connection.request(message)

    messages: list[dict[str, object]] = [
        {"op": "resize", "session": "", "rows": 5, "cols": 7},
        {"op": "log_reopen"},
        {"op": "pause"},
        {"op": "unpause"},
        {"op": "rename", "name": "other"},
        {"op": "signal", "signal": signal.SIGWINCH, "session": ""},
    ]
    return [each(message) for message in messages]


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "terminal"])
def test_no_request_makes_the_worker_do_what_kills_it(box: Box, tty: bool) -> None:
    attach = {"stdin": True, "stdout": True, "stderr": not tty}
    spawner = box.started("sh", "-c", "read line; echo got $line; exit 3", tty=tty, stdin=True, attach=attach)
    for act in requests(box):
        with box.connect() as connection:
            act(connection)
    assert status(box)["workers"] == 1
    spawner.send_packet(core.STDIN, b"word\n")
    output, record, _ = received(spawner)
    assert b"got word" in output and record is not None and record["code"] == 3
