"""`--log-driver passthrough`: the container has the descriptors of the command that started it, and nothing is kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.e2e.conftest import TerminalFactory

PASSTHROUGH = ("--log-driver", "passthrough")


def test_a_terminal_is_not_handed_on(remora: Remora, terminal: TerminalFactory) -> None:
    shown = terminal("run", *PASSTHROUGH, "busybox", "true")
    assert shown.wait() == 125
    assert b"cannot be used on a TTY" in shown.screen
    assert remora("ps", "-aq") == ""


def test_nor_is_a_descriptor_that_is_not_open(remora: Remora) -> None:
    result = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", PROGRAM, "run", *PASSTHROUGH, "busybox", "true"],
        env=remora.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 125 and "descriptor 0, which is not open" in result.stderr
    assert remora("ps", "-aq") == ""


def test_the_output_of_a_foreground_run_is_the_containers_own(remora: Remora) -> None:
    result = remora.run(
        "run", "--name", "own", *PASSTHROUGH, "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", status=7
    )
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    told = remora.run("logs", "own", status=125)
    assert "using the 'passthrough' log driver" in told.stderr and told.stderr.count("\n") == 1
    assert "look there" in told.stderr
    assert remora("inspect", "-f", "{{.LogPath}}|{{.HostConfig.LogConfig.Type}}", "own") == "|passthrough"


@pytest.mark.parametrize("detach", [(), ("-d",)])
def test_files_are_handed_on_as_they_are(remora: Remora, tmp_path: Path, detach: tuple[str, ...]) -> None:
    """Not through a pipe: the container reads the rest of a file from where the caller was in it."""
    given, out = tmp_path / "given", tmp_path / "out"
    given.write_text("first\nsecond\n")
    with given.open("rb", buffering=0) as stdin, out.open("wb") as stdout:
        assert stdin.read(6) == b"first\n"
        words = ["run", *detach, "--name", "files", *PASSTHROUGH, "busybox", "sh", "-c", "cat; echo end"]
        process = remora.popen(*words, stdin=stdin.fileno(), stdout=stdout.fileno())
        assert process.wait(60) == 0
    assert remora("wait", "files") == "0"
    lines = out.read_text().splitlines()
    assert [line for line in lines if len(line) != 64] == ["second", "end"]


def test_a_second_start_has_the_streams_of_the_command_that_makes_it(remora: Remora, tmp_path: Path) -> None:
    remora("create", "--name", "again", *PASSTHROUGH, "busybox", "echo", "hello")
    for number in range(2):
        with (tmp_path / f"{number}").open("wb") as stdout:
            assert remora.popen("start", "--attach", "again", stdout=stdout.fileno()).wait(60) == 0
        assert (tmp_path / f"{number}").read_text() == "hello\n"


def test_there_is_nothing_to_attach_to(remora: Remora, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stdout:
        process = remora.popen(
            "run", "-d", "--name", "alone", *PASSTHROUGH, "busybox", "sleep", "1000", stdout=stdout.fileno()
        )
        assert process.wait(60) == 0
    result = remora.run("attach", "alone", status=125)
    assert "nobody but itself has its streams" in result.stderr and result.stderr.count("\n") == 1
    assert remora("exec", "alone", "echo", "still") == "still"


def test_signals_reach_the_container_of_a_foreground_run(remora: Remora) -> None:
    script = "trap 'exit 42' USR1; echo ready; while :; do sleep 0.05; done"
    process = remora.popen("run", "--rm", *PASSTHROUGH, "busybox", "sh", "-c", script)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.send_signal(10)
    assert process.wait(60) == 42
