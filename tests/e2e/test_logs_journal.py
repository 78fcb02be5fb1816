"""`logs` of containers that log to the journal: a real systemd-journald in a mount namespace of its own."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support.waiting import eventually

JOURNALD = "/lib/systemd/systemd-journald"
PREPARE = """
set -e
for folder in /run/systemd /run/log /var/log/journal; do
    mkdir -p $folder
    mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir /run/systemd/journal
exec "$@"
"""


class Journal:
    """A journald that only processes in its mount namespace see, and `remora` run there."""

    def __init__(self, remora: Remora) -> None:
        self.remora = remora
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", PREPARE, "sh", JOURNALD],
            stderr=subprocess.DEVNULL,
        )
        self.path = Path(f"/proc/{self.process.pid}/root/run/systemd/journal/socket")
        own = os.readlink("/proc/self/ns/mnt")
        eventually(
            lambda: os.readlink(f"/proc/{self.process.pid}/ns/mnt") != own and self.path.exists(), "journald serves"
        )

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def argv(self, *arguments: str) -> list[str]:
        return ["nsenter", "-t", str(self.process.pid), "-m", "--", str(PROGRAM), *arguments]

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[bytes]:
        result = subprocess.run(
            self.argv(*arguments), env=self.remora.environment, capture_output=True, timeout=60, check=False
        )
        assert result.returncode == status, result
        return result

    def logs(self, *arguments: str) -> tuple[bytes, bytes]:
        result = self.run("logs", *arguments)
        return result.stdout, result.stderr

    def popen(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.remora.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def create(self, name: str) -> str:
        """A container that was never started: its entries are those that `send` makes."""
        return self.run("create", "--name", name, "--log-driver", "journald", "busybox", "true").stdout.decode().strip()

    def send(self, container: str, message: bytes, priority: int = 6, partial: bool = False) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            fields = b"MESSAGE\n" + struct.pack("<Q", len(message)) + message + b"\n"
            fields += f"CONTAINER_ID_FULL={container}\nPRIORITY={priority}\n".encode()
            if partial:
                fields += b"CONTAINER_PARTIAL_MESSAGE=true\n"
            sender.sendto(fields, str(self.path))


@pytest.fixture
def journal(remora: Remora) -> Iterator[Journal]:
    made = Journal(remora)
    yield made
    remora.clear()
    made.end()


def test_what_a_container_wrote_comes_back_stream_by_stream(journal: Journal) -> None:
    script = r"echo out; echo err >&2; printf 'bytes \001\377\n'; seq 1 100; printf end"
    ran = journal.run("run", "--name", "writes", "--log-driver", "journald", "busybox", "sh", "-c", script)
    assert journal.logs("writes") == (ran.stdout, b"err\n")
    assert ran.stdout.startswith(b"out\nbytes \x01\xff\n1\n") and ran.stdout.endswith(b"100\nend")


def test_lines_in_pieces_are_joined_whoever_wrote_them(journal: Journal) -> None:
    container = journal.create("pieces")
    journal.send(container, b"one", partial=True)
    journal.send(container, b"error\n", priority=3)
    journal.send(container, b" line\n")  # with its newline, as conmon and the monitor do
    journal.send(container, b"docker")  # without, as Docker does
    journal.send(container, b"\n")
    journal.send("f" * 64, b"of another container\n")
    journal.send(container, b"3 bytes of output were not logged\n", priority=4)
    journal.send(container, b"prompt> ", partial=True)
    missing = b"3 bytes of output were not logged\n"
    assert journal.logs("pieces") == (b"one line\ndocker\n\nprompt> ", b"error\n" + missing)


def test_a_tail_counts_lines_not_entries(journal: Journal) -> None:
    container = journal.create("tail")
    for number in range(50):
        journal.send(container, b"%d" % number, partial=True)
        journal.send(container, b"err %d\n" % number, priority=3)
        journal.send(container, b" out\n")
    assert journal.logs("--tail", "3", "tail") == (b"48 out\n49 out\n", b"err 49\n")
    assert journal.logs("--tail", "1", "tail") == (b"49 out\n", b"")
    assert journal.logs("--tail", "0", "tail") == (b"", b"")
    out, err = journal.logs("--tail", "1000", "tail")
    assert (out.count(b"\n"), err.count(b"\n")) == (50, 50)


def _has(journal: Journal, line: bytes) -> Callable[[], bool]:
    return lambda: line in journal.logs("timed")[0]


def test_times_select_before_the_tail_does(journal: Journal) -> None:
    container = journal.create("timed")
    bounds = []
    for number in range(4):
        journal.send(container, b"%d\n" % number)
        # Entries are dated when journald takes them in.
        eventually(_has(journal, b"%d\n" % number), "the entry is in the journal")
        bounds.append(f"{time.time():.6f}")
    assert journal.logs("--since", bounds[1], "timed")[0] == b"2\n3\n"
    assert journal.logs("--until", bounds[1], "timed")[0] == b"0\n1\n"
    assert journal.logs("--since", bounds[0], "--until", bounds[2], "timed")[0] == b"1\n2\n"
    assert journal.logs("--until", bounds[2], "--tail", "1", "timed")[0] == b"2\n"
    assert journal.logs("--since", bounds[2], "--tail", "5", "timed")[0] == b"3\n"
    assert journal.logs("--since", "1h", "timed")[0] == b"0\n1\n2\n3\n"
    stamp, text = journal.logs("-t", "--tail", "1", "timed")[0].split()
    assert text == b"3" and len(stamp) == 35
    written = datetime.fromisoformat(stamp[:26].decode() + stamp[29:].decode()).timestamp()
    assert float(bounds[2]) < written < float(bounds[3])


def test_following_shows_each_line_as_it_comes_and_all_of_them(journal: Journal) -> None:
    script = "while read line; do echo got $line; done; seq 1 500; echo over >&2"
    journal.run("run", "-d", "-i", "--name", "talks", "--log-driver", "journald", "busybox", "sh", "-c", script)
    speaker = journal.popen("attach", "talks", stdin=subprocess.PIPE)
    follower = journal.popen("logs", "-f", "talks")
    late = None
    assert speaker.stdin is not None and follower.stdout is not None
    for number in range(20):
        speaker.stdin.write(f"{number}\n".encode())
        speaker.stdin.flush()
        assert follower.stdout.readline() == f"got {number}\n".encode()
        if number == 10:
            late = journal.popen("logs", "-f", "--tail", "2", "talks")
            assert late.stdout is not None
            assert [late.stdout.readline(), late.stdout.readline()] == [b"got 9\n", b"got 10\n"]
    speaker.communicate(timeout=60)
    rest = b"".join(b"%d\n" % number for number in range(1, 501))
    assert follower.communicate(timeout=30) == (rest, b"over\n")
    assert late is not None
    assert late.communicate(timeout=30)[0] == b"".join(b"got %d\n" % number for number in range(11, 20)) + rest
    assert (follower.returncode, late.returncode) == (0, 0)
    assert journal.logs("-f", "talks")[1] == b"over\n"


def test_a_follower_that_nobody_reads_ends_with_its_journalctl(journal: Journal) -> None:
    journal.run("run", "-d", "--name", "quiet", "--log-driver", "journald", "busybox", "sh", "-c", "echo y; sleep 1000")
    follower = journal.popen("logs", "-f", "quiet")
    assert follower.stdout is not None and follower.stdout.readline() == b"y\n"
    children = Path(f"/proc/{follower.pid}/task/{follower.pid}/children").read_text().split()
    assert len(children) == 1
    follower.stdout.close()
    assert follower.wait(30) == 0
    eventually(lambda: not os.path.exists(f"/proc/{children[0]}"), "journalctl is gone")
    killed = journal.popen("logs", "-f", "quiet")
    assert killed.stdout is not None and killed.stdout.readline() == b"y\n"
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    killed.kill()
    killed.communicate(timeout=30)
    stats = [Path(f"/proc/{child}/stat") for child in children]
    eventually(lambda: all(not stat.exists() or ") Z" in stat.read_text() for stat in stats), "journalctl ends, too")


def test_a_file_is_read_rather_than_the_journal_when_there_are_both(journal: Journal) -> None:
    drivers = ["--log-driver", "journald", "--log-driver", "json-file"]
    container = journal.run("create", "--name", "both", *drivers, "busybox", "echo", "to both").stdout.decode().strip()
    journal.send(container, b"only in the journal\n")
    journal.run("start", "-a", "both")
    assert journal.logs("both")[0] == b"to both\n"
