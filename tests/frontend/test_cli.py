"""Dispatch, help and errors: one line on stderr, the right exit status, and nothing imported that is not needed."""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from remora.frontend import cli
from remora.frontend.errors import RemoraError
from remora.frontend.settings import GlobalOptions, load
from remora.frontend.version import VERSION
from remora.monitor import MonitorGone, RequestFailed

DEADLINE = 60.0
SLOW = ("trio", "psutil", "subprocess", "dataclasses", "argparse", "asyncio", "typing", "importlib.metadata")


def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "remora"
    return subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=env,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_of_the_table_has_a_module_a_parser_and_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(cli.COMMANDS[name].summary)
    assert f"Usage: remora {name}" in result.stdout
    assert f"remora {name}" in result.stdout.partition("Example:\n")[2]
    assert result.stderr == ""


@pytest.mark.parametrize("name", sorted(cli.GROUPED))
def test_every_command_of_a_group_has_a_parser_and_an_example(name: str) -> None:
    words = name.replace("_", " ", 1).replace("_", "-").split(" ")
    result = run(*words, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(cli.GROUPED[name].summary)
    assert f"Usage: remora {' '.join(words)}" in result.stdout
    assert f"remora {' '.join(words)}" in result.stdout.partition("Example:\n")[2]
    assert "unknown command" in run(name).stderr


def test_every_noun_leads_to_a_command() -> None:
    assert cli.NOUNS.keys() == cli.NOUN_SUMMARIES.keys()
    for verbs in cli.NOUNS.values():
        for target in verbs.values():
            assert target in cli.COMMANDS or target in cli.GROUPED


def test_every_module_of_the_table_can_be_imported() -> None:
    for command in [*cli.COMMANDS.values(), *cli.GROUPED.values(), *cli.HIDDEN.values()]:
        importlib.import_module(f"remora.frontend.commands.{command.module}")


def test_help_lists_every_command_and_needs_none_of_them() -> None:
    code = (
        "import sys; from remora.frontend import cli; cli.main(['--help'], {}); "
        "print([m for m in sys.modules if m.startswith('remora.frontend.commands')], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert result.stderr.strip() == "[]"
    for name in [*cli.COMMANDS, *cli.NOUNS]:
        assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["wiat"], 'unknown command "wiat" for "remora"', "did you mean wait?"),
        (["xyzzy"], 'unknown command "xyzzy" for "remora"', "remora --help"),
        (["container", "strt"], 'unknown command "strt" for "remora container"', "did you mean start?"),
        (["ps", "--al"], "unknown flag: --al", "did you mean --all?"),
        (["--roots", "/x", "ps"], "unknown flag: --roots", "did you mean --root?"),
        (["--root"], "flag needs an argument: --root", "remora --help"),
        (["--cgroup-manager", "x", "ps"], 'invalid argument "x"', "cgroupfs or systemd"),
        (["rename", "x"], "NAME is missing", "remora rename --help"),
        (["wait"], "at least one name or id", "remora ps -a"),
        (["wait", "--condition", "blue", "x"], "unknown container state: blue", "exited"),
        (["inspect", "-t", "pod", "x"], 'invalid argument "pod"', "remora inspect --help"),
        (["inspect", "-f", "{{.Id", "x"], "unclosed action", ""),
    ],
)
def test_wrong_command_line_is_one_line_and_125(words: list[str], said: str, hint: str) -> None:
    result = run(*words)
    assert result.returncode == 125
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert hint in result.stderr


def test_without_a_command_the_help_goes_to_stderr_and_the_status_is_125() -> None:
    result = run()
    assert result.returncode == 125
    assert "Usage: remora [options] COMMAND" in result.stderr


