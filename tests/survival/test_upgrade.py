"""A monitor goes on as a newly installed program: no byte, no exit code and no client is lost; a bad one is refused."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from remora import monitor
from remora.monitor import Connection, RequestFailed, core
from tests.conftest import Remora
from tests.support import host
from tests.support.box import DEADLINE, Box
from tests.support.waiting import eventually
from tests.survival.conftest import BoxFactory
from tests.survival.numbered import LINE, Drain, Printer, logged
from tests.survival.parts import Parts, Spin, program, settled_descriptors
from tests.survival.phases import CODE, exec_once, one_log, parts_of, verdict
from tests.survival.report import REPORT


class Versions:
    """The place where the monitor program is installed, and further versions that are installed there."""

    def __init__(self, path: Path) -> None:
        self._original = monitor.monitor_program()
        self.path = path
        self.install()

    def install(self, spoil: Callable[[Path], None] | None = None) -> None:
        """Put a further copy in the place of the one that is there, as a package manager does; spoiled on request."""
        new = self.path.with_name(f"{self.path.name}.new")
        shutil.copy(self._original, new)
        new.chmod(0o755)
        if spoil is not None:
            spoil(new)
        if new.is_file():
            new.rename(self.path)
        else:
            self.path.unlink()
            if new.is_dir():
                new.rename(self.path)


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Versions:
    """A monitor program of this test alone."""
    made = Versions(tmp_path / "installed-monitor")
    monkeypatch.setenv("REMORA_MONITOR", str(made.path))
    return made


def upgrade(box: Box, versions: Versions) -> None:
    """Install a further version and upgrade to it; raises what the request raises."""
    versions.install()
    parts = parts_of(box)
    started = time.monotonic()
    ask_for_upgrade(box)
    box.status()
    REPORT.figure("upgrade, until the new program answers", (time.monotonic() - started) * 1000)
    wanted = os.stat(versions.path).st_dev, os.stat(versions.path).st_ino
    eventually(lambda: program(parts.keeper) == wanted, "the keeper executes the new program", timeout=10)
    eventually(lambda: parts.worker and program(parts.worker) == wanted, "the worker does, too", timeout=10)


def ask_for_upgrade(box: Box) -> None:
    """The request alone."""
    with box.connect() as connection:
        connection.send({"op": "upgrade"})
        assert connection.reply("upgrade", DEADLINE)["ok"] is True


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_an_upgrade_under_full_output_loses_no_byte(box: Box, versions: Versions, rounds: int) -> None:
    printer = Printer(box)
    spawner = box.started(*printer.argv, attach={"block": True}, log=one_log(box))
    drain = Drain(spawner)
    second_connection = box.connect()
    second_connection.send({"op": "attach", "block": True})
    second = Drain(second_connection)
    parts = parts_of(box)
    before = None
    for _ in range(rounds):
        printer.print(40_000)
        drain.await_size((printer.count - 39_000) * LINE)
        with Spin(parts, 2.0):
            upgrade(box, versions)
        assert parts_of(box).keeper == parts.keeper
        drain.await_size(printer.count * LINE)
        second.await_size(printer.count * LINE)
        now = settled_descriptors(parts.keeper)
        before = before or now  # those that the first upgrade leaves
        assert now == before
    assert parts.zombies() == []
    printer.exit(CODE)
    assert verdict(drain.end()) == verdict(second.end()) == "right"
    assert drain.findings(printer.count).complete and second.findings(printer.count).complete
    assert logged(box.data / "log", printer.count).complete
    record = box.record()
    assert verdict(record) == "right" and record["stdout_bytes"] == printer.count * LINE
    printer.close()
    spawner.close()
    second_connection.close()
    box.assert_gone()


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "tty"])
def test_who_is_attached_goes_on_typing_and_reading_across_upgrades(box: Box, versions: Versions, tty: bool) -> None:
    spawner = box.started("cat", tty=tty, stdin=True, stdin_once=True, attach={"stdin": True, "owner": True})
    drain = Drain(spawner)
    for number in range(3):
        upgrade(box, versions)
        spawner.send_packet(core.STDIN, f"line {number}\n".encode())
        drain.await_text(f"line {number}".encode())
    spawner.send_packet(core.STDIN, b"")
    assert verdict(drain.end(), 0) == "right"
    spawner.close()
    assert verdict(box.record(), 0) == "right"
    box.assert_gone()


def test_an_exec_a_waiter_and_a_stop_live_through_an_upgrade(box: Box, versions: Versions) -> None:
    spawner = box.started("sh", "-c", f"trap 'exit {CODE}' TERM; while :; do sleep 0.02; done", stop_timeout=60)
    spawner.close()
    exec_client, waiter, stopper = box.connect(), box.connect(), box.connect()
    process = box.process("sh", "-c", "read line; echo got $line; exit 5")
    memory = monitor.sealed_memory("process", json.dumps(process).encode())
    exec_client.send({"op": "exec", "session": "e", "stdin": True, "stdout": True}, [memory])
    os.close(memory)
    exec_client.reply("exec", DEADLINE)
    waiter.send({"op": "wait"})
    upgrade(box, versions)
    exec_client.send_packet(core.STDIN, b"through\n")
    drain = Drain(exec_client)
    eventually(lambda: drain.record, "the exec ends")
    assert verdict(drain.record, 5) == "right"
    assert drain.output == b"got through\n"
    with box.connect() as client:
        assert exec_once(box, client, "afce")
    stopper.send({"op": "stop", "timeout": 60})
    assert verdict(stopper.reply("stop", DEADLINE)["record"]) == "right"
    assert verdict(waiter.reply("wait", DEADLINE)["record"]) == "right"
    for connection in (exec_client, waiter, stopper):
        connection.close()
    box.assert_gone()


def test_restarts_timers_and_removal_live_through_an_upgrade(box: Box, versions: Versions) -> None:
    """A restart count goes on, a time limit strikes, a container that is to go goes."""
    spawner = box.started(
        "sh",
        "-c",
        "read line; exit 3",
        stdin=True,
        attach={"stdin": True},
        restart={"policy": "on-failure", "max": 2},
        timeout=6,
        remove=[["tree", str(box.data)]],
    )
    drain = Drain(spawner)
    spawner.send_packet(core.STDIN, b"\n")
    eventually(lambda: "restarted" in drain.events, "it runs again")
    upgrade(box, versions)
    spawner.send_packet(core.STDIN, b"\n")
    eventually(lambda: drain.events.count("restarted") == 2, "it runs for the third time")
    upgrade(box, versions)
    record = drain.end()
    assert record is not None and (record["why"], record["restarts"]) == ("timeout", 2)
    spawner.close()
    box.assert_gone()
    assert not box.data.exists()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8192])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def script(path: Path) -> None:
    path.write_text("#!/bin/sh\nexit 0\n")


def script_that_stays(path: Path) -> None:
    path.write_text("#!/bin/sh\nexec sleep 100\n")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x7fELF" + os.urandom(20000))


def another_program(path: Path) -> None:
    shutil.copy("/bin/true", path)


def not_executable(path: Path) -> None:
    path.chmod(0o644)


def absent(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: list[Callable[[Path], None]] = [
    truncated,
    empty,
    script,
    script_that_stays,
    garbage,
    another_program,
    not_executable,
    absent,
    folder,
]


@pytest.mark.parametrize("spoil", BROKEN, ids=lambda spoil: spoil.__name__)
def test_a_program_that_is_no_monitor_is_refused_and_the_old_one_goes_on(
    box: Box, versions: Versions, spoil: Callable[[Path], None]
) -> None:
    printer = Printer(box)
    spawner = box.started(*printer.argv, attach={"block": True}, log=one_log(box))
    drain = Drain(spawner)
    parts = parts_of(box)
    old = program(parts.keeper)
    before = settled_descriptors(parts.keeper)
    versions.install(spoil)
    printer.print(20_000)
    with Spin(parts, 2.0), pytest.raises(RequestFailed):
        ask_for_upgrade(box)
    assert box.status()["status"] == "running"
    assert (parts_of(box).keeper, program(parts.keeper)) == (parts.keeper, old)
    drain.await_size(printer.count * LINE)
    assert settled_descriptors(parts.keeper, before) == before
    assert parts.zombies() == []
    printer.exit(CODE)
    assert verdict(drain.end()) == "right"
    assert drain.findings(printer.count).complete
    assert logged(box.data / "log", printer.count).complete
    printer.close()
    spawner.close()
    box.assert_gone()


def test_a_worker_killed_while_an_upgrade_is_under_way_costs_nothing(new_box: BoxFactory, versions: Versions) -> None:
    for delay in range(8):
        box = new_box()
        printer = Printer(box)
        spawner = box.started(*printer.argv, attach={"block": True}, log=one_log(box))
        drain = Drain(spawner)
        parts = parts_of(box)
        victim = parts.worker
        with box.connect() as connection:
            versions.install()
            connection.send({"op": "upgrade"})
            time.sleep(delay / 2000)  # the moment is what differs
            try:
                host.send(victim, 9)
            except ProcessLookupError:
                pass
        printer.print(1000)
        drain.await_size(1000 * LINE, timeout=10)
        printer.exit(CODE)
        assert verdict(drain.end()) == "right"
        assert logged(box.data / "log", 1000).complete
        printer.close()
        spawner.close()
        box.assert_gone()


@pytest.fixture
def installed(remora: Remora, versions: Versions) -> Versions:
    """The same for the command `remora`."""
    remora.environment["REMORA_MONITOR"] = str(versions.path)
    return versions


def test_the_command_upgrades_all_monitors(remora: Remora, installed: Versions) -> None:
    remora("run", "-d", "--name", "plain", "busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    remora("run", "-dt", "--name", "terminal", "busybox", "cat")
    remora("run", "-d", "--name", "paused", "busybox", "sleep", "1000")
    remora("pause", "paused")
    remora("run", "--name", "over", "busybox", "true")
    installed.install()
    assert len(remora("monitor", "upgrade", "--all").split()) == 3
    for name in ("plain", "terminal", "paused"):
        keeper = int(remora("monitor", "status", "-f", "{{.KeeperPid}}", name))
        assert program(keeper) == (installed.path.stat().st_dev, installed.path.stat().st_ino)
        assert Parts(keeper).zombies() == []
    assert remora("exec", "terminal", "echo", "here") == "here"
    remora("unpause", "paused")
    assert remora("exec", "paused", "echo", "here") == "here"
    remora("stop", "plain")
    assert remora("wait", "plain") == "7"
    assert remora("inspect", "-f", "{{.State.ExitCode}}", "plain") == "7"
    remora("kill", "paused")
    assert remora("wait", "paused") == "137"


def test_the_command_says_when_an_upgrade_is_refused(remora: Remora, installed: Versions) -> None:
    remora("run", "-d", "--name", "plain", "busybox", "sleep", "1000")
    installed.install(script)
    result = remora.run("monitor", "upgrade", "plain", status=125)
    assert result.stderr.startswith("Error: ") and "plain" in result.stderr
    assert remora("exec", "plain", "echo", "here") == "here"


def connected(box: Box) -> Connection:
    """A connection that has proved itself."""
    connection = box.connect()
    connection.request({"op": "status"})
    return connection


def test_connections_that_have_asked_nothing_yet_live_through_an_upgrade(box: Box, versions: Versions) -> None:
    box.started("sleep", "1000").close()
    idle = [connected(box) for _ in range(50)]
    upgrade(box, versions)
    for connection in idle:
        assert connection.request({"op": "status"})["ok"] is True
        connection.close()
    box.end()
    box.assert_gone()
