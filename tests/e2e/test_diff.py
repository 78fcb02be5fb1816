"""`diff` and `export`: what a container changed, and all that it has, without its mounts."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

from tests.conftest import Remora
from tests.support.commands import logged
from tests.support.village import Person

WORK = "mkdir -p /new/sub; echo x >/new/sub/file; echo x >>/etc/passwd; rm /etc/group; ln -s /etc/shadow /new/link; "
DONE = [
    "C /etc",
    "D /etc/group",
    "C /etc/passwd",
    "A /new",
    "A /new/link",
    "A /new/sub",
    "A /new/sub/file",
]


def exported(remora: Remora, *arguments: str) -> dict[str, tarfile.TarInfo]:
    with remora.popen("export", *arguments) as process:
        data, said = process.communicate()
    assert process.returncode == 0 and said == b""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def test_what_was_added_changed_and_deleted_is_told_running_or_stopped(remora: Remora) -> None:
    remora("run", "-d", "--name", "box", "busybox", "sh", "-c", WORK + "echo ready; exec sleep 1000")
    logged(remora, "box", "ready")
    assert remora("diff", "box").splitlines() == DONE
    remora("stop", "-t", "0", "box")
    assert remora("container", "diff", "box").splitlines() == DONE
    found = json.loads(remora("diff", "--format", "json", "box"))
    assert found["deleted"] == ["/etc/group"] and found["changed"] == ["/etc", "/etc/passwd"]
    assert found["added"][0] == "/new"


def test_a_container_that_never_ran_has_changed_nothing(remora: Remora) -> None:
    remora("create", "--name", "box", "-v", "/data", "busybox")
    assert remora("diff", "box") == ""
    assert "no such container" in remora.run("diff", "other", status=125).stderr


def test_a_folder_made_anew_hides_what_the_image_had_there(remora: Remora) -> None:
    """Of /bin only the shell comes back: the folder is opaque then, and the rest of it deleted."""
    script = "cd /tmp; cp /bin/busybox .; ./busybox rm -r /bin; ./busybox mkdir /bin; ./busybox cp busybox /bin/sh"
    remora("run", "--name", "box", "busybox", "sh", "-c", script)
    lines = remora("diff", "box").splitlines()
    assert {"C /bin", "C /bin/sh", "D /bin/busybox", "D /bin/ls"} <= set(lines)
    assert not [line for line in lines if line.startswith("A /bin")]


def test_all_files_are_exported_without_what_is_mounted(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/secret").write_text("volume")
    (tmp_path / "one").write_text("bound")
    script = "mkdir /d; echo x >/d/x; chown 5:6 /d/x; ln /d/x /d/y; echo ready; exec sleep 1000"
    volumes = ("-v", f"{tmp_path}/data:/data", "-v", f"{tmp_path}/one:/one")
    remora("run", "-d", "--name", "box", *volumes, "busybox", "sh", "-c", script)
    logged(remora, "box", "ready")
    for _ in ("running", "stopped"):
        found = exported(remora, "box")
        assert (found["d/x"].uid, found["d/x"].gid, found["d/y"].linkname) == (5, 6, "d/x")
        assert max(one.size for one in found.values()) > 100_000 and found["data"].isdir() and found["one"].size == 0
        assert not [name for name in found if name.startswith(("data/", "proc/", "sys/", "dev/"))]
        remora("stop", "-t", "0", "box")
    remora("export", "-o", f"{tmp_path}/all.tar", "box")
    assert remora("import", f"{tmp_path}/all.tar", "again").startswith("sha256:")
    assert remora("run", "--rm", "again", "/bin/cat", "/d/y") == "x"
    remora("rmi", "again")
    assert "no such" in remora.run("export", "-o", f"{tmp_path}/nowhere/x", "box", status=125).stderr.lower()


def test_users_of_a_namespace_are_exported_as_the_container_knows_them(remora: Remora) -> None:
    options = ("--uidmap", "0:200000:1000", "--gidmap", "0:300000:1000")
    remora("run", "--name", "box", *options, "busybox", "sh", "-c", "touch /x; chown 7:8 /x")
    found = exported(remora, "box")
    assert (found["x"].uid, found["x"].gid, found["bin"].uid) == (7, 8, 0)


def test_a_container_that_swaps_paths_for_links_gets_nothing_of_the_host_exported(
    remora: Remora, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/host-key").write_text("host")
    script = f"""
mkdir /race; echo ready
while :; do
    mkdir /race/deep; echo inside >/race/deep/key; rm -rf /race/deep
    ln -s {tmp_path}/secret /race/deep; rm -rf /race/deep
done
"""
    remora("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    logged(remora, "box", "ready")
    for _ in range(10):
        found = exported(remora, "box")
        assert "bin/busybox" in found and not [name for name in found if "host-key" in name]
        assert not [line for line in remora("diff", "box").splitlines() if "host-key" in line]


def test_a_user_compares_and_exports(alice: Person) -> None:
    script = WORK + "chown 9:9 /new/sub/file; echo ready; exec sleep 1000"
    alice("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    logged(alice, "box", "ready")
    for _ in ("running", "stopped"):
        assert alice("diff", "box").splitlines() == DONE
        found = exported(alice, "box")
        assert found["new/sub/file"].uid == 9 and found["new/link"].issym()
        alice("stop", "-t", "0", "box")
    alice("export", "-o", f"{alice.home}/all.tar", "box")
    assert os.stat(f"{alice.home}/all.tar").st_uid == alice.uid
    (alice.home / "all.tar").unlink()
