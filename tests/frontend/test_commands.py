"""Listing, inspecting, renaming and removing real containers: what is printed, and bad luck told in one line."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.commands import SLEEP, said, state
from tests.support.waiting import eventually

# ---- ps ----------------------------------------------------------------------------------------


def test_ps_shows_what_runs_and_with_all_everything_oldest_first(remora: Remora) -> None:
    first = remora("run", "-d", "--name", "one", "--label", "a=b", *SLEEP)
    remora.run("run", "--name", "two", "busybox", "sh", "-c", "exit 3", status=3)
    remora("create", "--name", "three", "busybox", "true")
    lines = remora("ps").splitlines()
    assert lines[0].split("  ")[0] == "CONTAINER ID"
    assert lines[0].split()[-1] == "NAMES"
    assert len(lines) == 2
    assert lines[1].startswith(first[:12] + "  localhost/busybox:latest")
    assert remora("ps", "-q") == first[:12]
    assert remora("ps", "-q", "--no-trunc") == first
    assert remora("ps", "-a", "--format", "{{.Names}}:{{.State}}").splitlines() == [
        "one:running",
        "two:exited",
        "three:created",
    ]
    assert remora("ps", "--noheading", "-n", "2").split()[-1] == "three"
    assert len(remora("ps", "-n", "2", "-q").splitlines()) == 2
    assert remora("ps", "-l", "--format", "{{.Names}}") == "three"
    assert remora("ps", "-a", "--sort", "names", "--format", "{{.Names}}").split() == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["status=exited"], ["two"]),
        (["status=exited", "status=running"], ["one", "two"]),
        (["name=^t"], ["two", "three"]),
        (["name=o"], ["one", "two"]),
        (["name=t.*e$"], ["three"]),
        (["label=a"], ["one"]),
        (["label=a=b", "label=c"], []),
        (["label!=a"], ["two", "three"]),
        (["exited=3"], ["two"]),
        (["exited=0", "exited=3"], ["two"]),
        (["ancestor=busybox"], ["one", "two", "three"]),
        (["ancestor=debian"], []),
        (["before=two"], ["one"]),
        (["since=one"], ["two", "three"]),
        (["since=one", "before=three"], ["two"]),
        (["volume=/srv"], ["three"]),
        (["network=host"], []),
        (["until=1h"], []),
    ],
)
def test_ps_filters(trio_of_containers: Remora, filters: list[str], names: list[str]) -> None:
    words = [word for text in filters for word in ("--filter", text)]
    assert trio_of_containers("ps", "-a", *words, "--format", "{{.Names}}").split() == names


@pytest.fixture(scope="module")
def trio_of_containers(tmp_path_factory: pytest.TempPathFactory, storage_conf: Path) -> Iterator[Remora]:
    remora = Remora(tmp_path_factory.mktemp("trio"), storage_conf)
    remora("run", "-d", "--name", "one", "--label", "a=b", *SLEEP)
    remora.run("run", "--name", "two", "busybox", "sh", "-c", "exit 3", status=3)
    remora("create", "--name", "three", "-v", "/tmp:/srv", "busybox", "true")
    yield remora
    remora.clear()


def test_ps_refuses_filters_that_make_no_sense(trio_of_containers: Remora) -> None:
    assert "did you mean label?" in said(trio_of_containers, "ps", "--filter", "lable=x")
    assert "unknown container state: blue" in said(trio_of_containers, "ps", "--filter", "status=blue")
    assert "KEY=VALUE" in said(trio_of_containers, "ps", "--filter", "name")
    assert "no such container" in said(trio_of_containers, "ps", "--filter", "before=nope")
    assert "no field 'Nope'" in said(trio_of_containers, "ps", "--format", "{{.Nope}}")


def test_ps_json_has_podmans_fields(trio_of_containers: Remora) -> None:
    one, two, three = json.loads(trio_of_containers("ps", "-a", "--format", "json", "--size"))
    assert (one["Names"], one["State"], one["Exited"], one["ExitCode"]) == (["one"], "running", False, 0)
    assert (one["Labels"], one["Command"], one["Image"]) == ({"a": "b"}, ["sleep", "1000"], "localhost/busybox:latest")
    assert one["Pid"] == int(state(trio_of_containers, "one", "Pid"))
    assert (two["Names"], two["State"], two["Exited"], two["ExitCode"], two["Pid"]) == (["two"], "exited", True, 3, 0)
    assert abs(two["ExitedAt"] - time.time()) < 600
    assert three["StartedAt"] == -62135596800
    assert three["Mounts"] == ["/srv"]
    assert one["Size"]["rootFsSize"] > 1_000_000
    missing = {"AutoRemove", "CreatedAt", "Created", "Id", "ImageID", "Networks", "Ports", "Status"} - set(one)
    assert not missing


def test_ps_sweeps_what_a_killed_command_left_half_made(remora: Remora) -> None:
    remora("create", "--name", "half", "busybox", "true")
    found = remora("inspect", "-f", "{{.Id}}", "half")
    (remora.root / "containers" / found / "spec.json").unlink()
    assert remora("ps", "-aq") == ""
    assert os.listdir(remora.root / "containers") == []
    assert os.listdir(remora.root / "names") == []
    assert os.listdir(remora.root / "images") == []


def test_a_corrupt_record_is_named_by_ps_and_removed_by_rm(remora: Remora) -> None:
    remora("run", "-d", "--name", "broken", *SLEEP)
    pid = int(state(remora, "broken", "Pid"))
    found = remora("inspect", "-f", "{{.Id}}", "broken")
    remora("create", "--name", "whole", "busybox", "true")
    spec = remora.root / "containers" / found / "spec.json"
    spec.write_text('{"version": 1')
    result = remora.run("ps", "-a", "--format", "{{.Names}}")
    assert result.stdout == "whole\n"
    assert str(spec) in result.stderr
    assert f"remora rm -f {found[:12]}" in result.stderr
    for command in ("inspect", "start", "logs", "wait", "stop", "attach"):
        assert str(spec) in said(remora, command, "broken")
    assert "is running" in said(remora, "rm", "broken", status=2)
    assert remora("rm", "-f", "-t", "0", "broken") == "broken"
    assert not os.path.exists(f"/proc/{pid}")
    assert remora.run("ps", "-a", "--format", "{{.Names}}").stderr == ""
    assert os.listdir(remora.root / "names") == ["whole"]


def test_a_damaged_state_file_is_named_and_the_truth_told_all_the_same(remora: Remora) -> None:
    found = remora("run", "-d", "--name", "web", *SLEEP)
    pid = int(state(remora, "web", "Pid"))
    path = remora.runroot / found / "state"
    path.write_bytes(b"\xc1garbage")
    result = remora.run("ps", "--format", "{{.Names}} {{.State}} {{.Pid}}")
    assert result.stdout == f"web running {pid}\n"
    assert str(path) in result.stderr
    assert "remora rm -f web" in result.stderr
    assert remora("exec", "web", "echo", "in") == "in"
    remora("kill", "web")
    assert remora("wait", "web") == "137"
    remora("start", "web")
    path.write_bytes(b"")
    assert remora("rm", "-f", "-t", "0", "web") == "web"
    assert remora.run("ps", "-a", "--noheading").stderr == ""


def test_a_lost_monitor_with_a_damaged_state_file_leaves_nothing_behind_after_rm(remora: Remora) -> None:
    found = remora("run", "-d", "--name", "web", *SLEEP)
    pid, monitor = int(state(remora, "web", "Pid")), int(state(remora, "web", "ConmonPid"))
    host.kill_monitor(monitor)
    eventually(lambda: "lost" in remora("ps"), "the monitor is gone")
    (remora.runroot / found / "state").write_bytes(b"garbage")
    assert "Exited (unknown)" in remora.run("ps", "-a").stdout
    remora("rm", "-f", "web")
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the process is gone")
    assert os.listdir(remora.runroot / "runtime") == []


# ---- inspect, rename, rm, info --------------------------------------------------------------------


def test_inspect_has_podmans_and_dockers_fields(remora: Remora) -> None:
    found = remora(
        "run", "-d", "--name", "web", "--label", "a=b", "-v", "/tmp:/srv:ro", "-e", "X=1", "-m", "64m", *SLEEP
    )
    (value,) = json.loads(remora("inspect", "web"))
    assert (value["Id"], value["Name"], value["Path"], value["Args"]) == (found, "web", "sleep", ["1000"])
    assert value["State"]["Status"] == "running"
    assert value["State"]["Running"] is True
    assert value["State"]["ConmonPid"] > 0
    assert value["ImageName"] == "localhost/busybox:latest"
    assert value["Config"]["Labels"] == {"a": "b"}
    assert "X=1" in value["Config"]["Env"]
    assert value["Mounts"][0]["Source"] == "/tmp"
    assert value["Mounts"][0]["RW"] is False
    assert value["HostConfig"]["Memory"] == 64 << 20
    assert value["HostConfig"]["NetworkMode"] == "none"
    text = remora(
        "inspect",
        "-f",
        '{{.State.Pid}} {{index .Config.Labels "a"}} {{.Name}}{{range .Mounts}} {{.Type}}{{end}}',
        "web",
    )
    assert text == f"{value['State']['Pid']} b web bind"
    remora("kill", "web")
    remora("wait", "web")
    (value,) = json.loads(remora("inspect", found[:10]))
    assert value["State"]["ExitCode"] == 137
    assert value["State"]["FinishedAt"] > value["State"]["StartedAt"] > value["Created"]
    assert (value["State"]["Pid"], value["State"]["ConmonPid"], value["State"]["OOMKilled"]) == (0, 0, False)


def test_inspect_of_an_image_and_of_both_kinds(remora: Remora) -> None:
    remora("create", "--name", "web", "busybox", "true")
    container, image = json.loads(remora("inspect", "web", "busybox"))
    assert image["RepoTags"] == ["localhost/busybox:latest"]
    assert image["Id"] == container["Image"]
    assert image["Config"]["Cmd"] == ["/bin/sh"]
    assert image["Digest"] == container["ImageDigest"]
    assert remora("inspect", "--type", "image", "-f", "{{.Os}}", "busybox") == "linux"
    remora("create", "--name", "busybox", "busybox", "true")
    assert remora("image", "inspect", "-f", "{{.Os}}", "busybox") == "linux"
    assert remora("container", "inspect", "-f", "{{.Path}}", "busybox") == remora(
        "inspect", "-f", "{{.Path}}", "busybox"
    )
    assert "image not known" in said(remora, "inspect", "--type", "image", "web2")
    assert "no such container" in said(remora, "inspect", "-f", "x", "--type", "container", "localhost/busybox")
    result = remora.run("inspect", "web", "nope", status=125)
    assert len(json.loads(result.stdout)) == 1
    assert 'no such object: "nope"' in result.stderr


def test_rename_while_it_runs(remora: Remora) -> None:
    found = remora("run", "-d", "--name", "web", *SLEEP)
    remora("create", "--name", "taken", "busybox", "true")
    remora("rename", "web", "shop")
    assert remora("inspect", "-f", "{{.Id}}", "shop") == found
    assert "no such container" in said(remora, "stop", "web")
    assert "already in use by" in said(remora, "rename", "shop", "taken")
    assert "invalid container name" in said(remora, "rename", "shop", "../x")
    assert remora("ps", "--format", "{{.Names}}") == "shop"
    remora("rm", "-f", "-t", "0", "shop")
    assert os.listdir(remora.root / "names") == ["taken"]


def test_rm_refuses_what_runs_and_names_what_is_not_there(remora: Remora) -> None:
    remora("run", "-d", "--name", "web", *SLEEP)
    remora("create", "--name", "new", "busybox", "true")
    result = remora.run("rm", "web", "new", status=2)
    assert result.stdout == "new\n"
    assert "remora rm --force web" in result.stderr
    assert 'no container with name or ID "nope"' in said(remora, "rm", "nope", status=1)
    assert remora("rm", "--ignore", "nope") == remora("rm", "-f", "nope") == ""
    assert remora("rm", "-f", "-t", "0", "web") == "web"
    assert os.listdir(remora.root / "containers") == os.listdir(remora.root / "names") == []
    assert os.listdir(remora.root / "images") == []
    assert [name for name in os.listdir(remora.runroot) if len(name) == 64] == []


def test_two_removals_of_the_same_containers_at_the_same_time_agree(remora: Remora) -> None:
    names = [f"c{number}" for number in range(6)]
    for name in names:
        remora("run", "-d", "--name", name, *SLEEP)
    both = [remora.popen("rm", "-f", "-t", "0", *names) for _ in range(2)]
    for process in both:
        output = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert output[1] == b""
    assert remora("ps", "-aq") == ""
    assert os.listdir(remora.root / "containers") == os.listdir(remora.root / "names") == []


def test_listing_while_containers_come_and_go_never_fails(remora: Remora) -> None:
    script = "for i in 1 2 3 4 5 6; do remora run --rm busybox true || exit 1; done"
    churn = subprocess.Popen(
        ["sh", "-c", script], env=remora.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while churn.poll() is None:
        result = remora.run("ps", "-a", "--format", "json")
        assert result.stderr == ""
        remora.run("inspect", *remora("ps", "-aq").split(), "busybox", status=None)
    assert churn.returncode == 0
    assert churn.communicate(timeout=60)[1] == b""


def test_info_and_version_tell_what_is_used(remora: Remora) -> None:
    remora("create", "--name", "web", "busybox", "true")
    facts = json.loads(remora("info", "--format", "json"))
    assert facts["store"]["root"] == str(remora.root)
    assert facts["store"]["containers"] == {"number": 1, "running": 0, "paused": 0, "stopped": 1, "unreadable": 0}
    assert facts["store"]["images"]["number"] == 1
    assert facts["host"]["ociRuntime"]["name"] in ("crun", "runc")
    program = facts["monitor"]["path"]
    assert Path(program).name == "remora-monitor"
    assert (facts["version"]["MonitorPath"], facts["version"]["MonitorVersion"]) == (
        program,
        facts["monitor"]["version"],
    )
    said_by_itself = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"remora-monitor {facts['monitor']['version']}\n" in said_by_itself
    assert "runc version" in facts["version"]["Runtimes"]["runc"]
    lines = remora("version").splitlines()
    assert f"Monitor:     {facts['monitor']['version']}" in lines
    assert any(line.startswith("runc:  ") for line in lines)
    unusable = {"REMORA_MONITOR": "/nowhere/remora-monitor"}
    assert "executing /nowhere/remora-monitor" in remora.run("version", env=unusable).stdout
    assert json.loads(remora.run("info", "--format", "json", env=unusable).stdout)["monitor"]["version"] == ""
    assert "  kernel: " + os.uname().release in remora("info").splitlines()
    assert remora("info", "-f", "{{.host.cpus}}") == str(os.cpu_count())


def test_all_latest_and_cidfile_select_containers(remora: Remora, tmp_path: Path) -> None:
    one = remora("run", "-d", "--cidfile", str(tmp_path / "cid"), *SLEEP)
    two = remora("run", "-d", *SLEEP)
    assert remora("stop", "-t", "0", "--latest") == two
    assert remora("restart", "-t", "0", "--running") == one
    assert remora("kill", "--cidfile", str(tmp_path / "cid")) == one
    assert remora("wait", one) == "137"
    assert sorted(remora("start", "--all").split()) == sorted([one, two])
    assert sorted(remora("stop", "-t", "0", "--all").split()) == sorted([one, two])
    assert "exclude each other" in said(remora, "stop", "--all", one)
    assert "at least one name or id" in said(remora, "stop")
    assert "No such file" in said(remora, "kill", "--cidfile", "/nope")
    assert sorted(remora("rm", "--all").split()) == sorted([one, two])
