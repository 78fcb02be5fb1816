"""From a command line to spec.json: every key is there, conflicts are refused, the image fills the gaps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from remora.frontend.arguments import ArgumentParser
from remora.frontend.errors import RemoraError
from remora.frontend.options import request, table
from remora.frontend.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Spec

TREE = Path(__file__).parent.parent.parent
IMAGE: dict[str, object] = {
    "Env": ["PATH=/bin", "FROM=image"],
    "Cmd": ["default", "command"],
    "Entrypoint": ["/entry"],
    "User": "user",
    "WorkingDir": "/work",
    "Labels": {"a": "1", "b": "2"},
    "StopSignal": "SIGINT",
}


def resolve(*words: str, config: Mapping[str, object] = IMAGE, command: str = "run") -> Spec:
    parser = ArgumentParser(f"remora {command}", interspersed=False)
    table.add_arguments(parser, command)
    arguments = parser.parse_args(words)
    settings = Settings("/nowhere/data", "/nowhere/run", environ={"CALLER": "yes"})
    spec = request.read(arguments, settings, command)
    reference = {"id": "0" * 64, "name": "localhost/x:latest", "given": "x", "digest": "", "lower": ["/l"]}
    request.apply_image(spec, arguments, settings, reference, config)  # type: ignore[arg-type]
    return spec


def test_every_key_of_the_document_is_there() -> None:
    table, log = (TREE / "docs" / "spec.md").read_text().split("\n## `log`\n")
    documented = set()
    for line in table.splitlines():
        if line.startswith("| `"):
            cells = line.split("|")
            documented |= set(re.findall(r"`(\w+)`", cells[1]))
            documented |= set(re.findall(r"`(workdir_given)` bool", cells[2]))
    assert documented - {"key"} == set(resolve("x"))
    for key, value in resolve("x")["log"].items():
        assert re.search(rf"\b{key}\b", log)
        parts = value if isinstance(value, list) else [value]
        assert all(re.search(rf"\b{name}\b", log) for part in parts if isinstance(part, dict) for name in part)


def test_image_fills_what_was_not_given() -> None:
    spec = resolve("x")
    assert spec["args"] == ["/entry", "default", "command"]
    assert spec["env"] == ["PATH=/bin", "FROM=image"]
    assert (spec["user"], spec["workdir"], spec["workdir_given"]) == ("user", "/work", False)
    assert (spec["labels"], spec["stop_signal"]) == ({"a": "1", "b": "2"}, 2)


def test_options_win_over_the_image() -> None:
    spec = resolve(
        *("-e", "FROM=me", "-e", "CALLER", "-u", "0", "-w", "/tmp/", "-l", "b=3", "--stop-signal", "9", "x", "other")
    )
    assert spec["args"] == ["/entry", "other"]
    assert spec["env"] == ["PATH=/bin", "FROM=me", "CALLER=yes"]
    assert (spec["user"], spec["workdir"], spec["workdir_given"]) == ("0", "/tmp", True)
    assert (spec["labels"], spec["stop_signal"]) == ({"a": "1", "b": "3"}, 9)


def test_entrypoint_drops_the_images_command() -> None:
    assert resolve("--entrypoint", "ls -l", "x")["args"] == ["ls -l"]
    assert resolve("--entrypoint", '["ls", "-l"]', "x", "/")["args"] == ["ls", "-l", "/"]
    assert resolve("--entrypoint", "[broken", "x")["args"] == ["[broken"]
    assert resolve("--entrypoint", "", "x", "ls")["args"] == ["ls"]


def test_nothing_to_execute_is_refused() -> None:
    with pytest.raises(RemoraError, match="no command or entrypoint provided"):
        resolve("--entrypoint", "", "x")
    with pytest.raises(RemoraError, match="no command or entrypoint provided"):
        resolve("x", config={})


def test_options_after_the_image_belong_to_the_command() -> None:
    spec = resolve("-i", "x", "sh", "-c", "-t", "--rm", "--", "--name=y")
    assert spec["command"] == ["sh", "-c", "-t", "--rm", "--", "--name=y"]
    assert (spec["stdin_open"], spec["tty"], spec["remove"], spec["name"]) == (True, False, False, "")


def test_flags_join_and_switch_off() -> None:
    spec = resolve("-itd", "--sig-proxy=false", "--init=false", "x")
    assert (spec["stdin_open"], spec["tty"], spec["detach"]) == (True, True, True)
    assert (spec["sig_proxy"], spec["init"]) == (False, False)


@pytest.mark.parametrize(
    ("words", "attach"),
    [
        ((), ["stdout", "stderr"]),
        (("-i",), ["stdin", "stdout", "stderr"]),
        (("-d", "-i"), []),
        (("-a", "stderr", "-a", "STDIN"), ["stdin", "stderr"]),
    ],
)
def test_streams_that_are_attached(words: tuple[str, ...], attach: list[str]) -> None:
    assert resolve(*words, "x")["attach"] == attach


def test_limits_are_numbers() -> None:
    spec = resolve(
        *(
            "-m",
            "64m",
            "--memory-swap",
            "-1",
            "--cpus",
            "1.5",
            "-c",
            "512",
            "--pids-limit",
            "0",
            "--cpuset-cpus",
            "0-1",
        ),
        *("--ulimit", "core=0", "--stop-timeout", "1m", "--timeout", "5", "x"),
    )
    assert (spec["memory"], spec["memory_swap"], spec["cpus"], spec["cpu_shares"]) == (64 << 20, -1, 1.5, 512)
    assert (spec["pids_limit"], spec["cpuset_cpus"], spec["stop_timeout"], spec["timeout"]) == (-1, "0-1", 60, 5)
    assert spec["ulimits"] == [{"name": "core", "soft": 0, "hard": 0}]


def test_restart_policy_with_a_count() -> None:
    assert resolve("--restart", "on-failure:3", "x")["restart"] == {"policy": "on-failure", "max": 3}
    assert resolve("--restart", "always", "x")["restart"] == {"policy": "always", "max": 0}


def test_read_only_root_gets_writable_folders() -> None:
    assert [item["target"] for item in resolve("--read-only", "--tmpfs", "/tmp", "x")["mounts"]] == [
        "/tmp",
        "/run",
        "/var/tmp",
    ]
    assert resolve("--read-only", "--read-only-tmpfs=false", "x")["mounts"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-d", "-a", "stdout"), "-d and -a exclude each other"),
        (("--rm", "--restart", "always"), "--rm and --restart always exclude each other"),
        (("--name", "../x"), '"../x"'),
        (("--name", "-x"), '"-x"'),
        (("--name", "a" * 300), "longer than"),
        (("-w", "relative"), '"relative" is not absolute'),
        (("--memory", "5x"), '"5x"'),
        (("--memory-swap", "1g"), "--memory"),
        (("-m", "2g", "--memory-swap", "1g"), "below"),
        (("--restart", "sometimes"), '"sometimes"'),
        (("--restart", "always:3"), "only on-failure"),
        (("--restart", "on-failure:-1"), "too small"),
        (("--network", "nowhere"), "unable to find network with name or ID nowhere"),
        (("--network", "none", "--network", "bridge"), "can't be combined"),
        (("--network", "bridge:ip=1.2.3.4,ipp=3"), '"ipp=3"'),
        (("--network", "bridge", "--ip", "fe80::1"), "IPv4"),
        (("--network", "none", "--ip", "10.0.0.1"), "needs a network of its own"),
        (("--network", "bridge", "--mac-address", "01:00:00:00:00:00"), "address of many"),
        (("--publish", "80:90:100:110"), "80:90:100:110"),
        (("--publish", "80-82:90-91"), "different lengths: 3 vs 2"),
        (("--publish", "70000:80"), '"70000"'),
        (("--publish", "80:80/xtp"), '"xtp"'),
        (("--network", "bridge", "-p", "80:80", "-p", "80:81"), "named twice"),
        (("--add-host", "name"), "NAME:ADDRESS"),
        (("--dns", "example.org"), "is no address"),
        (("--no-hosts", "--add-host", "a:1.2.3.4"), "exclude each other"),
        (("--cap-add", "NOPE"), '"NOPE"'),
        (("--ulimit", "what=1"), '"what"'),
        (("--stop-signal", "NOPE"), '"NOPE"'),
        (("--pids-limit", "many"), '"many"'),
        (("--cpus", "-1"), '"-1"'),
        (("--cpuset-cpus", "a"), '"a"'),
        (("--cpu-shares", "1"), "too small"),
        (("--log-driver", "paper"), '"paper"'),
        (("--log-opt", "colour=red"), '"colour"'),
        (("--detach-keys", "ctrl-"), '"ctrl-"'),
        (("--hostname", "a b"), '"a b"'),
        (("--umask", "9"), '"9"'),
        (("--attach", "stdfoo"), '"stdfoo"'),
        (("--security-opt", "what"), '"what"'),
        (("--preserve-fds", "1000"), "too large"),
        (("--cidfile", "/etc/passwd"), "/etc/passwd is there already"),
        (("--env", "=x"), '"=x"'),
        (("--init=perhaps",), "perhaps"),
        (("--memroy", "5"), "--memory"),
        (("-Z",), "Z"),
        (("--name",), "--name"),
    ],
)
def test_mistake_is_one_error_that_names_it(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(RemoraError) as caught:
        resolve(*words, *(() if words == ("--name",) else ("x",)))
    assert message in str(caught.value)
    assert caught.value.status == 125
    assert "\n" not in str(caught.value)


def test_create_never_detaches() -> None:
    spec = resolve("-i", "x", command="create")
    assert spec["detach"] is False
    with pytest.raises(RemoraError, match="-d"):
        resolve("-d", "x", command="create")
