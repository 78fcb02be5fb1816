"""What is refused, with which words: all with exit status 1, in this order."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.conmon.caller import RUNC, Caller
from tests.support.columns import Monitor

# Options by name, so that a row can leave one out or change it; None takes it away.
Words = dict[str, str | None]
ERROR = r"\[conmon:e\]:? "

ROWS: list[tuple[str, Words, list[str], str]] = [
    ("unknown option", {}, ["--bogus"], "conmon: option parsing failed: Unknown option --bogus"),
    ("unknown before missing id", {"-c": None}, ["--bogus"], "conmon: option parsing failed: Unknown option --bogus"),
    ("missing argument", {}, ["--cid"], "conmon: option parsing failed: Missing argument for --cid"),
    ("bad integer", {}, ["--log-size-max", "abc"], "Cannot parse integer value .abc. for --log-size-max"),
    ("bad timeout", {}, ["--timeout", "1x"], "Cannot parse integer value .1x. for --timeout"),
    ("no id", {"-c": None}, [], "conmon: Container ID not provided. Use --cid"),
    ("log level", {}, ["--log-level", "loud"], ERROR + "No such log level loud"),
    ("exec and restore", {}, ["-e", "--restore", "/x"], ERROR + "Cannot use 'exec' and 'restore' at the same time"),
    ("attach without exec", {}, ["--exec-attach"], ERROR + "Attach can only be specified with exec"),
    (
        "exec attach of API 0",
        {"--api-version": None},
        ["-e", "--exec-attach"],
        ERROR + "Attach can only be specified for a non-legacy exec session",
    ),
    ("no unique id", {"-u": None}, [], ERROR + "Container UUID not provided. Use --cuuid"),
    ("no unique id for exec", {"-u": None}, ["-e"], ERROR + "Container UUID not provided. Use --cuuid"),
    ("no runtime", {"-r": None}, [], ERROR + "Runtime path not provided. Use --runtime"),
    ("no such runtime", {"-r": "/no/rt"}, [], ERROR + "Runtime path /no/rt is not valid:? No such file or directory"),
    (
        "runtime is no program",
        {"-r": "/etc/passwd"},
        [],
        ERROR + "Runtime path /etc/passwd is not valid:? Permission denied",
    ),
    (
        "runtime is not searched for",
        {"-r": "runc"},
        [],
        ERROR + "Runtime path runc is not valid:? No such file or directory",
    ),
    ("exec without process", {}, ["-e"], ERROR + "Exec process spec path not provided. Use --exec-process-spec"),
    (
        "negative delay",
        {},
        ["--exit-delay", "-1"],
        ERROR + "Delay before invoking exit command must be greater than or equal to 0",
    ),
    ("no log", {"-l": None}, [], ERROR + "Log driver not provided. Use --log-path"),
    ("empty log path", {"-l": ""}, [], ERROR + "log-path must not be empty"),
    ("log path of a colon", {"-l": ":"}, [], ERROR + "log-path must not be empty"),
    ("log path of two colons", {"-l": "::"}, [], ERROR + "log-path must not be empty"),
    ("k8s-file alone", {"-l": "k8s-file"}, [], ERROR + "k8s-file requires a filename"),
    ("k8s-file with an empty name", {"-l": "k8s-file:"}, [], ERROR + "k8s-file requires a filename"),
    ("other log driver", {"-l": "bogus:/x"}, [], ERROR + "No such log driver bogus"),
    (
        "log file in no folder",
        {"-l": "/no/folder/log"},
        [],
        ERROR + "Failed to open log file.*No such file or directory",
    ),
    ("tag for a file", {}, ["--log-tag", "t"], ERROR + "k8s-file doesn't support --log-tag"),
    (
        "short id for the journal",
        {"-l": "journald", "-c": "abcdefabcdef"},
        [],
        ERROR + "Container ID must be longer than 12 characters",
    ),
]


def argv(caller: Caller, changes: Words, more: list[str]) -> list[str]:
    options: Words = {
        "-c": caller.id,
        "-u": caller.id,
        "-r": RUNC,
        "-l": f"k8s-file:{caller.log}",
        "-b": str(caller.bundle),
        "--api-version": "1",
        **changes,
    }
    return [word for name, value in options.items() if value is not None for word in (name, value)] + more


def called(monitor: Monitor, words: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [monitor.path, *words], env=env or {}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
    )


@pytest.mark.parametrize(
    ("changes", "more", "text"), [row[1:] for row in ROWS], ids=[row[0].replace("-", "_") for row in ROWS]
)
def test_refused(caller: Caller, changes: Words, more: list[str], text: str) -> None:
    caller.configure(["true"])
    result = called(caller.monitor, argv(caller, changes, more))
    assert result.returncode == 1
    said = result.stdout + result.stderr  # conmon 2.1.6 says the bad integers on stdout
    assert re.search(rf"^(.*: )?{text}", said, re.M) and said.count("\n") == 1, said
    assert not caller.pidfile.exists()


@pytest.mark.parametrize("variable", ["_OCI_SYNCPIPE", "_OCI_STARTPIPE"])
def test_a_pipe_variable_that_is_no_number_is_refused(caller: Caller, variable: str) -> None:
    result = called(caller.monitor, argv(caller, {}, ["--sync"]), {variable: "x"})
    assert result.returncode == 1
    assert re.search(rf"{ERROR}unable to parse {variable}", result.stderr), result.stderr


@pytest.mark.parametrize("variable", ["_OCI_SYNCPIPE", "_OCI_STARTPIPE"])
def test_a_pipe_variable_without_a_descriptor_is_refused(caller: Caller, variable: str) -> None:
    result = called(caller.monitor, argv(caller, {}, ["--sync"]), {variable: "77"})
    assert result.returncode == 1
    assert re.search(rf"{ERROR}unable to make {variable} CLOEXEC:? Bad file descriptor", result.stderr), result.stderr


def test_exec_attach_without_its_pipe_is_refused(caller: Caller) -> None:
    more = ["--sync", "-e", "--exec-attach", "--exec-process-spec", "/dev/null"]
    result = called(caller.monitor, argv(caller, {}, more))
    assert result.returncode == 1
    assert re.search(rf"{ERROR}--attach specified but _OCI_ATTACHPIPE was not", result.stderr), result.stderr


def test_version_is_told(monitor: Monitor) -> None:
    result = called(monitor, ["--version"])
    assert result.returncode == 0
    found = re.search(r"^conmon version (\d+)\.(\d+)\.(\d+)", result.stdout, re.M)
    assert found, result.stdout
    assert tuple(map(int, found.groups())) >= (2, 0, 24), "Podman asks for this version at least"
    assert re.search(r"^commit: ", result.stdout, re.M)


@pytest.mark.parametrize("level", ["error", "FATAL", "panic", "warn", "Warning", "info", "debug", "trace"])
def test_log_levels_are_taken_in_any_case(caller: Caller, level: str) -> None:
    # The next mistake is told instead.
    result = called(caller.monitor, argv(caller, {"-l": ":"}, ["--log-level", level]))
    assert "log-path must not be empty" in result.stderr
    assert "No such log level" not in result.stderr
