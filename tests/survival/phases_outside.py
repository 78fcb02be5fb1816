"""Further phases (phases.py): with helpers, and with something outside that has to be undone."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from remora.frontend.container import cleanup
from remora.monitor import MonitorGone, RequestFailed, wait_unlocked
from tests.support import host
from tests.support.box import DEADLINE, Box, received
from tests.support.helper import SCRIPT as HELPER
from tests.support.helper import Helper
from tests.support.waiting import eventually
from tests.survival.parts import settled_descriptors
from tests.survival.phases import (
    PATIENCE,
    SCRIPT,
    Gate,
    Trial,
    ended_right,
    ending,
    parts_of,
    started_or_told,
    still_running,
)


def helped(box: Box, trial: Trial) -> str:
    """From a helper that becomes ready to the container's end, which is the helper's."""
    for name in ("arrived", "go"):
        os.mkfifo(box.folder / name)
    helper = Helper(box, script=f'echo >"{box.folder}/arrived"; read line <"{box.folder}/go"; {HELPER}')
    with Gate(box) as gate:
        spawner = box.start(*SCRIPT, attach={}, helpers=[helper.configuration])
        (box.folder / "arrived").read_bytes()
        with trial.on(parts_of(box)):
            (box.folder / "go").write_text("\n")
            return started_or_told(box, spawner, gate)


def helper_pid(box: Box) -> object:
    """The pid of the first helper as the monitor tells it, 0 for none."""
    with box.connect() as client:
        helpers = client.request({"op": "status"})["helpers"]
    assert isinstance(helpers, list)
    return helpers[0]["pid"]


def replaced(box: Box, trial: Trial) -> str:
    """A helper dies, and another one is started."""
    helper = Helper(box)
    gate = Gate(box)
    spawner = box.started(*SCRIPT, attach={}, helpers=[helper.configuration])
    parts = parts_of(box)
    before = settled_descriptors(parts.keeper)
    outcome = "right"
    with trial.on(parts):
        dead = helper.pid
        host.send(dead, 9)
        try:
            eventually(lambda: helper_pid(box) not in (0, dead), "another helper", timeout=PATIENCE * 4)
        except (MonitorGone, RequestFailed, AssertionError):
            outcome = "told"
        still_running(box)
    if outcome == "right":
        after = settled_descriptors(parts.keeper, before)
        assert after == before, (before, after)
    with gate:
        gate.open()
        received(spawner)
    spawner.close()
    ended_right(box)
    return outcome


def monitors(box: Box) -> list[int]:
    """The monitor's processes that are left."""
    wanted = ["remora-monitor", box.id[:12]]
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and host.command_line(int(pid))[:2] == wanted]


def opened(pid: int) -> set[str]:
    """What a process has open."""
    names = set()
    with contextlib.suppress(OSError):  # the process has ended
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                names.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return names


def undoing(box: Box, trial: Trial) -> str:
    """The end of a container of which something outside has to be undone; what the monitor leaves, others can undo."""
    lease, journal = box.folder / "lease", box.folder / "journal"
    lease.touch()
    notes: list[list[str]] = [
        ["execute", f"{word}\n", "/bin/sh", "-c", f'cat >>"{journal}"'] for word in ("one", "two", "three")
    ]
    steps = [notes[0], ["unlink", str(lease)], *notes[1:]]
    port = socket.create_server(("127.0.0.1", 0))
    box.held = [port.fileno()] * 3
    name = os.readlink(f"/proc/self/fd/{port.fileno()}")
    box.run.mkdir(parents=True)
    cleanup.write(str(box.run), steps, [])
    outcome = ending(box, trial, cleanup=[*steps, ["unlink", cleanup.path(str(box.run))]])
    assert wait_unlocked(str(box.run), DEADLINE)
    assert not [pid for pid in monitors(box) if name in opened(pid)], "a port is free before the lock is"
    port.close()
    if box.run.exists():
        outcome = "told"
        cleanup.finish(str(box.run))
        box.run.rmdir()
    ended_right(box)
    assert not lease.exists()
    words = journal.read_text().split()
    assert sorted(set(words), key=words.index) == ["one", "two", "three"], words
    return outcome


OUTSIDE: dict[str, Callable[[Box, Trial], str]] = {"helped": helped, "replaced": replaced, "undoing": undoing}
