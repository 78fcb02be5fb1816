"""What idle containers cost: proportional memory of their monitors, all processes of each counted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from bench.engines import IMAGE, Engine, RemoraEngine
from bench.figures import QUIET, Values
from bench.measure import pss
from remora.monitor import Connection, core, sealed_memory

REST = 3.0  # seconds after which a monitor that was asked something has given back what it needed for that


def start_many(engines: Sequence[Engine], prefix: str, count: int, tty: bool) -> None:
    """Containers PREFIX-0 … that do nothing, with a terminal each or with pipes."""
    terminal = ("-t",) if tty else ()
    for number in range(count):
        for engine in engines:
            engine.run("run", "-d", *terminal, "--name", f"{prefix}-{number}", *QUIET, IMAGE, "sleep", "100000")


def idle(engines: Sequence[Engine], prefix: str, count: int) -> Values:
    """Bytes of proportional memory for each of the containers."""
    processes = {engine.name: [engine.monitors(f"{prefix}-{number}") for number in range(count)] for engine in engines}
    time.sleep(REST)
    return {name: [float(sum(map(pss, pids))) for pids in lists] for name, lists in processes.items()}


def growth(engine: RemoraEngine, container: str, tty: bool, times: int) -> float:
    """Bytes by which the memory of a container's monitor is larger after `times` attaches and as many execs.

    Through the Python interface: a command line for each would cost minutes and measure nothing else."""
    folder = engine.run_dir(container)
    process = {**engine.process(container), "args": ["true"], "terminal": tty}
    before = _settled(engine, container)
    for _ in range(times):
        with Connection.open(str(folder)) as connection:
            connection.request({"op": "attach", "session": "", "stdin": False, "stdout": True, "stderr": not tty})
        _exec(folder, process, tty)
    return _settled(engine, container) - before


def _exec(folder: Path, process: dict[str, object], tty: bool) -> None:
    """Run a process in the container and wait until its exit record has come."""
    memory = sealed_memory("exec", json.dumps(process).encode())
    request = {"op": "exec", "session": os.urandom(16).hex(), "tty": tty, "stdin": False, "stderr": not tty}
    try:
        with Connection.open(str(folder)) as connection:
            connection.request({**request, "stdout": True, "detach": False, "block": True}, [memory])
            while connection.receive(timeout=60).kind != core.EXIT:
                pass
    finally:
        os.close(memory)


def _settled(engine: Engine, container: str) -> float:
    pids = engine.monitors(container)
    time.sleep(REST)
    return float(sum(map(pss, pids)))
