"""Full disks: at every step of a start one line says so and nothing is left; an exit code is never lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.disk import Disk
from tests.support.waiting import eventually


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with Disk(tmp_path / "disk") as small:
        yield small


def says_full(result: subprocess.CompletedProcess[str]) -> bool:
    """Whether it failed for want of space, in one line; False when it succeeded."""
    if result.returncode == 0:
        assert result.stderr == "", result.stderr
        return False
    assert result.returncode == 125, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: "), result.stderr
    assert "no space left on device" in lines[0].lower() or "disk quota" in lines[0].lower(), lines[0]
    return True


def start_with_ever_more_room(remora: Remora, leave: Callable[[int], None], *options: str, most: int) -> int:
    """Start a container with 0, 1, 2 … units of room until it succeeds; how often it failed."""
    for units in range(most):
        leave(units)
        full = says_full(remora.run("run", *options, "--name", "c", "busybox", "true", status=None))
        ids = host.known_ids(remora)
        if "--rm" not in options:
            # It may have got as far as a container that can be looked at; removing it needs no room.
            remora.run("rm", "-f", "c")
        host.assert_nothing_left(remora, ids)
        if not full:
            return units
    raise AssertionError(f"no start succeeded with {most} units of room")


@pytest.mark.parametrize("options", [["-d"], ["--rm"]], ids=["-d", "--rm"])
@pytest.mark.parametrize("what", ["pages", "inodes"])
@pytest.mark.parametrize("where", ["data", "run"])
def test_a_start_without_room_at_any_step_says_so_and_leaves_nothing(
    disk: Disk, remora: Remora, where: str, what: str, options: list[str]
) -> None:
    remora.environment["REMORA_ROOT" if where == "data" else "REMORA_RUNROOT"] = str(disk.path / where)
    if where == "data":
        remora.root = disk.path / where
    else:
        remora.runroot = disk.path / where
    remora("run", "--rm", "busybox", "true")  # the runtime is chosen
    failures = start_with_ever_more_room(remora, disk.fill if what == "pages" else disk.use_inodes, *options, most=60)
    assert failures >= (2 if where == "run" and what == "pages" else 3)
    disk.free()


def test_a_disk_that_fills_up_while_a_container_runs_costs_log_lines_but_no_exit_code(
    disk: Disk, remora: Remora, tmp_path: Path
) -> None:
    remora.environment["REMORA_ROOT"] = str(disk.path / "data")
    remora.root = disk.path / "data"
    script = (
        "echo before; until [ -e /sync/1 ]; do echo tick; sleep 0.02; done; seq 100000 110000; echo full;"
        "until [ -e /sync/2 ]; do sleep 0.02; done; echo after; exit 7"
    )
    sync = tmp_path / "sync"
    sync.mkdir()
    remora("run", "-d", "--name", "c", "-v", f"{sync}:/sync", "busybox", "sh", "-c", script)
    attached = remora.popen("attach", "--no-stdin", "c")
    assert attached.stdout is not None
    eventually(lambda: "before" in remora("logs", "c"), "the first line is logged")
    assert attached.stdout.readline() == b"tick\n", "it is attached"
    disk.fill()
    (sync / "1").touch()
    # What a client sees has been offered to the log before.
    for line in attached.stdout:
        if line == b"full\n":
            break
    disk.free()
    (sync / "2").touch()
    assert attached.stdout.read() == b"after\n"
    assert attached.wait(30) == 7
    assert remora("wait", "c") == "7"
    logs = remora.run("logs", "c")
    assert logs.stdout.startswith("before\n") and logs.stdout.endswith("after\n")
    assert "bytes of output were not logged: No space left on device" in logs.stderr
    remora("rm", "c")
    host.assert_nothing_left(remora, host.known_ids(remora))


def test_with_data_and_run_folder_full_the_exit_code_is_recorded_and_the_container_removable(
    disk: Disk, remora: Remora, tmp_path: Path
) -> None:
    remora.root, remora.runroot = disk.path / "data", disk.path / "run"
    remora.environment |= {"REMORA_ROOT": str(remora.root), "REMORA_RUNROOT": str(remora.runroot)}
    sync = tmp_path / "sync"
    sync.mkdir()
    words = ["-v", f"{sync}:/sync", "busybox", "sh", "-c", "until [ -e /sync/1 ]; do sleep 0.02; done; exit 42"]
    remora("run", "-d", "--name", "c", *words)
    remora("run", "-d", "--name", "removed", "--rm", *words)
    waiting = remora.popen("wait", "c", "removed")
    disk.fill()
    disk.use_inodes()
    assert remora("ps", "--format", "{{.Names}}").split() == ["c", "removed"]
    (sync / "1").touch()
    out, _ = waiting.communicate(timeout=30)
    assert out == b"42\n42\n"
    assert remora("inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", "c") == "42 exited"
    remora("rm", "c")
    disk.free()
    host.assert_nothing_left(remora, host.known_ids(remora))


# ---- the image store ----


def entries(store: Path) -> set[str]:
    """Ids of a store's images and layers. (Folders without a record, which skopeo may leave, are its own to clear.)"""
    return {entry["id"] for path in store.glob("overlay-*/*.json") for entry in json.loads(path.read_text())}


@pytest.fixture
def small_store(disk: Disk, empty_remora: Remora) -> Remora:
    """An image store of its own on the small disk."""
    conf = disk.path.parent / "small.conf"
    conf.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{disk.path}/store"\nrunroot = "{disk.path}/store-run"\n'
    )
    empty_remora.environment["CONTAINERS_STORAGE_CONF"] = str(conf)
    return empty_remora


def test_an_import_without_room_says_so_and_its_repetition_makes_up_for_what_it_left(
    small_store: Remora, disk: Disk, busybox_tar: Path
) -> None:
    """skopeo may leave an image without a name when the last of its steps finds no room: the next try takes it over."""
    small_store("import", str(busybox_tar), "first")
    for leave in (0, 1, 4, 64, 400):
        disk.fill(leave)
        result = small_store.run("import", "-c", "ENV A=B", str(busybox_tar), "repeated", status=None)
        if result.returncode == 0:  # the layer is there already, so that little room is enough
            assert leave > 1
            disk.free()
            break
        assert result.returncode == 125
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error")]
        assert len(lines) == 1 and "no space left on device" in lines[0].lower(), result.stderr
        assert "Traceback" not in result.stderr
        disk.free()
        assert "localhost/repeated" not in small_store("images")
        small_store("run", "--rm", "first", "true")
    small_store("import", "-c", "ENV A=B", str(busybox_tar), "repeated")
    small_store("rmi", "first", "repeated")
    assert entries(disk.path / "store") == set()


def test_with_a_full_store_a_container_that_cannot_be_guarded_is_refused_and_one_that_is_can_go(
    small_store: Remora, disk: Disk, busybox_tar: Path
) -> None:
    small_store("import", str(busybox_tar), "busybox")
    small_store("run", "--rm", "busybox", "true")
    disk.fill()
    disk.use_inodes()
    assert says_full(small_store.run("run", "-d", "--name", "c", "busybox", "true", status=None))
    host.assert_nothing_left(small_store, host.known_ids(small_store))
    disk.free()
    small_store("run", "-d", "--name", "c", "busybox", "true")
    assert small_store("wait", "c") == "0"
    disk.fill()
    disk.use_inodes()
    small_store("rm", "c")
    disk.free()
    # Whatever could not be written then is made good by the next command that looks at the store.
    small_store("run", "--rm", "busybox", "true")
    host.assert_nothing_left(small_store, host.known_ids(small_store))
    small_store("rmi", "busybox")
