"""The monitors of running containers: what they are made of, and having them go on as a newer program.

A monitor is a keeper, the parent of the container's processes, and a worker, which does everything else and is started
again when it is killed.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container import control, logs
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError
from remora.frontend.output.text import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings
    from remora.monitor import Connection

ANSWER_TIME = 10.0  # seconds in which a monitor has to answer


def connect(settings: Settings, record: ContainerRecord, doing: str) -> Connection:
    """A connection to the container's monitor. Raises RemoraError when it has none; doing: "upgrading", for example."""
    connection = control.connect(settings, record)
    if connection is None:
        state = states.derive(settings, record)
        if state.lost:
            raise RemoraError(
                f"{doing} the monitor of container {record.name}: it was lost",
                f"`remora restart {record.name}` gives it a new one",
            )
        raise RemoraError(
            f"{doing} the monitor of container {record.name}: the container is {state.status}, it has none"
        )
    return connection


def ask(connection: Connection, record: ContainerRecord, op: str, doing: str, **fields: object) -> dict[str, object]:
    """Make a request that is answered at once. Raises RemoraError when it fails, or is not answered."""
    what = f"{doing} the monitor of container {record.name}"
    request = {"op": op, **fields}
    try:
        try:
            connection.send(request)
        except monitor.MonitorGone:
            pass  # the wait for the reply meets it
        return connection.answer(request, timeout=ANSWER_TIME)
    except monitor.RequestFailed as failed:
        hint = f"`remora restart {record.name}` gives it a new one" if op == "upgrade" else ""
        raise RemoraError(f"{what}: {failed.error}", hint) from None
    except monitor.MonitorGone:
        raise RemoraError(f"{what}: the container ended meanwhile") from None
    except TimeoutError:
        raise RemoraError(f"{what}: it does not answer", f"`remora rm -f {record.name}` if it stays so") from None


def facts(record: ContainerRecord, reply: dict[str, object]) -> dict[str, object]:
    """What a monitor is made of. reply: to `status`."""
    state = reply.get("state")
    state_map = state if isinstance(state, dict) else {}
    keeper = states.number(reply, "keeper_pid") or states.number(state_map, "monitor_pid")
    worker = states.number(reply, "worker_pid") or keeper
    since_ns = states.number(reply, "since_ns") or _started_ns(keeper)
    return {
        "ID": record.id,
        "Name": record.name,
        "Status": states.text(state_map, "status"),
        "KeeperPid": keeper,
        "WorkerPid": worker,
        "Workers": states.number(reply, "workers") or 1,
        "Version": states.text(reply, "version") or _version(keeper),
        "Program": _program(keeper),
        "Installed": is_installed(keeper),
        "Since": moment(since_ns),
        "SinceNs": since_ns,
        "Memory": sum(_memory(pid) for pid in {keeper, worker}),
        "Log": logs.statistics(reply.get("log")),
        "Helpers": _helpers(reply.get("helpers")),
    }


def _helpers(reply: object) -> list[dict[str, object]]:
    """The programs that run beside the container: pid (0: down), restarts, why it went down last."""
    found = reply if isinstance(reply, list) else []
    keys = (("Name", "name"), ("Pid", "pid"), ("Restarts", "restarts"), ("Error", "error"))
    return [{name: one.get(key) for name, key in keys} for one in found if isinstance(one, dict)]


def upgrade(settings: Settings, record: ContainerRecord) -> None:
    """Have a monitor go on as the program that is installed now.

    Raises RemoraError when it does not: it then goes on as before.
    """
    program = monitor.monitor_program()
    if not os.access(program, os.X_OK):
        raise RemoraError(f"upgrading monitors: {program} is no program", "install Remora again, or set REMORA_MONITOR")
    with connect(settings, record, "upgrading") as connection:
        ask(connection, record, "upgrade", "upgrading", program=program)
        # The connection goes on with the new program, or is made anew.
        reply = ask(connection, record, "status", "upgrading")
    keeper = states.number(reply, "keeper_pid")
    if keeper and not is_installed(keeper):
        raise RemoraError(f"upgrading the monitor of container {record.name}: it goes on as {_program(keeper)}")


def is_installed(pid: int) -> bool:
    """Whether a process executes the monitor program as it is installed now."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/exe"), os.stat(monitor.monitor_program()))
    except OSError:
        return False


def _version(pid: int) -> str:
    """The version of a running monitor, whose program may have been replaced; "" when it can't be told."""
    from remora.frontend.commands.version import monitor_version

    try:
        return monitor_version(f"/proc/{pid}/exe")
    except RemoraError:
        return ""


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _started_ns(pid: int) -> int:
    """Wall time at which a process was started; 0 without one."""
    import time

    ticks = monitor.process_start(pid) if pid > 0 else None
    if ticks is None:
        return 0
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return int((boot + ticks / os.sysconf("SC_CLK_TCK")) * 10) * 100_000_000  # as exactly as the two clocks tell


def _memory(pid: int) -> int:
    """The proportional share of memory of a process, in bytes; 0 when it can't be told."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            text = file.read(8192)
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0
