"""Files of the state that are damaged: named and skipped, never believed, and removable."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host

SENSELESS = {
    "empty": b"",
    "zeros": b"\0" * 4096,
    "text": b"not what it should be\n",
    "half": b'{"version": 1, "id": "',
    "list": b"[1, 2]",
    "other types": b'{"version": "x", "id": 5, "name": {}, "created_ns": []}',
    "binary": bytes(range(256)) * 16,
}


@pytest.fixture
def clean(remora: Remora) -> Iterator[Remora]:
    """Removing all must leave nothing, whatever was damaged."""
    yield remora
    ids = host.known_ids(remora)
    remora.run("rm", "-f", "-t", "0", "--all")
    host.assert_nothing_left(remora, ids)


def listed(remora: Remora) -> subprocess.CompletedProcess[str]:
    return remora.run("ps", "-a", "--format", "{{.Names}} {{.State}}", status=None)


def fine(result: subprocess.CompletedProcess[str]) -> bool:
    """No traceback, no internal error, no more than one line for each thing."""
    return "Traceback" not in result.stderr and "internal error" not in result.stderr


def named_once(result: subprocess.CompletedProcess[str], container_id: str) -> bool:
    lines = result.stderr.splitlines()
    return len(lines) == 1 and container_id[:12] in lines[0] and fine(result)


# ---- spec.json ----


@pytest.mark.parametrize("content", SENSELESS.values(), ids=SENSELESS)
def test_a_container_whose_request_is_damaged_is_named_skipped_and_removable(clean: Remora, content: bytes) -> None:
    broken = clean("create", "--name", "broken", "busybox", "true")
    clean("run", "-d", "--name", "sound", "busybox", "sleep", "1000")
    path = clean.root / "containers" / broken / "spec.json"
    path.write_bytes(content)
    result = listed(clean)
    assert result.stdout == "sound running\n" and named_once(result, broken)
    for command in (
        ["start", "broken"],
        ["inspect", "broken"],
        ["logs", "broken"],
        ["wait", "broken"],
        ["stop", broken],
    ):
        result = clean.run(*command, status=None)
        assert result.returncode != 0 and named_once(result, broken), (command, result.stderr)
    result = clean.run("rm", "-f", "broken", status=None)
    assert result.returncode == 0 and fine(result), result.stderr
    assert not path.parent.exists() and host.below(clean.root / "names") == ["sound"]
    assert listed(clean).stdout == "sound running\n"


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def make_unreadably_large(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(1 << 32)


@pytest.mark.parametrize("spoil", [replace_by_folder, replace_by_fifo, replace_by_link, make_unreadably_large])
def test_a_request_that_is_no_plain_file_stops_nobody(clean: Remora, spoil: Callable[[Path], None]) -> None:
    broken = clean("create", "--name", "broken", "busybox", "true")
    clean("create", "--name", "sound", "busybox", "true")
    spoil(clean.root / "containers" / broken / "spec.json")
    result = listed(clean)
    assert result.stdout == "sound created\n" and named_once(result, broken), result.stderr
    result = clean.run("rm", "-f", broken, status=None)
    assert result.returncode == 0 and fine(result), result.stderr
    assert host.below(clean.root / "containers") == [clean("inspect", "-f", "{{.Id}}", "sound")]


def test_a_damaged_request_of_a_running_container_does_not_keep_it_from_being_removed(clean: Remora) -> None:
    container = clean("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    pid = int(clean("inspect", "-f", "{{.State.Pid}}", "c"))
    (clean.root / "containers" / container / "spec.json").write_bytes(b"{")
    assert named_once(listed(clean), container)
    clean("rm", "-f", "-t", "0", container)
    assert not host.alive(pid)
    host.assert_nothing_left(clean, {container})


def test_values_that_lead_out_of_the_folders_are_not_believed(clean: Remora, tmp_path: Path) -> None:
    """A request whose id or name points elsewhere names no path there."""
    victim = tmp_path / "victim"
    victim.mkdir()
    for key, value in (("id", "../../victim"), ("name", "../../../victim"), ("id", "f" * 64)):
        container = clean("create", "--name", "c", "busybox", "true")
        path = clean.root / "containers" / container / "spec.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
        assert fine(listed(clean))
        assert fine(clean.run("start", container, status=None))
        clean.run("rm", "-f", container, status=None)
        assert victim.exists()
        assert host.below(clean.root / "containers") == [], key
        assert host.below(clean.root / "names") == [], key


# ---- the exit record and the state file ----


@pytest.mark.parametrize("content", SENSELESS.values(), ids=SENSELESS)
def test_a_damaged_exit_record_means_unknown_and_the_container_starts_again(clean: Remora, content: bytes) -> None:
    container = clean("create", "--name", "c", "busybox", "sh", "-c", "exit 3")
    assert clean.run("start", "-a", "c", status=3).stderr == ""
    path = clean.root / "containers" / container / "exit"
    path.write_bytes(content)
    result = listed(clean)
    assert result.stdout == "c exited\n" and fine(result)
    assert "unknown" in clean("ps", "-a", "--format", "{{.Status}}")
    result = clean.run("wait", "c", status=None)
    assert "3" not in result.stdout and fine(result)
    assert clean.run("start", "-a", "c", status=3).stderr == ""
    assert clean("wait", "c") == "3"


@pytest.mark.parametrize("content", SENSELESS.values(), ids=SENSELESS)
def test_a_damaged_state_file_of_a_running_container_keeps_no_command_from_its_monitor(
    clean: Remora, content: bytes
) -> None:
    container = clean(
        "run", "-d", "--name", "c", "busybox", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"
    )
    (clean.runroot / container / "state").write_bytes(content)
    result = listed(clean)
    assert result.stdout.startswith("c ") and fine(result)
    assert clean("exec", "c", "echo", "fine") == "fine"
    assert clean("stop", "-t", "20", "c") == "c"
    assert clean("wait", "c") == "4"


def test_a_state_file_of_a_monitor_that_is_gone_names_no_process_of_somebody_else(clean: Remora) -> None:
    """A made-up pid, even that of a living process, is no container's: its start time tells."""
    container = clean("create", "--name", "c", "busybox", "true")
    folder = clean.runroot / container
    folder.mkdir(parents=True, exist_ok=True)
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        from remora.monitor import pack

        state = {"version": 1, "id": container, "name": "c", "status": "running", "pid": bystander.pid, "pid_start": 1}
        (folder / "state").write_bytes(pack(state))
        assert listed(clean).stdout == "c exited\n"
        clean.run("kill", "c", status=None)
        clean.run("stop", "-t", "0", "c", status=None)
        clean("rm", "-f", "-t", "0", "c")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


