"""What is measured. Each function takes the engines and returns, for each of them, a list of values."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.engines import IMAGE, Engine
from bench.measure import interleaved, pss, until

Values = dict[str, list[float]]
QUIET = ("--network", "none")


def _each(engines: Sequence[Engine], rounds: int, action: Callable[[Engine], float]) -> Values:
    def bound(engine: Engine) -> Callable[[], float]:
        return lambda: action(engine)

    return interleaved(rounds, {engine.name: bound(engine) for engine in engines})


def run_true(engines: Sequence[Engine], rounds: int) -> Values:
    """Seconds for `run --rm --network none IMAGE true`."""
    return _each(engines, rounds, lambda engine: engine.time("run", "--rm", *QUIET, IMAGE, "true"))


def run_detached(engines: Sequence[Engine], rounds: int) -> Values:
    """Seconds for `run -d`; the container is removed outside the measured time."""

    def action(engine: Engine) -> float:
        taken = engine.time("run", "-d", "--name", "detached", *QUIET, IMAGE, "sleep", "1000")
        engine.run("rm", "-f", "-t", "0", "detached")
        return taken

    return _each(engines, rounds, action)


def exec_true(engines: Sequence[Engine], rounds: int) -> Values:
    """Seconds for `exec CONTAINER true`."""
    for engine in engines:
        engine.run("run", "-d", "--name", "host", *QUIET, IMAGE, "sleep", "10000")
    try:
        return _each(engines, rounds, lambda engine: engine.time("exec", "host", "true"))
    finally:
        for engine in engines:
            engine.run("rm", "-f", "-t", "0", "host")


def killed_to_wait(engines: Sequence[Engine], rounds: int) -> Values:
    """Seconds from SIGKILL to a container's first process until a waiting `wait` has ended."""

    def action(engine: Engine) -> float:
        engine.run("run", "-d", "--name", "victim", *QUIET, IMAGE, "sleep", "1000")
        pid = engine.pid("victim")
        argv = engine.argv("wait", "victim")
        waiter = engine.timer.start(argv)
        time.sleep(0.5)  # nothing tells from outside that the command waits; half a second is ample
        begin = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        engine.timer.finish(waiter, argv)
        taken = time.monotonic() - begin
        engine.run("rm", "-f", "-t", "0", "victim")
        return taken

    return _each(engines, rounds, action)


def start_many(engines: Sequence[Engine], first: int, last: int) -> None:
    """Containers crowd-FIRST … crowd-(LAST-1), idle."""
    for number in range(first, last):
        for engine in engines:
            engine.run("run", "-d", "--name", f"crowd-{number}", *QUIET, IMAGE, "sleep", "100000")


def monitor_memory(engines: Sequence[Engine], count: int) -> Values:
    """Bytes of proportional memory of each idle monitor with `count` of them running."""
    pids = {engine.name: [engine.monitor_pid(f"crowd-{number}") for number in range(count)] for engine in engines}
    time.sleep(3)  # having been asked for its pid a monitor is not idle for a moment
    return {name: [float(pss(pid)) for pid in pids[name]] for name in pids}


def list_running(engines: Sequence[Engine], rounds: int) -> Values:
    """Seconds for `ps` with the crowd running."""
    return _each(engines, rounds, lambda engine: engine.time("ps"))


def log_throughput(engines: Sequence[Engine], rounds: int, producer: Path, line: int, total: int) -> Values:
    """Payload bytes a second, from the first byte written to the last line complete in the log."""
    out = producer.parent / "out"
    out.mkdir(exist_ok=True)

    def action(engine: Engine) -> float:
        start = out / f"start-{engine.name}"
        with contextlib.suppress(FileNotFoundError):
            start.unlink()
        engine.run(
            *("run", "-d", "--name", "writer", "--log-driver", "k8s-file", *QUIET),
            *("-v", f"{producer}:/producer:ro", "-v", f"{out}:/out"),
            *(IMAGE, "/producer", str(line), str(total), f"/out/{start.name}"),
        )
        log = engine.log_path("writer")
        until(lambda: _ends_with(log, b" F END\n"), f"the log of {engine.name}", 0.001)
        end = time.monotonic_ns()
        begin = int(start.read_text())
        engine.run("rm", "-f", "-t", "0", "writer")
        return total / ((end - begin) / 1e9)

    return _each(engines, rounds, action)


def _ends_with(path: Path, text: bytes) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - len(text)))
            return file.read() == text
    except FileNotFoundError:
        return False
