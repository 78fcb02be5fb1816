"""stats: what containers use, as the host counts it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.e2e.conftest import TerminalFactory
from tests.support.bridge_host import bridge_host
from tests.support.commands import SLEEP, logged, said, state
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually

HOG = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo full; while :; do :; done"


@pytest.fixture(scope="module")
def somebody(busybox_tar: Path) -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as village:
        made = village.person("alice")
        import_image(made, busybox_tar)
        yield made


def values(remora: Remora, name: str, *fields: str) -> list[str]:
    form = "|".join("{{." + field + "}}" for field in fields)
    return remora("stats", "--no-stream", "--format", form, name).split("|")


def test_stats_shows_memory_and_its_limit_cpu_and_pids(remora: Remora) -> None:
    remora("run", "-d", "--name", "hog", "--memory", "256m", "busybox", "sh", "-c", HOG)
    remora("run", "-d", "--name", "idle", *SLEEP)
    logged(remora, "hog", "full")
    eventually(lambda: int(values(remora, "hog", "CPUNano")[0]) > 50_000_000, "it has used the CPU")
    by_name = {entry["name"]: entry for entry in json.loads(remora("stats", "--no-stream", "--format", "json"))}
    assert list(by_name) == ["hog", "idle"]
    hog, idle = by_name["hog"], by_name["idle"]
    keys = "id name cpu_time cpu_percent avg_cpu mem_usage mem_percent net_io block_io pids".split()
    assert sorted(hog) == sorted(keys)
    assert hog["mem_usage"].endswith(" / 268.4MB")
    assert float(hog["mem_percent"].rstrip("%")) > 10
    assert float(hog["cpu_percent"].rstrip("%")) > 1
    assert float(idle["mem_percent"].rstrip("%")) < 10
    assert (hog["pids"], idle["pids"]) == ("1", "1")
    assert int(values(remora, "hog", "MemLimit")[0]) == 256 << 20
    table = remora("stats", "--no-stream").splitlines()
    assert table[0].split("  ")[0] == "ID"
    for heading in (
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET IO",
        "BLOCK IO",
        "PIDS",
        "CPU TIME",
        "AVG CPU %",
    ):
        assert heading in table[0]
    assert len(table) == 3


def test_stats_counts_the_tasks_that_exec_adds(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *SLEEP)
    remora("exec", "-d", "one", "sleep", "500")
    eventually(lambda: values(remora, "one", "PIDs") == ["2"], "two tasks")


def test_stats_counts_the_blocks_that_were_written(remora: Remora) -> None:
    script = "dd if=/dev/zero of=/file bs=64k count=64 conv=fsync 2>/dev/null && echo written; exec sleep 1000"
    remora("run", "-d", "--name", "writer", "busybox", "sh", "-c", script)
    logged(remora, "writer", "written")
    eventually(lambda: int(values(remora, "writer", "BlockOutput")[0]) >= 4 << 20, "what was synced is counted")


def test_stats_shows_only_what_runs_unless_all_is_asked_for(remora: Remora) -> None:
    remora("create", "--name", "made", *SLEEP)
    remora("run", "-d", "--name", "runs", *SLEEP)
    names = ["stats", "--no-stream", "--format", "{{.Name}} {{.PIDS}}"]
    assert remora(*names) == "runs 1"
    assert remora(*names, "--all") == "made 0\nruns 1"
    assert remora(*names, "made") == "made 0"
    assert remora(*names, "--latest") == "runs 1"
    assert "no such container" in said(remora, "stats", "--no-stream", "nosuch")
    assert "exclude each other" in said(remora, "stats", "--all", "runs")
    assert "one second at least" in said(remora, "stats", "-i", "0")


def test_stats_goes_on_until_the_containers_that_were_named_are_gone(remora: Remora) -> None:
    remora("run", "-d", "--name", "one", *SLEEP)
    process = remora.popen("stats", "--interval", "1", "--format", "{{.Name}} {{.PIDS}} {{.CPUPerc}}", "one")
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"one 1 ")
    assert process.stdout.readline() == b"one 1 0.00%\n"
    remora("rm", "-f", "-t", "0", "one")
    rest = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert b"\x1b" not in rest


def test_stats_on_a_terminal_clears_it_before_each_table(remora: Remora, terminal: TerminalFactory) -> None:
    remora("run", "-d", "--name", "one", *SLEEP)
    screen = terminal("stats", "--interval", "1")
    screen.expect(b"\x1b[H\x1b[2JID ")
    screen.expect(b"\x1b[H\x1b[2JID ")
    screen.process.send_signal(signal.SIGINT)
    assert screen.wait() == 130


def test_stats_counts_the_bytes_of_a_network(tmp_path: Path, storage_conf: Path) -> None:
    with bridge_host(tmp_path / "host") as host:
        remora = host.remora(tmp_path / "remora", storage_conf)
        script = "mkdir /w; head -c 100000 /dev/zero >/w/file; exec httpd -f -p 80 -h /w"
        remora("run", "-d", "--name", "net", "--network", "bridge", "-p", "18080:80", "busybox", "sh", "-c", script)
        remora("run", "-d", "--name", "none", "--network", "none", *SLEEP)
        remora("run", "-d", "--name", "host", "--network", "host", *SLEEP)
        fetch = "timeout 5 busybox wget -qO- http://127.0.0.1:18080/file | wc -c"
        eventually(lambda: host.sh(fetch).strip() == "100000", "the file is served")
        assert int(values(remora, "net", "NetOutput")[0]) >= 100000
        assert int(values(remora, "net", "NetInput")[0]) >= 100
        assert values(remora, "none", "NetIO") == ["0B / 0B"]
        assert values(remora, "host", "NetIO") == ["0B / 0B"]
        remora.clear()


def test_a_user_sees_what_containers_use_even_without_a_cgroup(somebody: Person) -> None:
    with staying(somebody) as alice:
        alice("run", "-d", "--name", "hog", "busybox", "sh", "-c", HOG)
        logged(alice, "hog", "full")
        alice("exec", "-d", "hog", "sleep", "500")
        eventually(lambda: values(alice, "hog", "PIDS") == ["2"], "two tasks")
        eventually(lambda: int(values(alice, "hog", "CPUNano")[0]) > 50_000_000, "it has used the CPU")
        memory = values(alice, "hog", "MemUsage")[0].partition(" / ")[0]
        assert memory.endswith("MB")
        assert float(memory.removesuffix("MB")) > 25
        assert int(state(alice, "hog", "Pid")) > 0
