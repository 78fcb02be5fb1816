"""Many at once, many in a row, many who don't read, a disk that is full again and again.

Asserted: exit codes, byte counts, descriptors before and after, no zombie, nothing left behind.
"""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remora import monitor
from remora.monitor import Connection, core
from tests.support import host
from tests.support.box import DEADLINE, Box, boxes
from tests.support.disk import Disk
from tests.support.waiting import eventually
from tests.survival.conftest import BoxFactory
from tests.survival.light import LightBox
from tests.survival.numbered import BURST, LINE, Drain, Findings, Printer, cri_lines, has_logged, logged
from tests.survival.parts import settled_descriptors
from tests.survival.phases import one_log, parts_of, verdict
from tests.survival.report import REPORT

DISK = 8 << 20  # bytes


def zombies_of_monitors() -> list[str]:
    """Zombies that bear the monitor's name."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or host.state(int(entry)) != "Z":
            continue
        try:
            name = Path(f"/proc/{entry}/comm").read_text().strip()
        except OSError:
            continue
        if name.startswith("remora-") and os.getppid() != host.parent(int(entry)) != 1:
            found.append(f"{entry} of {host.parent(int(entry))}")
    return found


def test_many_containers_that_end_in_the_same_second_all_keep_their_codes(tmp_path: Path, busybox_root: Path) -> None:
    """They wait until nobody holds a fifo open for writing; every tenth runs under the real runtime."""
    many = 200
    fifo = tmp_path / "gate"
    fifo.mkdir()
    os.mkfifo(fifo / "gate")
    gate = os.open(fifo / "gate", os.O_RDWR | os.O_CLOEXEC)
    with boxes(tmp_path, busybox_root) as made:
        expected = {}
        for number in range(many):
            real = number % 10 == 0
            box = Box(tmp_path, busybox_root) if real else LightBox(tmp_path, busybox_root)
            box.binds["gate"] = fifo
            made.append(box)
            code, count = number % 256, number % 50
            where = "/tmp/gate/gate" if real else str(fifo / "gate")
            script = f"exec 3<{where}; echo here >&2; read line <&3; " + BURST.format(count=count, code=code)
            box.started("sh", "-c", script).close()
            expected[box.id] = code, count
        for box in made:
            eventually((box.data / "log").read_bytes, "it waits for the end")
        started = time.monotonic()
        os.close(gate)
        with ThreadPoolExecutor(8) as pool:
            records = dict(zip([box.id for box in made], pool.map(Box.record, made), strict=True))
        REPORT.figure(f"{many} containers end", time.monotonic() - started, "s")
        for box in made:
            code, count = expected[box.id]
            record = records[box.id]
            assert verdict(record, code) == "right"
            assert record["stdout_bytes"] == count * LINE
            assert logged(box.data / "log", count).complete
        for box in made:
            box.assert_gone()
    eventually(lambda: not zombies_of_monitors(), "no monitor leaves a zombie", timeout=10)


def cycle(box: Box, chance: random.Random) -> None:
    """One container from its start to its end, with some output and some code."""
    code, size = chance.randrange(256), int(chance.paretovariate(0.5)) % 200_000
    spawner = box.start("sh", "-c", f"head -c {size} /dev/zero; exit {code}", log={**one_log(box)})
    spawner.started(DEADLINE)
    spawner.close()
    record = box.record()
    assert verdict(record, code) == "right"
    assert record["stdout_bytes"] == size, record
    assert sum(len(line) for line in cri_lines(box.data / "log")) == size


def cycles(folder: Path, root: Path, light: int, real: int, seed: int) -> None:
    """So many cycles with the light runtime and with the real one, two at a time."""
    kinds = [LightBox] * light + [Box] * real

    def run(number: int) -> None:
        own = folder / str(number)
        own.mkdir()
        box = kinds[number](own, root)
        cycle(box, random.Random(seed + number))
        box.assert_gone()
        monitor.core.remove_tree(str(own))

    before = len(os.listdir("/proc/self/fd"))
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(run, range(len(kinds))):
            pass
    took = time.monotonic() - started
    REPORT.note(f"{light} cycles with the light runtime and {real} with runc: {took:.0f} s")
    assert len(os.listdir("/proc/self/fd")) == before
    eventually(lambda: not zombies_of_monitors(), "no monitor leaves a zombie", timeout=10)


def test_hundreds_of_cycles_keep_code_and_byte_count(tmp_path: Path, busybox_root: Path) -> None:
    cycles(tmp_path, busybox_root, light=250, real=50, seed=int(time.time()))


@pytest.mark.soak
def test_ten_thousand_cycles_keep_code_and_byte_count(tmp_path: Path, busybox_root: Path) -> None:
    cycles(tmp_path, busybox_root, light=9000, real=1000, seed=int(time.time()))


def test_a_thousand_attaches_leave_no_descriptor(new_light_box: BoxFactory) -> None:
    box = new_light_box()
    spawner = box.started("cat", stdin=True, attach={"stdin": True})
    parts = parts_of(box)
    before = settled_descriptors(parts.keeper)
    for _ in range(1000):
        with box.connect() as client:
            assert client.request({"op": "attach"})["ok"] is True
    assert settled_descriptors(parts.keeper, before) == before
    assert parts.zombies() == []
    box.end()
    spawner.close()


def test_a_hundred_clients_of_whom_half_are_stalled_get_all_or_are_cut_off(box: Box) -> None:
    count, many = 60_000, 100
    printer = Printer(box)
    box.started(*printer.argv, log=one_log(box)).close()
    readers: list[Drain] = []
    connections: list[Connection] = []
    for number in range(many):
        client = box.connect()
        connections.append(client)
        assert client.request({"op": "attach", "block": number % 2 == 0})["ok"] is True
        if number % 2 == 0:
            readers.append(Drain(client))  # the others never receive anything
    printer.print(count)
    for reader in readers:
        reader.await_size(count * LINE, timeout=60)
    eventually(lambda: has_logged(box.data / "log", count), "the log is complete")
    for client in connections[1::2]:
        client.close()
    printer.exit(9)
    for reader in readers:
        assert verdict(reader.end(60), 9) == "right"
        assert reader.findings(count).complete
    for client in connections:
        client.close()
    printer.close()
    record = box.record()
    assert verdict(record, 9) == "right"
    assert record["stdout_bytes"] == count * LINE
    assert logged(box.data / "log", count).complete
    box.assert_gone()


def test_descriptors_of_clients_that_come_stall_and_go_are_given_back(box: Box) -> None:
    printer = Printer(box)
    box.started(*printer.argv, log=one_log(box)).close()
    parts = parts_of(box)
    printer.print(10)
    before = settled_descriptors(parts.keeper)
    for _ in range(3):
        clients = [box.connect() for _ in range(100)]
        for client in clients:
            client.send({"op": "attach"})
        printer.print(20_000)
        for client in clients[::2]:
            assert client.receive(DEADLINE).kind == core.CONTROL
        for client in clients:
            client.close()
        assert settled_descriptors(parts.keeper, before) == before
    printer.exit(3)
    printer.close()
    assert verdict(box.record(), 3) == "right"
    box.assert_gone()


@pytest.mark.parametrize("rounds", [6, pytest.param(200, marks=pytest.mark.soak)])
def test_a_log_disk_that_is_filled_and_freed_again_and_again_costs_only_what_is_told(
    tmp_path: Path, new_box: BoxFactory, rounds: int
) -> None:
    box = new_box()
    with Disk(tmp_path / "disk", size=DISK) as disk:
        log = disk.path / "log"
        printer = Printer(box)
        drivers = {"driver": "k8s-file", "path": str(log)}
        spawner = box.started(*printer.argv, attach={"block": True}, log={**drivers, "drivers": [drivers]})
        drain = Drain(spawner)
        parts = parts_of(box)
        printer.print(100)
        drain.await_size(100 * LINE)
        before = settled_descriptors(parts.keeper)
        lines: list[bytes] = []
        for round_ in range(rounds):
            printer.print(5000)
            drain.await_size(printer.count * LINE)
            disk.fill(leave=round_ % 3)
            printer.print(5000)
            drain.await_size(printer.count * LINE)
            disk.free()
            # The log grows by a megabyte each round: as long as nothing is written it can be looked at and emptied.
            lines += cri_lines(log)
            os.truncate(log, 0)
        printer.print(10)
        drain.await_size(printer.count * LINE)
        assert settled_descriptors(parts.keeper, before) == before
        printer.exit(4)
        assert verdict(drain.end(), 4) == "right"
        printer.close()
        spawner.close()
        record = box.record()
        assert verdict(record, 4) == "right"
        assert record["stdout_bytes"] == printer.count * LINE
        findings = Findings([*lines, *cri_lines(log)], printer.count)
        missing = len(findings.missing) * LINE
        assert findings.notes and findings.told >= missing, findings
        assert findings.explained, findings
        assert printer.count - 1 not in findings.missing, "logging goes on by itself"
        assert drain.findings(printer.count).complete
        REPORT.note(f"full disk: {findings.told} bytes not logged in {len(findings.notes)} gaps, all told")
        box.assert_gone()


def test_a_stalled_stranger_that_never_speaks_keeps_nobody_waiting(box: Box) -> None:
    """A hundred connections that say nothing, then one that asks."""
    spawner = box.started("sleep", "1000", attach={})
    strangers = [box.connect() for _ in range(100)]
    assert box.status()["status"] == "running"
    box.end()
    for stranger in strangers:
        stranger.close()
    spawner.close()
    box.assert_gone()
