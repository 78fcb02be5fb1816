"""What is measured. Each function takes the engines and returns, for each of them, a list of values."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from bench.engines import IMAGE, Engine
from bench.measure import interleaved

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


def list_running(engines: Sequence[Engine], rounds: int) -> Values:
    """Seconds for `ps` with the crowd running."""
    return _each(engines, rounds, lambda engine: engine.time("ps"))
