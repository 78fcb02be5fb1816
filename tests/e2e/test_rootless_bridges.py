"""Bridge networks of an ordinary user: in one namespace of the user's, shared by all containers on them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.test_rootless_networks import SERVER, answers, call, call_from_world
from tests.support import host as machine
from tests.support import world
from tests.support.commands import said
from tests.support.private_host import HOST, WORLD, PrivateHost, private_host
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually

# ping needs it: ping_group_range has the first group only.
SLEEP = ("--cap-add", "NET_RAW", "busybox", "sleep", "1000")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateHost]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with private_host(tmp_path_factory.mktemp("host"), users=()) as made:
        server = made.popen("python3", Path(world.__file__), WORLD, world=True)
        try:
            yield made
        finally:
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def somebody(place: PrivateHost, busybox_tar: Path) -> Iterator[Person]:
    with Village(place.words()) as village:
        made = village.person("alice")
        import_image(made, busybox_tar)
        made("network", "create", "net")
        yield made


@pytest.fixture
def alice(somebody: Person) -> Iterator[Person]:
    """At the end nothing of the user's runs, and no address, port or container is noted any more."""
    with staying(somebody) as person:
        yield person
    assert machine.below(somebody.runroot / "networks/rootless/users") == []
    leases = [path for path in (somebody.runroot / "networks").glob("*/*.*") if path.name[0].isdigit()]
    assert leases == []


def slirp_pid(alice: Person) -> int:
    return int((alice.runroot / "networks/rootless/slirp4netns").read_text().split()[0])


def fetch(alice: Person, name: str, where: str) -> str:
    return alice.run("exec", name, "timeout", "5", "wget", "-qO-", f"http://{where}", status=None).stdout.strip()


def finds(alice: Person, name: str, address: str) -> bool:
    return address in alice.run("exec", "one", "nslookup", name, status=None).stdout


def answers_the_world(place: PrivateHost, port: int) -> bool:
    return call_from_world(place, port) == "served"


def test_a_container_has_an_address_of_the_network_and_a_way_out(alice: Person) -> None:
    output = alice("run", "--rm", "--network", "net", "busybox", "sh", "-c", f"ip -o -4 addr; wget -qO- http://{WORLD}")
    assert "inet 10.89." in output and output.endswith(f"hello {HOST}")


