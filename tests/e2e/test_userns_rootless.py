"""User namespaces of ordinary users' containers: keep-id, nomap, auto, maps, kept groups; whose files are whose."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.commands import SLEEP, said, state
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def village() -> Iterator[Village]:
    with Village() as made:
        yield made


@pytest.fixture(scope="module")
def somebody(village: Village, busybox_tar: Path) -> Person:
    made = village.person("alice")
    import_image(made, busybox_tar)
    return made


@pytest.fixture
def alice(somebody: Person) -> Iterator[Person]:
    with staying(somebody) as person:
        yield person
    assert host.below(somebody.root / "shifted") in ([], ["lock"])


def shell(person: Person, *options: str, script: str) -> str:
    return person("run", "--rm", *options, "busybox", "sh", "-c", script)


def test_keep_id_is_the_user_itself_inside(alice: Person) -> None:
    rows = shell(alice, "--userns", "keep-id", script="id -u; id -g; cat /proc/self/uid_map").splitlines()
    uid = alice.uid
    assert rows[:2] == [str(uid)] * 2
    assert [tuple(map(int, row.split())) for row in rows[2:]] == [
        (0, 1, uid),
        (uid, 0, 1),
        (uid + 1, uid + 1, 65536 - uid),
    ]


def test_keep_id_may_be_another_number(alice: Person) -> None:
    (alice.home / "bound").mkdir()
    os.chown(alice.home / "bound", alice.uid, alice.uid)
    options = ("--userns", "keep-id:uid=200,gid=210", "-v", f"{alice.home}/bound:/b")
    script = "id -u; id -g; stat -c %u:%g /b; touch /b/x; stat -c %u:%g /b/x; stat -c %u:%g /bin/busybox /etc/hosts"
    assert shell(alice, *options, script=script).splitlines() == ["200", "210", "200:210", "200:210", "0:0", "0:0"]
    status = (alice.home / "bound/x").stat()
    assert (status.st_uid, status.st_gid) == (alice.uid, alice.uid)
    (alice.home / "bound/x").unlink()
    (alice.home / "bound").rmdir()


def test_keep_id_knows_the_user_by_name(alice: Person) -> None:
    script = "id -un; id -gn; echo $HOME; tail -1 /etc/passwd"
    rows = shell(alice, "--userns", "keep-id", script=script).splitlines()
    assert rows[:3] == ["alice", "alice", "/"]
    assert rows[3].split(":")[:4] == ["alice", "*", str(alice.uid), str(alice.uid)]
    mount = ("-v", f"{alice.home}:{alice.home}", "-w", str(alice.home))
    script = "echo $HOME; cd; pwd; touch made; stat -c %U made; rm made"
    assert shell(alice, "--userns", "keep-id", *mount, script=script).split() == [str(alice.home)] * 2 + ["alice"]


def test_another_user_may_be_asked_for(alice: Person) -> None:
    assert shell(alice, "--userns", "keep-id", "--user", "0", script="id -u; touch /x; stat -c %u /x") == "0\n0"


def test_without_keep_id_bound_files_of_the_user_are_roots(alice: Person) -> None:
    (alice.home / "mine").write_text("x")
    os.chown(alice.home / "mine", alice.uid, alice.uid)
    assert shell(alice, "-v", f"{alice.home}/mine:/m", script="stat -c %u:%g /m; chown 5:6 /m") == "0:0"
    status = (alice.home / "mine").stat()
    assert {status.st_uid, status.st_gid} <= alice.ids() - {alice.uid}
    # `U` brings it back to whom the container runs as.
    shell(alice, "-v", f"{alice.home}/mine:/m:U", script="true")
    assert (alice.home / "mine").stat().st_uid == alice.uid
    (alice.home / "mine").unlink()


def test_one_copy_of_an_image_serves_all_containers_of_a_map(alice: Person) -> None:
    shifted = alice.root / "shifted"
    alice("run", "-d", "--name", "one", "--userns", "keep-id", *SLEEP)
    alice("run", "-d", "--name", "two", "--userns", "keep-id", *SLEEP)
    alice("run", "-d", "--name", "other", "--userns", "keep-id:uid=7,gid=7", *SLEEP)
    copies = [name for name in host.below(shifted) if name != "lock"]
    assert sorted(len(host.below(shifted / name / "users")) for name in copies) == [1, 2]
    for name in ("one", "two"):
        assert host.below(shifted / copies[0] / "root") == host.below(shifted / copies[1] / "root")
        alice("rm", "-f", "-t", "0", name)
    assert len([name for name in host.below(shifted) if name != "lock"]) == 1
    alice("rm", "-f", "-t", "0", "other")
    assert host.below(shifted) == ["lock"]


def test_a_container_that_removes_itself_takes_its_copy_along(alice: Person) -> None:
    shell(alice, "--userns", "nomap", script="true")
    assert host.below(alice.root / "shifted") == ["lock"]
    alice("run", "-d", "--rm", "--userns", "nomap", *SLEEP)
    assert len(host.below(alice.root / "shifted")) == 2
    alice("stop", "-t", "0", "--latest")
    eventually(lambda: host.below(alice.root / "shifted") == ["lock"], "the copy goes with its last container")


def test_those_that_come_at_once_share_one_copy(alice: Person) -> None:
    mode = ("--userns", "keep-id:uid=300,gid=300")
    started = [alice.popen("run", "--name", f"c{number}", *mode, "busybox", "id", "-u") for number in range(5)]
    for process in started:
        assert process.communicate() == (b"300\n", b"")
    copies = [name for name in host.below(alice.root / "shifted") if name != "lock"]
    assert len(copies) == 1
    assert host.below(alice.root / "shifted" / copies[0]) == ["root", "users"]


def test_a_copy_that_was_cut_off_is_made_anew(alice: Person) -> None:
    mode = ("--userns", "keep-id:uid=301,gid=301")
    alice("run", "--name", "one", *mode, "busybox", "true")
    (copy,) = (name for name in host.below(alice.root / "shifted") if name != "lock")
    home = alice.root / "shifted" / copy
    # As after a kill: what was being made is there, under its name of then.
    (home / "root").rename(home / "root.new")
    (home / "upper").mkdir()
    assert alice("run", "--rm", *mode, "busybox", "stat", "-c", "%u", "/bin/busybox") == "0"
    assert host.below(home) == ["root", "users"]


def test_nomap_leaves_the_user_itself_out(alice: Person) -> None:
    script = "cat /proc/self/uid_map; stat -c %u /bin/busybox /etc/hosts; touch /x; stat -c %u /x; stat -c %u /home"
    rows = shell(alice, "--userns", "nomap", "-v", f"{alice.home}:/home:ro", script=script).splitlines()
    assert rows[0].split() == ["0", "1", "65536"]
    assert rows[1:] == ["0", "0", "0", "65534"]


def test_the_home_may_be_closed_to_all_others(alice: Person) -> None:
    assert alice.home.stat().st_mode & 0o077 == 0
    for mode in ("keep-id", "nomap", "auto"):
        assert shell(alice, "--userns", mode, "-v", f"{alice.home}:/h:ro", script="echo here") == "here"


def test_a_map_is_relative_to_the_users_own_namespace(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--uidmap", "0:1000:100", "--uidmap", "100:0:1", *SLEEP)
    assert alice("exec", "one", "cat", "/proc/self/uid_map").split() == ["0", "1000", "100", "100", "0", "1"]
    pid = state(alice, "one", "Pid")
    first = min(alice.ids() - {alice.uid})
    assert os.stat(f"/proc/{pid}").st_uid == first + 999
    assert alice("exec", "--user", "100", "one", "id", "-u") == "100"
    found = json.loads(alice("inspect", "one"))[0]["HostConfig"]["IDMappings"]
    assert found["UidMap"] == found["GidMap"] == ["0:1000:100", "100:0:1"]


def test_auto_takes_ids_of_the_users_ranges_that_no_other_container_has(alice: Person) -> None:
    for name in ("one", "two"):
        alice("run", "-d", "--name", name, "--userns", "auto", *SLEEP)
    assert alice("exec", "one", "cat", "/proc/self/uid_map").split() == ["0", "1", "2001"]
    assert alice("exec", "two", "cat", "/proc/self/uid_map").split() == ["0", "2002", "2001"]
    owners = {os.stat(f"/proc/{state(alice, name, 'Pid')}").st_uid for name in ("one", "two")}
    assert len(owners) == 2 and owners <= alice.ids() - {alice.uid}
    assert "65000 uids are needed" in said(alice, "run", "--userns", "auto:size=65000", "busybox", "true")


def test_a_stopped_container_finds_its_files_again(alice: Person) -> None:
    script = (
        "[ -e /tmp/kept ] || { mkdir -p /tmp; touch /tmp/kept; chown 7:8 /tmp/kept; }; stat -c %u:%g /tmp/kept; id -u"
    )
    alice("run", "--name", "one", "--userns", "keep-id", "--user", "0", "busybox", "sh", "-c", script)
    alice("start", "-a", "one")
    alice("restart", "one")
    alice("wait", "one")
    assert alice("logs", "one").splitlines() == ["7:8", "0"] * 3


def test_exec_attach_and_terminals_work_as_ever(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--userns", "keep-id", *SLEEP)
    assert alice("exec", "one", "id", "-u") == str(alice.uid)
    assert alice("exec", "--user", "0", "one", "sh", "-c", "id -u; echo x >/dev/stdout") == "0\nx"
    with alice.terminal("run", "-it", "--rm", "--userns", "keep-id", "busybox", "sh") as terminal:
        terminal.type("stat -c owner=%u $(tty); exit 3\n")
        terminal.expect(f"owner={alice.uid}\r\n")
        assert terminal.wait() == 3


def test_with_the_hosts_network(alice: Person) -> None:
    assert shell(alice, "--userns", "keep-id", "--network", "host", script="id -u; ls -d /sys/class/net") == (
        f"{alice.uid}\n/sys/class/net"
    )


def test_ids_by_a_name_are_the_users_own(alice: Person, village: Village) -> None:
    text = shell(alice, "--subuidname", alice.name, script="cat /proc/self/uid_map")
    assert text.split() == ["0", "1", "65536"]
    with (village.etc / "subuid").open("a") as file:
        file.write("stranger:5000000:1000\n")
    assert "are not this user's" in said(alice, "run", "--subuidname", "stranger", "busybox", "true")


def test_another_container_shares_the_namespace(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--userns", "keep-id", *SLEEP)
    inside = alice("exec", "one", "readlink", "/proc/self/ns/user")
    script = "readlink /proc/self/ns/user; id -u; stat -c %u /bin/busybox"
    assert shell(alice, "--userns", "container:one", script=script).splitlines() == [inside, "0", "0"]


def test_those_that_join_are_started_after_the_one_they_join(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--userns", "keep-id", *SLEEP)
    alice("create", "--name", "two", "--userns", "container:one", *SLEEP)
    alice("stop", "-t", "0", "one")
    assert "one, which is exited" in said(alice, "start", "two")
    assert alice("start", "one", "two").split() == ["one", "two"]
    inside = [alice("exec", name, "readlink", "/proc/self/ns/user") for name in ("one", "two")]
    assert inside[0] == inside[1]
    assert alice("restart", "-t", "0", "one", "two").split() == ["one", "two"]
    again = [alice("exec", name, "readlink", "/proc/self/ns/user") for name in ("one", "two")]
    assert again[0] == again[1]


def test_two_that_live_apart_can_not_be_joined_at_once(alice: Person) -> None:
    for name in ("one", "two"):
        alice("run", "-d", "--name", name, *SLEEP)
    options = ("--userns", "container:one", "--network", "container:two")
    assert "containers two and one can't be joined at once: each has a user namespace of its own" in said(
        alice, "run", "--rm", *options, "busybox", "true"
    )


@pytest.mark.parametrize("mode", ["keep-id", "nomap", "auto"])
def test_without_ranges_the_command_to_add_them_is_told(village: Village, busybox_tar: Path, mode: str) -> None:
    single = village.person(f"single{mode[0]}")
    for name in ("subuid", "subgid"):
        path = village.etc / name
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("single")))
    import_image(single, busybox_tar)
    with staying(single):
        line = single.run("run", "--rm", "--userns", mode, "busybox", "true", status=125).stderr.splitlines()[-1]
        assert line.startswith("Error: ")
        assert "usermod --add-subuids" in line or "ids are needed" in line or "uids are needed" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--userns", "keep-id:uid=x"), "keep-id:uid=UID,gid=GID"),
        (("--userns", "keep-id:size=5"), "keep-id:uid=UID,gid=GID"),
        (("--uidmap", "0:60000:60000"), "no ids 60000 to 119999"),
        (("--uidmap", "0:0:1", "--userns", "keep-id"), "exclude each other"),
        (("--userns", "nomap", "--user", "65536"), "user 65536 of the container has no id"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(alice: Person, options: tuple[str, ...], message: str) -> None:
    assert message in said(alice, "run", "--rm", *options, "busybox", "true")
