"""The phases of a monitor's life in which a call may fail, each as one function.

A phase starts a container, has the caller attach its fault to a process of the monitor, does what the phase is about,
lets the container end, and checks: the exit code, what was printed, processor time, descriptors, and that nothing is
left. It returns `right`, or `told` when the one who asked for something was told that it failed and the container
lost nothing by it. Everything else is an AssertionError.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from remora.monitor import Connection, MonitorGone, RequestFailed, core, sealed_memory
from tests.support.box import DEADLINE, Box, received
from tests.support.waiting import eventually
from tests.survival.numbered import CHUNK, LINE, Drain, Printer, has_logged, logged
from tests.survival.parts import Parts, Spin, settled_descriptors


class Trial:
    """What is done to the monitor in a phase, and what it may cost.

    strike: makes the context in which the phase acts (a fault, a kill). client_slack: bytes that an attached client
    may miss or get twice; log_slack: whether output may be missing from the log where a gap record says so.
    """

    def __init__(
        self,
        strike: Callable[[Parts], AbstractContextManager[object]],
        client_slack: int = 0,
        log_slack: bool = True,
    ) -> None:
        self.strike = strike
        self.client_slack = client_slack
        self.log_slack = log_slack

    @contextlib.contextmanager
    def on(self, parts: Parts) -> Iterator[Parts]:
        """The block runs with it, and within a bound of processor time."""
        with Spin(parts, SPIN), self.strike(parts):
            yield parts


CODE = 7
SCRIPT = ("sh", "-c", f"trap '' PIPE; read line </tmp/gate/go; echo out; echo err >&2; exit {CODE}")
RETYPE = 2.0  # seconds after which somebody at a keyboard would type again
PATIENCE = 1.5  # seconds for an answer where one need not come
SPIN = 1.0  # seconds of processor time that a phase may cost


def parts_of(box: Box) -> Parts:
    """The processes of a box's monitor."""
    with box.connect() as connection:
        connection.send({"op": "status"})
        reply = connection.reply("status", DEADLINE)
    state = reply["state"]
    assert isinstance(state, dict)
    pid = reply.get("keeper_pid") or state.get("keeper_pid") or state["monitor_pid"]
    assert isinstance(pid, int)
    return Parts(pid)


def verdict(record: object, code: int = CODE) -> str:
    """`right` for a record with the code; `told` for one that says that a (re)start failed. Nothing else will do."""
    assert isinstance(record, dict), record
    if record["why"] == "runtime-failed":
        assert record["error"], record
        return "told"
    assert (record["known"], record["code"]) == (True, code), record
    return "right"


def ended_right(box: Box, code: int = CODE) -> str:
    """The record is there and right, and nothing is left but the data folder."""
    outcome = verdict(box.record(), code)
    box.assert_gone()
    return outcome


class Gate:
    """A fifo that the container's process reads, so that what it is told doesn't pass through the monitor."""

    def __init__(self, box: Box) -> None:
        folder = box.folder / "gate"
        folder.mkdir()
        os.mkfifo(folder / "go")
        box.binds["gate"] = folder
        self._fd = os.open(folder / "go", os.O_RDWR | os.O_CLOEXEC)

    def open(self) -> None:
        """Let one who waits go on."""
        os.write(self._fd, b"\n")

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def start(box: Box, trial: Trial) -> str:
    """From the runtime's end to the first output: the runtime is held until the fault is in place."""
    folder = box.folder
    for name in ("arrived", "go"):
        os.mkfifo(folder / name)
    script = folder / "held"
    wait = f"echo >{folder}/arrived; read line <{folder}/go"
    script.write_text(f'#!/bin/sh\ncase " $* " in *" run "*) {wait};; esac\nexec {box.runtime[0]} "$@"\n')
    script.chmod(0o755)
    box.runtime = [str(script)]
    with Gate(box) as gate:
        spawner = box.start(*SCRIPT, attach={})
        (folder / "arrived").read_bytes()
        with trial.on(parts_of(box)):
            (folder / "go").write_text("\n")
            return started_or_told(box, spawner, gate)


