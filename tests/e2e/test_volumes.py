"""Volumes: made by name or on the way, filled from the image, shared, kept as long as somebody uses them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, Remora
from tests.support.commands import SLEEP, said
from tests.support.waiting import eventually


def volumes(remora: Remora) -> list[str]:
    return remora("volume", "ls", "-q").split()


def place(remora: Remora, name: str) -> Path:
    return Path(remora("volume", "inspect", "-f", "{{.Mountpoint}}", name))


@pytest.fixture
def data_image(empty_remora: Remora, tmp_path: Path, busybox_tar: Path) -> Remora:
    """A store with an image `data` that has files in /data and a volume there, and one in a folder it lacks."""
    more = tmp_path / "more"
    (more / "data/sub").mkdir(parents=True)
    (more / "data/one").write_text("from the image")
    os.link(more / "data/one", more / "data/two")
    os.symlink("one", more / "data/link")
    (more / "data/sub/deep").write_text("deep")
    for path in (more / "data", more / "data/one", more / "data/sub"):
        os.chown(path, 1234, 5678)
    (more / "data").chmod(0o2750)
    tar = tmp_path / "image.tar"
    tar.write_bytes(busybox_tar.read_bytes())
    subprocess.run(["tar", "-rf", tar, "-C", more, "data"], check=True, timeout=DEADLINE)
    changes = ("-c", "ENV PATH=/bin:/usr/bin", "-c", "VOLUME /data", "-c", "VOLUME /lacks")
    empty_remora("import", "-q", *changes, str(tar), "data")
    return empty_remora


def test_a_volume_is_made_listed_inspected_and_removed(remora: Remora) -> None:
    assert remora("volume", "create", "--label", "site=web", "--label", "empty", "one") == "one"
    assert remora("volume", "create", "two") == "two"
    assert remora("volume", "ls").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME"]
    assert [line.split() for line in remora("volume", "ls", "-n").splitlines()] == [["local", "one"], ["local", "two"]]
    assert remora("volume", "ls", "--format", "{{.Name}}:{{.Labels.site}}").splitlines()[0] == "one:web"
    (found,) = json.loads(remora("volume", "inspect", "one"))
    assert found["Labels"] == {"site": "web", "empty": ""} and found["Driver"] == found["Scope"] == "local"
    assert found["Mountpoint"] == str(remora.root / "volumes/one/_data") and os.path.isdir(found["Mountpoint"])
    remora.run("volume", "exists", "one", status=0)
    assert remora("volume", "rm", "one") == "one"
    remora.run("volume", "exists", "one", status=1)
    assert volumes(remora) == ["two"]
    assert "no such volume" in said(remora, "volume", "rm", "one", status=1)
    remora("volume", "rm", "--force", "one")
    assert "already exists" in said(remora, "volume", "create", "two")
    assert remora("volume", "create", "--ignore", "two") == "two"
    remora("volume", "rm", "--all")
    assert volumes(remora) == []


def test_filters_choose_volumes(remora: Remora) -> None:
    remora("volume", "create", "--label", "a=1", "first")
    remora("volume", "create", "--label", "a=2", "second")
    remora("create", "-v", "first:/x", "busybox")

    def chosen(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return remora("volume", "ls", "-q", *words).split()

    assert chosen("label=a") == ["first", "second"]
    assert chosen("label=a=2") == ["second"]
    assert chosen("label!=a=2") == ["first"]
    assert chosen("name=sec") == ["second"]
    assert chosen("dangling=true") == ["second"]
    assert chosen("dangling=false", "label=a") == ["first"]
    assert chosen("since=first") == ["second"]
    assert chosen("driver=nfs") == []
    assert "invalid filter" in said(remora, "volume", "ls", "--filter", "colour=red")


def test_files_in_a_named_volume_outlive_containers_and_are_shared(remora: Remora) -> None:
    remora("run", "--rm", "-v", "shared:/x", "busybox", "sh", "-c", "echo kept >/x/file")
    assert remora("run", "--rm", "-v", "shared:/y:ro", "busybox", "cat", "/y/file") == "kept"
    refused = remora.run("run", "--rm", "-v", "shared:/y:ro", "busybox", "touch", "/y/more", status=1)
    assert "Read-only" in refused.stderr
    mount = "type=volume,source=shared,target=/z,readonly"
    assert remora("run", "--rm", "--mount", mount, "busybox", "cat", "/z/file") == "kept"
    assert (place(remora, "shared") / "file").read_text() == "kept\n"
    remora("run", "-d", "--name", "writer", "-v", "shared:/x", *SLEEP)
    remora("exec", "writer", "sh", "-c", "echo now >/x/file")
    assert remora("run", "--rm", "-v", "shared:/x", "busybox", "cat", "/x/file") == "now"
    (mounted,) = json.loads(remora("inspect", "writer"))[0]["Mounts"]
    assert (mounted["Type"], mounted["Name"], mounted["Destination"]) == ("volume", "shared", "/x")
    assert mounted["Source"] == str(place(remora, "shared")) and mounted["RW"] is True


def test_a_volume_in_use_is_not_removed(remora: Remora) -> None:
    remora("create", "--name", "user", "-v", "used:/x", "busybox")
    assert "user" in said(remora, "volume", "rm", "used", status=2)
    assert remora("volume", "prune", "--force", "--all") == ""
    assert volumes(remora) == ["used"]
    assert remora("volume", "inspect", "-f", "{{.MountCount}}", "used") == "1"
    remora("rm", "-v", "user")
    assert volumes(remora) == ["used"]
    remora("create", "--name", "user", "-v", "used:/x", "busybox")
    remora("volume", "rm", "--force", "used")
    assert volumes(remora) == [] and remora("ps", "-aq") == ""


def test_anonymous_volumes_go_with_rm_v_and_with_rm(remora: Remora) -> None:
    remora("run", "--name", "kept", "-v", "/x", "busybox", "touch", "/x/file")
    (name,) = volumes(remora)
    assert len(name) == 64 and os.listdir(place(remora, name)) == ["file"]
    assert remora("volume", "inspect", "-f", "{{.Anonymous}}", name) == "true"
    remora("start", "-a", "kept")
    remora("rm", "-v", "kept")
    assert volumes(remora) == []
    remora("run", "--name", "left", "-v", "/x", "busybox", "true")
    remora("rm", "left")
    (name,) = volumes(remora)
    remora("volume", "create", "named")
    assert remora("volume", "prune", "--force") == name
    assert volumes(remora) == ["named"]
    remora("run", "--rm", "-v", "/x", "busybox", "true")
    assert volumes(remora) == ["named"]
    assert remora("volume", "prune", "--force", "--all") == "named"


def test_the_monitor_removes_the_anonymous_volumes_of_a_detached_container(remora: Remora) -> None:
    remora("run", "-d", "--rm", "--name", "gone", "-v", "/x", "-v", "stays:/y", *SLEEP)
    assert len(os.listdir(remora.root / "volumes")) == 2
    remora("kill", "gone")
    eventually(lambda: os.listdir(remora.root / "volumes") == ["stays"], "the anonymous volume goes with its container")


def test_a_container_that_cannot_be_made_or_started_leaves_no_anonymous_volume(remora: Remora) -> None:
    remora.run("run", "--rm", "-v", "/x", "busybox", "nothing-there", status=127)
    assert os.listdir(remora.root / "volumes") == []
    remora("create", "--name", "taken", "busybox")
    remora.run("create", "--name", "taken", "-v", "/x", "busybox", status=125)
    assert os.listdir(remora.root / "volumes") == []


def test_an_empty_volume_gets_what_the_image_has_there(data_image: Remora) -> None:
    script = "cat /data/link /data/sub/deep; stat -c %u:%g:%a:%h /data /data/one"
    first = data_image("run", "--rm", "-v", "filled:/data", "data", "sh", "-c", script).splitlines()
    assert first[:1] == ["from the imagedeep1234:5678:2750:3"] and first[1].endswith(":2")
    folder = place(data_image, "filled")
    assert sorted(os.listdir(folder)) == ["link", "one", "sub", "two"]
    assert os.stat(folder / "one").st_ino == os.stat(folder / "two").st_ino
    data_image("run", "--rm", "-v", "filled:/data", "data", "sh", "-c", "rm -r /data/*")
    assert data_image("run", "--rm", "-v", "filled:/data", "data", "ls", "/data") == ""
    assert data_image("run", "--rm", "-v", "bare:/data:nocopy", "data", "ls", "/data") == ""
    assert (os.stat(place(data_image, "bare")).st_uid, os.stat(place(data_image, "bare")).st_gid) == (1234, 5678)
    own = data_image("run", "--rm", "-u", "77:88", "-v", "new:/new/place", "data", "stat", "-c", "%u:%g", "/new/place")
    assert own == "77:88"


def test_volumes_of_the_image_are_anonymous_ones(data_image: Remora) -> None:
    data_image("run", "--name", "one", "data", "sh", "-c", "echo >/data/mine; echo >/lacks/mine")
    (inspected,) = json.loads(data_image("inspect", "one"))
    assert sorted(item["Destination"] for item in inspected["Mounts"]) == ["/data", "/lacks"]
    assert {item["Type"] for item in inspected["Mounts"]} == {"volume"}
    assert len(volumes(data_image)) == 2
    upper = data_image.root / "containers" / inspected["Id"] / "upper"
    assert not (upper / "data/mine").exists()
    data_image("rm", "-v", "one")
    assert volumes(data_image) == []
    script = "grep -c ' /data ' /proc/self/mountinfo || true"
    assert data_image("run", "--rm", "--image-volume", "ignore", "data", "sh", "-c", script) == "0"
    script = "ls /data; grep ' /data ' /proc/self/mountinfo | grep -c tmpfs"
    assert data_image("run", "--rm", "--image-volume=tmpfs", "data", "sh", "-c", script).splitlines()[-1] == "1"


def test_a_missing_volume_is_named_at_the_start(remora: Remora) -> None:
    remora("create", "--name", "one", "-v", "gone:/x", "busybox", "true")
    subprocess.run(["rm", "-r", remora.root / "volumes/gone"], check=True)
    assert "remora volume create gone" in said(remora, "start", "one")
    remora("volume", "create", "gone")
    remora("start", "-a", "one")


def test_a_folder_of_the_host_as_a_volume(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    options = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={tmp_path}/site")
    remora("volume", "create", *options, "site")
    remora("run", "--rm", "-v", "site:/x", "busybox", "touch", "/x/file")
    assert os.listdir(tmp_path / "site") == ["file"]
    remora("volume", "rm", "site")
    assert os.listdir(tmp_path / "site") == ["file"]
    assert "no such file" in said(remora, "volume", "create", "--opt", "o=bind", "--opt", "device=/nowhere/x", "bad")
    assert "colour" in said(remora, "volume", "create", "--opt", "colour=red", "bad")


def test_a_tmpfs_as_a_volume_keeps_nothing(remora: Remora) -> None:
    remora("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m,mode=0700", "memory")
    script = "df -k /x | tail -1; stat -c %a /x; touch /x/file"
    line, mode = remora("run", "--rm", "-v", "memory:/x", "busybox", "sh", "-c", script).splitlines()
    assert line.split()[:2] == ["tmpfs", "1024"] and mode == "700"
    assert remora("run", "--rm", "-v", "memory:/x", "busybox", "ls", "/x") == ""
    assert "only in containers that run" in said(remora, "volume", "export", "-o", "/dev/null", "memory")
    assert "nfs" in said(remora, "volume", "create", "--opt", "type=nfs", "other")


def test_a_tmpfs_is_shared_by_the_containers_that_run_with_it(remora: Remora) -> None:
    remora("volume", "create", "--opt", "type=tmpfs", "memory")
    starting = [remora.popen("run", "-d", "--name", f"c{n}", "-v", f"memory:/x{n}", *SLEEP) for n in range(3)]
    assert [one.wait(DEADLINE) for one in starting] == [0, 0, 0]
    remora("exec", "c0", "touch", "/x0/zero")
    remora("exec", "c2", "touch", "/x2/two")
    assert remora("exec", "c1", "ls", "/x1").split() == ["two", "zero"]
    remora("stop", "-t", "0", "c0", "c1")
    assert remora("run", "--rm", "-v", "memory:/y", "busybox", "ls", "/y").split() == ["two", "zero"]
    remora("start", "c0")
    assert remora("exec", "c0", "ls", "/x0").split() == ["two", "zero"]
    remora("rm", "-f", "-t", "0", "c0", "c1", "c2")
    assert remora("run", "--rm", "-v", "memory:/y", "busybox", "ls", "/y") == ""
    assert os.listdir(remora.root / "containers") == []


def test_inspect_finds_volumes(remora: Remora) -> None:
    remora("volume", "create", "data")
    expected = json.loads(remora("volume", "inspect", "data"))
    assert (
        json.loads(remora("inspect", "data")) == json.loads(remora("inspect", "--type", "volume", "data")) == expected
    )
    assert "no such volume" in said_first(remora, "inspect", "--type", "volume", "nothing")


def said_first(remora: Remora, *words: str) -> str:
    """The error of a command that also prints what it has found."""
    return remora.run(*words, status=125).stderr


def test_containers_made_and_volumes_removed_at_once_never_miss_each_other(remora: Remora) -> None:
    makers = [remora.popen("create", "-v", "race:/x", "busybox") for _ in range(6)]
    removers = [remora.popen("volume", "rm", "race") for _ in range(6)]
    for maker in makers:
        assert maker.wait(DEADLINE) == 0
    for remover in removers:
        assert remover.wait(DEADLINE) in (0, 1, 2)
    assert len(remora("ps", "-aq").split()) == 6 and volumes(remora) == ["race"]
    for container in remora("ps", "-aq").split():
        remora("start", "-a", container)


def test_interrupted_work_on_volumes_is_swept(remora: Remora) -> None:
    remora("run", "--name", "one", "-v", "/x", "busybox", "true")
    base = remora.root / "volumes"
    (base / ".new-0123").mkdir()
    (base / ".gone-0123").mkdir()
    os.unlink(remora.root / "containers" / remora("inspect", "-f", "{{.Id}}", "one") / "spec.json")
    assert volumes(remora) == [] and os.listdir(base) == []


def test_a_damaged_volume_is_named_and_can_be_removed(remora: Remora) -> None:
    remora("volume", "create", "bad")
    (remora.root / "volumes/bad/volume.json").write_text("{")
    assert "volume.json" in said(remora, "volume", "inspect", "-f", "{{.Name}}", "bad")
    assert remora("volume", "rm", "bad") == "bad"


def test_a_volume_serves_containers_with_their_own_user_namespace(remora: Remora) -> None:
    maps = ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")
    remora("run", "--rm", *maps, "-v", "mapped:/x", "busybox", "touch", "/x/file")
    assert os.stat(place(remora, "mapped") / "file").st_uid == 100000


def test_volumes_from_another_container(remora: Remora, tmp_path: Path) -> None:
    words = ("-v", "data:/data", "-v", "/anonymous", "-v", f"{tmp_path}:/host", "--tmpfs", "/memory")
    remora("run", "--name", "first", *words, "busybox", "sh", "-c", "touch /data/d /anonymous/a /host/h")
    listing = ("ls", "/data", "/anonymous", "/host")
    shown = remora("run", "--rm", "--volumes-from", "first", "busybox", *listing).split()
    assert {"a", "d", "h"} <= set(shown)
    assert len(volumes(remora)) == 2
    refused = remora.run("run", "--rm", "--volumes-from", "first:ro", "busybox", "touch", "/data/more", status=1)
    assert "Read-only" in refused.stderr
    own = remora("run", "--rm", "--volumes-from", "first", "-v", "mine:/data", "busybox", "ls", "/data")
    assert own == ""
    remora("create", "--name", "second", "--volumes-from", "first", "busybox", *listing)
    remora("rm", "-v", "first")
    assert {"a", "d", "h"} <= set(remora("start", "-a", "second").split())
    remora("rm", "-v", "second")
    assert volumes(remora) == ["data", "mine"]
    assert "no such container" in said(remora, "run", "--rm", "--volumes-from", "first", "busybox", "true")
    remora("create", "--name", "first", "busybox")
    assert '"what"' in said(remora, "create", "--volumes-from", "first:what", "busybox")


def test_a_volume_is_exported_and_imported_whole(remora: Remora, tmp_path: Path) -> None:
    script = "cd /x; mkdir -m 2751 d; echo text >d/f; ln d/f hard; ln -s /etc/passwd link; mkfifo p; chown 5:6 d/f"
    remora("run", "--rm", "-v", "from:/x", "busybox", "sh", "-c", script + "; chmod 0700 /x; chown 7:8 /x")
    os.setxattr(place(remora, "from") / "d/f", "user.what", b"\xff\x00x")
    os.utime(place(remora, "from") / "d", (1000, 1000))
    archive = tmp_path / "a.tar"
    remora("volume", "export", "-o", str(archive), "from")
    remora("volume", "create", "to")
    remora("volume", "import", "to", str(archive))
    into = place(remora, "to")
    assert (into / "d/f").read_text() == "text\n" and os.getxattr(into / "d/f", "user.what") == b"\xff\x00x"
    assert os.stat(into / "d/f").st_ino == os.stat(into / "hard").st_ino
    assert (os.stat(into / "d/f").st_uid, os.stat(into / "d/f").st_gid, os.stat(into).st_uid) == (5, 6, 7)
    assert os.stat(into / "d").st_mode & 0o7777 == 0o2751 and os.stat(into / "d").st_mtime == 1000
    assert os.readlink(into / "link") == "/etc/passwd" and (into / "p").is_fifo()
    with archive.open("rb") as file:
        words = ["gzip", "-c"]
        packed = subprocess.run(words, stdin=file, capture_output=True, check=True, timeout=DEADLINE).stdout
    (tmp_path / "a.tar.gz").write_bytes(packed)
    remora("volume", "import", "to", str(tmp_path / "a.tar.gz"))
    listing = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert "./d/f" in listing.stdout.split()
    (tmp_path / "bad").write_text("no archive" * 1000)
    assert "not a tar archive" in said(remora, "volume", "import", "to", str(tmp_path / "bad"))
    assert "no such volume" in said(remora, "volume", "export", "-o", str(tmp_path / "none"), "nothing", status=1)
    assert not (tmp_path / "none").exists()


def test_an_archive_cannot_write_outside_of_the_volume(remora: Remora, tmp_path: Path) -> None:
    remora("volume", "create", "cage")
    archive = tmp_path / "hostile.tar"
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        tar.addfile(link)
        for name in ("out/escaped", "../../../../escaped", str(outside / "escaped")):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    remora.run("volume", "import", "cage", str(archive), status=None)
    assert os.listdir(outside) == []
    assert not (remora.root / "escaped").exists() and not Path("/escaped").exists()


def killed_after(remora: Remora, seconds: float, *words: str) -> None:
    """Run a command, and kill it when it takes longer."""
    process = remora.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(DEADLINE)


def test_commands_that_are_killed_leave_no_anonymous_volume_without_its_container(remora: Remora) -> None:
    words = ("create", "-v", "/x", "-v", "/y", "-v", "named:/z", "busybox")
    begun = time.monotonic()
    remora(*words)
    took = time.monotonic() - begun
    for step in range(12):
        killed_after(remora, took * (0.3 + step / 16), *words)
    containers = remora("ps", "-aq").split()
    assert len(volumes(remora)) == 2 * len(containers) + 1
    for step, container in enumerate(containers):
        killed_after(remora, took * (0.3 + step % 12 / 16), "rm", "-v", container)
    containers = remora("ps", "-aq").split()
    assert len(volumes(remora)) == 2 * len(containers) + 1
    remora("rm", "-v", "--all")
    assert volumes(remora) == os.listdir(remora.root / "volumes") == ["named"]
