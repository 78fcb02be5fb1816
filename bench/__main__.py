"""`make bench`: Remora beside Podman with conmon, in one run. See --help for a part of it.

Latencies are taken on the file system of the temporary folder (the exit record's durability counts), log throughput
there too and on a memory file system. Nothing of the machine's real containers is touched.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import figures, memory, networks
from bench.engines import Engine, PodmanEngine, RemoraEngine, storage_conf, unpack_bundle
from bench.logs import Logs
from bench.measure import CommandFailed, Timer, median
from bench.report import Goal, Row, machine, save, table
from bench.rootless import BESIDE_ROOT, AsUser
from tests.support.private_host import private_host
from tests.support.users import Users

TREE = Path(__file__).parent.parent
MEBI = 1 << 20
# kB that a monitor may be larger after a thousand clients: it remembers the results of the last sixteen execs.
GROWTH = 8.0
# Bytes of a line, bytes in all through a pipe and through a terminal, and how many times conmon's speed is the goal.
LINES = ((16, 128 * MEBI, 32 * MEBI, 5.0), (80, 256 * MEBI, 96 * MEBI, 3.0), (4000, 1024 * MEBI, 128 * MEBI, 1.5))


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
        self.remora, self.podman, self.drop_in = self._engines(folder)
        self.engines: list[Engine] = [self.remora, self.podman]
        self.fast_engines = self._engines(fast)

    def _engines(self, folder: Path) -> tuple[RemoraEngine, PodmanEngine, PodmanEngine]:
        storage = storage_conf(folder / "images")
        programs = Path(sys.executable).parent
        remora = RemoraEngine(folder / "remora", storage, programs, self.runtime)
        remora.run("import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", str(self.tar), "busybox")
        podman = PodmanEngine(folder / "podman", storage, self.runtime)
        return remora, podman, PodmanEngine(folder / "podman", storage, self.runtime, programs / "remora-monitor")

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

    def rootless(self) -> None:
        """What an ordinary user waits for, beside Podman's and beside root."""
        name = "rootless run --rm --network none IMAGE true"
        say(name)
        with Users() as users:
            people = AsUser(users, self.tar, Path(sys.executable).parent, self.runtime)
            try:
                values = figures.run_true(people.engines, self.rounds)
            finally:
                people.close()
        self.rows.append(Row(name, values, "ms", 1e3, Goal(most=0.5)))
        beside = {"Remora": values["Remora"], "root": values["root"]}
        self.rows.append(Row(f"{name}, beside root", beside, "ms", 1e3, Goal(most=BESIDE_ROOT, against="root")))
        self._rootless_networks()

    def _rootless_networks(self) -> None:
        """With the default network: pasta, and slirp4netns with Podman 4.3, which knows no other."""
        half = Goal(most=0.5)
        place = private_host(Path(tempfile.mkdtemp(dir=self.folder)), users=())
        with place as host, Users(host.words()) as users:
            people = AsUser(users, self.tar, Path(sys.executable).parent, self.runtime)
            own = [engine for engine in people.engines if engine.name != "root"]
            try:
                for network in ("none", "private"):
                    name = f"rootless run --rm --network {network}, on a host of its own"
                    say(name)
                    self.rows.append(Row(name, networks.run_true(own, self.rounds, network), "ms", 1e3, half))
                name = "rootless run -d -p: started -> first answer"
                say(name)
                values = networks.publish(own, self.rounds, host.words(), "private")
                self.rows.append(Row(name, values, "ms", 1e3, half))
            finally:
                people.close()

    def networks(self) -> None:
        """What a bridge adds to a start, and how soon a published port answers."""
        half = Goal(most=0.5)
        with networks.private_host(self.engines) as host:
            for network in ("none", "bridge"):
                name = f"run --rm --network {network}, on a host of its own"
                say(name)
                self.rows.append(Row(name, networks.run_true(self.engines, self.rounds, network), "ms", 1e3, half))
            say("netavark alone")
            values = networks.bare_netavark(self.remora, self.rounds, host)
            self.extra["netavark setup and teardown alone, ms"] = [1e3 * value for value in values]
            say("publish latency")
            name = "run -d -p: started -> first answer"
            self.rows.append(Row(name, networks.publish(self.engines, self.rounds, host), "ms", 1e3, half))

    def crowd(self, count: int, times: int) -> None:
        """Idle memory with `count` containers, then with as many that have a terminal; and listing all of them."""
        fifth = Goal(most=0.2)
        theirs: list[float] = []
        for prefix, tty, what in (("plain", False, "without a terminal"), ("term", True, "with a terminal")):
            say(f"starting {count} containers {what} with each engine")
            memory.start_many(self.engines, prefix, count, tty)
            name = f"idle container {what}, proportional memory, {count} of them"
            values = memory.idle(self.engines, prefix, count)
            self.rows.append(Row(name, values, "kB", 1e-3, fifth))
            theirs = theirs or values["Podman"]
        name = f"ps with {2 * count} running"
        self.rows.append(Row(name, figures.list_running(self.engines, self.rounds), "ms", 1e3, Goal(most=1.0)))
        say(f"starting {count} containers of Podman with Remora in conmon's place")
        memory.start_many([self.drop_in], "drop", count, False)
        ours = memory.idle([self.drop_in], "drop", count)[self.drop_in.name]
        name = f"idle container in conmon's place, {count} of them"
        self.rows.append(Row(name, {"Remora": ours, "Podman": theirs}, "kB", 1e-3, fifth))
        for prefix, tty in (("plain", False), ("term", True)):
            say(f"{times} attaches and execs of {prefix}-0")
            value = memory.growth(self.remora, f"{prefix}-0", tty, times)
            name = f"growth by {times} attaches and execs" + (", with a terminal" if tty else "")
            self.rows.append(Row(name, {"Remora": [value]}, "kB", 1e-3, Goal(absolute=GROWTH)))
        for engine in self.engines:
            engine.clear()

    def logs(self) -> None:
        """How fast the output of a container gets into its log, and what that takes."""
        rounds = max(3, self.rounds // 4)
        programs = TREE / "build" / "bench" / "bench"
        half, third = Goal(least=0.5, against="k8s-file"), Goal(most=1 / 3)
        disk = (self.remora, self.podman, self.drop_in)
        for where, folder, engines in (("disk", self.folder, disk), ("memory", self.fast, self.fast_engines)):
            logs = Logs(folder, *engines, programs)
            for line, total, _, factor in LINES:
                name = f"{line}-byte lines to {where}"
                say(f"log, {name}")
                speed, cpu = logs.measure(rounds, line, total, more=where == "memory")
                self.rows.append(Row(f"log, {name}", speed, "MB/s", 1e-6, Goal(least=factor)))
                self.rows.append(Row(f"monitor's processor time, {name}", cpu, "s/GB", 1e9, third))
                if "drop-in" in speed:
                    values = {"Remora": speed["drop-in"], "Podman": speed["Podman"]}
                    self.rows.append(Row(f"log in conmon's place, {name}", values, "MB/s", 1e-6, Goal(least=factor)))
                    values = {"Remora": speed["json-file"], "k8s-file": speed["Remora"]}
                    self.rows.append(Row(f"json-file, {name}", values, "MB/s", 1e-6, half))
        for line, _, total, _ in LINES:
            name = f"{line}-byte lines of a terminal to memory"
            say(f"log, {name}")
            speed, cpu = logs.measure(rounds, line, total, tty=True)
            self.rows.append(Row(f"log, {name}", speed, "MB/s", 1e-6, Goal(least=0.95, against="raw")))
            self.rows.append(Row(f"monitor's processor time, {name}", cpu, "s/GB", 1e9, third))

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
        self.extra["remora version, ms"] = [1e3 * self.remora.time("version") for _ in range(self.rounds)]

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
    # The storage library leaves its folder mounted on itself, once for each program that was first to use it; and the
    # last of Podman's clean-ups may still be running, and do so again.
    overlay = folder / "images" / "storage" / "overlay"
    for _ in range(5):
        while overlay.is_mount() and subprocess.run(["umount", overlay], check=False).returncode == 0:
            pass
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each latency figure (default 20)")
    parser.add_argument(
        "--only",
        choices=["latencies", "networks", "rootless", "crowd", "logs", "floor"],
        action="append",
        help="a part alone",
    )
    parser.add_argument("--crowd", type=int, default=50, help="idle containers of each kind (default 50)")
    parser.add_argument("--times", type=int, default=1000, help="attaches and execs that may not cost (default 1000)")
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
    bench: Bench | None = None
    status = 0
    try:
        bench = Bench(folder, fast, options.runtime, options.rounds)
        parts: dict[str, Callable[[], None]] = {
            "floor": bench.floor,
            "latencies": bench.latencies,
            "rootless": bench.rootless,
            "networks": bench.networks,
            "crowd": functools.partial(bench.crowd, options.crowd, options.times),
            "logs": bench.logs,
        }
        try:
            for name, part in parts.items():
                if options.only is None or name in options.only:
                    part()
        finally:
            bench.close()
    except (CommandFailed, TimeoutError) as error:
        print(f"bench: {error}; what was measured before:", file=sys.stderr)
        status = 1
    finally:
        _remove(folder)
        _remove(fast)
    if bench is not None:
        _report(facts, bench, time.monotonic() - begin)
    return status


def _report(facts: dict[str, str], bench: Bench, seconds: float) -> None:
    """Print what was measured, and keep it."""
    lines = [f"{key}: {value}" for key, value in facts.items()]
    lines += ["", table(bench.rows), ""] if bench.rows else [""]
    lines += [f"{name}: {median(values):.1f}" for name, values in bench.extra.items()]
    text = "\n".join(lines)
    print(text)
    results = TREE / "bench" / "results"
    stamp = time.strftime("%Y%m%d-%H%M%S")
    save(results / f"{stamp}.json", facts, bench.rows, bench.extra)
    (results / f"{stamp}.txt").write_text(text + "\n")
    say(f"done in {seconds:.0f} s; kept in bench/results/{stamp}.txt and .json")


if __name__ == "__main__":
    sys.exit(main())