def test_containers_find_each_other_by_name_and_the_world_by_its_names(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--network", "net", *SLEEP)
    alice("run", "-d", "--name", "two", "--network", "net", "--network-alias", "other", *SLEEP)
    own = json.loads(alice("inspect", "-f", "{{json .NetworkSettings.Networks}}", "two"))["net"]["IPAddress"]
    for name in ("two", "other"):
        eventually(partial(finds, alice, name, own), f"one finds {name}")
    assert world.ANSWER in alice("exec", "one", "nslookup", world.NAME)
    alice("exec", "one", "ping", "-c1", "-W5", own)


def test_containers_share_one_namespace_and_one_slirp4netns_which_goes_with_the_last(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--network", "net", *SLEEP)
    pid = slirp_pid(alice)
    alice("run", "-d", "--name", "two", "--network", "bridge", *SLEEP)
    keepers = [int(json.loads(alice("inspect", name))[0]["State"]["ConmonPid"]) for name in ("one", "two")]
    assert len({os.readlink(f"/proc/{keeper}/ns/user") for keeper in keepers}) == 1
    alice("rm", "-f", "-t", "0", "one")
    assert machine.alive(pid) and slirp_pid(alice) == pid
    assert fetch(alice, "two", WORLD) == f"hello {HOST}"
    alice("rm", "-f", "-t", "0", "two")
    eventually(lambda: not machine.alive(pid), "it ends with the last")
    eventually(lambda: not alice.processes(), "nothing of the user's runs")


def test_published_ports_answer_as_long_as_their_container_lives(alice: Person, place: PrivateHost) -> None:
    for number, name in enumerate(("one", "two")):
        published = f"{8080 + number}:80"
        alice("run", "-d", "--name", name, "--network", "net", "-p", published, "busybox", "sh", "-c", SERVER)
    for port in (8080, 8081):
        eventually(partial(answers, alice, port, "served"), f"port {port} answers")
        eventually(partial(answers_the_world, place, port), f"port {port} answers the world")
    line = said(alice, "run", "-d", "--name", "three", "--network", "net", "-p", "8080:80", *SLEEP, status=126)
    assert "address already in use by container one" in line
    alice("rm", "-f", "-t", "0", "one")
    assert call(alice, 8080) == ""
    eventually(lambda: call(alice, 8081) == "served", "the other one does still")
    alice("start", "three")


def test_a_killed_slirp4netns_is_started_again_with_the_ports_of_all(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--network", "net", "-p", "8080:80", "busybox", "sh", "-c", SERVER)
    alice("run", "-d", "--name", "two", "--network", "net", "-p", "8081:80", "busybox", "sh", "-c", SERVER)
    pid = slirp_pid(alice)
    machine.send(pid, signal.SIGKILL)
    for port in (8080, 8081):
        eventually(partial(answers, alice, port, "served"), f"port {port} answers again")
    assert slirp_pid(alice) != pid
    assert fetch(alice, "one", WORLD) == f"hello {HOST}"


def test_nothing_of_a_container_whose_monitor_was_killed_is_in_the_way(alice: Person) -> None:
    alice("run", "-d", "--name", "stays", "--network", "net", *SLEEP)
    alice("run", "-d", "--name", "one", "--network", "net:ip=10.89.0.77", "-p", "8080:80", *SLEEP)
    machine.kill_monitor(int(json.loads(alice("inspect", "one"))[0]["State"]["ConmonPid"]))
    alice("rm", "-f", "-t", "0", "one")
    words = ("--network", "net:ip=10.89.0.77", "-p", "8080:80", "busybox", "sh", "-c", SERVER)
    alice("run", "-d", "--name", "two", *words)
    eventually(lambda: call(alice, 8080) == "served", "the port leads to the new one")


def test_when_everything_was_killed_the_next_start_finds_nothing_in_its_way(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--network", "net:ip=10.89.0.77", "-p", "8080:80", *SLEEP)
    before = slirp_pid(alice)
    pid = int(alice("inspect", "-f", "{{.State.Pid}}", "one"))
    machine.kill_monitor(int(json.loads(alice("inspect", "one"))[0]["State"]["ConmonPid"]))
    machine.send(pid, signal.SIGKILL)
    eventually(lambda: not machine.alive(pid), "the container is gone")
    words = ("--network", "net:ip=10.89.0.77", "-p", "8080:80", "busybox", "sh", "-c", SERVER)
    alice("run", "-d", "--name", "two", *words)
    eventually(lambda: call(alice, 8080) == "served", "the port leads to the new one")
    assert not machine.alive(before)


def test_a_restarted_container_has_its_network_and_ports_again(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--network", "net", "-p", "8080:80", "busybox", "sh", "-c", SERVER)
    alice("restart", "-t", "0", "one")
    eventually(lambda: call(alice, 8080) == "served", "it answers")
    alice("stop", "-t", "0", "one")
    eventually(lambda: not alice.processes(), "nothing of the user's runs")
    alice("start", "one")
    eventually(lambda: call(alice, 8080) == "served", "it answers again")


def test_containers_with_ids_of_their_own_can_be_on_a_bridge(alice: Person) -> None:
    words = ("--userns", "keep-id", "--network", "net", "busybox", "sh", "-c", f"id -u; wget -qO- http://{WORLD}")
    assert alice("run", "--rm", *words).split("\n") == [str(alice.uid), f"hello {HOST}"]


def test_many_first_containers_at_once_share_one_namespace(alice: Person) -> None:
    started = [alice.popen("run", "-d", "--name", f"c{number}", "--network", "net", *SLEEP) for number in range(5)]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    keepers = [int(json.loads(alice("inspect", f"c{number}"))[0]["State"]["ConmonPid"]) for number in range(5)]
    assert len({os.readlink(f"/proc/{keeper}/ns/user") for keeper in keepers}) == 1
    addresses = [
        json.loads(alice("inspect", "-f", "{{json .NetworkSettings.Networks}}", f"c{number}"))["net"]["IPAddress"]
        for number in range(5)
    ]
    assert len(set(addresses)) == 5
    alice("exec", "c0", "ping", "-c1", "-W5", addresses[4])


def test_networks_are_connected_and_disconnected_while_the_container_runs(alice: Person) -> None:
    alice("run", "-d", "--name", "one", "--network", "net", *SLEEP)
    alice("network", "connect", "podman", "one")
    assert "inet 10.88." in alice("exec", "one", "ip", "-o", "-4", "addr")
    alice("network", "disconnect", "net", "one")
    assert "inet 10.89." not in alice("exec", "one", "ip", "-o", "-4", "addr")
    alice("network", "reload", "one")
    assert fetch(alice, "one", WORLD) == f"hello {HOST}"


def test_a_host_without_resolv_conf_has_bridges_too(alice: Person) -> None:
    bare = alice.altered("rm /etc/resolv.conf" if not Path("/etc/resolv.conf").is_symlink() else "true")
    try:
        bare("run", "--rm", "--network", "net", "busybox", "true")
    finally:
        alice.village.root("sh", "-c", f"echo nameserver {WORLD} > /etc/resolv.conf")


def test_a_missing_slirp4netns_is_told_with_its_package(alice: Person) -> None:
    other = alice.altered("mount --bind /dev/null /usr/bin/slirp4netns")
    line = said(other, "run", "--rm", "--network", "net", "busybox", "true")
    assert "slirp4netns" in line and "install the package slirp4netns" in line
