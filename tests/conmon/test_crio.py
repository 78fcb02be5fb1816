"""The monitor as CRI-O calls it: API 0, almost no environment, plain log paths, exec in the foreground.

The command lines are those of CRI-O's `internal/oci/runtime_oci.go` (CreateContainer, ExecSyncContainer).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conmon.caller import RUNC, STDERR, STDOUT, Caller, Client, Spawned
from tests.support import host
from tests.support.waiting import eventually

EXEC_SIZE = 16 << 20  # what CRI-O takes of an exec's output


class Crio:
    """One container of a pod, its attach sockets in a folder of CRI-O's."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.sockets = Path("/tmp") / f"crio-{caller.id[:8]}"
        self.sockets.mkdir()
        caller.cwd = caller.bundle

    def create(self, script: str, *options: str, tty: bool = False, memory: int = 0) -> Spawned:
        """CreateContainer and StartContainer."""
        caller = self.caller
        caller.configure(["sh", "-c", script], tty=tty, memory=memory)
        words = ["-b", str(caller.bundle), "-c", caller.id, "--exit-dir", str(caller.exits), "-l", str(caller.log)]
        words += ["--log-level", "info", "-n", "k8s_name_pod_ns_uid_0", "-P", str(caller.monitor_pidfile)]
        words += ["-p", str(caller.pidfile), "--persist-dir", str(caller.persist), "-r", RUNC]
        words += [f"--runtime-arg=--root={caller.folder}/runc", "--socket-dir-path", str(self.sockets), "--syslog"]
        words += ["-u", caller.id, *(["-t"] if tty else []), *options]
        spawned = caller.spawn(words, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, sync="pipe", start=True)
        os.write(spawned.start.ours, b"\0")
        assert spawned.status() == 0
        pid = spawned.report()["pid"]
        assert isinstance(pid, int) and pid > 0
        caller.begin()
        return spawned

    def attach(self) -> Client:
        return Client(self.sockets / self.caller.id)

    def exec_sync(self, *args: str, timeout: int = 0) -> tuple[dict[str, object], bytes, bytes]:
        """ExecSyncContainer: what the sync pipe says, and the output as CRI-O takes it from the log."""
        caller = self.caller
        spec = caller.folder / "process.json"
        spec.write_text(json.dumps(caller.process_object(args)))
        pidfile, log = caller.folder / "exec-pid", caller.folder / "exec-log"
        pidfile.write_text("")  # both files are there before, empty
        log.write_text("")
        words = ["-c", caller.id, "-n", "name", "-r", RUNC, "-p", str(pidfile), "-e", "-l", str(log)]
        words += ["--socket-dir-path", str(self.sockets), "--log-level", "info", "--sync"]
        words += ["--log-global-size-max", str(EXEC_SIZE), *(["-T", str(timeout)] if timeout else [])]
        words += ["--exec-process-spec", str(spec), f"--runtime-arg=--root={caller.folder}/runc"]
        spawned = caller.spawn(words, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, sync="pipe", start=True)
        os.write(spawned.start.ours, b"\0")
        spawned.status()
        report = spawned.report()
        output = {b"stdout": bytearray(), b"stderr": bytearray()}
        for line in log.read_bytes().splitlines(keepends=True):
            _, stream, tag, content = line.split(b" ", 3)
            output[stream] += content.removesuffix(b"\n") if tag == b"P" else content
        return report, bytes(output[b"stdout"]), bytes(output[b"stderr"])


@pytest.fixture
def crio(caller: Caller) -> Iterator[Crio]:
    made = Crio(caller)
    yield made
    caller.close()
    subprocess.run(["rm", "-rf", made.sockets], check=True)


def test_version_is_the_third_word(caller: Caller) -> None:
    out = subprocess.run([caller.monitor.path, "--version"], capture_output=True, text=True, check=True).stdout
    version = out.split()[2]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert tuple(map(int, version.split("."))) >= (2, 1, 2), "from there on it may be asked to limit an exec's output"


def test_a_container_runs_logs_and_ends(crio: Crio) -> None:
    crio.create("echo out; echo err >&2; exit 3")
    assert crio.caller.code() == "3"
    assert sorted(crio.caller.records()) == [("stderr", "F", "err"), ("stdout", "F", "out")]
    crio.caller.monitor_ended()


