"""The phases of a monitor in conmon's place, as phases.py has them for a native one; started by hand as Podman does."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator

from tests.conmon.caller import RUNC, STDOUT, Caller, Client
from tests.support import host
from tests.support.waiting import eventually
from tests.survival.numbered import LINE, PRINTER, logged
from tests.survival.parts import Parts, settled_descriptors
from tests.survival.phases import CODE, RETYPE, Trial, await_log

SCRIPT = ("sh", "-c", f"trap '' PIPE; read line </shared/go; echo out; echo err >&2; exit {CODE}")


def parts_of(caller: Caller) -> Parts:
    """The processes of the monitor: the one in its pid file is the keeper."""
    return Parts(caller.monitor_pid())


class Gate:
    """A fifo that the container reads, so that what it is told doesn't pass through the monitor."""

    def __init__(self, caller: Caller, name: str = "go") -> None:
        os.mkfifo(caller.shared / name)
        self._fd = os.open(caller.shared / name, os.O_RDWR | os.O_CLOEXEC)

    def say(self, text: str) -> None:
        """Write a line."""
        os.write(self._fd, text.encode() + b"\n")

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


@contextlib.contextmanager
def gate(caller: Caller, name: str = "go") -> Iterator[Gate]:
    """A gate for a block."""
    made = Gate(caller, name)
    try:
        yield made
    finally:
        made.close()


def ended_right(caller: Caller, code: int = CODE) -> None:
    """The exit files say the code, no process is left, and the attach socket is gone."""
    assert (told := caller.code()) == str(code), told
    eventually(lambda: (caller.persist / "exit").exists(), "the second exit file is written")
    assert (caller.persist / "exit").read_text() == str(code)
    eventually(lambda: not monitors(caller), f"no monitor is left: {monitors(caller)}", timeout=10)


def monitors(caller: Caller) -> list[int]:
    """Living monitors of the container."""
    return [pid for pid in caller.processes() if host.command_line(pid)[:1] == [caller.monitor.path]]


def create(caller: Caller, trial: Trial) -> str:
    """The runtime is held until the fault is in place; then the pid is told, and the container runs to its end."""
    folder = caller.folder
    for name in ("arrived", "released"):
        os.mkfifo(folder / name)
    held = folder / "held"
    wait = f"echo >{folder}/arrived; read line <{folder}/released"
    held.write_text(f'#!/bin/sh\ncase " $* " in *" create "*) {wait};; esac\nexec {RUNC} "$@"\n')
    held.chmod(0o755)
    with gate(caller) as go:
        caller.configure(SCRIPT)
        words = [str(held) if word == RUNC else word for word in caller.options()]
        made = caller.spawn(words)
        (folder / "arrived").read_bytes()
        made.status()
        with trial.on(parts_of(caller)):
            (folder / "released").write_text("\n")
            report = made.report()
        pid = report.get("data", 0)
        assert isinstance(pid, int)
        if pid < 0 or not (caller.folder / "runc" / caller.id).exists():
            eventually(lambda: not monitors(caller), "the monitor has ended", timeout=10)
            return "told"
        # Without a line, as when the pipe is broken, the container is there all the same.
        caller.begin()
        go.say("")
        ended_right(caller)
    return "right" if report else "told"


def printing(caller: Caller, trial: Trial, *options: str) -> str:
    """Numbered lines go to the log and to a client that reads all, while a call fails."""
    with gate(caller) as go:
        caller.run(*PRINTER, "/shared/go", options=options)
        client = Reader(caller.client())
        parts = parts_of(caller)
        count = 100
        go.say("100")
        client.read_to(count * LINE)
        before = settled_descriptors(parts.keeper)
        with trial.on(parts):
            for _ in range(4):
                count += 1000
                go.say("1000")
                client.read_to(count * LINE - trial.client_slack)
            await_log(caller.log, count, trial)
        if not client.ended:
            after = settled_descriptors(parts.keeper, before)
            assert after == before, (before, after)
        go.say(f"x {CODE}")
        client.end()
    ended_right(caller)
    findings = logged(caller.log, count)
    assert findings.complete or (trial.log_slack and findings.explained), findings
    return "right" if findings.complete and client.size + trial.client_slack >= count * LINE else "told"


