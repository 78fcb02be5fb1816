"""`cp`: files in and out of containers that run and that don't, by Docker's rules, and never a file outside."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.commands import SLEEP, logged
from tests.support.village import Person


@pytest.fixture(params=["running", "stopped"])
def box(remora: Remora, request: pytest.FixtureRequest) -> Remora:
    """A container `box` that runs, or one that never did."""
    remora(*(("run", "-d") if request.param == "running" else ("create",)), "--name", "box", "busybox", *SLEEP[1:])
    return remora


def inside(remora: Remora, script: str) -> str:
    """What a script says in `box`, which is started for it."""
    remora("start", "box")
    return remora("exec", "box", "sh", "-c", script)


def refused(remora: Remora, *arguments: str) -> str:
    result = remora.run("cp", *arguments, status=125)
    assert result.stdout == "" and result.stderr.count("\n") == 1
    return result.stderr


def test_a_file_goes_in_and_comes_out_with_mode_and_time(box: Remora, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"text\n" + bytes(200_000) + b"end")
    (tmp_path / "one").chmod(0o751)
    os.utime(tmp_path / "one", ns=(10**18, 10**18))
    box("cp", str(tmp_path / "one"), "box:/new")
    box("cp", "box:new", str(tmp_path / "back"))
    status = (tmp_path / "back").stat()
    assert (tmp_path / "back").read_bytes() == (tmp_path / "one").read_bytes()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o751, 10**18)
    assert inside(box, "stat -c '%a %u %g' /new; tail -c 3 /new") == "751 0 0\nend"


def test_a_folder_that_is_missing_is_made_and_one_that_is_there_takes_it_in(box: Remora, tmp_path: Path) -> None:
    (tmp_path / "src/sub").mkdir(parents=True)
    (tmp_path / "src/sub/file").write_text("1")
    (tmp_path / "src/link").symlink_to("sub/file")
    os.link(tmp_path / "src/sub/file", tmp_path / "src/twin")
    for target in ("/made", "/made", "/tmp"):
        box("cp", f"{tmp_path}/src", f"box:{target}")
    box("cp", f"{tmp_path}/src/.", "box:/tmp")
    box("cp", "box:/made", str(tmp_path / "out"))
    box("cp", "box:/made/.", str(tmp_path / "out/src"))
    assert (tmp_path / "out/link").readlink() == Path("sub/file")
    assert (tmp_path / "out/twin").samefile(tmp_path / "out/sub/file")
    assert (tmp_path / "out/src/src/sub/file").read_text() == "1"
    script = "cat /made/sub/file /made/src/sub/file /tmp/src/twin /tmp/sub/file; readlink /made/link"
    if box("inspect", "-f", "{{.State.Status}}", "box") == "running":  # else /tmp may be something else by then
        assert inside(box, script) == "1111sub/file"


def test_what_does_not_fit_is_refused_in_one_line(box: Remora, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("x")
    file, folder = str(tmp_path / "file"), str(tmp_path / "dir")
    assert "destination directory must exist" in refused(box, file, "box:/nowhere/")
    assert "no such directory: /nowhere" in refused(box, file, "box:/nowhere/x")
    assert "cannot copy a directory to a file" in refused(box, folder, "box:/bin/busybox")
    assert "not a directory" in refused(box, file, "box:/bin/busybox/")
    assert "not a directory" in refused(box, file + "/", "box:/x").lower()
    assert "no such file" in refused(box, "box:/nothing", folder)
    assert "neither side" in refused(box, file, folder)
    assert "no such container" in refused(box, "other:/x", folder)
    assert "has no path" in refused(box, "box:", folder)
    (tmp_path / "tree/bin").mkdir(parents=True)
    (tmp_path / "tree/bin/busybox").mkdir()
    assert "can't take the place of another file" in refused(box, f"{tmp_path}/tree/.", "box:/")
    box("cp", "--overwrite", f"{tmp_path}/tree/.", "box:/")
    assert list((tmp_path / "dir").iterdir()) == []
    box("cp", "box:/bin/busybox", folder)
    assert (tmp_path / "dir/busybox").is_dir()


def test_a_source_that_is_a_symlink_is_copied_as_one_unless_it_is_followed(box: Remora, tmp_path: Path) -> None:
    (tmp_path / "in").symlink_to("/etc/passwd")
    (tmp_path / "other").write_text("other")
    box("cp", f"{tmp_path}/in", "box:/link")
    box("cp", "box:/link", f"{tmp_path}/link")
    assert (tmp_path / "link").readlink() == Path("/etc/passwd")
    box("cp", "-L", "box:/link", f"{tmp_path}/file")
    assert "root" in (tmp_path / "file").read_text()
    assert (tmp_path / "file").read_text() != Path("/etc/passwd").read_text()
    box("cp", f"{tmp_path}/other", "box:/link")  # a destination that is a link means what it leads to
    assert inside(box, "readlink /link; cat /etc/passwd") == "/etc/passwd\nother"


def test_owners_are_the_containers_user_or_kept(remora: Remora, tmp_path: Path) -> None:
    remora("create", "--name", "box", "--user", "12:34", "busybox", *SLEEP[1:])
    (tmp_path / "mine").write_text("x")
    (tmp_path / "mine").chmod(0o4755)
    os.chown(tmp_path / "mine", 1000, 1001)
    (tmp_path / "mine").chmod(0o4755)
    remora("cp", f"{tmp_path}/mine", "box:/plain")
    remora("cp", "-a", f"{tmp_path}/mine", "box:/kept")
    assert inside(remora, "stat -c '%u:%g %a' /plain /kept") == "12:34 4755\n1000:1001 4755"
    remora("cp", "box:/kept", f"{tmp_path}/plain")
    remora("cp", "-a", "box:/kept", f"{tmp_path}/kept")
    plain, kept = (tmp_path / "plain").stat(), (tmp_path / "kept").stat()
    assert (plain.st_uid, plain.st_gid, stat.S_IMODE(plain.st_mode)) == (0, 0, 0o755)
    assert (kept.st_uid, kept.st_gid, stat.S_IMODE(kept.st_mode)) == (1000, 1001, 0o4755)


def test_a_tarball_comes_out_and_goes_in(box: Remora, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in (("./a/b", b"deep"), ("top", b"")):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid = len(content), 0o640, 77
            tar.addfile(info, io.BytesIO(content))
        twin = tarfile.TarInfo("twin")
        twin.type, twin.linkname = tarfile.LNKTYPE, "a/b"
        tar.addfile(twin)
    with box.popen("cp", "-a", "-", "box:/", stdin=subprocess.PIPE) as put:
        assert put.communicate(made.getvalue()) == (b"", b"")
    assert put.returncode == 0
    with box.popen("cp", "box:/etc", "-") as get:
        data = get.communicate()[0]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames()[0] == "etc" and "etc/passwd" in tar.getnames()
    assert inside(box, "cat /a/b /twin; stat -c '%u %a %h' /a/b; stat -c %s /top") == "deepdeep77 640 2\n0"


def test_a_tarball_that_is_cut_off_or_leads_out_is_refused(box: Remora, tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        info = tarfile.TarInfo("ok/../../../escape")
        tar.addfile(info)
    with box.popen("cp", "-", "box:/bin", stdin=subprocess.PIPE) as put:
        assert b"leads out of the folder" in put.communicate(made.getvalue())[1]
    assert put.returncode == 125
    big = io.BytesIO()
    with tarfile.open(fileobj=big, mode="w") as tar:
        info = tarfile.TarInfo("big")
        info.size = 100_000
        tar.addfile(info, io.BytesIO(bytes(100_000)))
    never = io.BytesIO()
    with tarfile.open(fileobj=never, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("never")
        info.pax_headers = {"mtime": "nan"}
        tar.addfile(info)
    for data in (big.getvalue()[:50_000], b"no tarball at all" * 100, never.getvalue()):
        with box.popen("cp", "-", "box:/bin", stdin=subprocess.PIPE) as put:
            assert b"not a whole tarball" in put.communicate(data)[1]
        assert put.returncode == 125


def test_links_that_point_outside_lead_to_the_containers_own_files(box: Remora, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("host")
    (tmp_path / "evil").symlink_to(secret)
    (tmp_path / "up").symlink_to("../../../../../../../.." + str(secret))
    for name in ("evil", "up"):
        box("cp", f"{tmp_path}/{name}", "box:/")
        assert "no such file" in refused(box, f"box:/{name}/key", str(tmp_path / "out"))
        assert "no such" in refused(box, f"{secret}/key", f"box:/{name}/planted")
    assert [path.name for path in secret.iterdir()] == ["key"]


def test_the_links_of_proc_lead_nowhere_where_the_hosts_processes_are_seen(remora: Remora, tmp_path: Path) -> None:
    remora("run", "-d", "--name", "box", "--pid", "host", "busybox", *SLEEP[1:])
    own = f"/proc/{os.getpid()}"
    (tmp_path / "planted").write_text("x")
    refused(remora, f"box:{own}/root{tmp_path}/planted", f"{tmp_path}/back")
    refused(remora, f"{tmp_path}/planted", f"box:{own}/root{tmp_path}/back")
    remora("cp", "-L", f"box:{own}/comm", f"{tmp_path}/comm")
    refused(remora, "-L", f"box:{own}/cwd", f"{tmp_path}/back")
    assert not (tmp_path / "back").exists()


def test_a_folder_given_as_the_root_is_copied_from_and_to(remora: Remora, busybox_tar: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    subprocess.run(["tar", "-xf", busybox_tar, "-C", tmp_path / "root"], check=True)
    (tmp_path / "x").write_text("x")
    remora("create", "--name", "box", "--rootfs", f"{tmp_path}/root", *SLEEP)
    remora("cp", f"{tmp_path}/x", "box:/one")
    remora("start", "box")
    remora("cp", "box:/one", "box:/two")
    assert (tmp_path / "root/two").read_text() == "x"
    assert "no image" in remora.run("diff", "box", status=125).stderr


def test_a_stopped_containers_bind_mounts_and_volumes_are_where_its_path_leads(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "shut").mkdir()
    (tmp_path / "file").write_text("x")
    volumes = ("-v", f"{tmp_path}/data:/data", "-v", f"{tmp_path}/shut:/shut:ro")
    remora("create", "--name", "box", *volumes, "busybox", *SLEEP[1:])
    remora("cp", f"{tmp_path}/file", "box:/data/")
    assert (tmp_path / "data/file").read_text() == "x"
    remora("cp", "box:/data/file", f"{tmp_path}/back")
    assert "Read-only file system" in refused(remora, f"{tmp_path}/file", "box:/shut")
    remora("create", "--name", "filled", "-v", "kept:/bin", "busybox")
    remora("cp", f"{tmp_path}/file", "filled:/bin/file")
    assert "busybox" in remora("run", "--rm", "-v", "kept:/kept", "busybox", "ls", "/kept").split()
    assert remora("run", "--rm", "-v", "kept:/kept", "busybox", "cat", "/kept/file") == "x"
    remora("create", "--name", "still", "--read-only", "busybox")
    assert "Read-only file system" in refused(remora, f"{tmp_path}/file", "still:/bin")


def test_files_that_something_is_mounted_on_and_files_of_proc(remora: Remora, tmp_path: Path) -> None:
    remora("run", "-d", "--name", "box", "busybox", *SLEEP[1:])
    (tmp_path / "hosts").write_text("10.0.0.1 somewhere\n")
    remora("cp", f"{tmp_path}/hosts", "box:/etc/hosts")
    assert remora("exec", "box", "cat", "/etc/hosts") == "10.0.0.1 somewhere"
    remora("cp", "box:/proc/1/status", f"{tmp_path}/status")
    assert "Name:\tsleep" in (tmp_path / "status").read_text()


def test_from_one_container_to_another_and_within_one(box: Remora, tmp_path: Path) -> None:
    box("create", "--name", "other", "busybox")
    (tmp_path / "x").write_text("x")
    box("cp", f"{tmp_path}/x", "box:/bin/x")
    box("cp", "box:/bin", "other:/copy")
    box("cp", "box:/bin/x", "box:/y")
    box("cp", "other:/copy/x", f"{tmp_path}/y")
    assert (tmp_path / "y").read_text() == "x"
    assert "into itself" in refused(box, "box:/bin", "box:/bin")
    assert inside(box, "cat /y") == "x"


def test_devices_and_fifos_are_made_again_and_not_opened(remora: Remora, tmp_path: Path) -> None:
    script = "mkdir /d; mknod /d/null c 1 3; mkfifo /d/pipe; echo ready; exec sleep 1000"
    remora("run", "-d", "--cap-add", "MKNOD", "--name", "box", "busybox", "sh", "-c", script)
    logged(remora, "box", "ready")
    remora("cp", "box:/d", f"{tmp_path}/d")
    assert (tmp_path / "d/null").stat().st_rdev == os.makedev(1, 3)
    assert (tmp_path / "d/pipe").is_fifo()


def test_users_of_a_namespace_own_what_comes_in(remora: Remora, tmp_path: Path) -> None:
    options = ("--uidmap", "0:200000:1000", "--gidmap", "0:300000:1000")
    remora("create", "--name", "box", *options, "busybox", *SLEEP[1:])
    (tmp_path / "x").write_text("x")
    os.chown(tmp_path / "x", 5, 6)
    remora("cp", f"{tmp_path}/x", "box:/plain")
    remora("cp", "-a", f"{tmp_path}/x", "box:/kept")
    assert inside(remora, "stat -c %u:%g /plain /kept") == "0:0\n5:6"
    remora("cp", f"{tmp_path}/x", "box:/later")
    remora("cp", "-a", "box:/kept", f"{tmp_path}/kept")
    assert remora("exec", "box", "stat", "-c", "%u:%g", "/later") == "0:0"
    assert ((tmp_path / "kept").stat().st_uid, (tmp_path / "kept").stat().st_gid) == (5, 6)


# ---- a container that swaps paths meanwhile ----------------------------------------------------------

SWAPPING = """
mkdir -p /race/a
echo ready
while :; do
    mkdir /race/a/deep; echo inside >/race/a/deep/key
    rm -rf /race/a/deep; ln -s {secret} /race/a/deep
    rm -rf /race/a/deep
