"""Another user gets nothing from a monitor: the run folder keeps it out, and where that is open, the monitor does."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remora.monitor import _core, pack, unpack
from tests.support import host
from tests.support.box import DEADLINE, Box, boxes
from tests.support.people import ALICE, BOB, as_user
from tests.support.waiting import eventually

SLEEP = ("sh", "-c", "while :; do sleep 0.1; done")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can walk through: what keeps one out is not above it."""
    folder = Path(tempfile.mkdtemp(prefix="remora-users-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def box(open_folder: Path, busybox_root: Path) -> Iterator[Box]:
    """A container whose run folder can be reached by all."""
    with boxes(open_folder, busybox_root) as made:
        made.append(Box(open_folder, busybox_root))
        yield made[0]


def reachable(box: Box) -> None:
    """Let every user come as far as the run folder."""
    for folder in (box.folder, box.run.parent):
        folder.chmod(0o755)
    assert as_user(BOB, lambda: os.listdir(box.run.parent)) == str([box.id])


def opened(box: Box) -> None:
    """Let every user come as far as the socket."""
    reachable(box)
    box.run.chmod(0o755)
    (box.run / "ctl").chmod(0o777)


def ask(run: Path, **request: object) -> Callable[[], str]:
    """Connect, send a request, and tell what comes back: the reply's `ok`, or "nothing" when it hangs up."""

    def act() -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(DEADLINE)
            os.chdir(run)
            client.connect("ctl")
            try:
                client.send(b"\0" + pack({"op": "status", **request}))
                answer = client.recv(65537)
            except (BrokenPipeError, ConnectionResetError):
                return "nothing"
            return str(unpack(answer[1:])["ok"]) if answer else "nothing"

    return act


def test_the_run_folder_lets_no_other_user_in(box: Box) -> None:
    box.started(*SLEEP).close()
    reachable(box)
    assert stat.S_IMODE(box.run.stat().st_mode) == 0o700
    for path in box.run.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert as_user(BOB, ask(box.run)) == "EACCES"
    assert as_user(BOB, lambda: os.listdir(box.run)) == "EACCES"
    assert as_user(BOB, lambda: os.open(box.run / "lock", os.O_RDWR)) == "EACCES"
    assert as_user(0, ask(box.run)) == "True"


def test_in_an_open_run_folder_the_monitor_itself_refuses_another_user(box: Box) -> None:
    box.started(*SLEEP).close()
    opened(box)
    pid = box.status()["pid"]
    requests: list[dict[str, object]] = [
        {"op": "status"},
        {"op": "attach", "stdout": True},
        {"op": "signal", "signal": 9},
        {"op": "stop", "timeout": 0},
        {"op": "rename", "name": "mine"},
    ]
    for request in requests:
        assert as_user(BOB, ask(box.run, **request)) == "nothing", request
    state = box.status()
    assert (state["pid"], state["name"], state["status"]) == (pid, "box", "running")
    assert as_user(0, ask(box.run)) == "True"


def test_another_users_connections_cost_the_monitor_nothing(box: Box) -> None:
    box.started(*SLEEP).close()
    opened(box)
    before = host.descriptors(box.monitor_pid())
    for _ in range(20):
        assert as_user(BOB, ask(box.run)) == "nothing"
    eventually(lambda: host.descriptors(box.monitor_pid()) <= before, "the refused connections are closed")


RUNTIME = """#!/bin/sh
# As much of a runtime as a monitor needs: one process, whose pid goes to the pid file.
while [ $# -gt 0 ]; do
    case $1 in
    --pid-file) pidfile=$2; shift ;;
    run) call=run ;;
    esac
    shift
done
[ "$call" = run ] || exit 0
sleep 1000 &
echo $! >"$pidfile"
"""


def start_as(uid: int, box: Box) -> None:
    """Start the box's monitor as that user, in a user namespace of its own, with a runtime that only sleeps."""
    program = os.environ.get("REMORA_MONITOR") or str(Path(_core.__file__).parent / "remora-monitor")
    shutil.copy(program, box.folder / "remora-monitor")
    runtime, wrapper = box.folder / "runtime.sh", box.folder / "in-namespace"
    runtime.write_text(RUNTIME)
    wrapper.write_text(f'#!/bin/sh\nexec unshare --user --map-root-user {box.folder}/remora-monitor "$@"\n')
    for path in (runtime, wrapper, box.folder / "remora-monitor"):
        path.chmod(0o755)
    for folder in (box.folder, *(path for path in box.folder.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
        os.chown(folder, uid, uid)
    box.runtime = [str(runtime)]

    def act() -> str:
        os.environ["REMORA_MONITOR"] = str(wrapper)
        box.started(*SLEEP)
        return "started"

    assert as_user(uid, act) == "started"


def test_of_two_users_each_gets_on_with_the_own_monitor_only(
    open_folder: Path, busybox_root: Path, request: pytest.FixtureRequest
) -> None:
    people = {ALICE: Box(open_folder, busybox_root), BOB: Box(open_folder, busybox_root)}
    for uid, box in people.items():
        start_as(uid, box)
        request.addfinalizer(lambda uid=uid, box=box: as_user(uid, ask(box.run, op="stop", timeout=0)))  # type: ignore[misc]
    for uid, box in people.items():
        other = BOB if uid == ALICE else ALICE
        reachable(box)
        assert as_user(uid, ask(box.run)) == "True"
        assert as_user(other, ask(box.run)) == "EACCES"
        opened(box)
        assert as_user(other, ask(box.run, op="stop", timeout=0)) == "nothing"
        assert as_user(uid, ask(box.run)) == "True"