# ---- names, folders ----


def test_names_that_lead_nowhere_or_elsewhere_are_skipped_and_can_be_taken(clean: Remora) -> None:
    clean("create", "--name", "sound", "busybox", "true")
    names = clean.root / "names"
    (names / "dangling").symlink_to(f"../containers/{'a' * 64}")
    (names / "outside").symlink_to("/etc")
    (names / "file").write_text("no link")
    for name in ("dangling", "outside", "file"):
        result = clean.run("inspect", name, status=None)
        assert result.returncode == 125 and name in result.stderr and fine(result)
    result = listed(clean)
    assert result.stdout == "sound created\n" and fine(result)
    clean("create", "--name", "dangling", "busybox", "true")
    clean.run("rm", "-f", "dangling", "outside", "file", status=None)
    assert os.path.isdir("/etc")
    for name in ("outside", "file"):
        (names / name).unlink(missing_ok=True)


def test_strange_entries_in_the_folders_stop_nobody(clean: Remora) -> None:
    clean("create", "--name", "sound", "busybox", "true")
    containers = clean.root / "containers"
    (containers / "strange").mkdir()
    (containers / ("b" * 64)).write_text("a file")
    (clean.runroot / "strange").mkdir(parents=True)
    (clean.root / "images" / "strange").mkdir()
    result = listed(clean)
    assert result.stdout == "sound created\n" and fine(result)
    assert clean("start", "-a", "sound") == ""
    for path in (containers / "strange", clean.runroot / "strange", clean.root / "images" / "strange"):
        path.rmdir()
    (containers / ("b" * 64)).unlink(missing_ok=True)


@pytest.mark.parametrize("part", ["bundle", "upper", "work", "merged", "log", "exit", "etc"])
def test_a_container_with_a_part_missing_or_replaced_starts_or_says_which(clean: Remora, part: str) -> None:
    container = clean("run", "-d", "--name", "c", "busybox", "echo", "hello")
    assert clean("wait", "c") == "0"
    path = clean.root / "containers" / container / part
    subprocess.run(["rm", "-rf", str(path)], check=True)
    result = clean.run("start", "-a", "c", status=None)
    assert (result.returncode, result.stdout) == (0, "hello\n") or part in result.stderr, result.stderr
    subprocess.run(["rm", "-rf", str(path)], check=True)
    path.symlink_to("/etc/passwd")
    result = clean.run("start", "-a", "c", status=None)
    assert fine(result)
    assert result.returncode == 0 or (result.returncode == 125 and str(path.parent) in result.stderr), result.stderr
    clean("rm", "-f", "c")
    assert Path("/etc/passwd").read_text().startswith("root:")
