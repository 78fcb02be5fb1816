"""Completion of command lines: what `__complete` offers, and the Tab key in a real bash, zsh and fish."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.commands import SLEEP
from tests.support.tmux import Tmux

SHELLS = {
    "bash": ("env PS1='host> ' bash --norc --noprofile", "source <(remora completion bash)"),
    "zsh": ("env PS1='host> ' zsh -f", "autoload -Uz compinit && compinit -D && source <(remora completion zsh)"),
    "fish": (
        'fish --no-config --init-command \'function fish_prompt; echo -n "host> "; end; '
        "set -g fish_autosuggestion_enabled 0'",
        "remora completion fish | source",
    ),
}


@pytest.fixture
def populated(remora: Remora) -> Remora:
    """A running, a paused and a stopped container."""
    remora("run", "-d", "--name", "up-one", *SLEEP)
    remora("run", "-d", "--name", "held", *SLEEP)
    remora("pause", "held")
    remora("create", "--name", "idle-one", "busybox", "true")
    return remora


def offered(remora: Remora, *words: str) -> list[str]:
    """The words that are offered in the place of the last one."""
    return [line.partition("\t")[0] for line in ended(remora, *words)[0]]


def ended(remora: Remora, *words: str) -> tuple[list[str], str]:
    """The lines, and the last one that tells what the shell does."""
    result = remora.run("__complete", "--", *words)
    assert result.stderr == ""
    *lines, last = result.stdout.splitlines()
    return lines, last


def test_each_command_is_offered_the_containers_that_it_can_work_on(populated: Remora) -> None:
    for command in ("stop", "kill", "exec", "attach", "pause", "port"):
        assert offered(populated, command, "") == ["held", "up-one"], command
    assert offered(populated, "unpause", "") == ["held"]
    assert offered(populated, "start", "") == ["idle-one"]
    for command in ("rm", "logs", "wait", "restart", "rename"):
        assert offered(populated, command, "") == ["held", "idle-one", "up-one"], command
    assert ended(populated, "cp", "-a", "u") == (["up-one:\trunning"], ":files open 0")
    assert offered(populated, "container", "rm", "idle-one", "") == ["held", "up-one"]
    assert offered(populated, "exec", "up-one", "") == []
    assert "up-one" in offered(populated, "inspect", "") and "busybox:latest" in offered(populated, "inspect", "")
    assert offered(populated, "container", "inspect", "") == ["held", "idle-one", "up-one"]
    populated("kill", "up-one")
    populated("wait", "up-one")
    assert offered(populated, "start", "") == ["idle-one", "up-one"]


def test_ids_are_offered_where_no_name_begins_so(populated: Remora) -> None:
    container_id = populated("inspect", "-f", "{{.Id}}", "idle-one")
    lines, _ = ended(populated, "rm", container_id[:8])
    assert lines == [f"{container_id[:12]}\tidle-one, stopped"]
    image_id = populated("images", "-q", "--no-trunc", "busybox").removeprefix("sha256:").splitlines()[0]
    assert image_id[:12] in offered(populated, "rmi", image_id[:6])


def test_images_are_offered_by_short_and_by_whole_names(remora: Remora) -> None:
    assert "busybox:latest" in offered(remora, "run", "--rm", "-it", "")
    assert offered(remora, "run", "busyb") == ["busybox:latest", "busybox"]
    assert offered(remora, "run", "localhost/busyb") == ["localhost/busybox:latest", "localhost/busybox"]
    assert offered(remora, "run", "busybox", "") == []
    assert offered(remora, "run", "--rootfs", "") == [] and ended(remora, "run", "--rootfs", "")[1] == ":folders 0"


def test_networks_and_volumes_are_offered_by_name(remora: Remora) -> None:
    remora("volume", "create", "site")
    remora("volume", "create", "mail")
    assert offered(remora, "volume", "rm", "") == ["mail", "site"]
    assert offered(remora, "volume", "rm", "mail", "") == ["site"]
    assert ended(remora, "run", "-v", "s") == (["site\t"], ":files 0")
    assert "podman" in offered(remora, "network", "inspect", "")
    assert "--network=podman" in offered(remora, "run", "--network=")


def test_options_and_their_values_come_from_the_parsers(populated: Remora) -> None:
    assert offered(populated, "run", "--pul") == ["--pull"]
    helped = re.findall(r"(?<= )--[\w-]+", populated("exec", "--help").partition("Options:")[2].partition("Example")[0])
    assert set(helped) | {"--help"} == set(offered(populated, "exec", "--"))
    assert offered(populated, "run", "--pull=") == [f"--pull={word}" for word in "always missing never newer".split()]
    assert offered(populated, "run", "--pull", "ne") == ["never", "newer"]
    assert offered(populated, "ps", "--sort", "na") == ["names"]
    assert offered(populated, "run", "--rm=f") == ["--rm=false"]
    assert offered(populated, "run", "--net", "container:u") == ["container:up-one"]
    assert ended(populated, "run", "--pid", "con") == (["container:\t"], ":open 0")
    assert offered(populated, "kill", "-s", "HU") == ["HUP"]
    assert offered(populated, "ps", "--filter", "status=ex") == ["status=exited"]
    assert offered(populated, "exec", "-it", "-u", "root", "up") == ["up-one"]
    assert offered(populated, "run", "--cap-add", "net_") == [] and "NET_RAW" in offered(
        populated, "run", "--cap-add", ""
    )
    assert ended(populated, "run", "--cidfile", "")[1] == ":files 0"
    assert ended(populated, "run", "--cidfile=x")[1] == ":files 10"
    assert ended(populated, "load", "-i", "")[1] == ":files 0"


def test_commands_nouns_and_global_options_are_offered(remora: Remora) -> None:
    assert offered(remora, "re") == ["rename", "restart"]
    assert {"container", "network", "help", "run"} <= set(offered(remora, ""))
    assert not [word for word in offered(remora, "") if word.startswith("_")]
    assert offered(remora, "container", "pau") == ["pause"]
    assert offered(remora, "help", "network", "ls") == ["ls"]
    assert offered(remora, "--run") == ["--runroot", "--runtime"]
    assert offered(remora, "--cgroup-manager", "") == ["cgroupfs", "systemd"]
    assert offered(remora, "completion", "") == ["bash", "zsh", "fish"]
    assert ended(remora, "--root", "")[1] == ":folders 0"


def test_nothing_is_offered_or_said_where_nothing_makes_sense(empty_remora: Remora) -> None:
    for words in (["nonsense", ""], ["container", "nonsense", ""], ["container", "--help", ""], ["help", "help", ""]):
        assert ended(empty_remora, *words) == ([], ":words 0")
    assert offered(empty_remora, "rm", "") == [] == offered(empty_remora, "run", "--nonsense=")
    assert offered(empty_remora, "--root", "/does/not/exist", "rm", "") == []


def test_names_are_those_of_the_folders_that_the_line_names(populated: Remora) -> None:
    root, runroot = populated.environment["REMORA_ROOT"], populated.environment["REMORA_RUNROOT"]
    bare = {"REMORA_ROOT": f"{root}-other", "REMORA_RUNROOT": f"{runroot}-other"}
    words = ("__complete", "--", "--root", root, "--runroot", runroot, "stop", "u")
    assert populated.run(*words, env=bare).stdout.startswith("up-one\t")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, populated: Remora, tmp_path: Path) -> Iterator[Tmux]:
    """A shell that has read the script, in a folder with a file of which the name has a space."""
    (tmp_path / "home" / "some folder").mkdir(parents=True)
    (tmp_path / "home" / "some folder" / "archive.tar").touch()
    command, script = SHELLS[request.param]
    environment = {**populated.environment, "HOME": str(tmp_path / "home")}
    tmux = Tmux(tmp_path, environment, f"cd {tmp_path}/home && exec {command}")
    try:
        tmux.expect(r"^host> *$")
        tmux.type(f"{script} && echo rea''dy")
        tmux.expect("^ready")
        yield tmux
    finally:
        tmux.close()


def test_the_tab_key_completes_in_real_shells(shell: Tmux) -> None:
    for typed, whole in (
        ("remora vers", "version"),
        ("remora stop u", "up-one"),
        ("remora start ", "idle-one"),
        ("remora unpause ", "held"),
        ("remora rm -f id", "idle-one"),
        ("remora run --pull=al", "--pull=always"),
        ("remora run --rm busybox:la", "busybox:latest"),
        ("remora run --network container:up", "container:up-one"),
        ("remora container ren", "rename"),
        ("remora kill --sig", "--signal"),
        ("remora kill --signal=HU", "--signal=HUP"),
        ("remora cp u", "up-one:"),
        ("remora load -i ./som", r"./some\ folder/"),
        ("remora load --input=./some\\ folder/ar", r"./some\ folder/archive.tar"),
    ):
        shell.keys("C-u")
        shell.keys("-l", typed)
        shell.keys("Tab")
        lead = typed.rpartition(" ")[0] if "\\" not in typed else "remora load"
        shell.expect(f"^host> {re.escape(lead)} .*{re.escape(whole)}(?![\\w-])")


def test_two_tabs_show_the_choices(shell: Tmux) -> None:
    shell.keys("-l", "remora restart ")
    shell.keys("Tab", "Tab")
    shell.expect(r"^held\b.*\n?.*idle-one\b.*\n?.*up-one|held +\(paused\)")


def test_a_name_that_is_completed_is_a_word_that_runs(shell: Tmux, populated: Remora) -> None:
    shell.keys("-l", "remora rm --time 0 -f u")
    shell.keys("Tab")
    shell.expect("up-one")
    shell.keys("Enter")
    shell.expect("^(up-one|[0-9a-f]{64})$")
    assert offered(populated, "stop", "") == ["held"]
    assert not os.path.lexists(f"{populated.root}/names/up-one")
