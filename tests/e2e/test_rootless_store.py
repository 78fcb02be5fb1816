"""An ordinary user's image store: native overlay or fuse-overlayfs, shared with Podman or told that it is not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_rootless import layered_image
from tests.support import host
from tests.support.commands import said, state
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually

FUSE = (
    "mount -t tmpfs -o mode=755 fuse /run",
    "mknod -m 666 /run/fuse c 10 229",
    "mount --bind /run/fuse /dev/fuse",
)


@pytest.fixture(scope="module")
def village() -> Iterator[Village]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as made:
        yield made


@pytest.fixture
def alice(village: Village, request: pytest.FixtureRequest) -> Iterator[Person]:
    """A new user for each test, for each looks at an empty store."""
    with staying(village.person("u" + re.sub("[^a-z]", "", request.node.name)[-20:])) as person:
        yield person


def fuse_processes(person: Person) -> list[int]:
    return [pid for pid in person.processes() if "fuse-overlayfs" in " ".join(host.command_line(pid))]


def storage_conf(person: Person, text: str) -> None:
    path = person.home / ".config/containers/storage.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for folder in (path, path.parent, path.parent.parent):
        os.chown(folder, person.uid, person.uid)


def test_the_kernel_mounts_the_overlay_where_it_can(alice: Person, busybox_tar: Path) -> None:
    import_image(alice, busybox_tar)
    assert alice("info", "--format", "{{.store.images.overlay}}") == "native"
    assert alice("info", "--format", "{{.store.images.graphRoot}}") == str(alice.store)
    result = alice("run", "--rm", "busybox", "sh", "-c", "grep ' / ' /proc/mounts")
    assert result.split()[2] == "overlay" and "userxattr" in result


def test_fuse_overlayfs_is_used_where_the_settings_say_so_and_ends_with_the_container(
    alice: Person, busybox_tar: Path
) -> None:
    program = "/usr/bin/fuse-overlayfs"
    storage_conf(alice, f'[storage]\ndriver = "overlay"\n[storage.options.overlay]\nmount_program = "{program}"\n')
    fused = alice.altered(*FUSE)
    import_image(fused, busybox_tar)
    assert fused("info", "--format", "{{.store.images.overlay}}") == program
    fused("run", "-d", "--name", "one", "busybox", "sh", "-c", "grep ' / ' /proc/mounts; echo x >/x; exec sleep 1000")
    eventually(lambda: "fuse-overlayfs" in fused("logs", "one"), "the root is of fuse-overlayfs")
    assert len(fuse_processes(alice)) == 1
    assert fused("exec", "one", "cat", "/x") == "x"
    fused("stop", "-t", "0", "one")
    eventually(lambda: not fuse_processes(alice), "fuse-overlayfs ends with the container")
    assert fused.run("start", "one").returncode == 0
    fused("rm", "-f", "-t", "0", "one")
    eventually(lambda: not fuse_processes(alice), "fuse-overlayfs ends with the container")
    image = layered_image(fused)
    assert fused("run", "--rm", image, "sh", "-c", "ls /opaque; stat -c %u:%g /owned").split() == ["new", "1234:4321"]
    host.kill_monitor(start(fused))
    fused("rm", "-f", "-t", "0", "killed")
    eventually(lambda: not fuse_processes(alice), "fuse-overlayfs ends with the container")


def start(person: Person) -> int:
    person("run", "-d", "--name", "killed", "busybox", "sleep", "1000")
    return int(person("inspect", "-f", "{{.State.ConmonPid}}", "killed"))


# The kernel takes no overlay as the upper folder of another.
ON_OVERLAY = (
    "mount -t tmpfs tmp /mnt",
    "mkdir /mnt/low /mnt/up /mnt/work",
    "chown {uid}:{uid} /mnt/low /mnt/up",
    "mount -t overlay home -o lowerdir=/mnt/low,upperdir=/mnt/up,workdir=/mnt/work {home}",
)


def test_where_the_kernel_refuses_fuse_overlayfs_stands_in_and_else_is_asked_for(
    alice: Person, busybox_tar: Path
) -> None:
    script = [line.format(uid=alice.uid, home=alice.home) for line in ON_OVERLAY]
    script += ["chmod 700 /mnt/up", *FUSE]
    run = 'set -e; remora import -q -c "ENV PATH=/bin" - busybox; '
    run += 'remora run --rm --network none busybox grep " / " /proc/mounts; '
    run += 'remora info --format "{{.store.images.overlay}}: {{.store.images.overlayReason}}"'
    fused = alice.altered(*script)
    lines = fused.do("sh", "-c", run, input=busybox_tar.read_bytes()).splitlines()
    assert "fuse-overlayfs" in lines[1]
    assert lines[2].startswith("fuse-overlayfs: the kernel refuses")
    eventually(lambda: not fuse_processes(alice), "fuse-overlayfs ends with the container")
    bare = alice.altered(*script, "mount --bind /dev/null /usr/bin/fuse-overlayfs")
    line = said(bare, "pull", "-q", "127.0.0.1:1/nothing:here")
    assert "the kernel refuses" in line and "`sudo apt-get install fuse-overlayfs`" in line


def test_podman_shares_the_store_once_it_has_the_setting_that_info_offers(alice: Person, busybox_tar: Path) -> None:
    import_image(alice, busybox_tar)
    offered = alice("info", "--format", "{{.store.images.podman}}")
    found = re.search(r"put `(driver = [^`]*)` under `(\[storage\])` into (\S+)", offered)
    assert found, offered
    storage_conf(alice, f"{found[2]}\n{found[1]}\n")
    assert str(alice.home / ".config/containers/storage.conf") == found[3]
    assert "shares this store" in alice("info", "--format", "{{.store.images.podman}}")
    listed = alice.do("podman", "--cgroup-manager=cgroupfs", "images", "--format", "{{.Repository}}")
    pause(alice)
    assert listed.split() == ["localhost/busybox"]
    alice("create", "--name", "user", "busybox", "true")
    alice.do("podman", "--cgroup-manager=cgroupfs", "rmi", "busybox", status=2)
    pause(alice)


def test_a_store_of_podmans_own_is_told_once(alice: Person, busybox_tar: Path) -> None:
    alice.do(
        "podman",
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "import",
        "-",
        "other",
        input=busybox_tar.read_bytes(),
    )
    pause(alice)
    first = alice.run("run", "--rm", "other", "true", status=125)
    assert first.stderr.startswith("Warning: Podman has images of this user with the driver vfs")
    assert "storage.conf" in first.stderr and "(said once)" in first.stderr
    assert said(alice, "run", "--rm", "other", "true").startswith("Error: ")
    assert "has a store of its own with the driver vfs" in alice("info", "--format", "{{.store.images.podman}}")


def pause(person: Person) -> None:
    """End the process that Podman leaves behind."""
    path = person.runtime / "libpod/tmp/pause.pid"
    if path.exists():
        host.send(int(path.read_text()), 9)
        eventually(lambda: not person.processes(), "Podman's process ends")


def test_a_vfs_store_in_the_settings_is_refused_by_file(alice: Person) -> None:
    storage_conf(alice, '[storage]\ndriver = "vfs"\n')
    line = said(alice, "run", "--rm", "busybox", "true")
    assert 'storage driver "vfs"' in line and str(alice.home / ".config/containers/storage.conf") in line


def test_limits_that_a_user_cannot_set_are_told_once_by_name(alice: Person, busybox_tar: Path) -> None:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("with the unified hierarchy this depends on what is delegated")
    import_image(alice, busybox_tar)
    limits = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "100", "--cpuset-cpus", "0")
    result = alice.run("run", "--name", "limited", *limits, "busybox", "echo", "runs")
    assert result.stdout == "runs\n"
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Warning: --memory, --pids-limit, --cpus, --cpuset-cpus left out: with cgroups v1")
    assert alice.run("start", "-a", "limited").stderr == ""
    assert alice.run("run", "--rm", "busybox", "true").stderr == ""
    assert state(alice, "limited", "ExitCode") == "0"


UNIFIED = (
    "umount -R /sys/fs/cgroup",
    "mount -t cgroup2 cgroup /sys/fs/cgroup",
    "mkdir -p /sys/fs/cgroup/remora-test-{uid}/shell",
    "chown -R {uid} /sys/fs/cgroup/remora-test-{uid}",
    "echo $$ >/sys/fs/cgroup/remora-test-{uid}/shell/cgroup.procs",
)


def test_a_delegated_part_of_the_unified_hierarchy_is_used(alice: Person, busybox_tar: Path) -> None:
    """Delegated by hand, without systemd; what controllers it lacks is told by name."""
    import_image(alice, busybox_tar)
    delegated = alice.altered(*(line.format(uid=alice.uid) for line in UNIFIED))
    folder = f"remora-test-{alice.uid}"
    try:
        script = """
        remora run -d --name one --memory 64m busybox sleep 1000
        cat "/proc/$(remora inspect -f "{{.State.Pid}}" one)/cgroup"
        remora pause one; remora inspect -f {{.State.Status}} one
        remora unpause one; remora rm -f -t 0 one
        """
        lines = delegated.do("sh", "-c", script)
        identity = lines.split()[0]
        assert f"/{folder}/remora/{identity}" in lines
        assert "\npaused\n" in lines
    finally:
        for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            found = [Path(at) for at, _, _ in os.walk(f"{root}/{folder}", topdown=False)]
            for path in found:
                path.rmdir()
