"""An image in use can't be deleted by anybody, whoever comes and goes at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from remora.frontend.errors import RemoraError
from remora.frontend.images import guard
from remora.frontend.images.locking import StoreLock
from remora.frontend.images.store import Store
from remora.frontend.settings import Settings
from tests.frontend.test_images_store import tool
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.conftest import Remora

DEADLINE = 60
ONE, TWO = "1" * 64, "2" * 64
IN_USE = "image is in use by a container"


class Place:
    """A store with one image, and the settings of one Remora."""

    def __init__(self, remora: Remora, image_id: str) -> None:
        self.remora = remora
        self.settings = Settings(str(remora.root), str(remora.runroot), environ=remora.environment)
        self.store = Store(self.settings)
        self.image_id = image_id
        self.folder = Path(self.store.root) / "overlay-containers"

    def entries(self) -> list[dict[str, Any]]:
        path = self.folder / "containers.json"
        found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        return found

    def delete(self) -> subprocess.CompletedProcess[str]:
        """Let skopeo delete the image."""
        return subprocess.run(
            ["skopeo", "delete", f"{self.store.configuration.transport()}@{self.image_id}"],
            env=self.remora.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )


@pytest.fixture
def place(empty_remora: Remora, busybox_tar: Path) -> Place:
    return Place(empty_remora, empty_remora("import", "-q", str(busybox_tar), "base").removeprefix("sha256:"))


def test_skopeo_refuses_to_delete_a_guarded_image_and_deletes_it_afterwards(place: Place) -> None:
    guard.acquire(place.settings, place.image_id, ONE)
    result = place.delete()
    assert result.returncode
    assert IN_USE in result.stderr
    guard.release(place.settings, place.image_id, ONE)
    assert place.delete().returncode == 0
    assert Store(place.settings).images() == []


def test_podman_and_buildah_refuse_to_delete_a_guarded_image(place: Place) -> None:
    guard.acquire(place.settings, place.image_id, ONE)
    own = guard.guard_id(place.settings, place.image_id)
    for program, status in (("podman", 2), ("buildah", 125)):
        tool(place.remora, program, "rmi", "base", status=status)
        assert tool(place.remora, program, "images", "-q") == place.image_id[:12]
    assert tool(place.remora, "podman", "image", "prune", "-af") == ""
    assert tool(place.remora, "podman", "ps", "-a", "--external", "--no-trunc", "--format", "{{.ID}} {{.Image}}") == (
        f"{own} localhost/base:latest"
    )
    guard.release(place.settings, place.image_id, ONE)
    assert tool(place.remora, "podman", "ps", "-a", "--external", "-q") == ""
    tool(place.remora, "podman", "rmi", "base")


def test_a_forced_podman_takes_guard_and_image_and_nothing_is_left_of_them(place: Place) -> None:
    guard.acquire(place.settings, place.image_id, ONE)
    tool(place.remora, "podman", "rmi", "-f", "base")
    assert place.entries() == []
    with pytest.raises(RemoraError, match="was removed"):
        guard.acquire(place.settings, place.image_id, TWO)
    guard.release(place.settings, place.image_id, ONE)
    assert os.listdir(place.settings.images) == []


def test_one_entry_serves_all_containers_until_the_last_is_gone(place: Place) -> None:
    guard.acquire(place.settings, place.image_id, ONE)
    guard.acquire(place.settings, place.image_id, TWO)
    guard.acquire(place.settings, place.image_id, TWO)
    entries = place.entries()
    assert [entry["id"] for entry in entries] == [guard.guard_id(place.settings, place.image_id)]
    assert entries[0]["image"] == place.image_id
    assert entries[0]["layer"] == ""
    assert guard.users(place.settings, place.image_id) == [ONE, TWO]
    guard.release(place.settings, place.image_id, ONE)
    guard.release(place.settings, place.image_id, ONE)
    guard.drop_if_unused(place.settings, place.image_id)
    assert place.entries() == entries
    guard.release(place.settings, place.image_id, TWO)
    assert place.entries() == []
    assert os.listdir(place.settings.images) == []


def test_two_remoras_have_a_guard_each(place: Place, tmp_path: Path) -> None:
    other = Settings(str(tmp_path / "other"), str(tmp_path / "other-run"), environ=place.remora.environment)
    guard.acquire(place.settings, place.image_id, ONE)
    guard.acquire(other, place.image_id, ONE)
    assert len(place.entries()) == 2
    guard.release(place.settings, place.image_id, ONE)
    assert [entry["id"] for entry in place.entries()] == [guard.guard_id(other, place.image_id)]
    assert IN_USE in place.remora.run("rmi", "base", status=2).stderr
    guard.release(other, place.image_id, ONE)
    place.remora.run("rmi", "base")


def test_entries_of_others_stay_as_they_are(place: Place) -> None:
    foreign = {"id": "f" * 64, "names": ["ä"], "image": "0" * 64, "layer": "x", "later": {"key": [1, 2.5, None]}}
    with StoreLock(str(place.folder), "containers", write=True) as lock:
        lock.replace(json.dumps([foreign]).encode())
    guard.acquire(place.settings, place.image_id, ONE)
    assert place.entries()[0] == foreign
    guard.release(place.settings, place.image_id, ONE)
    assert place.entries() == [foreign]


def test_a_change_is_told_by_the_last_writer_token_and_kept_private(place: Place) -> None:
    lock = place.folder / "containers.lock"
    tokens = [lock.read_bytes() if lock.exists() else b""]
    for change in (guard.acquire, guard.release):
        change(place.settings, place.image_id, ONE)
        tokens.append(lock.read_bytes())
    assert len(set(tokens)) == 3
    assert len(tokens[-1]) == 64
    path = place.folder / "containers.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in place.folder.iterdir()) == ["containers.json", "containers.lock"]


def test_an_unknown_image_leaves_nothing_behind(place: Place) -> None:
    with pytest.raises(RemoraError, match="was removed"):
        guard.acquire(place.settings, "e" * 64, ONE)
    assert place.entries() == []
    assert not (Path(place.settings.images) / ("e" * 64)).exists()


def test_a_full_disk_is_named_and_changes_nothing(place: Place) -> None:
    place.folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", place.folder], check=True)
    try:
        (place.folder / "containers.json").write_text("[]")
        try:
            (place.folder / "filler").write_bytes(b"x" * 8192)
        except OSError:
            pass
        with pytest.raises(RemoraError, match="No space left on device") as caught:
            guard.acquire(place.settings, place.image_id, ONE)
        assert str(place.folder) in caught.value.message
        assert caught.value.hint
        assert (place.folder / "containers.json").read_text() == "[]"
        assert sorted(os.listdir(place.folder)) == ["containers.json", "containers.lock", "filler"]
        assert os.listdir(place.settings.images) == []
    finally:
        subprocess.run(["umount", place.folder], check=True)


@pytest.mark.parametrize(("image", "container"), [("../x", ONE), ("e" * 64, "../../x"), ("E" * 64, ONE), ("", ONE)])
def test_ids_that_are_no_ids_never_become_paths(place: Place, image: str, container: str) -> None:
    for change in (guard.acquire, guard.release):
        with pytest.raises(RemoraError, match="64 hex digits"):
            change(place.settings, image, container)


def test_a_damaged_containers_file_is_named_and_not_overwritten(place: Place) -> None:
    place.folder.mkdir(exist_ok=True)
    path = place.folder / "containers.json"
    path.write_text("[{")
    with pytest.raises(RemoraError, match=r"containers\.json is damaged"):
        guard.acquire(place.settings, place.image_id, ONE)
    assert path.read_text() == "[{"
    assert not (Path(place.settings.images) / place.image_id).exists()


def test_a_crowd_that_comes_and_goes_never_leaves_the_image_unguarded(place: Place) -> None:
    """Six processes acquire and release over and over; each looks for the guard while it holds on."""
    script = (
        "import sys\n"
        "from remora.frontend.images import guard, configuration\n"
        "from remora.frontend.settings import Settings\n"
        "data, run, image, container = sys.argv[1:]\n"
        "settings = Settings(data, run)\n"
        "store = configuration.load(settings)\n"
        "for _ in range(60):\n"
        "    guard.acquire(settings, image, container)\n"
        "    assert guard._present(settings, store, image)\n"
        "    guard.release(settings, image, container)\n"
    )
    argv = [sys.executable, "-c", script, str(place.remora.root), str(place.remora.runroot), place.image_id]
    crowd = [
        subprocess.Popen([*argv, f"{number:064x}"], env=place.remora.environment, stderr=subprocess.PIPE)
        for number in range(6)
    ]
    try:
        for member in crowd:
            _, error = member.communicate(timeout=DEADLINE)
            assert member.returncode == 0, error.decode()
    finally:
        for member in crowd:
            member.kill()
            member.wait()
    assert place.entries() == []
    assert os.listdir(place.settings.images) == []


def test_deleting_and_acquiring_at_once_ends_with_the_one_or_the_other(place: Place, busybox_tar: Path) -> None:
    """Whoever comes first wins: a guarded image that is there, or no image, no guard and an error."""
    seen: set[bool] = set()
    for number in range(12):
        container = f"{number:064x}"
        deleter = subprocess.Popen(
            ["skopeo", "delete", f"{place.store.configuration.transport()}@{place.image_id}"],
            env=place.remora.environment,
            stderr=subprocess.PIPE,
        )
        if number % 2:  # half of the time the deleter is nearly done
            eventually(lambda running=deleter: _started(running), "skopeo starts")  # type: ignore[misc]
        try:
            guard.acquire(place.settings, place.image_id, container)
            acquired = True
        except RemoraError:
            acquired = False
        _, error = deleter.communicate(timeout=DEADLINE)
        deleted = deleter.returncode == 0
        assert acquired != deleted, error.decode()
        assert bool(Store(place.settings).images()) == acquired
        assert bool(place.entries()) == acquired
        seen.add(acquired)
        guard.release(place.settings, place.image_id, container)
        if deleted:
            place.remora("import", "-q", str(busybox_tar), "base")
    assert True in seen


def _started(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has a lock file of a store open, or had."""
    folder = f"/proc/{process.pid}/fd"
    try:
        return process.poll() is not None or any(
            os.readlink(f"{folder}/{fd}").endswith(".lock") for fd in os.listdir(folder)
        )
    except OSError:
        return True