done
"""


def test_paths_that_are_swapped_for_links_all_the_time_lead_nowhere(remora: Remora, tmp_path: Path) -> None:
    """A folder and a symlink to a folder of the host change places in a loop, while both directions are copied."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("host")
    (tmp_path / "planted").write_text("planted")
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/planted").write_text("planted")
    remora("run", "-d", "--name", "box", "busybox", "sh", "-c", SWAPPING.format(secret=secret))
    logged(remora, "box", "ready")
    went_well = 0
    for number in range(12):
        out = tmp_path / f"out{number}"
        out.mkdir()
        for words in (
            ("box:/race/a/deep/key", f"{out}/key"),
            ("box:/race/a", f"{out}/tree"),
            (f"{tmp_path}/planted", "box:/race/a/deep/planted"),
            (f"{tmp_path}/tree/.", "box:/race/a"),
        ):
            result = remora.run("cp", *words, status=None)
            assert result.returncode in (0, 125) and "Traceback" not in result.stderr
            went_well += result.returncode == 0
        for path in out.rglob("*"):
            assert path.is_symlink() or path.is_dir() or path.read_text() in ("inside\n", "planted"), path
        assert [path.name for path in secret.iterdir()] == ["key"]
        assert (secret / "key").read_text() == "host"
    assert went_well


