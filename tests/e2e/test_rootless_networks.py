"""Networks of an ordinary user's containers, by pasta and by slirp4netns, on a private host with a world behind it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support import host as machine
from tests.support import world
from tests.support.commands import said
from tests.support.private_host import HOST, WORLD, PrivateHost, private_host
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually

HELPERS = ("pasta", "slirp4netns")
SERVER = "while :; do echo served | nc -l -p 80; done"
# busybox has nothing for udp: Python comes from the machine.
PYTHON = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro")
UDP_SERVER = """/usr/bin/python3 -c '
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 5000))
while True:
    question, asker = server.recvfrom(100)
    server.sendto(b"served", asker)
'"""


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
        made.use_network("private")
        yield made


@pytest.fixture
def alice(somebody: Person) -> Iterator[Person]:
    with staying(somebody) as person:
        yield person


CLIENT = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
caller = socket.socket(family, kind)
caller.settimeout(2)
caller.connect((sys.argv[2], int(sys.argv[3])))
caller.send(b"?\\n")
print(caller.recv(100).decode())
"""


def call(alice: Person, port: int, address: str = "127.0.0.1") -> str:
    """What a published port of the host answers; "" when nobody does."""
    words = [*alice.prefix, "/usr/bin/python3", "-c", CLIENT, "tcp", address, str(port)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip().rpartition("\n")[2]


def answers(alice: Person, port: int, text: str) -> bool:
    return call(alice, port) == text


def call_from_world(place: PrivateHost, port: int, protocol: str = "tcp") -> str:
    words = ["/usr/bin/python3", "-c", CLIENT, protocol, HOST, str(port)]
    return place.run(*words, world=True, status=None).stdout.strip()


def restarts(alice: Person, name: str) -> object:
    """How often the monitor has started its only helper again."""
    (status,) = json.loads(alice("monitor", "status", "--format", "json", name))
    (helper,) = status["Helpers"]
    return helper["Restarts"]


def helper_pid(alice: Person, container_id: str, mode: str) -> int:
    return int((alice.runroot / container_id / f"{mode}.pid").read_text())


# ---- the way out


def test_without_a_word_about_networks_it_is_pasta_and_the_world_answers(alice: Person) -> None:
    output = alice("run", "--rm", "busybox", "sh", "-c", f"ip -o addr; wget -qO- http://{WORLD}")
    assert f"inet {HOST}/24" in output and output.endswith(f"hello {HOST}")


@pytest.mark.parametrize("mode", HELPERS)
def test_the_world_is_reached_and_names_are_resolved(alice: Person, mode: str) -> None:
    script = f"wget -qO- http://{WORLD}; nslookup {world.NAME}"
    output = alice("run", "--rm", "--network", mode, "busybox", "sh", "-c", script)
    assert f"hello {HOST}" in output
    assert world.ANSWER in output, output


@pytest.mark.parametrize("userns", ["keep-id", "nomap", "auto"])
@pytest.mark.parametrize("mode", HELPERS)
def test_with_a_user_namespace_of_its_own_the_network_is_the_containers(alice: Person, mode: str, userns: str) -> None:
    words = ("--network", mode, "--userns", userns, "--user", "0", "--cap-add", "NET_ADMIN", "-p", "18080:80")
    alice("run", "-d", "--name", "web", *words, "busybox", "sh", "-c", SERVER)
    assert f"hello {HOST}" in alice("exec", "web", "wget", "-qO-", f"http://{WORLD}")
    eventually(partial(answers, alice, 18080, "served"), "the published port answers")
    assert alice("exec", "web", "sh", "-c", "ip link set lo mtu 1400 && echo done") == "done"
    alice("restart", "-t", "0", "web")
    eventually(partial(answers, alice, 18080, "served"), "the published port answers again")


@pytest.mark.parametrize("mode", HELPERS)
def test_files_name_the_container_and_its_name_servers(alice: Person, mode: str) -> None:
    words = (
        "--network",
        mode,
        "--name",
        "web",
        "--hostname",
        "box",
        "--add-host",
        "db:10.1.1.1",
        "--dns-search",
        "x.example",
    )
    output = alice("run", "--rm", *words, "busybox", "cat", "/etc/hosts", "/etc/resolv.conf")
    own, server = {"pasta": (HOST, "169.254.1.1"), "slirp4netns": ("10.0.2.100", "10.0.2.3")}[mode]
    lines = output.splitlines()
    assert f"{own}\tbox web" in lines and "10.1.1.1\tdb" in lines
    assert lines.index("search x.example") < lines.index(f"nameserver {server}")


@pytest.mark.parametrize("mode", HELPERS)
def test_the_hosts_own_services_on_its_loopback_are_out_of_reach(alice: Person, place: PrivateHost, mode: str) -> None:
    server = place.popen("python3", Path(world.__file__), "127.0.0.1", "7777")
    try:
        eventually(lambda: call(alice, 7777) == "hello 127.0.0.1", "the service of the host is there")
        tries = "".join(f"timeout 3 wget -qO- http://{to}:7777; " for to in (WORLD, "10.0.2.2", HOST, "127.0.0.1"))
        words = ("busybox", "sh", "-c", f"({tries}) 2>/dev/null; echo end")
        assert alice("run", "--rm", "--network", mode, *words) == "end"
        allowed = {"pasta": "--map-gw", "slirp4netns": "allow_host_loopback=true"}[mode]
        assert alice("run", "--rm", "--network", f"{mode}:{allowed}", *words) == "hello 127.0.0.1\nend"
    finally:
        server.kill()
        server.wait()


def test_options_reach_pasta_and_slirp4netns(alice: Person) -> None:
    mtu = ("busybox", "cat", "/sys/class/net/up0/mtu")
    assert alice("run", "--rm", "--network", "pasta:--mtu,1400", *mtu) == "1400"
    words = ("--network", "slirp4netns:cidr=10.7.7.0/24,mtu=1400", "busybox", "sh", "-c")
    output = alice("run", "--rm", *words, "ip -o -4 addr show tap0; cat /sys/class/net/tap0/mtu /etc/resolv.conf")
    assert "inet 10.7.7.100/24" in output and "\n1400\n" in output and "nameserver 10.7.7.3" in output


# ---- ports


@pytest.mark.parametrize("mode", HELPERS)
def test_published_ports_are_answered_from_the_host_and_from_the_world(
    alice: Person, place: PrivateHost, mode: str
) -> None:
    words = (*PYTHON, "--network", mode, "-p", "8080:80", "-p", "5353:5000/udp", "-p", "127.0.0.1:8081:80", "-p", "80")
    alice("run", "-d", "--name", "web", *words, "busybox", "sh", "-c", f"({UDP_SERVER}) & {SERVER}")
    eventually(lambda: call(alice, 8080) == "served", "the port of the host answers")
    eventually(lambda: call(alice, 8081) == "served", "one on the loopback does")
    eventually(lambda: call_from_world(place, 8080) == "served", "and the world gets an answer")
    eventually(lambda: call_from_world(place, 5353, "udp") == "served", "for udp, too")
    assert call_from_world(place, 8081) == ""
    shown = dict(re.findall(r"^(\S+) -> (\S+)$", alice("port", "web"), re.MULTILINE))
    assert shown["5000/udp"] == "0.0.0.0:5353"
    chosen = int(alice("port", "web", "80/tcp").splitlines()[-1].rpartition(":")[2])
    assert chosen > 1023
    eventually(lambda: call(alice, chosen) == "served", "the port that was chosen answers")
    assert "0.0.0.0:8080->80/tcp" in alice("ps", "--format", "{{.Ports}}")
    bindings = json.loads(alice("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"))
    assert {"HostIp": "127.0.0.1", "HostPort": "8081"} in bindings["80/tcp"]


@pytest.mark.parametrize("mode", HELPERS)
def test_a_range_is_published_port_by_port(alice: Person, mode: str) -> None:
    serve = "for p in 90 91 92; do (while :; do echo $p | nc -l -p $p; done) & done; wait"
    alice("run", "-d", "--network", mode, "-p", "9000-9002:90-92", "busybox", "sh", "-c", serve)
    for port in range(3):
        eventually(partial(answers, alice, 9000 + port, str(90 + port)), f"port {9000 + port} answers")


def test_pasta_listens_for_ipv6_too(alice: Person) -> None:
    alice("run", "-d", "-p", "8080:80", "busybox", "sh", "-c", SERVER)
    eventually(lambda: call(alice, 8080, "::1") == "served", "IPv6 is answered")


@pytest.mark.parametrize("mode", HELPERS)
def test_a_port_that_is_taken_is_told_with_who_has_it_and_nothing_is_left(alice: Person, mode: str) -> None:
    alice("run", "-d", "--name", "first", "--network", mode, "-p", "8080:80", "busybox", "sleep", "1000")
    words = ("run", "-d", "--name", "second", "--network", mode, "-p", "8080:80", "busybox", "sleep", "1000")
    line = said(alice, *words, status=126)
    assert "8080" in line and "address already in use by container first" in line
    alice("rm", "-f", "-t", "0", "first")
    alice("start", "second")
    assert "0.0.0.0:8080->80/tcp" in alice("ps", "--format", "{{.Ports}}")


def test_ports_below_1024_are_refused_with_the_reason(alice: Person) -> None:
    assert "permission denied" in said(alice, "run", "--rm", "-p", "80:80", "busybox", "true", status=126)


@pytest.mark.parametrize("mode", HELPERS)
def test_what_can_not_be_forwarded_is_refused_by_name(alice: Person, mode: str) -> None:
    assert "sctp" in said(alice, "run", "--rm", "--network", mode, "-p", "9000:9/sctp", "busybox", "true")


# ---- its life


@pytest.mark.parametrize("mode", HELPERS)
def test_the_helper_lives_exactly_as_long_as_the_container(alice: Person, mode: str) -> None:
    container_id = alice("run", "-d", "--network", mode, "busybox", "sleep", "1000")
    pid = helper_pid(alice, container_id, mode)
    assert machine.alive(pid) and os.stat(f"/proc/{pid}").st_uid == alice.uid
    alice("restart", "-t", "0", container_id)
    after = helper_pid(alice, container_id, mode)
    assert machine.alive(after) and not machine.alive(pid)
    alice("stop", "-t", "0", container_id)
    eventually(lambda: not machine.alive(after), "it has ended with the container")
    eventually(lambda: not alice.processes(), "nothing of the user's runs")


@pytest.mark.parametrize("mode", HELPERS)
def test_a_dead_helper_is_started_again_and_the_ports_answer_anew(alice: Person, mode: str) -> None:
    words = ("--name", "web", "--network", mode, "-p", "8080:80", "busybox", "sh", "-c", SERVER)
    container_id = alice("run", "-d", *words)
    eventually(lambda: call(alice, 8080) == "served", "it answers")
    pid = helper_pid(alice, container_id, mode)
    machine.send(pid, signal.SIGKILL)
    eventually(lambda: call(alice, 8080) == "served", "it answers again")
    assert helper_pid(alice, container_id, mode) != pid
    assert restarts(alice, container_id) == 1
    assert alice("exec", "web", "wget", "-qO-", f"http://{WORLD}") == f"hello {HOST}"


@pytest.mark.parametrize("mode", HELPERS)
def test_nothing_is_left_of_it_when_the_monitor_is_killed(alice: Person, mode: str) -> None:
    container_id = alice("run", "-d", "--name", "web", "--network", mode, "-p", "8080:80", "busybox", "sleep", "1000")
    pid = helper_pid(alice, container_id, mode)
    machine.kill_monitor(int(json.loads(alice("inspect", "web"))[0]["State"]["ConmonPid"]))
    alice("rm", "-f", "-t", "0", "web")
    eventually(lambda: not machine.alive(pid), "the helper is gone")
    alice("run", "--rm", "--network", mode, "-p", "8080:80", "busybox", "true")


@pytest.mark.parametrize("mode", HELPERS)
def test_the_port_of_a_container_of_which_everything_was_killed_is_free(alice: Person, mode: str) -> None:
    alice("run", "-d", "--name", "one", "--network", mode, "-p", "8080:80", "busybox", "sleep", "1000")
    pid = int(alice("inspect", "-f", "{{.State.Pid}}", "one"))
    machine.kill_monitor(int(json.loads(alice("inspect", "one"))[0]["State"]["ConmonPid"]))
    machine.send(pid, signal.SIGKILL)
    eventually(lambda: not machine.alive(pid), "the container is gone")
    alice("run", "-d", "--name", "two", "--network", mode, "-p", "8080:80", "busybox", "sh", "-c", SERVER)
    eventually(lambda: call(alice, 8080) == "served", "the port leads to the new one")


@pytest.mark.parametrize("mode", HELPERS)
def test_containers_with_ids_of_their_own_have_a_network_too(alice: Person, mode: str) -> None:
    words = ("--userns", "keep-id", "--network", mode, "-p", "8080:80", "busybox", "sh", "-c")
    output = alice("run", "--rm", *words, f"id -u; wget -qO- http://{WORLD}")
    assert output.split("\n") == [str(alice.uid), f"hello {HOST}"]


def test_another_container_joins_the_network_and_sees_the_same(alice: Person) -> None:
    alice("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sleep", "1000")
    alice("run", "-d", "--name", "in", "--network", "container:web", "busybox", "sh", "-c", SERVER)
    eventually(lambda: call(alice, 8080) == "served", "the port of the first leads to the second")
    assert alice("exec", "in", "wget", "-qO-", f"http://{WORLD}") == f"hello {HOST}"


# ---- bad luck


def test_a_device_that_may_not_be_opened_is_told_with_the_remedy(alice: Person) -> None:
    bob = alice.altered("chmod 600 /dev/net/tun")
    try:
        line = said(bob, "run", "--rm", "busybox", "true")
    finally:
        alice.village.root("chmod", "666", "/dev/net/tun")
    assert "/dev/net/tun" in line and "chmod 0666 /dev/net/tun" in line


@pytest.mark.parametrize("mode", HELPERS)
def test_a_missing_program_is_told_with_its_package(alice: Person, mode: str) -> None:
    line = said(
        alice.altered(f"mount --bind /dev/null /usr/bin/{mode}"), "run", "--rm", "--network", mode, "busybox", "true"
    )
    package = {"pasta": "passt", "slirp4netns": "slirp4netns"}[mode]
    assert "is not installed" in line and f"install the package {package}" in line


def test_a_host_without_a_route_is_told_in_pastas_words_with_a_remedy(alice: Person, place: PrivateHost) -> None:
    place.run("sh", "-c", "ip route del default; ip -6 route del default")
    try:
        line = said(alice, "run", "--rm", "--name", "lonely", "busybox", "true")
        alice("run", "--rm", "--network", "slirp4netns", "busybox", "true")
    finally:
        place.run("sh", "-c", f"ip route add default via {WORLD}; ip -6 route add default via 2001:db8:1::1")
    assert "pasta" in line and "no route to the world" in line and "syslog" not in line


@pytest.mark.parametrize("text", ["pasta:--netns,/x", "pasta:8080", "slirp4netns:mtu=x", "slirp4netns:nonsense"])
def test_wrong_options_are_refused_before_anything_is_made(alice: Person, text: str) -> None:
    line = said(alice, "run", "--name", "never", "--network", text, "busybox", "true")
    assert "--network" in line and text.partition(":")[2].partition(",")[0] in line
    assert alice("ps", "-aq") == ""
