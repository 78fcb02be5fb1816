"""Acting on a container that lives: through its monitor, and without one where the monitor was lost.

A lost monitor (its lock is free, the process still there) leaves a container that nobody watches. It can still be
signalled, through a pidfd whose process is checked against the recorded start time, and be stopped that way; how it
ended is then not known.
"""

from __future__ import annotations

import os
import select
import time

from remora import monitor
from remora.frontend.builtin import SIGKILL
from remora.frontend.container import state as states
from remora.frontend.errors import NoSuchContainer, RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings
    from remora.monitor import Connection

STARTING_TIME = 30.0  # seconds that a container may be between lock and control socket (a slow disk, a slow runtime)
LOST_KILL_TIME = 10.0


def connect(settings: Settings, record: ContainerRecord) -> Connection | None:
    """A connection to the container's monitor; None when it has none.

    Between the lock and the socket a starting container has neither: that is waited for.
    """
    deadline = time.monotonic() + STARTING_TIME
    while True:
        try:
            return monitor.Connection.open(record.run_dir)
        except monitor.MonitorGone:
            if monitor.wait_unlocked(record.run_dir, 0.01):
                return None
            if time.monotonic() > deadline:
                raise RemoraError(
                    f"container {record.name}: another command is at work on it and does not end",
                    f"`remora rm -f {record.name}` when that command is gone",
                ) from None


def not_running(record: ContainerRecord, state: ContainerState, doing: str) -> RemoraError:
    """The error for something that only a running container can do."""
    return RemoraError(
        f"{doing}: container {record.id} is {state.status}, not running: container state improper",
        f"`remora start {record.name}` starts it" if not state.live else "",
    )


def rename(settings: Settings, record: ContainerRecord) -> None:
    """Tell the monitor, if there is one, what its container is called now."""
    connection = connect(settings, record)
    if connection is None:
        return
    with connection:
        try:
            connection.request({"op": "rename", "name": record.name})
        except monitor.MonitorGone:
            pass


def kill(settings: Settings, record: ContainerRecord, number: int) -> None:
    """Send a signal to the container's init. Raises RemoraError when it does not run."""
    connection = connect(settings, record)
    if connection is not None:
        with connection:
            try:
                connection.request({"op": "signal", "signal": number, "session": ""})
                if number == SIGKILL and states.derive(settings, record).paused:
                    # With cgroups v1 a frozen process does not even die of SIGKILL before it is thawed.
                    connection.request({"op": "unpause"})
                return
            except monitor.RequestFailed as error:
                if error.errno != 3:  # ESRCH
                    raise
                if connection.renewed:
                    return  # asked twice: the first time did it
            except monitor.MonitorGone:
                pass
    state = states.derive(settings, record)
    if state.lost:
        pidfd = open_lost(state)
        if pidfd >= 0:
            try:
                import signal

                signal.pidfd_send_signal(pidfd, number)
                return
            except ProcessLookupError:
                pass
            finally:
                os.close(pidfd)
    raise RemoraError(
        f"can only kill running containers. {record.id} is in state {state.status}: container state improper"
    )


def open_lost(state: ContainerState) -> int:
    """A pidfd of a container's init whose monitor was lost; -1 when the process is gone."""
    try:
        pidfd = os.pidfd_open(state.pid)
    except OSError:
        return -1
    if monitor.process_start(state.pid) != state.pid_start:  # checked after opening: the pid may be another's by now
        os.close(pidfd)
        return -1
    return pidfd


class Stop:
    """A stop that is under way; several can be begun before the first is awaited.

    signal: 0 = the container's own; timeout: seconds before it is killed, None = the container's own, -1 = never;
    keep: it is to be started again, so that a `--rm` container isn't removed.
    """

    __slots__ = ("settings", "record", "number", "timeout", "keep", "connection", "begun")

    def __init__(
        self,
        settings: Settings,
        record: ContainerRecord,
        timeout: int | None = None,
        number: int = 0,
        keep: bool = False,
    ) -> None:
        self.settings = settings
        self.record = record
        self.number = number or record.spec["stop_signal"]
        self.timeout = record.spec["stop_timeout"] if timeout is None else timeout
        self.keep = keep
        self.connection: Connection | None = None
        self.begun = False

    def _request(self) -> dict[str, object]:
        return {"op": "stop", "signal": self.number, "timeout": self.timeout, "keep": self.keep}

    def begin(self) -> None:
        """Ask the monitor, if there is one."""
        self.connection = connect(self.settings, self.record)
        if self.connection is not None:
            try:
                self.connection.send(self._request())
            except monitor.MonitorGone:
                self.connection.close()
                self.connection = None
        self.begun = True

    def finish(self) -> bool:
        """Wait until the container has ended and its monitor is gone; False when it did not run (any more)."""
        ran = self.connection is not None
        if self.connection is not None:
            try:
                self.connection.answer(self._request())
            except monitor.MonitorGone:
                pass
            finally:
                self.connection.close()
                self.connection = None
            monitor.wait_unlocked(self.record.run_dir, None)
        state = states.derive(self.settings, self.record)
        if state.lost:
            stop_lost(self.settings, self.record, state, self.number, self.timeout)
            return True
        return ran


def stop_lost(settings: Settings, record: ContainerRecord, state: ContainerState, number: int, timeout: int) -> None:
    """Stop a container whose monitor was lost, then have the runtime forget it."""
    pidfd = open_lost(state)
    if pidfd >= 0:
        try:
            if not (timeout and _signal_and_wait(pidfd, number, None if timeout < 0 else timeout)):
                _signal_and_wait(pidfd, SIGKILL, LOST_KILL_TIME)
        finally:
            os.close(pidfd)
    from remora.frontend.container import sweep

    sweep.delete_runtime_state(settings, record.id, record.spec["runtime"])


def _signal_and_wait(pidfd: int, number: int, timeout: float | None) -> bool:
    """Whether the process has ended in time."""
    import signal

    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return True
    return bool(select.select([pidfd], [], [], timeout)[0])


def wait_lost(state: ContainerState) -> None:
    """Wait until a container whose monitor was lost has ended."""
    pidfd = open_lost(state)
    if pidfd >= 0:
        try:
            select.select([pidfd], [], [])
        finally:
            os.close(pidfd)


def pause(settings: Settings, record: ContainerRecord, wanted: bool) -> None:
    """Freeze (wanted) or thaw a container. Raises RemoraError when it is not running, or not paused."""
    state = states.derive(settings, record)
    if wanted and state.status != states.RUNNING:
        raise RemoraError(f'"{state.status}" is not running, can\'t pause: container state improper')
    if not wanted and state.status != states.PAUSED:
        raise RemoraError(f'"{record.id}" is not paused, can\'t unpause: container state improper')
    connection = connect(settings, record)
    if connection is None:
        if state.lost:
            raise RemoraError(
                f"container {record.name}: its monitor was lost, it can't be paused or unpaused",
                f"`remora restart {record.name}` gives it a new one",
            )
        raise (
            NoSuchContainer(record.id)
            if not os.path.exists(record.spec_path)
            else not_running(record, states.derive(settings, record), "pause" if wanted else "unpause")
        )
    with connection:
        try:
            connection.request({"op": "pause" if wanted else "unpause"})
        except monitor.RequestFailed:
            # Asked twice, the second time is too much.
            if not connection.renewed or states.derive(settings, record).paused != wanted:
                raise
