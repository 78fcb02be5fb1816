"""`logs`: byte-exact to a file, harmless on a terminal, to the end when followed."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.e2e.conftest import TerminalFactory
from tests.support.waiting import eventually


def log_bytes(remora: Remora, *arguments: str) -> bytes:
    return subprocess.run(
        [PROGRAM, "logs", *arguments], env=remora.environment, capture_output=True, timeout=60, check=True
    ).stdout


@pytest.mark.parametrize("seed", range(3))
def test_any_bytes_come_back_exactly(remora: Remora, tmp_path: Path, seed: int) -> None:
    """Lines of all lengths, zero bytes, carriage returns, no newline at the end."""
    chance = random.Random(seed)
    pieces = [chance.randbytes(chance.choice([0, 1, 10, 80, 4000, 70_000])) + b"\n" for _ in range(60)]
    data = b"\r\n".join(pieces) + b"\0end without newline"
    (tmp_path / "data").write_bytes(data)
    remora.run("run", "--name", "exact", "-v", f"{tmp_path}/data:/data:ro", "busybox", "cat", "/data", status=None)
    assert log_bytes(remora, "exact") == data


def test_control_sequences_are_harmless_on_a_terminal_unless_raw(remora: Remora, terminal: TerminalFactory) -> None:
    script = r"printf 'before \033]0;title\007 \033[31mred\033[0m \010\010 after\n'"
    remora("run", "--name", "hostile", "busybox", "sh", "-c", script)
    shown = terminal("logs", "hostile")
    assert shown.wait() == 0
    assert b"before" in shown.screen and b"after" in shown.screen and b"red" in shown.screen
    assert not any(byte in shown.screen for byte in (b"\x1b", b"\x07", b"\x08"))
    raw = terminal("logs", "--raw", "hostile")
    assert raw.wait() == 0
    assert b"\x1b]0;title\x07" in raw.screen
    assert b"\x1b]0;title\x07" in log_bytes(remora, "hostile")


def test_following_shows_each_line_as_it_comes_and_ends_with_the_container(remora: Remora) -> None:
    remora(
        "run", "-d", "-i", "--name", "talks", "busybox", "sh", "-c", "while read line; do echo got $line; done; exit 3"
    )
    speaker = remora.popen("attach", "talks", stdin=subprocess.PIPE)
    follower = remora.popen("logs", "-f", "talks")
    assert speaker.stdin is not None and follower.stdout is not None
    for number in range(20):
        speaker.stdin.write(f"{number}\n".encode())
        speaker.stdin.flush()
        assert follower.stdout.readline() == f"got {number}\n".encode()
    assert follower.poll() is None
    speaker.communicate(timeout=60)
    assert follower.communicate(timeout=10)[0] == b""
    assert follower.returncode == 0


def test_following_a_container_that_has_ended_ends_at_once(remora: Remora) -> None:
    remora("run", "--name", "over", "busybox", "echo", "all")
    assert remora.run("logs", "-f", "over", timeout=10).stdout == "all\n"


def test_a_follower_that_nobody_reads_ends(remora: Remora) -> None:
    remora("run", "-d", "--name", "talks", "busybox", "sh", "-c", "while :; do echo y; sleep 0.01; done")
    result = subprocess.run(
        ["sh", "-c", "remora logs -f talks | head -1"],
        env=remora.environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("y\n", "")


def test_a_tail_is_the_last_lines(remora: Remora) -> None:
    remora("run", "--name", "long", "busybox", "seq", "1", "1000")
    assert remora("logs", "--tail", "3", "long").split() == ["998", "999", "1000"]
    assert remora("logs", "--tail", "0", "long") == ""
    assert len(remora("logs", "--tail", "all", "long").split()) == 1000
    assert len(remora("logs", "--tail", "5000", "long").split()) == 1000


def test_times_select_lines(remora: Remora) -> None:
    remora("run", "-d", "-i", "--name", "timed", "busybox", "cat")
    speaker = remora.popen("attach", "timed", stdin=subprocess.PIPE)
    assert speaker.stdin is not None and speaker.stdout is not None

    def say(text: bytes) -> float:
        before = time.time()
        assert speaker.stdin is not None and speaker.stdout is not None
        speaker.stdin.write(text + b"\n")
        speaker.stdin.flush()
        assert speaker.stdout.readline() == text + b"\n"
        return before

    say(b"early")
    middle = say(b"late")
    assert remora("logs", "--since", f"{middle:.6f}", "timed") == "late"
    assert remora("logs", "--until", f"{middle:.6f}", "timed") == "early"
    assert remora("logs", "--since", "1h", "timed").split() == ["early", "late"]
    assert remora("logs", "--until", "1h", "timed") == ""
    stamp = remora("logs", "-t", "--tail", "1", "timed").split()[0]
    assert stamp[:10] == time.strftime("%Y-%m-%d", time.gmtime()) or stamp[:10] == time.strftime("%Y-%m-%d")


def test_several_logs_carry_the_names_of_their_containers(remora: Remora) -> None:
    for name in ("one", "two"):
        remora("run", "--name", name, "busybox", "echo", "from", name)
    assert sorted(remora("logs", "-n", "one", "two").splitlines()) == ["one from one", "two from two"]


def test_a_container_without_log_says_so_and_its_output_is_nowhere(remora: Remora) -> None:
    assert remora("run", "--name", "silent", "--log-driver", "none", "busybox", "echo", "seen") == "seen"
    container = remora("inspect", "-f", "{{.Id}}", "silent")
    assert not (remora.root / "containers" / container / "log").exists()
    assert "none" in remora.run("logs", "silent", status=125).stderr


def test_the_log_is_in_the_format_that_other_tools_read(remora: Remora, tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    script = "echo out; echo err >&2; printf partial"
    remora("run", "--name", "cri", "--log-opt", f"path={path}", "busybox", "sh", "-c", script)
    lines = [line.split(" ", 3) for line in path.read_text().splitlines()]
    assert sorted(line[1:] for line in lines) == [
        ["stderr", "F", "err"], ["stdout", "F", "out"], ["stdout", "P", "partial"],
    ] or sorted(line[1:] for line in lines)[2][1] in ("P", "F")  # fmt: skip
    for line in lines:
        assert line[0][10] == "T" and "." in line[0]


def test_the_log_goes_on_over_restarts_of_the_container(remora: Remora) -> None:
    remora("run", "--name", "again", "busybox", "echo", "line")
    remora("start", "again")
    remora("wait", "again")
    eventually(lambda: remora("logs", "again") == "line\nline", "both runs are in the log")


def test_reading_the_log_of_an_unknown_container_is_an_error(remora: Remora) -> None:
    result = remora.run("logs", "nobody", status=125)
    assert "nobody" in result.stderr and result.stderr.count("\n") == 1
    assert os.path.basename(str(PROGRAM)) == "remora"
