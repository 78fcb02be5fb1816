"""User namespaces of containers with another runtime, with bridge networks, and where layers can't be mapped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host
from tests.support.bridge_host import bridge_host
from tests.support.commands import SLEEP, said, state
from tests.support.disk import Disk
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually

FIRST = 1200000
MAP = ("--uidmap", f"0:{FIRST}:65536")
GROUP = 54321
# crun refuses hybrid cgroups; without the unified part it works.
FOR_CRUN = "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified"
CRUN = ("--runtime", "crun")

needs_crun = pytest.mark.skipif(shutil.which("crun") is None, reason="crun is not installed")


@pytest.fixture(scope="module")
def somebody(busybox_tar: Path) -> Iterator[Person]:
    with Village() as village:
        made = village.person("carol")
        import_image(made, busybox_tar)
        village.root("groupadd", "-g", str(GROUP), "friends")
        village.root("usermod", "-aG", "friends", "carol")
        yield made.altered(FOR_CRUN)


@pytest.fixture
def carol(somebody: Person) -> Iterator[Person]:
    with staying(somebody) as person:
        yield person


@needs_crun
def test_with_crun_a_map_is_the_same(remora: Remora) -> None:
    remora.prefix = ["unshare", "-m", "sh", "-c", f'{FOR_CRUN}; exec "$@"', "sh"]
    remora("run", "-d", "--name", "one", *CRUN, *MAP, "--tmpfs", "/t", *SLEEP)
    script = "cat /proc/self/uid_map; stat -c %u /bin/busybox /etc/hosts /t; touch /x; echo out >/dev/stdout"
    output = remora("exec", "one", "sh", "-c", script).split()
    assert output == ["0", str(FIRST), "65536", "0", "0", "0", "out"]
    assert os.stat(f"/proc/{state(remora, 'one', 'Pid')}").st_uid == FIRST
    remora("rm", "-f", "-t", "0", "one")


@needs_crun
@pytest.mark.parametrize("mode", ["keep-id", "nomap", "auto"])
def test_with_crun_users_have_every_mode(carol: Person, mode: str) -> None:
    script = "id -u; stat -c %u /bin/busybox /etc/hosts; touch /tmp/x 2>&1 || mkdir /tmp 2>&1"
    rows = carol("run", "--rm", *CRUN, "--userns", mode, "--user", "0", "busybox", "sh", "-c", script).splitlines()
    assert rows[:3] == ["0", "0", "0"]


@needs_crun
@pytest.mark.parametrize("mode", ["host", "keep-id"])
def test_the_callers_groups_may_be_kept(carol: Person, mode: str) -> None:
    folder = carol.home / "shared"
    folder.mkdir()
    try:
        (folder / "file").write_text("of friends")
        os.chown(folder / "file", 0, GROUP)
        (folder / "file").chmod(0o640)
        words = ("run", "--rm", *CRUN, "--userns", mode, "-v", f"{folder}:/s:ro")
        assert carol(*words, "--group-add", "keep-groups", "busybox", "cat", "/s/file") == "of friends"
        result = carol.run(*words, "busybox", "cat", "/s/file", status=1)
        assert "Permission denied" in result.stderr
        assert carol(*words, "--group-add", "keep-groups", "busybox", "id", "-G").split().count("65534") == 1
    finally:
        shutil.rmtree(folder)


def test_runc_can_not_keep_groups_and_says_so(carol: Person) -> None:
    words = ("run", "--rm", "--runtime", "runc", "--group-add", "keep-groups", "busybox", "true")
    assert "--group-add keep-groups: the runtime runc can't keep groups (use --runtime crun)" in said(carol, *words)


def test_a_bridge_belongs_to_the_containers_namespace(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, storage_conf: Path
) -> None:
    with bridge_host(tmp_path_factory.mktemp("host")) as machine:
        remora = machine.remora(tmp_path / "remora", storage_conf)
        try:
            script = (
                "ip -o -4 addr show eth0; ip link set eth0 mtu 1400 && ip link show eth0; ls -d /sys/class/net/eth0"
            )
            words = ("run", "--rm", *MAP, "--network", "bridge", "--cap-add", "NET_ADMIN", "busybox")
            output = remora(*words, "sh", "-c", script)
            assert "inet 10.88." in output and "mtu 1400" in output and "/sys/class/net/eth0" in output
            remora("run", "-d", "--name", "one", *MAP, "--network", "bridge", *SLEEP)
            assert remora("exec", "one", "cat", "/proc/self/uid_map").split() == ["0", str(FIRST), "65536"]
            remora("restart", "-t", "0", "one")
            assert "inet 10.88." in remora("exec", "one", "ip", "-o", "-4", "addr", "show", "eth0")
        finally:
            remora.clear()
        machine.assert_nothing_left(remora)


def over_the_store(storage_conf: Path, folder: Path) -> list[str]:
    """Words that make layers which can't be mapped: an overlay of the store knows no mapped mounts of itself."""
    store = storage_conf.parent / "storage"
    for name in ("upper", "work"):
        (folder / name).mkdir()
    layers = f"lowerdir={store},upperdir={folder}/upper,workdir={folder}/work"
    script = f'mount -t overlay store -o {layers} {store} && exec "$@"'
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]


def test_layers_that_can_not_be_mapped_are_copied_once(remora: Remora, storage_conf: Path, tmp_path: Path) -> None:
    remora.prefix = over_the_store(storage_conf, tmp_path)
    files = "stat -c %u:%g / /bin/busybox; touch /x; chown 5:6 /x; stat -c %u:%g /x"
    remora("run", "--name", "one", *MAP, "busybox", "sh", "-c", files)
    assert remora("logs", "one").splitlines() == ["0:0", "0:0", "5:6"]
    (copy,) = (name for name in host.below(remora.root / "shifted") if name != "lock")
    status = (remora.root / "shifted" / copy / "root/bin/busybox").stat()
    assert (status.st_uid, status.st_gid) == (FIRST, FIRST)
    remora("run", "-d", "--rm", "--name", "two", *MAP, *SLEEP)
    remora("rm", "one")
    assert host.below(remora.root / "shifted" / copy / "users") == [remora("inspect", "-f", "{{.Id}}", "two")]
    remora("stop", "-t", "0", "two")
    eventually(lambda: host.below(remora.root / "shifted") == ["lock"], "the copy goes with its last container")


def test_without_room_for_the_copy_the_start_says_so_and_leaves_nothing(
    remora: Remora, storage_conf: Path, tmp_path: Path
) -> None:
    remora.prefix = over_the_store(storage_conf, tmp_path)
    with Disk(tmp_path / "disk") as disk:
        remora.environment["REMORA_ROOT"] = str(disk.path / "data")
        remora.root = disk.path / "data"
        disk.fill(leave=100)
        assert "No space left on device" in said(remora, "run", "--rm", *MAP, "busybox", "true")
        assert host.below(remora.root / "shifted") == ["lock"]
        assert host.leftovers(remora, set()) == {}
        disk.free()
        assert remora("run", "--rm", *MAP, "busybox", "id", "-u") == "0"