def started_or_told(box: Box, spawner: Connection, gate: Gate) -> str:
    """It runs and ends with its own code, or the spawner was told why not."""
    try:
        spawner.started(DEADLINE)
    except RequestFailed:
        spawner.close()
        box.assert_gone()
        return "told"
    except MonitorGone:
        pass  # a spawner that was cut off
    return started_right(box, spawner, gate)


def started_right(box: Box, spawner: Connection, gate: Gate) -> str:
    """A container that runs comes to its own end."""
    gate.open()
    _, told, _ = received(spawner)
    spawner.close()
    assert ended_right(box) == "right"
    # Cut off is told, too; the record counts.
    return "told" if told is None else verdict(told)


def await_log(path: Path, count: int, trial: Trial) -> None:
    """Wait until so many lines are in the log, or a gap is told there.

    A call that failed at the very last write is told only at the end: then the log stays as it is for now.
    """
    try:
        eventually(lambda: has_logged(path, count), "the log has come to the last line", timeout=10)
    except AssertionError:
        if not trial.log_slack:
            raise


def printing(box: Box, trial: Trial, log: dict[str, object], lines: int) -> str:
    """Numbered lines go to the log and to a client that reads all, while a call fails."""
    printer = Printer(box)
    spawner = box.started(*printer.argv, attach={"stdin": False, "block": True}, log=log)
    drain = Drain(spawner)
    parts = parts_of(box)
    printer.print(100)
    drain.await_size(100 * LINE)
    before = settled_descriptors(parts.keeper)
    with trial.on(parts_of(box)):
        for _ in range(4):
            printer.print(lines // 4)
        eventually(
            lambda: drain.ended or drain.size + trial.client_slack >= printer.count * LINE,
            "all lines came to the client",
            timeout=10,
        )
        await_log(box.data / "log", printer.count, trial)
    if not drain.ended:
        after = settled_descriptors(parts.keeper, before)
        assert after == before, (before, after)
    printer.exit(CODE)
    record = drain.end()
    printer.close()
    ended_right(box)
    findings = logged(box.data / "log", printer.count)
    assert findings.complete or (trial.log_slack and findings.explained), findings
    spawner.close()
    if record is None:
        return "told"
    assert record["code"] == CODE
    drain.findings(printer.count).assert_within(trial.client_slack)
    return "right" if findings.complete else "told"


def one_log(box: Box, **options: object) -> dict[str, object]:
    """The `log` of a configuration with one k8s-file."""
    path = str(box.data / "log")
    return {"driver": "k8s-file", "path": path, "drivers": [{"driver": "k8s-file", "path": path, **options}], **options}


def running(box: Box, trial: Trial) -> str:
    """Output is copied to the log and to a client."""
    return printing(box, trial, one_log(box), 4000)


def rotating(box: Box, trial: Trial) -> str:
    """The same, while the log is rotated again and again."""
    return printing(box, trial, one_log(box, max_size=65536, max_files=100), 4000)


def still_running(box: Box) -> None:
    """The monitor answers, at the second attempt at the latest: the fault may have met the first."""
    try:
        status = box.status()
    except MonitorGone:
        status = box.status()
    assert status["status"] == "running"


def answers(box: Box, timeout: float) -> None:
    """The monitor answers within so many seconds. Raises MonitorGone, TimeoutError."""
    with box.connect() as client:
        client.send({"op": "status"})
        client.reply("status", timeout)


def typed(client: Connection, text: bytes) -> str:
    """Type, and read what `cat` makes of it; `lost` when it had to be typed again."""
    for outcome in ("right", "lost"):
        client.send_packet(core.STDIN, text)
        seen = b""
        try:
            while seen != text:
                packet = client.receive(RETYPE)
                seen += packet.payload if packet.kind == core.STDOUT else b""
                assert text.startswith(seen), seen
            return outcome
        except TimeoutError:
            assert not seen, seen
    raise AssertionError("what is typed does not arrive")


def attach(box: Box, trial: Trial) -> str:
    """A client comes, attaches, types, reads, and goes."""
    spawner = box.started("cat", stdin=True, attach={"stdin": True})
    drain = Drain(spawner)
    parts = parts_of(box)
    before = settled_descriptors(parts.keeper)
    outcome = "right"
    with trial.on(parts_of(box)):
        try:
            with box.connect() as client:
                client.send({"op": "attach", "stdin": True})
                assert client.reply("attach", DEADLINE)["ok"] is True
                outcome = typed(client, b"typed\n")
        except (MonitorGone, RequestFailed):
            outcome = "told"
        still_running(box)
    after = settled_descriptors(parts.keeper, before)
    assert after == before, (before, after)
    with box.connect() as client:
        client.send({"op": "stop", "timeout": 0})
        record = client.reply("stop", DEADLINE)["record"]
    assert isinstance(record, dict) and record["code"] == 137
    drain.end()
    spawner.close()
    ended_right(box, 137)
    return outcome


def exec_(box: Box, trial: Trial) -> str:
    """A command is run in the container."""
    gate = Gate(box)
    spawner = box.started(*SCRIPT, attach={})
    parts = parts_of(box)
    with box.connect() as client:  # what an exec keeps for good is there after the first
        exec_once(box, client, "e0")
    before = settled_descriptors(parts.keeper)
    outcome = "right"
    with trial.on(parts_of(box)):
        try:
            with box.connect() as client:
                if not exec_once(box, client, "e1", trial.client_slack):
                    outcome = "told"
        except (MonitorGone, RequestFailed):
            outcome = "told"
        still_running(box)
    after = settled_descriptors(parts.keeper, before)
    assert after == before, (before, after)
    with gate:
        gate.open()
        received(spawner)
    spawner.close()
    ended_right(box)
    return outcome


def exec_once(box: Box, client: Connection, session: str, slack: int = 0) -> bool:
    """Run a command to its end; whether its code is known. slack: as a trial's client_slack, output may come twice."""
    process = json.dumps(box.process("sh", "-c", "echo from exec; exit 5")).encode()
    memory = sealed_memory("process", process)
    try:
        client.send({"op": "exec", "session": session, "stdout": True, "stderr": True, "block": True}, [memory])
    finally:
        os.close(memory)
    client.reply("exec", DEADLINE)
    output, record = b"", None
    while record is None:
        packet = client.receive(DEADLINE)
        if packet.kind == core.STDOUT:
            output += packet.payload
        elif packet.kind == core.EXIT:
            record = packet.message()
    if not record["known"]:
        return False
    assert record["code"] == 5, record
    assert output == b"from exec\n" or (slack > 0 and output in (b"", b"from exec\n" * 2)), output
    return True


def stop(box: Box, trial: Trial) -> str:
    """Somebody stops the container, which takes the signal to heart."""
    spawner = box.started("sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", attach={})
    while spawner.receive(DEADLINE).kind != core.STDOUT:
        pass
    drain = Drain(spawner)
    outcome, code = "right", CODE
    with trial.on(parts_of(box)):
        while box.run.exists():
            try:
                with box.connect() as client:
                    client.send({"op": "stop", "timeout": 2})
                    reply = client.reply("stop", DEADLINE)
                    if reply.get("killed"):
                        code, outcome = 137, "told"  # its signal failed, and the time was over
                    break
            except (MonitorGone, RequestFailed):
                outcome = "told"
    drain.end()
    spawner.close()
    ended_right(box, code)
    return outcome


def ending(box: Box, trial: Trial, runs: int = 1, **overrides: object) -> str:
    """The container ends by itself, with somebody attached and somebody waiting."""
    gate = Gate(box)
    spawner = box.started(*SCRIPT, tty=False, attach={}, **overrides)
    drain = Drain(spawner)
    outcome = "right"
    with gate, box.connect() as waiter:
        waiter.send({"op": "wait"})
        waiter.send({"op": "status"})
        waiter.reply("status", DEADLINE)
        with trial.on(parts_of(box)):
            for _ in range(runs):
                gate.open()
            try:
                outcome = verdict(waiter.reply("wait", DEADLINE)["record"])
            except MonitorGone:
                outcome = "told"
            told = drain.end()
    spawner.close()
    return outcome if told is not None and verdict(told) == "right" else "told"


def exit_(box: Box, trial: Trial) -> str:
    """The end of a container that stays."""
    outcome = ending(box, trial)
    assert ended_right(box) == "right"
    return outcome


def restart(box: Box, trial: Trial) -> str:
    """The end of a run, and the next one."""
    outcome = ending(box, trial, runs=2, restart={"policy": "on-failure", "max": 1})
    ended_right(box)
    return outcome


def removal(box: Box, trial: Trial) -> str:
    """The end of a container that goes: its folder and its name are removed, its record is kept apart."""
    names = box.folder / "names"
    names.mkdir()
    (names / "box").symlink_to(box.data)
    extra = box.data / "upper" / "below"
    extra.mkdir(parents=True)
    (extra / "file").write_text("content")
    steps = [["unlink", str(box.data / "bundle/config.json")], ["name", str(names)], ["tree", str(box.data)]]
    outcome = ending(box, trial, remove=steps)
    box.assert_gone()
    kept = box.run.parent / "ended" / box.id
    if not kept.exists():
        outcome = "told"
    if box.data.exists() or os.listdir(names):
        outcome = "told"  # a step failed: `rm` repeats it
    return outcome


def resume(box: Box, trial: Trial) -> str:
    """The worker is killed: the keeper makes another, which takes over."""

    def kill(parts: Parts) -> None:
        parts.await_successor(parts.kill("worker"))

    return taking_over(box, trial, kill)


def upgrade(box: Box, trial: Trial) -> str:
    """Keeper and worker go on as a newly installed program."""

    def replace(_: Parts) -> None:
        with box.connect() as client:
            client.send({"op": "upgrade"})
            assert client.reply("upgrade", PATIENCE)["ok"] is True

    return taking_over(box, trial, replace)


def taking_over(box: Box, trial: Trial, change: Callable[[Parts], None]) -> str:
    """Under output, with a client that reads all: what was begun before the change is ended after it.

    The fault may meet every worker that tries to take over, so that it must go away for one to succeed.
    """
    printer = Printer(box)
    spawner = box.started(*printer.argv, attach={"stdin": False, "block": True}, log=one_log(box))
    drain = Drain(spawner)
    parts = parts_of(box)
    printer.print(100)
    drain.await_size(100 * LINE)
    before = settled_descriptors(parts.keeper)
    printer.print(2000)
    outcome = "right"
    with trial.on(parts):
        try:
            change(parts)
            answers(box, PATIENCE)
        except (MonitorGone, RequestFailed, TimeoutError):
            outcome = "told"
    printer.print(2000)
    eventually(lambda: drain.ended or drain.size + CHUNK >= printer.count * LINE, "output goes on", timeout=10)
    still_running(box)
    if not drain.ended:
        after = settled_descriptors(parts.keeper, before)
        assert after == before, (before, after)
    assert parts.zombies() == []
    printer.exit(CODE)
    record = drain.end()
    printer.close()
    spawner.close()
    assert ended_right(box) == "right"
    findings = logged(box.data / "log", printer.count)
    assert findings.complete or (trial.log_slack and findings.explained), findings
    if record is None:
        return "told"
    drain.findings(printer.count).assert_within(CHUNK)
    return outcome if verdict(record) == "right" else "told"


NATIVE: dict[str, Callable[[Box, Trial], str]] = {
    "start": start,
    "running": running,
    "rotating": rotating,
    "attach": attach,
    "exec": exec_,
    "stop": stop,
    "exit": exit_,
    "restart": restart,
    "removal": removal,
    "resume": resume,
    "upgrade": upgrade,
}
# Phases in which processes of the monitor come and go: a fault is for whichever of them comes to it.
CHANGING = ("resume", "upgrade")