def test_version_and_help_work_in_every_spelling() -> None:
    assert run("--version").stdout == f"remora version {VERSION}\n"
    assert run("version", "--format", "{{.Client.Version}}").stdout == f"{VERSION}\n"
    assert json.loads(run("version", "--format", "json").stdout)["Client"]["Version"] == VERSION
    assert run("help", "ps").stdout == run("ps", "--help").stdout
    assert run("container", "ls", "--help").stdout.startswith(cli.COMMANDS["ps"].summary)
    assert "inspect" in run("image", "--help").stdout


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RemoraError("it failed", "mend it", 127), 127, "Error: it failed (mend it)\n"),
        (RemoraError("two\nlines"), 125, "Error: two lines\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"),
            125,
            "Error: remora info: No space left on device: /x (",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"),
            125,
            "Permission denied: /x (it must be yours: HOME, ",
        ),
        (MonitorGone("gone"), 125, "the container's monitor is gone"),
        (
            RequestFailed("start container", "web", "no such file", 2, 127),
            127,
            "Error: start container web: no such file\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(errno.EPIPE, "pipe"), 0, ""),
        (ZeroDivisionError("oops"), 125, "Error: remora info: internal error: ZeroDivisionError: oops (REMORA_DEBUG=1"),
    ],
)
def test_every_error_becomes_one_line_and_a_status(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from remora.frontend.commands import info

    def fail(*_: object) -> int:
        raise error

    muted: list[int] = []
    monkeypatch.setattr(info, "run", fail)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cli, "_mute", muted.append)
    assert cli.main(["info"], {}) == status
    output = capfd.readouterr()
    assert output.out == ""
    assert said in output.err
    assert output.err.count("\n") == (1 if said else 0)
    assert muted == ([1] if isinstance(error, BrokenPipeError) else [])


def test_debugging_shows_where_an_unexpected_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from remora.frontend.commands import info

    def fail(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(info, "run", fail)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info"], {"REMORA_DEBUG": "1"})


def test_an_ordinary_users_folders_are_below_home_and_the_run_time_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    environ = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/mine"}
    found = load(GlobalOptions(), environ)
    assert (found.data, found.run) == ("/home/me/.local/share/remora", "/run/mine/remora")
    assert (found.rootless, found.outside, found.uid, found.home) == (True, True, 54321, "/home/me")
    found = load(GlobalOptions(), {**environ, "XDG_DATA_HOME": "/data", "REMORA_RUNROOT": "/r"})
    assert (found.data, found.run) == ("/data/remora", "/r")
    assert load(GlobalOptions(), {"HOME": "/home/me"}).run == "/tmp/remora-54321/remora"


def test_what_a_monitor_calls_inside_acts_for_the_user() -> None:
    found = load(GlobalOptions(entered="1000:100"), {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/mine"})
    assert (found.rootless, found.outside, found.uid, found.gid) == (True, False, 1000, 100)
    words = found.own_command()
    assert words[words.index("--entered") + 1] == "1000:100"
    assert "--entered" not in cli.help_text()


def test_settings_come_from_option_then_environment_then_default() -> None:
    environ = {"REMORA_ROOT": "/e/data", "REMORA_RUNTIME": "runc"}
    found = load(GlobalOptions(runroot="/o/run", runtime="crun"), environ)
    assert (found.data, found.run, found.runtime) == ("/e/data", "/o/run", "crun")
    assert load(GlobalOptions(), environ).runtime == "runc"
    assert load(GlobalOptions(), {}).data == "/var/lib/remora"
    assert load(GlobalOptions(root="relative"), {}).data == os.path.abspath("relative")


@pytest.mark.parametrize("command", ["ps", "wait", "logs", "kill", "rm", "exec", "run", "stop", "inspect", "attach"])
def test_frequent_commands_import_nothing_slow(command: str, tmp_path: Path) -> None:
    """The command is really run (on a container that is not there), in an interpreter of its own."""
    code = (
        "import sys; from remora.frontend import cli; "
        "status = cli.main(sys.argv[1:]); "
        f"print(status, [m for m in {SLOW!r} + ('json', 're', 'enum') if m in sys.modules], file=sys.stderr)"
    )
    words = [] if command == "ps" else ["-f", "{{.Id}}", "nope"] if command == "inspect" else ["nope"]
    words += ["true"] if command == "exec" else []
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}", command, *words],
        env={
            "PATH": "/nowhere",
            "REMORA_ROOT": str(tmp_path / "data"),
            "REMORA_RUNROOT": str(tmp_path / "run"),
            "CONTAINERS_STORAGE_CONF": _storage(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    status, loaded = result.stderr.splitlines()[-1].split(" ", 1)
    assert status == {"ps": "0", "rm": "1"}.get(command, "125")
    found = set(json.loads(loaded.replace("'", '"')))
    assert not found.intersection(SLOW)
    if command not in ("run", "inspect"):  # these two have read the configuration of the image store here
        assert not found


def _storage(folder: Path) -> str:
    path = folder / "storage.conf"
    path.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/s"\nrunroot = "{folder}/r"\n')
    return str(path)