# ---- an ordinary user --------------------------------------------------------------------------------


def test_a_user_copies_in_and_out_of_running_and_stopped_containers(alice: Person) -> None:
    home = alice.home
    alice.do("sh", "-c", f"mkdir -p {home}/t/sub; echo one >{home}/t/sub/x")
    alice("run", "-d", "--name", "runs", "--user", "1000:100", "busybox", *SLEEP[1:])
    alice("create", "--name", "rests", "busybox", *SLEEP[1:])
    alice("cp", f"{home}/t", "runs:/in")
    assert alice("exec", "runs", "stat", "-c", "%u:%g", "/in/sub/x") == "1000:100"
    alice("cp", "runs:/in", "rests:/in")
    alice("cp", "rests:/in/sub/x", f"{home}/x")
    assert (home / "x").read_text() == "one\n" and (home / "x").stat().st_uid == alice.uid
    alice("cp", "runs:/etc", f"{home}/etc")
    alice("start", "rests")
    assert alice("exec", "rests", "cat", "/in/sub/x") == "one"
    assert "left out" in alice.run("cp", "runs:/dev", f"{home}/dev").stderr
    assert alice.run("cp", f"{home}/x", "runs:/proc/nothing", status=125).stderr.count("\n") == 1
    alice.do("rm", "-rf", f"{home}/t", f"{home}/x", f"{home}/etc", f"{home}/dev")
