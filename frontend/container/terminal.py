"""Our side of an attached session: window size, signals, and what its end means for the exit status."""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend import builtin
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings
    from remora.monitor import RelayResult

PROXIED = (builtin.SIGINT, builtin.SIGTERM, builtin.SIGHUP, builtin.SIGQUIT, builtin.SIGUSR1, builtin.SIGUSR2)
ENDING_TIME = 2.0  # seconds that a monitor may take between the end of its connections and its own
OUTPUT_CLOSED = 128 + builtin.SIGPIPE


def window() -> tuple[int, int]:
    """Rows and columns of our terminal, (0, 0) without one."""
    for fd in (0, 1, 2):
        size = monitor.window_size(fd)
        if size:
            return size
    return 0, 0


def active_keys(sequence: bytes, tty: bool) -> bytes:
    """The detach keys to look for: none in what comes through a pipe or from a file, which may hold any bytes."""
    return sequence if tty or os.isatty(0) else b""


class signals_held:  # noqa: N801 - used as a statement
    """Signals that are to be passed on are held back from here until the relay takes them, so that none is lost."""

    __slots__ = ("wanted", "saved")

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.saved: set[int] = set()

    def __enter__(self) -> None:
        if self.wanted:
            self.saved = builtin.block_signals(PROXIED)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.wanted:
            builtin.set_signal_mask(self.saved)


def container_status(settings: Settings, record: ContainerRecord, result: RelayResult) -> int:
    """The exit status for the end of a relay of a container's own session; as `status`.

    A monitor that is lost may have recorded the end before that.
    """
    what = f"container {record.name}"
    if result.end == monitor.RelayEnd.LOST and monitor.wait_unlocked(record.run_dir, ENDING_TIME):
        ended = _record_on_disk(settings, record)
        if ended is not None:
            _tell_lost(result, what)
            return record_status(ended, what)
    return status(result, what)


def _record_on_disk(settings: Settings, record: ContainerRecord) -> Mapping[str, object] | None:
    """The record of the run that has just ended, None without one."""
    state = states.derive(settings, record)
    if state.live:
        return None
    if state.record is not None:
        return state.record
    try:
        return monitor.read_ended(f"{settings.ended}/{record.id}")
    except (OSError, ValueError):
        return None


def _tell_lost(result: RelayResult, what: str) -> None:
    if result.lost:
        os.write(2, f"Warning: {what}: {result.lost} bytes of its output were lost on the way here\n".encode())


def status(result: RelayResult, what: str) -> int:
    """The exit status for the end of a relay. what: `container web`, for messages.

    Raises RemoraError when the monitor was lost, the client was cut off or the exit code is not known.
    """
    end = monitor.RelayEnd
    _tell_lost(result, what)
    if result.end == end.DETACHED:
        return 0
    if result.end == end.EXITED:
        return record_status(result.exit or {}, what)
    if result.end == end.OUTPUT_CLOSED:
        return OUTPUT_CLOSED
    if result.end == end.LAGGED:
        raise RemoraError(f"{what}: cut off, since its output was not read fast enough", "attach again")
    raise RemoraError(f"{what}: its monitor was lost, the exit code is unknown", "`remora ps -a` tells more")


def record_status(record: Mapping[str, object], what: str) -> int:
    """The exit status that an exit record stands for. Raises RemoraError when the code is not known."""
    code = states.exit_code_of(record)
    error = states.text(record, "error")
    if states.text(record, "why") == "runtime-failed":
        raise RemoraError(f"{what}: {error or 'the runtime failed'}", status=code or 125)
    if code is None:
        raise RemoraError(f"{what}: {error or 'its exit code is unknown'}")
    return code
