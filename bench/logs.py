"""How fast the output of a process gets into a log, and what that takes.

Everything but the looking on runs on one core: monitor and container share it, so that a figure is what the whole way
of the bytes costs. The producer and its last line are told in producer.c; it stays until the figures are taken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.engines import IMAGE, Engine
from bench.figures import QUIET, Values
from bench.measure import cpu_time, interleaved, until

# How the producer's last line stands at the end of a json-file.
ENDS = (b'{"log":"END\\n"', b'{"log":"END\\r\\n"')
# Which cores the kernel's own workers may use, a mask in hex (Documentation/core-api/workqueue.rst).
WORKERS = Path("/sys/devices/virtual/workqueue/cpumask")


class Logs:
    """Measures in one folder, on one core.

    folder: on the file system that is measured; programs: the folder with the built producer and raw_reader.
    """

    def __init__(self, folder: Path, remora: Engine, podman: Engine, drop_in: Engine, programs: Path) -> None:
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.remora, self.podman, self.drop_in = remora, podman, drop_in
        self.raw_reader = programs / "raw_reader"
        self.producer = self.folder / "producer"
        shutil.copy(programs / "producer", self.producer)
        self.core = max(os.sched_getaffinity(0))

    def measure(
        self, rounds: int, line: int, total: int, tty: bool = False, more: bool = False
    ) -> tuple[Values, Values]:
        """Payload bytes a second, from the first byte written to the last one in the log; and seconds of the
        monitor's processor time for each byte. Keys: Remora, Podman, raw; with `more` also "json-file"
        and "drop-in"."""
        cpu: Values = {}
        total = total // line * line

        def noting(name: str, action: Callable[[], tuple[float, float]]) -> Callable[[], float]:
            cpu[name] = []

            def run() -> float:
                taken, used = action()
                cpu[name].append(used / total)
                return total / taken

            return run

        actions = {
            "Remora": lambda: self._container(self.remora, "k8s-file", line, total, tty),
            "Podman": lambda: self._container(self.podman, "k8s-file", line, total, tty),
            "raw": lambda: self._raw(line, total, tty),
        }
        if more:
            actions["drop-in"] = lambda: self._container(self.drop_in, "k8s-file", line, total, tty)
            actions["json-file"] = lambda: self._container(self.remora, "json-file", line, total, tty)
        with self._apart(), self._workers_here() if tty else contextlib.nullcontext():
            speed = interleaved(rounds, {name: noting(name, action) for name, action in actions.items()})
        return speed, {name: values[1:] for name, values in cpu.items()}  # as interleaved: without the first round

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        """Keep this process off the core that is measured, where there is another one."""
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores - {self.core} or cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, cores)

    @contextlib.contextmanager
    def _workers_here(self) -> Iterator[None]:
        """Keep the kernel's workers on the core that is measured: they carry a terminal's bytes from one side to the
        other, and where they happen to run makes three times the speed and four times the reader's processor time."""
        before = WORKERS.read_text()
        try:
            WORKERS.write_text(f"{1 << self.core:x}")
            yield
        finally:
            WORKERS.write_text(before)

    def _container(self, engine: Engine, driver: str, line: int, total: int, tty: bool) -> tuple[float, float]:
        """Seconds of the whole, and of the processor in the monitor's processes."""
        start, go = self.folder / "start", self.folder / "go"
        start.unlink(missing_ok=True)
        go.unlink(missing_ok=True)
        terminal = ("-t",) if tty else ()
        pinned = ("taskset", "-c", str(self.core))
        argv = engine.argv(
            *("run", "-d", *terminal, "--name", "writer", "--log-driver", driver, *QUIET),
            *("-v", f"{self.producer}:/producer:ro", "-v", f"{self.folder}:/out"),
            *(IMAGE, "/producer", str(line), str(total), "/out/start", "/out/go"),
        )
        engine.timer.time([*pinned, *argv])
        log = engine.log_path("writer")
        before = sum(map(cpu_time, engine.monitors("writer")))
        go.touch()
        until(lambda: _complete(log), f"the log of {engine.name}", 0.001)
        end = time.monotonic_ns()
        used = sum(map(cpu_time, engine.monitors("writer"))) - before
        begin = int(start.read_text())
        engine.run("rm", "-f", "-t", "0", "writer")
        return (end - begin) / 1e9, used / 1e9

    def _raw(self, line: int, total: int, tty: bool) -> tuple[float, float]:
        start, go = self.folder / "start", self.folder / "go"
        copy = self.folder / "copy"
        go.touch()
        argv = ["taskset", "-c", str(self.core), str(self.raw_reader), "pty" if tty else "pipe", str(copy)]
        text = self.remora.timer.output([*argv, str(self.producer), str(line), str(total), str(start), str(go)])
        end, used = map(int, text.split())
        begin = int(start.read_text())
        copy.unlink()
        return (end - begin) / 1e9, used / 1e9


def _complete(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 240))
            last = file.read()
    except FileNotFoundError:
        return False
    if not last.endswith(b"\n"):
        return False
    # A line may have come in two pieces, each a record: TIME STREAM P|F TEXT.
    texts = [record.split(b" ", 3)[-1] for record in last.splitlines()[-3:]]
    return b"".join(text.rstrip(b"\r") for text in texts).endswith(b"END") or any(end in last for end in ENDS)
