"""Published ports: reached from the host and from outside, refused when somebody has them, free again at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import host as hosts
from tests.support.bridge_host import BridgeHost, bridge_host
from tests.support.waiting import eventually

SERVER = "mkdir /w; echo hello > /w/text; exec httpd -f -p {port} -h /w"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeHost]:
    with bridge_host(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture
def remora(host: BridgeHost, tmp_path: Path, storage_conf: Path) -> Iterator[Remora]:
    """Remora on the private host; nothing of networks is left when all containers are removed."""
    program = host.remora(tmp_path / "remora", storage_conf)
    yield program
    program.clear()
    host.assert_nothing_left(program)
    program("network", "prune", "--force")


def serve(remora: Remora, name: str, *words: str, port: int = 80) -> None:
    remora("run", "-d", "--name", name, *words, "busybox", "sh", "-c", SERVER.format(port=port))


def get(host: BridgeHost, url: str, world: bool = False) -> bool:
    return host.sh(f"timeout 5 busybox wget -qO- {url}/text || true", world=world) == "hello"


def test_a_port_is_reached_from_the_host_and_from_the_world(host: BridgeHost, remora: Remora) -> None:
    serve(remora, "web", "--network", "bridge", "-p", "18080:80")
    eventually(lambda: get(host, "http://127.0.0.1:18080"), "it answers on the loopback")
    eventually(lambda: get(host, "http://192.0.2.2:18080"), "it answers the host")
    eventually(lambda: get(host, "http://192.0.2.2:18080", world=True), "it answers the world")


def test_a_port_of_one_address_is_not_published_at_another(host: BridgeHost, remora: Remora) -> None:
    serve(remora, "web", "--network", "bridge", "-p", "127.0.0.1:18080:80")
    eventually(lambda: get(host, "http://127.0.0.1:18080"), "it answers")
    assert not get(host, "http://192.0.2.2:18080", world=True)


def test_ipv6_ports_are_published_on_networks_that_have_it(host: BridgeHost, remora: Remora) -> None:
    remora("network", "create", "--ipv6", "net")
    serve(remora, "web", "--network", "net", "-p", "18080:80")
    eventually(lambda: get(host, "http://[2001:db8:1::2]:18080", world=True), "it answers")
    words = ["run", "--rm", "--network", "bridge", "-p", "[::1]:18081:80", "busybox", "true"]
    result = remora.run(*words, status=125)
    assert "[::1]:18081/tcp: none of the container's networks has IPv6" in result.stderr


def test_a_range_leads_to_a_range_and_udp_to_udp(host: BridgeHost, remora: Remora) -> None:
    words = ["--network", "bridge", "-p", "18080-18082:80-82", "-p", "18090:90/udp"]
    serve(remora, "web", *words, port=81)
    eventually(lambda: get(host, "http://127.0.0.1:18081"), "it answers")
    receiver = host.host.popen(
        "nsenter", "-t", remora("inspect", "-f", "{{.State.Pid}}", "web"), "-n", "python3", "-c", RECEIVE
    )
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    host.host.run("python3", "-c", SEND, world=True)
    assert receiver.communicate(timeout=30)[0] == "over"


RECEIVE = """
import socket
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.bind(("0.0.0.0", 90))
print("ready", flush=True)
made.settimeout(30)
print(made.recv(100).decode(), end="")
"""
SEND = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'over', ('192.0.2.2', 18090))"


def test_more_ports_than_descriptors_in_a_packet_are_held(host: BridgeHost, remora: Remora) -> None:
    remora("run", "-d", "--name", "c", "--network", "bridge", "-p", "20000-20599:1000-1599", "busybox", "sleep", "1000")
    assert len(host.sh("ss -Hltn").splitlines()) == 600
    result = remora.run("run", "--rm", "--network", "bridge", "-p", "20599:1", "busybox", "true", status=126)
    assert "0.0.0.0:20599/tcp: address already in use by container c" in result.stderr
    remora("stop", "-t", "0", "c")
    assert host.sh("ss -Hltn") == ""


def test_a_port_that_a_program_has_is_refused_and_the_program_named(host: BridgeHost, remora: Remora) -> None:
    holder = host.host.popen("python3", "-c", LISTEN)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        result = remora.run(
            "run", "--name", "c", "--network", "bridge", "-p", "18080:80", "busybox", "true", status=126
        )
        assert "0.0.0.0:18080/tcp: address already in use by python3 (pid " in result.stderr
        assert result.stderr.count("\n") == 1
        assert not host.left(remora).keys() - {"listening"}
    finally:
        holder.kill()
        holder.communicate()
    remora("start", "c")
    result = remora.run(
        "run", "--rm", "--network", "bridge", "-p", "192.0.2.99:18081:80", "busybox", "true", status=126
    )
    assert "192.0.2.99 is no address of this host" in result.stderr


LISTEN = """
import socket, sys
made = socket.create_server(("0.0.0.0", 18080))
print("ready", flush=True)
import time; time.sleep(1000)
"""


def test_nobody_else_gets_a_published_port(host: BridgeHost, remora: Remora) -> None:
    remora("run", "-d", "--name", "c", "--network", "bridge", "-p", "18080:80", "busybox", "sleep", "1000")
    script = "import socket; socket.create_server(('0.0.0.0', 18080))"
    result = host.host.run("python3", "-c", script, status=None)
    assert "Address already in use" in result.stderr
    # Neither does a new worker of the monitor, nor a live upgrade, lose it.
    keeper = int(remora("inspect", "-f", "{{.State.ConmonPid}}", "c"))
    hosts.send(hosts.monitor_processes(keeper)[1], 9)
    eventually(lambda: len(hosts.monitor_processes(keeper)) == 2, "another worker")
    remora("container", "inspect", "c")
    remora("monitor", "upgrade", "c")
    assert "Address already in use" in host.host.run("python3", "-c", script, status=None).stderr
    remora("rm", "-f", "-t", "0", "c")
    host.host.run("python3", "-c", script)


def test_all_exposed_ports_get_a_free_one_each(host: BridgeHost, remora: Remora) -> None:
    words = ["--network", "bridge", "-P", "--expose", "80", "--expose", "53/udp", "-p", "18080:90"]
    serve(remora, "web", *words)
    bindings = json.loads(remora("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"))
    assert bindings.keys() == {"80/tcp", "53/udp", "90/tcp"} and bindings["90/tcp"][0]["HostPort"] == "18080"
    chosen = bindings["80/tcp"][0]["HostPort"]
    eventually(lambda: get(host, f"http://127.0.0.1:{chosen}"), "it answers")


def test_without_a_network_nothing_is_published_and_that_is_said(remora: Remora) -> None:
    result = remora.run("run", "--rm", "--network", "none", "-p", "18080:80", "busybox", "true")
    assert "published ports are left out" in result.stderr
