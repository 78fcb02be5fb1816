"""What a container is, derived from its lock, its state file and its exit record: nothing stores it.

The table is the one in docs/architecture.md ("State on disk"). `derive` reads the files, `decide` is the table.
"""

from __future__ import annotations

import time

from remora import monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

CREATED = "created"
STARTING = "starting"
RUNNING = "running"
PAUSED = "paused"
RESTARTING = "restarting"
EXITED = "exited"
LEAVING_TIME = 0.05  # seconds that a monitor may take between its last two files
LIVE = (RUNNING, PAUSED, RESTARTING, STARTING)


class ContainerState:
    """What a container is at one moment.

    status: one of the constants above. pid: its init, 0 when there is none; pid_start: when it started, in clock
    ticks since boot.
    exit_code: None while unknown or not yet ended. known: False when it ended and nobody saw how.
    monitor_pid: 0 without a monitor. lost: the process lives, its monitor does not.
    ending: it has exited, and its monitor is still clearing up (the lock is held).
    damaged: path of a state file that can't be read (the rest is what its monitor says, if it has one).
    started_ns, finished_ns: wall clock, 0 = not yet. oom: killed for lack of memory.
    error: why the runtime could not start it. status_code: 125/126/127 that goes with `error`.
    record: the exit record, None without one.
    """

    __slots__ = (
        "status",
        "pid",
        "pid_start",
        "exit_code",
        "known",
        "oom",
        "error",
        "started_ns",
        "finished_ns",
        "restarts",
        "monitor_pid",
        "lost",
        "ending",
        "damaged",
        "record",
    )

    def __init__(self, status: str) -> None:
        self.status = status
        self.pid = 0
        self.pid_start = 0
        self.exit_code: int | None = None
        self.known = True
        self.oom = False
        self.error = ""
        self.started_ns = 0
        self.finished_ns = 0
        self.restarts = 0
        self.monitor_pid = 0
        self.lost = False
        self.ending = False
        self.damaged = ""
        self.record: Mapping[str, object] | None = None

    @property
    def paused(self) -> bool:
        return self.status == PAUSED

    @property
    def restarting(self) -> bool:
        return self.status == RESTARTING

    @property
    def running(self) -> bool:
        """Whether the container has a process (running or paused)."""
        return self.status in (RUNNING, PAUSED)

    @property
    def live(self) -> bool:
        """Whether somebody is at work on it: a process, a restart to come, a start under way."""
        return self.status in LIVE


def number(values: Mapping[str, object] | None, key: str) -> int:
    """An integer of a record or state map; 0 when it is not there."""
    value = values.get(key) if values is not None else None
    return value if isinstance(value, int) else 0


def text(values: Mapping[str, object] | None, key: str) -> str:
    """A text of a record or state map; "" when it is not there."""
    value = values.get(key) if values is not None else None
    return value if isinstance(value, str) else ""


def exit_code_of(record: Mapping[str, object]) -> int | None:
    """The exit code of an exit record as a caller gets it; None when it is not known."""
    if text(record, "why") == "runtime-failed":
        return number(record, "status") or 125
    if not record.get("known"):
        return None
    return number(record, "code")


def _ended(state: ContainerState, record: Mapping[str, object]) -> None:
    state.record = record
    state.exit_code = exit_code_of(record)
    state.known = state.exit_code is not None
    state.oom = bool(record.get("oom"))
    state.error = text(record, "error")
    state.started_ns = number(record, "started_ns")
    state.finished_ns = number(record, "finished_ns")
    state.restarts = number(record, "restarts")


def decide(
    held: bool,
    state_map: Mapping[str, object] | None,
    exit_file: bool,
    record: Mapping[str, object] | None,
    alive: bool,
) -> ContainerState:
    """The table. held: the lock is taken; exit_file: there is one; record: its valid record; alive: the process
    that the state file names lives still."""
    if held or (state_map is not None and alive):
        if state_map is None:
            return ContainerState(STARTING)
        status = text(state_map, "status")
        if held and status == EXITED:
            state = ContainerState(EXITED)
            if record is not None:
                _ended(state, record)
            else:
                state.exit_code = number(state_map, "exit_code")
                state.started_ns = number(state_map, "started_ns")
            if text(record, "why") == "runtime-failed":
                state.status = CREATED
            state.ending = True
            return state
        state = ContainerState(status if status in (RUNNING, PAUSED, RESTARTING) else RUNNING)
        if not held and status == RESTARTING:
            state.status = RUNNING
        state.pid = number(state_map, "pid")
        state.pid_start = number(state_map, "pid_start")
        state.started_ns = number(state_map, "started_ns")
        state.restarts = number(state_map, "restarts")
        if held:
            state.monitor_pid = number(state_map, "monitor_pid")
        else:
            state.lost = True
        if state.status == RESTARTING:
            state.exit_code = number(state_map, "exit_code")
        return state
    if state_map is not None:
        # The monitor was lost. A record of this very run may have been written before that.
        if record is not None and number(record, "started_ns") == number(state_map, "started_ns"):
            state = ContainerState(EXITED)
            _ended(state, record)
            return state
        state = ContainerState(EXITED)
        state.known = False
        state.started_ns = number(state_map, "started_ns")
        state.restarts = number(state_map, "restarts")
        state.error = "the monitor was lost: exit code unknown"
        return state
    if record is not None:
        state = ContainerState(CREATED if text(record, "why") == "runtime-failed" else EXITED)
        _ended(state, record)
        return state
    if exit_file:
        state = ContainerState(EXITED)
        state.known = False
        state.error = "the machine went down: exit code unknown"
        return state
    return ContainerState(CREATED)


def derive(settings: Settings, record: ContainerRecord) -> ContainerState:
    """What the container is now. Never raises for files that vanish meanwhile."""
    run_dir = record.run_dir
    deadline = time.monotonic() + 1.0
    looked_again = False
    while True:
        held = monitor.lock_held(run_dir)
        damaged = ""
        state_map: Mapping[str, object] | None
        try:
            state_map = monitor.read_state(run_dir)
        except OSError:
            state_map = None
        except ValueError:
            damaged = run_dir + "/state"
            state_map = _ask(run_dir) if held else {}
        exit_record: Mapping[str, object] | None = None
        exit_file = False
        alive = False
        if state_map is not None and not held:
            pid = number(state_map, "pid")
            start = number(state_map, "pid_start")
            alive = pid > 0 and monitor.process_start(pid) == start
        if not held or state_map is None or text(state_map, "status") == EXITED:
            try:
                exit_record = monitor.read_record(record.data_dir)
                exit_file = True
            except FileNotFoundError:
                pass
            except (OSError, ValueError):
                exit_file = True
            # Between the two looks a monitor may have begun or ended: look again.
            if monitor.lock_held(run_dir) != held and time.monotonic() < deadline:
                continue
            # A lock without a state file is a start, or the last moment of a monitor that leaves.
            if held and state_map is None and exit_file and not looked_again:
                looked_again = True
                if monitor.wait_unlocked(run_dir, LEAVING_TIME):
                    continue
        state = decide(held, state_map, exit_file, exit_record, alive)
        state.damaged = damaged
        return state


def _ask(run_dir: str) -> Mapping[str, object] | None:
    """The state as the monitor itself tells it; None when there is none to ask."""
    try:
        with monitor.Connection.open(run_dir) as connection:
            state = connection.request({"op": "status"}).get("state")
    except (monitor.MonitorGone, monitor.RequestFailed, OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None
