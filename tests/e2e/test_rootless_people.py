"""Users apart from each other; users without ranges, without newuidmap, without a home that can be used."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import SLEEP, said, state
from tests.support.village import EMPTY_TMP, Person, Village, import_image, staying


@pytest.fixture(scope="module")
def village() -> Iterator[Village]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as made:
        yield made


@pytest.fixture(scope="module")
def people(village: Village, busybox_tar: Path) -> dict[str, Person]:
    found = {name: village.person(name) for name in ("alice", "bob")}
    for person in found.values():
        import_image(person, busybox_tar)
    return found


@pytest.fixture
def alice(people: dict[str, Person]) -> Iterator[Person]:
    with staying(people["alice"]) as person:
        yield person


@pytest.fixture
def bob(people: dict[str, Person]) -> Iterator[Person]:
    with staying(people["bob"]) as person:
        yield person


def open_up(person: Person) -> None:
    """Let everybody into the user's home and run-time folder: what keeps others out is Remora's own then."""
    for path in (person.home, person.home / ".local", person.home / ".local/share", person.runtime):
        path.chmod(0o755)


# ---- apart ------------------------------------------------------------------------------------


def test_two_users_have_the_same_names_and_see_nothing_of_each_other(alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        open_up(person)
        person("run", "-d", "--name", "mine", "busybox", *SLEEP[1:])
        person("tag", "busybox", f"{person.name}:1")
    for person, other in ((alice, bob), (bob, alice)):
        assert person("ps", "-a", "--format", "{{.Names}}") == "mine"
        assert f"localhost/{other.name}" not in person("images", "--format", "{{.Repository}}")
        for folder in (other.root, other.runroot):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            person.do("ls", str(folder), status=2)
    identity = alice("inspect", "-f", "{{.Id}}", "mine")
    assert "no such object" in said(bob, "inspect", identity)
    assert "no such container" in said(bob, "stop", identity)
    alice("rm", "-f", "-t", "0", "mine")
    assert state(bob, "mine", "Status") == "running"


def test_another_users_folders_are_refused_in_one_line(alice: Person, bob: Person) -> None:
    open_up(alice)
    alice("run", "-d", "--name", "mine", "busybox", *SLEEP[1:])
    for command in (("ps", "-a"), ("exec", "mine", "true"), ("run", "--rm", "busybox", "true"), ("rm", "mine")):
        folders = ("--root", str(alice.root), "--runroot", str(alice.runroot))
        result = bob.run(*folders, *command, status=None)
        assert result.returncode in (1, 125) or command[0] == "ps", command
        assert result.stdout == ""
        assert result.stderr.count("\n") <= 1 and "Traceback" not in result.stderr
    assert state(alice, "mine", "Status") == "running"


def test_without_a_run_time_folder_it_is_one_below_tmp_that_must_be_the_users_own(alice: Person, bob: Person) -> None:
    away = alice.altered(*EMPTY_TMP)
    del away.environment["XDG_RUNTIME_DIR"]
    script = f"remora run --rm busybox true && stat -c '%a %u' /tmp/remora-{alice.uid} /tmp/remora-{alice.uid}/remora"
    assert away.do("sh", "-c", script).splitlines() == [f"700 {alice.uid}"] * 2
    for trap in (f"mkdir -m 0777 /tmp/remora-{alice.uid}", f"ln -s {alice.home} /tmp/remora-{alice.uid}"):
        trapped = alice.altered(*EMPTY_TMP, trap)
        del trapped.environment["XDG_RUNTIME_DIR"]
        for command in (("run", "--rm", "busybox", "true"), ("ps",), ("attach", "mine")):
            assert "is not a folder of user" in said(trapped, *command)


def test_the_users_own_folder_of_systemd_is_found_without_the_variable(alice: Person) -> None:
    folder = f"/run/user/{alice.uid}"
    there = alice.altered("mount -t tmpfs run /run", f"mkdir -p {folder}", f"chown {alice.uid} {folder}")
    del there.environment["XDG_RUNTIME_DIR"]
    script = f"remora run --rm busybox true && ls {folder} && remora info --format '{{{{.store.images.runRoot}}}}'"
    assert there.do("sh", "-c", script).split() == ["remora", f"{folder}/containers"]


# ---- without ranges ---------------------------------------------------------------------------


def test_without_ranges_there_is_one_id_and_the_command_that_adds_more(village: Village, busybox_tar: Path) -> None:
    carol = village.person("carol", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0")
    assert carol.ids() == {carol.uid}
    import_image(carol, busybox_tar)
    (carol.runroot / "single-id-told").unlink()
    with staying(carol):
        first = carol.run("run", "--name", "one", "busybox", "cat", "/proc/self/uid_map")
        assert first.stdout.split() == ["0", str(carol.uid), "1"]
        assert first.stderr.count("\n") == 1
        command = re.search(r"`sudo (usermod [^`]*)`", first.stderr)
        assert command, first.stderr
        assert carol.run("start", "-a", "one").stderr == "", "it is said once"
        bare = carol.altered("mount --bind /dev/null /usr/bin/newuidmap", "mount --bind /dev/null /usr/bin/newgidmap")
        assert bare("run", "--rm", "busybox", "id", "-u") == "0", "one id needs no help"
        line = said(carol, "run", "--rm", "--user", "1000", "busybox", "true")
        assert "user 1000" in line and "/etc/subuid" in line
        assert carol("run", "--rm", "-i", "busybox", "sh", "-c", "touch /tmp/x && id -u") == "0"
        village.root(*command[1].split())
        assert len(carol.ids()) == 65537
        assert carol("run", "--rm", "--user", "1000", "busybox", "id", "-u") == "1000"
        assert carol.run("start", "-a", "one").stdout.split()[:3] == ["0", str(carol.uid), "1"]


def test_the_ranges_offered_are_nobody_elses(village: Village) -> None:
    dave = village.person("dave", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0")
    text = dave("info", "--format", "{{.host.idMappings.missing}}")
    start, end = map(int, re.findall(r"--add-subuids (\d+)-(\d+)", text)[0])
    taken = [line.split(":") for line in (village.etc / "subuid").read_text().splitlines()]
    assert end - start == 65535
    assert all(start >= int(first) + int(count) or end < int(first) for _, first, count in taken)


# ---- bad luck ---------------------------------------------------------------------------------


def test_without_newuidmap_it_is_named_with_its_package(alice: Person) -> None:
    bare = alice.altered("mount --bind /dev/null /usr/bin/newuidmap", "mount --bind /dev/null /usr/bin/newgidmap")
    line = said(bare, "run", "--rm", "busybox", "true")
    assert "newuidmap and newgidmap not installed (`sudo apt-get install uidmap`)" in line
    assert bare("ps", "-aq") == ""
    alice.assert_nothing_left()


def test_a_newuidmap_that_is_not_set_user_id_is_named_with_what_it_said(alice: Person) -> None:
    copy = "cp /usr/bin/newuidmap /mnt/; chmod 755 /mnt/newuidmap"
    bare = alice.altered("mount -t tmpfs tmp /mnt", copy, "mount --bind /mnt/newuidmap /usr/bin/newuidmap")
    line = said(bare, "run", "--rm", "busybox", "true")
    assert "newuidmap: " in line and "set-uid root" in line
    alice.assert_nothing_left()


def test_what_runs_goes_on_and_is_used_when_newuidmap_has_gone(alice: Person) -> None:
    alice("run", "-d", "--name", "on", "busybox", *SLEEP[1:])
    bare = alice.altered("mount --bind /dev/null /usr/bin/newuidmap")
    assert bare("exec", "on", "id", "-u") == "0"
    bare("stop", "-t", "0", "on")
    assert bare("wait", "on") == "137"
    said(bare, "rm", "on")
    assert state(bare, "on", "Status") == "exited"


def test_a_home_that_cannot_be_written_is_named(alice: Person) -> None:
    for home in ("/root", "/nonexistent"):
        away = alice.altered(HOME=home)
        for command in (("run", "--rm", "busybox", "true"), ("pull", "busybox")):
            line = said(away, *command)
            assert "data folder" in line and home in line and "XDG_DATA_HOME or --root" in line
        away.run("ps", "-a", status=None)
    alice.assert_nothing_left()


def test_a_run_time_folder_of_somebody_else_is_named(alice: Person, bob: Person) -> None:
    away = alice.altered(XDG_RUNTIME_DIR=str(bob.runtime))
    line = said(away, "run", "--rm", "busybox", "true")
    assert "run folder" in line and "XDG_RUNTIME_DIR must be a folder of yours" in line
    alice.assert_nothing_left()


def test_lingering_that_is_off_is_told_where_systemd_runs(alice: Person) -> None:
    there = (
        "mount -t tmpfs run /run",
        "mkdir -p /run/systemd/system",
        "mount -t tmpfs -o mode=755 lib /var/lib/systemd",
    )
    systemd = alice.altered(*there)
    result = systemd.run("run", "-d", "--rm", "busybox", "true")
    assert "lingering is off for alice" in result.stderr and "loginctl enable-linger" in result.stderr
    assert result.stderr.count("\n") == 1
    on = alice.altered(*there, "mkdir /var/lib/systemd/linger", "touch /var/lib/systemd/linger/alice")
    assert on.run("run", "-d", "--rm", "busybox", "true").stderr == ""
    assert alice.run("run", "-d", "--rm", "busybox", "true").stderr == "", "nobody ends sessions here"
