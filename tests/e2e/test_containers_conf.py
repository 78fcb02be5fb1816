"""Settings of containers.conf as a container shows them, and options that win over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.commands import said


def configure(remora: Remora, *lines: str) -> None:
    remora.configuration.write_text("\n".join(["[containers]", 'netns = "none"', *lines, ""]))


def inspected(remora: Remora, path: str, *options: str) -> object:
    """What `inspect` tells of a container that is made with these options."""
    remora("create", "--name", "made", *options, "busybox", "true")
    found = json.loads(remora("inspect", "made"))[0]
    remora("rm", "made")
    for part in path.split("."):
        found = found[part]
    return found


def inside(remora: Remora, script: str, *options: str) -> str:
    return remora("run", "--rm", *options, "busybox", "sh", "-c", script)


def test_umask_and_shared_memory(remora: Remora) -> None:
    configure(remora, 'umask = "0027"', 'shm_size = "2m"')
    script = "umask; df -k /dev/shm | tail -n 1 | awk '{print $2}'"
    assert inside(remora, script).split() == ["0027", "2048"]
    assert inside(remora, script, "--umask", "0077", "--shm-size", "1m").split() == ["0077", "1024"]


def test_the_limit_of_processes(remora: Remora) -> None:
    configure(remora, "pids_limit = 33")
    assert inspected(remora, "HostConfig.PidsLimit") == 33
    assert inspected(remora, "HostConfig.PidsLimit", "--pids-limit", "44") == 44


def test_logs(remora: Remora) -> None:
    configure(remora, 'log_driver = "json-file"', "log_size_max = 8192", 'log_tag = "tagged"')
    found = inspected(remora, "HostConfig.LogConfig")
    assert isinstance(found, dict)
    assert (found["Type"], found["Config"]["max-size"], found["Tag"]) == ("json-file", "8192", "tagged")
    found = inspected(remora, "HostConfig.LogConfig", "--log-driver", "k8s-file", "--log-opt", "max-size=1m")
    assert isinstance(found, dict)
    assert (found["Type"], found["Config"]["max-size"], found["Tag"]) == ("k8s-file", "1048576", "")


def test_environment(remora: Remora) -> None:
    configure(remora, 'env = ["TERM=vt100", "FROM=configuration", "PATH=/nowhere"]')
    remora.environment["http_proxy"] = "http://proxy.example:3128"
    script = "echo $TERM $FROM $PATH $http_proxy"
    assert inside(remora, script) == "vt100 configuration /bin:/usr/bin http://proxy.example:3128"
    options = ["-e", "TERM=dumb", "-e", "FROM=me", "-e", "http_proxy=mine"]
    assert inside(remora, script, *options) == "dumb me /bin:/usr/bin mine"
    assert inside(remora, script, "--http-proxy=false") == "vt100 configuration /bin:/usr/bin"
    configure(remora, "http_proxy = false")
    assert inside(remora, "echo $http_proxy") == ""
    assert inside(remora, "echo $http_proxy", "--http-proxy") == "http://proxy.example:3128"
    configure(remora, "env_host = true")
    remora.environment["OF_THE_HOST"] = "yes"
    assert inside(remora, "echo $OF_THE_HOST $PATH") == "yes /bin:/usr/bin"
    assert inside(remora, "echo $OF_THE_HOST", "--env-host=false") == ""


def test_time_zone(remora: Remora) -> None:
    if not Path("/usr/share/zoneinfo/Asia/Tokyo").exists():
        pytest.skip("no zone database (package tzdata)")
    configure(remora, 'tz = "Asia/Tokyo"')
    assert inside(remora, "tail -n 1 /etc/localtime") == "JST-9"
    assert inside(remora, "tail -n 1 /etc/localtime", "--tz", "Europe/Rome") == "CET-1CEST,M3.5.0,M10.5.0/3"
    assert inside(remora, "cmp /etc/localtime /given && echo same", "--tz", "local", "-v", "/etc/localtime:/given") == (
        "same"
    )


def test_init_and_its_program(remora: Remora) -> None:
    configure(remora, "init = true")
    assert "remora-init" in inside(remora, "cat /proc/1/cmdline")
    assert "remora-init" not in inside(remora, "cat /proc/1/cmdline", "--init=false")
    configure(remora, 'init_path = "/nowhere/init"')
    assert "init_path in" in said(remora, "run", "--rm", "--init", "busybox", "true")


def test_annotations_and_a_read_only_root(remora: Remora) -> None:
    configure(remora, 'annotations = ["a=1", "b=2"]', "read_only = true")
    assert inspected(remora, "Config.Annotations", "--annotation", "b=3") == {"a": "1", "b": "3"}
    assert inspected(remora, "HostConfig.ReadonlyRootfs") is True
    assert inspected(remora, "HostConfig.ReadonlyRootfs", "--read-only=false") is False


def test_volumes_give_way_to_those_of_the_command(remora: Remora, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    configure(remora, f'volumes = ["{tmp_path}/one:/a:ro"]', f'mounts = ["type=bind,source={tmp_path}/one,target=/b"]')
    assert inside(remora, "cat /a/file /b/file") == "oneone"
    assert inside(remora, "cat /a/file /b/file", "-v", f"{tmp_path}/two:/a") == "twoone"


def test_settings_of_the_engine(remora: Remora, tmp_path: Path) -> None:
    configure(remora, "[engine]", "stop_timeout = 3", 'detach_keys = "ctrl-x"', 'pull_policy = "never"')
    assert inspected(remora, "Config.StopTimeout") == 3
    assert inspected(remora, "Config.StopTimeout", "--stop-timeout", "5") == 5
    assert "nowhere" in said(remora, "run", "--rm", "localhost:1/nowhere", "true")
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\necho used >> {tmp_path}/log\nexec runc "$@"\n')
    wrapper.chmod(0o755)
    configure(remora, "[engine]", 'runtime = "mine"', "[engine.runtimes]", f'mine = ["/nowhere/x", "{wrapper}"]')
    assert inside(remora, "echo ran") == "ran"
    assert "used" in (tmp_path / "log").read_text()
    configure(remora, "[engine]", 'runtime = "nothing-such"')
    assert '"nothing-such"' in said(remora, "run", "--rm", "busybox", "true")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("umask = 22", "wrong value 22 for [containers] umask in"),
        ('umask = "rwx"', 'invalid mask "rwx" for [containers] umask in'),
        ('pids_limit = "many"', 'wrong value "many" for [containers] pids_limit in'),
        ('shm_size = "large"', 'invalid size "large" for [containers] shm_size in'),
        ('log_driver = "jornald"', "did you mean journald?"),
        ("log_size_max = 100", "wrong value 100 for [containers] log_size_max in"),
        ('tz = "Nowhere"', 'unknown time zone "Nowhere" for [containers] tz in'),
        ('init = "yes"', 'wrong value "yes" for [containers] init in'),
        ('volumes = ["/nowhere:/x"]', "[containers] volumes in"),
        ('env = ["=1"]', 'wrong variable "=1" for [containers] env in'),
        ('netns = "ns:/nowhere"', "[containers] netns in"),
        ('umask = "0022', "line 3, column"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_place_and_leaves_nothing(remora: Remora, line: str, expected: str) -> None:
    if line.startswith("netns"):
        remora.configuration.write_text(f"[containers]\n{line}\n")
    else:
        configure(remora, line)
    found = said(remora, "run", "--rm", "busybox", "true")
    assert expected in found
    assert str(remora.configuration) in found
    configure(remora)
    assert remora("ps", "-aq") == ""


def test_the_files_in_effect_are_shown(remora: Remora) -> None:
    found = json.loads(remora("info", "--format", "json"))
    assert found["host"]["configuration"] == [str(remora.configuration)]


def test_what_is_no_setting_of_ours_is_left_to_others(remora: Remora) -> None:
    configure(remora, "something_new = 7", "[machine]", "cpus = 1", "[engine.volume_plugins]", 'x = "/run/x.sock"')
    assert inside(remora, "echo ran") == "ran"


def test_a_command_that_makes_nothing_does_not_read_the_settings(remora: Remora) -> None:
    remora("run", "-d", "--name", "there", "busybox", "sleep", "1000")
    remora.configuration.write_text("this is no TOML")
    assert remora("ps", "--format", "{{.Names}}") == "there"
    assert remora("logs", "there") == ""
    assert remora("inspect", "-f", "{{.State.Status}}", "there") == "running"
    configure(remora)
