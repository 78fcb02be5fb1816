"""`make bench`: Remora beside Podman with conmon, in one run. See --help for a part of it.

Latencies are taken on the file system of the temporary folder (the exit record's durability counts), log throughput
there too and on a memory file system. Nothing of the machine's real containers is touched.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import figures
from bench.engines import Engine, PodmanEngine, RemoraEngine, storage_conf, unpack_bundle
from bench.measure import CommandFailed, Timer, median
from bench.report import Goal, Row, machine, save, table

TREE = Path(__file__).parent.parent
MEBI = 1 << 20
LINES = ((16, 128 * MEBI, 5.0), (80, 256 * MEBI, 3.0), (4000, 1024 * MEBI, 1.5))


class Bench:
    """One run: the folders, the engines and the rows gathered so far."""

    def __init__(self, folder: Path, fast: Path, runtime: str, rounds: int) -> None:
        self.folder = folder
        self.fast = fast
        self.runtime = runtime
        self.rounds = rounds
        self.rows: list[Row] = []
        self.extra: dict[str, list[float]] = {}
        self.tar = folder / "busybox.tar"
        subprocess.run([TREE / "tools" / "busybox-tar", self.tar], check=True)
        self.engines = self._engines(folder)
        self.fast_engines = self._engines(fast)

    def _engines(self, folder: Path) -> list[Engine]:
        storage = storage_conf(folder / "images")
        remora = RemoraEngine(folder / "remora", storage, Path(sys.executable).parent, self.runtime)
        remora.run("import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", str(self.tar), "busybox")
        return [remora, PodmanEngine(folder / "podman", storage, self.runtime)]

    def latencies(self) -> None:
        """What a person or a script waits for."""
        half = Goal(most=0.5)
        for name, figure, goal in (
            ("run --rm --network none IMAGE true", figures.run_true, half),
            ("run -d", figures.run_detached, half),
            ("exec CONTAINER true", figures.exec_true, half),
            ("container killed -> wait returns", figures.killed_to_wait, Goal(absolute=5.0)),
        ):
            say(name)
            self.rows.append(Row(name, figure(self.engines, self.rounds), "ms", 1e3, goal))

    def crowd(self, few: int, many: int) -> None:
        """Idle memory and listing with many containers."""
        say(f"starting {few} containers with each engine")
        figures.start_many(self.engines, 0, few)
        memory = figures.monitor_memory(self.engines, few)
        self.rows.append(Row(f"idle monitor, proportional memory, {few} of them", memory, "kB", 1e-3, Goal(most=0.25)))
        say(f"starting {many - few} more")
        figures.start_many(self.engines, few, many)
        name = f"ps with {many} running"
        self.rows.append(Row(name, figures.list_running(self.engines, self.rounds), "ms", 1e3, Goal(most=1.0)))
        for engine in self.engines:
            engine.clear()

    def logs(self) -> None:
        """How fast the output of a container gets into its log."""
        for where, folder, engines in (("disk", self.folder, self.engines), ("memory", self.fast, self.fast_engines)):
            producer = folder / "producer"
            shutil.copy(TREE / "build" / "bench" / "bench" / "producer", producer)
            for line, total, factor in LINES:
                name = f"log throughput, {line}-byte lines, to {where}"
                say(name)
                values = figures.log_throughput(engines, max(3, self.rounds // 2), producer, line, total)
                self.rows.append(Row(name, values, "MB/s", 1e-6, Goal(least=factor)))

    def floor(self) -> None:
        """What no engine on this runtime can go below."""
        say(f"bare {self.runtime} and interpreter, for comparison")
        bundle = unpack_bundle(self.folder / "bundle", self.tar, self.runtime)
        timer = Timer({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, self.folder / "floor")
        argv = [self.runtime, "run", "--bundle", str(bundle)]
        self.extra[f"bare {self.runtime} run, ms"] = [
            1e3 * timer.time([*argv, f"floor-{number}"]) for number in range(self.rounds)
        ]
        python = [sys.executable, "-c", ""]
        self.extra["python -c '', ms"] = [1e3 * timer.time(python) for _ in range(self.rounds)]
        remora = self.engines[0]
        self.extra["remora version, ms"] = [1e3 * remora.time("version") for _ in range(self.rounds)]

    def close(self) -> None:
        """Remove every container, also of a run that failed half-way."""
        for engine in (*self.engines, *self.fast_engines):
            try:
                engine.clear()
            except CommandFailed as error:
                print(f"bench: {error}", file=sys.stderr)


def say(what: str) -> None:
    """Progress, on standard error."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


def _remove(folder: Path) -> None:
    # The storage library leaves its folder mounted on itself, once for each program that was first to use it.
    overlay = folder / "images" / "storage" / "overlay"
    while overlay.is_mount() and subprocess.run(["umount", overlay], check=False).returncode == 0:
        pass
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each latency figure (default 20)")
    parser.add_argument("--only", choices=["latencies", "crowd", "logs", "floor"], action="append", help="a part alone")
    parser.add_argument("--few", type=int, default=30, help="monitors whose memory is taken (default 30)")
    parser.add_argument("--many", type=int, default=100, help="containers that ps lists (default 100)")
    parser.add_argument(
        "--logs-in", default="/dev/shm", help="folder on a memory file system, for log throughput (default /dev/shm)"
    )
    parser.add_argument("--runtime", default="runc", help="OCI runtime of both engines (default runc)")
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="remora-bench-", dir="/var/tmp"))
    fast = Path(tempfile.mkdtemp(prefix="remora-bench-", dir=options.logs_in))
    facts = machine(folder, options.runtime)
    facts["logs in"] = options.logs_in
    begin = time.monotonic()
    try:
        bench = Bench(folder, fast, options.runtime, options.rounds)
        parts: dict[str, Callable[[], None]] = {
            "floor": bench.floor,
            "latencies": bench.latencies,
            "crowd": lambda: bench.crowd(options.few, options.many),
            "logs": bench.logs,
        }
        try:
            for name, part in parts.items():
                if options.only is None or name in options.only:
                    part()
        finally:
            bench.close()
    except (CommandFailed, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        _remove(folder)
        _remove(fast)

    lines = [f"{key}: {value}" for key, value in facts.items()]
    lines += ["", table(bench.rows), ""] if bench.rows else [""]
    lines += [f"{name}: {median(values):.1f}" for name, values in bench.extra.items()]
    text = "\n".join(lines)
    print(text)
    results = TREE / "bench" / "results"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    save(results / f"{stamp}.json", facts, bench.rows, bench.extra)
    (results / f"{stamp}.txt").write_text(text + "\n")
    say(f"done in {time.monotonic() - begin:.0f} s; kept in bench/results/{stamp}.txt and .json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