def test_a_lock_held_by_another_program_is_waited_for(place: Place) -> None:
    script = (
        "import fcntl, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)\n"
        "fcntl.lockf(fd, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    place.folder.mkdir(exist_ok=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(place.folder / "containers.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        waiter = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys\nfrom remora.frontend.images import guard\nfrom remora.frontend.settings import Settings\n"
                "guard.acquire(Settings(sys.argv[1]), sys.argv[2], sys.argv[3])\n",
                str(place.remora.root),
                place.image_id,
                ONE,
            ],
            env=place.remora.environment,
        )
        eventually(lambda: _blocked(waiter.pid), "the waiter blocks on the lock")
        assert place.entries() == []
        holder.stdin.close()
        assert waiter.wait(DEADLINE) == 0
        assert len(place.entries()) == 1
    finally:
        holder.kill()
        holder.wait()


def _blocked(pid: int) -> bool:
    """Whether /proc/locks has this process waiting for one."""
    return any("->" in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


def test_a_running_container_guards_its_image_and_its_end_lets_go(
    place: Place, wait_for_no_guard: Callable[[Place], None]
) -> None:
    remora = place.remora
    remora("run", "-d", "--rm", "--network", "none", "--name", "holder", "base", "/bin/sleep", "100")
    assert IN_USE in place.delete().stderr
    assert IN_USE in remora.run("rmi", "base", status=2).stderr
    assert remora("images", "--format", "{{.Containers}}") == "1"
    remora("kill", "holder")
    wait_for_no_guard(place)
    remora("rmi", "base")


def test_forcing_removes_the_containers_first(place: Place) -> None:
    remora = place.remora
    remora("run", "-d", "--network", "none", "base", "/bin/sleep", "100")
    remora("create", "--network", "none", "base", "/bin/true")
    assert remora("rmi", "-f", "base") == f"Untagged: localhost/base:latest\nDeleted: {place.image_id}"
    assert remora("ps", "-aq") == ""
    assert place.entries() == []


@pytest.fixture
def wait_for_no_guard() -> Callable[[Place], None]:
    """The monitor drops the guard of a --rm container; there is no event for that."""

    def wait(place: Place) -> None:
        eventually(lambda: not place.entries(), "the guard goes")

    return wait