def test_attach_through_the_socket_folder(crio: Crio) -> None:
    crio.create("read x; echo got $x; echo err >&2", "--leave-stdin-open", "-i")
    client = crio.attach()
    client.send(b"word\n")
    assert client.rest() == {STDOUT: b"got word\n", STDERR: b"err\n"}
    client.close()


def test_a_terminal_is_resized_through_ctl(crio: Crio) -> None:
    crio.create("trap 'echo size $(stty size).' WINCH; echo ready; while :; do sleep 0.02; done", tty=True)
    client = crio.attach()
    eventually(lambda: crio.caller.log.read_bytes().endswith(b"ready\r\n"), "the container is ready")
    crio.caller.control("ctl", b"1 40 90\n")
    client.until(b"size 40 90.")
    client.close()


def test_the_kubelet_rotates_the_log(crio: Crio) -> None:
    caller = crio.caller
    crio.create("echo one; while ! test -e /shared/go; do sleep 0.02; done; echo two")
    caller.logged(("stdout", "F", "one"))
    caller.log.rename(caller.folder / "log.20261122-000000")
    caller.control("ctl", b"2 0 0\n")
    eventually(caller.log.exists, "the new log is there")
    (caller.shared / "go").touch()
    caller.code()
    assert caller.records() == [("stdout", "F", "two")]


def test_exec_sync_gives_code_and_output(crio: Crio) -> None:
    crio.create("exec sleep 1000")
    report, out, err = crio.exec_sync("sh", "-c", "echo out; printf end; echo err >&2; exit 4")
    assert report == {"exit_code": 4}
    assert (out, err) == (b"out\nend", b"err\n")


def test_exec_sync_of_a_large_output_is_whole_at_its_end(crio: Crio) -> None:
    crio.create("exec sleep 1000")
    report, out, _ = crio.exec_sync("sh", "-c", "seq 1 100000; head -c 50000 /dev/zero | tr '\\0' x")
    assert report == {"exit_code": 0}
    assert out == b"".join(b"%d\n" % n for n in range(1, 100001)) + b"x" * 50000


def test_exec_sync_is_limited(crio: Crio) -> None:
    crio.create("exec sleep 1000")
    report, out, _ = crio.exec_sync("sh", "-c", "head -c 40000000 /dev/zero | tr '\\0' x")
    assert report == {"exit_code": 0}
    assert EXEC_SIZE * 0.9 < len(out) < EXEC_SIZE + 65536


def test_exec_sync_over_its_time_says_so(crio: Crio) -> None:
    crio.create("exec sleep 1000")
    report, _, _ = crio.exec_sync("sleep", "1000", timeout=1)
    assert report == {"exit_code": -1, "message": "command timed out"}


def test_exec_sync_that_can_not_start_says_why(crio: Crio) -> None:
    crio.create("exec sleep 1000")
    report, _, _ = crio.exec_sync("/no/such/program")
    assert isinstance(report["exit_code"], int) and report["exit_code"] < 0
    assert "/no/such/program" in str(report["message"])


def test_a_readiness_probe_every_moment_leaves_nothing(crio: Crio) -> None:
    crio.create("exec sleep 1000")
    before = host.descriptors(crio.caller.monitor_pid()), len(crio.caller.processes())
    for _ in range(10):
        assert crio.exec_sync("true")[0] == {"exit_code": 0}
    assert (host.descriptors(crio.caller.monitor_pid()), len(crio.caller.processes())) == before


def test_stop_by_the_runtime_leaves_the_code(crio: Crio) -> None:
    crio.create("trap 'exit 7' TERM; touch /shared/ready; while :; do sleep 0.02; done")
    eventually((crio.caller.shared / "ready").exists, "the container is ready")
    crio.caller.runc("kill", crio.caller.id, "TERM")
    assert crio.caller.code() == "7"
    crio.caller.runc("delete", "--force", crio.caller.id)


def test_an_oom_kill_is_marked_in_the_bundle(crio: Crio) -> None:
    crio.create("dd if=/dev/zero of=/tmp/x bs=1M count=60", memory=16 << 20)
    crio.caller.code()
    eventually((crio.caller.bundle / "oom").exists, "the mark is there")


def test_a_failed_create_is_told_as_pid_minus_1(crio: Crio) -> None:
    crio.caller.configure(["/no/such"])
    spawned = crio.caller.spawn(crio.caller.options(api=0), sync="pipe")
    report = spawned.report()
    assert report["pid"] == -1
    assert "/no/such" in str(report["message"])