class Reader:
    """Reads a client of the attach socket to its end, in a thread."""

    def __init__(self, client: Client) -> None:
        client.socket.settimeout(None)
        self._client = client
        self.size = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                stream, data = self._client.packet()
            except OSError:
                return
            if not stream:
                return
            self.size += len(data)

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return not self._thread.is_alive()

    def read_to(self, size: int) -> None:
        """Wait until so many bytes have come, or the connection has ended."""
        eventually(lambda: self.ended or self.size >= size, f"{size} bytes come, or an end; {self.size} came")

    def end(self) -> None:
        """Wait for the connection's end."""
        eventually(lambda: self.ended, f"the connection ends; {self.size} bytes came")


def running(caller: Caller, trial: Trial) -> str:
    """Output is copied to the log and to a client."""
    return printing(caller, trial)


def rotating(caller: Caller, trial: Trial) -> str:
    """The same, while the log is rotated again and again."""
    return printing(caller, trial, "--log-size-max", "65536", "--log-rotate", "--log-max-files", "100")


def typed(client: Client, text: bytes) -> str:
    """Type, and read what `cat` makes of it; `lost` when it had to be typed again, `told` when the connection ends."""
    client.socket.settimeout(RETYPE)
    for outcome in ("right", "lost"):
        client.send(text)
        seen = b""
        try:
            while seen != text:
                stream, data = client.packet()
                if not stream:
                    return "told"
                seen += data
                assert stream == STDOUT and text.startswith(seen), seen
            return outcome
        except TimeoutError:
            assert not seen, seen
    raise TimeoutError


def attach(caller: Caller, trial: Trial) -> str:
    """A client comes, types, reads, and goes."""
    with gate(caller) as go:
        caller.run(
            "sh", "-c", f"exec 9<&0; cat <&9 & read line </shared/go; exit {CODE}", options=["-i", "--leave-stdin-open"]
        )
        parts = parts_of(caller)
        before = settled_descriptors(parts.keeper)
        outcome = "right"
        with trial.on(parts):
            client = caller.client()
            try:
                outcome = typed(client, b"typed\n")
            except TimeoutError:
                raise  # left hanging
            except OSError:
                outcome = "told"
            client.close()
        after = settled_descriptors(parts.keeper, before)
        assert after == before, (before, after)
        go.say("")
        ended_right(caller)
    return outcome


def exec_(caller: Caller, trial: Trial) -> str:
    """An exec has a monitor of its own: its first calls are made while the runtime is held."""
    with gate(caller) as go, gate(caller, "exec") as within:
        caller.run(*SCRIPT)
        process = caller.folder / "process.json"
        argv = ("sh", "-c", "read line </shared/exec; echo from exec; exit 5")
        process.write_text(json.dumps(caller.process_object(argv)))
        exits, pidfile = caller.folder / "exec-exits", caller.folder / "exec-monitor"
        exits.mkdir()
        words = caller.options("-e", "--exec-process-spec", str(process))
        words[words.index("--exit-dir") + 1] = str(exits)
        words[words.index("--conmon-pidfile") + 1] = str(pidfile)
        words[words.index("-p") + 1] = str(caller.folder / "exec-pid")
        made = caller.spawn(words)
        caller.created(made)
        keeper = int(pidfile.read_text())
        with trial.on(Parts(keeper)):
            within.say("")
            report = made.report()
            eventually(lambda: not host.alive(keeper), "the monitor of the exec ends", timeout=10)
        assert report.get("data") == 5 or (exits / caller.id).read_text() == "5", report
        go.say("")
        ended_right(caller)
    return "right" if report.get("data") == 5 else "told"


def exit_(caller: Caller, trial: Trial) -> str:
    """The end, with somebody attached, exit files and an exit command."""
    command = ["--exit-command", "/bin/sh", "--exit-command-arg=-c"]
    told = caller.folder / "exit-command"
    with gate(caller) as go:
        caller.run(*SCRIPT, options=[*command, "--exit-command-arg", f"echo done >{told}"])
        client = Reader(caller.client())
        keeper = caller.monitor_pid()
        with trial.on(parts_of(caller)):
            go.say("")
            client.end()
            eventually(lambda: not host.alive(keeper), "the monitor ends", timeout=10)
        ended_right(caller)
    return "right" if told.exists() else "told"


CONMON: dict[str, Callable[[Caller, Trial], str]] = {
    "create": create,
    "running": running,
    "rotating": rotating,
    "attach": attach,
    "exec": exec_,
    "exit": exit_,
}
