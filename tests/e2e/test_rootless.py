"""An ordinary user, made with useradd and given ranges, does with containers what root does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.frontend.images_registry import registry
from tests.support import host
from tests.support.commands import SLEEP, logged, said, state
from tests.support.layers import oci_archive
from tests.support.village import Person, import_image
from tests.support.waiting import eventually


def test_run_gives_output_and_code_and_is_root_inside_and_the_user_outside(alice: Person) -> None:
    script = "id -u; cat /proc/self/uid_map; echo err >&2; exit 5"
    result = alice.run("run", "--name", "one", "busybox", "sh", "-c", script, status=5)
    lines = result.stdout.splitlines()
    assert lines[0] == "0"
    assert lines[1].split() == ["0", str(alice.uid), "1"]
    assert lines[2].split()[::2] == ["1", "65536"]
    assert result.stderr == "err\n"
    assert alice("logs", "one").splitlines()[0] == "0"
    assert alice.run("wait", "one").stdout == "5\n"
    alice("rm", "one")


def test_a_detached_container_has_a_monitor_of_the_users_and_no_other_process(alice: Person) -> None:
    alice("run", "-d", "--name", "two", "busybox", *SLEEP[1:])
    pid = int(state(alice, "two", "Pid"))
    keeper = int(json.loads(alice("inspect", "two"))[0]["State"]["ConmonPid"])
    assert set(alice.processes()) == {pid, *host.monitor_processes(keeper)}
    assert os.stat(f"/proc/{keeper}").st_uid == alice.uid
    assert os.readlink(f"/proc/{keeper}/ns/user") == os.readlink(f"/proc/{pid}/ns/user")
    assert os.readlink(f"/proc/{keeper}/ns/user") != os.readlink("/proc/self/ns/user")
    assert "two" in alice("ps", "--format", "{{.Names}}")
    alice("stop", "-t", "0", "two")
    eventually(lambda: not alice.processes(), "no process stays when the container has ended")
    assert alice("wait", "two") == "137"


def test_a_stopped_container_finds_its_files_and_their_owners_again(alice: Person) -> None:
    script = "echo $$ >>/kept; [ -e /owned ] || { touch /owned; chown 1000:7 /owned; }; stat -c %u:%g /owned"
    alice("run", "--name", "again", "busybox", "sh", "-c", script)
    alice("start", "-a", "again")
    alice("restart", "again")
    alice("wait", "again")
    assert alice("logs", "again") == "\n".join(["1000:7"] * 3)
    upper = alice.root / "containers" / alice("inspect", "-f", "{{.Id}}", "again") / "upper"
    assert (upper / "kept").read_text() == "1\n1\n1\n"
    assert (upper / "owned").stat().st_uid in alice.ids() - {alice.uid}


def test_a_user_of_the_image_is_an_id_of_the_range(alice: Person) -> None:
    alice("run", "-d", "--name", "user", "--user", "1000:100", "busybox", *SLEEP[1:])
    pid = int(state(alice, "user", "Pid"))
    assert os.stat(f"/proc/{pid}").st_uid in alice.ids() - {alice.uid}
    assert alice("exec", "user", "id", "-u") == "1000"
    assert alice("exec", "--user", "0", "user", "id", "-u") == "0"
    alice("rm", "-f", "-t", "0", "user")
    assert not host.alive(pid)


def test_exec_reads_what_only_the_containers_root_may_read(alice: Person) -> None:
    prepare = "mkdir -p /etc; echo 'me:x:77:88::/home:/bin/sh' >/etc/passwd; chown 5:5 /etc/passwd /etc; "
    prepare += "chmod 0600 /etc/passwd; chmod 0700 /etc; echo ready; exec sleep 1000"
    alice("run", "-d", "--name", "shut", "busybox", "sh", "-c", prepare)
    logged(alice, "shut", "ready")
    assert alice("exec", "--user", "me", "shut", "sh", "-c", "id -u; id -g") == "77\n88"
    assert alice.run("exec", "shut", "sh", "-c", "exit 9", status=9).stdout == ""
    assert alice.run("exec", "-i", "shut", "cat", input="through\n").stdout == "through\n"
    said(alice, "exec", "shut", "nothing", status=127)


def test_a_terminal_is_let_go_of_and_attached_to_again(alice: Person) -> None:
    with alice.terminal("run", "-it", "--name", "tty", "busybox", "sh") as terminal:
        terminal.expect("/ # ")
        terminal.type("tty; id -u\r")
        terminal.expect("/dev/pts/0\r\n0\r\n")
        terminal.type(b"\x10\x11")
        assert terminal.wait() == 0
    assert state(alice, "tty", "Status") == "running"
    with alice.terminal("attach", "tty") as terminal:
        terminal.type("echo $((6*7))\r")
        terminal.expect("42")
        terminal.type("exit 3\r")
        assert terminal.wait() == 3
    alice("run", "-dit", "--name", "shell", "busybox", "sh")
    with alice.terminal("exec", "-it", "shell", "sh") as terminal:
        terminal.expect("/ # ")
        terminal.type("stty size; exit 4\r")
        terminal.expect("24 80")
        assert terminal.wait() == 4


def test_input_goes_in_and_out_whole(alice: Person) -> None:
    text = "0123456789abcdef" * 40000
    assert alice.run("run", "--rm", "-i", "busybox", "cat", input=text).stdout == text


def test_signals_renaming_and_listing_work_from_outside(alice: Person) -> None:
    script = "trap 'echo got; exit 6' USR1; echo ready; while :; do sleep 0.05; done"
    alice("run", "-d", "--name", "before", "busybox", "sh", "-c", script)
    logged(alice, "before", "ready")
    alice("rename", "before", "after")
    alice("kill", "--signal", "USR1", "after")
    assert alice("wait", "after") == "6"
    assert alice("logs", "after") == "ready\ngot"
    assert alice("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("after Exited (6)")


def test_a_monitor_goes_on_as_the_installed_program(alice: Person) -> None:
    alice("run", "-d", "--name", "old", "busybox", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done")
    keeper = state(alice, "old", "ConmonPid")
    assert alice("monitor", "upgrade", "--all")
    assert state(alice, "old", "ConmonPid") == keeper
    assert alice("exec", "old", "id", "-u") == "0"
    alice("stop", "old")
    assert alice("wait", "old") == "4"


def test_a_killed_worker_is_replaced(alice: Person) -> None:
    alice("run", "-d", "--name", "worker", "busybox", *SLEEP[1:])
    keeper, worker = host.monitor_processes(int(state(alice, "worker", "ConmonPid")))
    host.send(worker, signal.SIGKILL)
    assert alice("exec", "worker", "id", "-u") == "0"
    assert host.monitor_processes(keeper)[1] != worker
    alice("rm", "-f", "-t", "0", "worker")


def test_a_container_is_restarted_by_its_policy(alice: Person) -> None:
    alice("run", "-d", "--name", "policy", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo x; exit 1")
    alice("wait", "policy")
    eventually(lambda: alice("logs", "policy") == "x\nx\nx", "it is started three times")
    assert alice("inspect", "-f", "{{.RestartCount}}", "policy") == "2"


def test_created_containers_start_and_end_with_nothing_left(alice: Person) -> None:
    alice("create", "--name", "made", "busybox", "true")
    assert state(alice, "made", "Status") == "created"
    alice("start", "made")
    assert alice("wait", "made") == "0"
    alice("rm", "made")
    alice.assert_nothing_left()
    alice("run", "--rm", "busybox", "sh", "-c", "chown 33:33 /bin; mkdir -m 0700 /x; chown 44 /x; touch /x/y")
    alice.assert_nothing_left()


def test_many_starts_at_once_all_succeed_and_leave_nothing(alice: Person) -> None:
    (alice.runroot / "runtime-choice").unlink(missing_ok=True)
    commands = [
        alice.popen("run", "--rm", "busybox", "sh", "-c", f"chown {n}:{n} /tmp; echo {n}") for n in range(1, 21)
    ]
    for number, command in enumerate(commands, 1):
        out, err = command.communicate(timeout=120)
        assert (command.returncode, out, err) == (0, f"{number}\n".encode(), b"")
    alice.assert_nothing_left()


def test_a_run_that_is_killed_at_any_moment_leaves_nothing_behind(alice: Person) -> None:
    for step in range(16):
        command = alice.popen(
            "run", "--rm", "--name", "killed", "busybox", "sh", "-c", "chown 5:5 /tmp; echo x >/tmp/y"
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(step * 0.02)
        command.kill()
        command.communicate(timeout=60)
        alice("rm", "-f", "-t", "0", "killed")
    alice("rm", "-f", "-t", "0", "--all")
    alice.assert_nothing_left()


def test_a_bind_mount_is_written_as_the_user(alice: Person) -> None:
    folder = alice.home / "shared"
    alice.do("mkdir", str(folder))
    alice("run", "--rm", "-v", f"{folder}:/shared", "busybox", "sh", "-c", "echo text >/shared/file")
    assert (folder / "file").stat().st_uid == alice.uid
    alice("run", "--rm", "-v", f"{folder}:/shared", "--user", "1000", "busybox", "sh", "-c", "cat /shared/file")


def test_the_hosts_network_is_shared_where_asked_for(alice: Person) -> None:
    mine = alice.do("readlink", "/proc/self/ns/net").strip()
    assert alice("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net") == mine
    assert alice("run", "--rm", "--network", "none", "busybox", "readlink", "/proc/self/ns/net") != mine


def test_namespaces_of_another_container_are_shared_in_its_user_namespace(alice: Person) -> None:
    alice("run", "-d", "--name", "first", "busybox", "sh", "-c", "echo x >/dev/shm/here; exec sleep 1000")
    shared = ("--network", "container:first", "--ipc", "container:first", "--pid", "container:first")
    eventually(lambda: alice("exec", "first", "ls", "/dev/shm") == "here", "the first has begun")
    script = "cat /dev/shm/here; ps | grep -c 'sleep 1000'; sleep 1000"
    alice("run", "-d", "--name", "second", *shared, "busybox", "sh", "-c", script)
    eventually(lambda: alice("logs", "second").split()[:1] == ["x"], "the second sees the first's memory")
    pids = [state(alice, name, "Pid") for name in ("first", "second")]
    for kind in ("net", "ipc", "pid", "user"):
        links = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}
        assert len(links) == 1, kind
    alice("run", "-d", "--name", "third", "busybox", *SLEEP[1:])
    alice("stop", "-t", "0", "second", "third")
    alice("restart", "-t", "0", "first", "second", "third")
    pids = [state(alice, name, "Pid") for name in ("first", "second", "third")]
    users = [os.readlink(f"/proc/{pid}/ns/user") for pid in pids]
    assert users[0] == users[1] != users[2]
    alice("stop", "-t", "0", "first", "second")
    assert "which is exited" in said(alice, "start", "second")
    alice("start", "first", "second")
    assert state(alice, "second", "Status") == "running"


def test_images_come_from_a_registry_and_go_through_archives(alice: Person, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as server:
        target = f"docker://{server.host}/library/bb:1"
        archive = alice.home / "bb.tar"
        alice("save", "-o", str(archive), "busybox")
        alice.do("skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{archive}", target)
        alice("pull", "-q", "--tls-verify=false", f"{server.host}/library/bb:1")
        assert alice("run", "--rm", f"{server.host}/library/bb:1", "echo", "pulled") == "pulled"
        alice("rmi", f"{server.host}/library/bb:1")
    alice("tag", "busybox", "kept:2")
    alice("save", "-o", str(alice.home / "kept.tar"), "kept:2")
    alice("rmi", "kept:2")
    assert "kept:2" in alice("load", "-i", str(alice.home / "kept.tar"))
    assert alice("run", "--rm", "kept:2", "echo", "loaded") == "loaded"
    alice("rmi", "kept:2")
    assert alice("images", "--format", "{{.Repository}}:{{.Tag}}") == "localhost/busybox:latest"


def test_an_image_in_use_is_kept_and_removed_with_force(alice: Person, busybox_tar: Path) -> None:
    import_image(alice, busybox_tar, "other", ["-c", "LABEL a=b"])
    alice("run", "-d", "--name", "user", "other", *SLEEP[1:])
    assert "in use" in said(alice, "rmi", "other", status=2)
    alice("rmi", "-f", "other")
    assert alice("ps", "-aq") == ""
    assert alice("images", "-q", "other") == ""


def test_files_of_many_owners_and_whiteouts_come_out_of_layers_right(alice: Person) -> None:
    """Layers with opaque folders and removed files, unpacked and mounted without root."""
    image = layered_image(alice)
    script = "ls /opaque; ls /; stat -c %u:%g /owned"
    assert alice("run", "--rm", image, "sh", "-c", script).split() == [
        *("new", "bin", "dev", "etc", "opaque", "owned", "proc", "run", "sys", "1234:4321")
    ]
    alice("rmi", image)


def layered_image(person: Person) -> str:
    """An image of two layers: the upper one has an opaque folder and a whiteout. Its name."""
    busybox = Path("/bin/busybox").read_bytes()
    base = {f"bin/{name}": (0, 0, busybox) for name in ("sh", "ls", "stat")}
    base = {"bin/": (0, 0, b""), **base, "opaque/": (0, 0, b""), "opaque/old": (0, 0, b"x"), "gone": (0, 0, b"x")}
    upper = {"opaque/": (0, 0, b""), "opaque/.wh..wh..opq": (0, 0, b""), "opaque/new": (0, 0, b"y")}
    upper |= {".wh.gone": (0, 0, b""), "owned": (1234, 4321, b"z")}
    archive = person.home / "layers.tar"
    oci_archive(archive, [base, upper], "localhost/layers:latest")
    person("load", "-q", "-i", str(archive))
    return "localhost/layers:latest"


@pytest.mark.parametrize("user", ["0", "1000"])
def test_a_container_whose_monitor_was_killed_is_seen_stopped_and_removed(alice: Person, user: str) -> None:
    alice("run", "-d", "--name", "lost", "--user", user, "busybox", *SLEEP[1:])
    pid = int(state(alice, "lost", "Pid"))
    host.kill_monitor(int(json.loads(alice("inspect", "lost"))[0]["State"]["ConmonPid"]))
    assert state(alice, "lost", "Status") == "running"
    alice("stop", "-t", "0", "lost")
    assert not host.alive(pid)
    alice("start", "lost")
    pid = int(state(alice, "lost", "Pid"))
    host.kill_monitor(int(json.loads(alice("inspect", "lost"))[0]["State"]["ConmonPid"]))
    alice("restart", "-t", "0", "lost")
    assert not host.alive(pid)
    pid = int(state(alice, "lost", "Pid"))
    host.kill_monitor(int(json.loads(alice("inspect", "lost"))[0]["State"]["ConmonPid"]))
    alice("rm", "-f", "-t", "0", "lost")
    assert not host.alive(pid)


def test_what_a_killed_command_left_half_made_is_swept_by_a_listing(alice: Person) -> None:
    alice("create", "--name", "half", "busybox", "true")
    identity = alice("inspect", "-f", "{{.Id}}", "half")
    alice("run", "--rm", "busybox", "true")
    folder = alice.root / "containers" / identity
    (folder / "upper/deep").mkdir(mode=0o700, parents=True)
    (folder / "upper/deep/file").touch()
    owner = max(alice.ids())
    for path, uid in (
        (folder / "upper", alice.uid),
        (folder / "upper/deep", owner),
        (folder / "upper/deep/file", owner),
    ):
        os.chown(path, uid, uid)
    (folder / "spec.json").unlink()
    assert alice("ps", "-aq") == ""
    assert not folder.exists()
    alice.assert_nothing_left()


def test_a_frozen_container_is_no_business_of_users_without_cgroups(alice: Person) -> None:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("with the unified hierarchy a user's cgroup may be frozen")
    alice("run", "-d", "--name", "cold", "busybox", *SLEEP[1:])
    said(alice, "pause", "cold")
    assert state(alice, "cold", "Status") == "running"


ONLY_MAPS = """
mount -t tmpfs -o mode=755 maps /mnt
for name in newuidmap newgidmap; do cp -p /usr/bin/$name /mnt/; chmod u+s /mnt/$name; done
findmnt -rno TARGET | while read -r target; do
    case $target in /mnt|/proc*|/sys*) ;; *) mount -o remount,bind,nosuid "$target" 2>/dev/null || : ;; esac
done
for name in newuidmap newgidmap; do mount --bind /mnt/$name /usr/bin/$name; done
"""


def test_nothing_set_user_id_is_needed_but_newuidmap_and_newgidmap(alice: Person) -> None:
    """On file systems without set-user-id programs all works as long as those two are somewhere else."""
    bare = alice.altered(ONLY_MAPS)
    assert bare.do("findmnt", "-no", "OPTIONS", "/").startswith("rw,nosuid")
    assert bare("run", "--rm", "busybox", "echo", "fine") == "fine"
