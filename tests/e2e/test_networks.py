"""Containers on bridge networks of a private host: addresses, names, several networks, what others see of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.bridge_host import BridgeHost, bridge_host
from tests.support.waiting import eventually

DEFAULT = "10.88."
PING = ("run", "--rm", "--cap-add", "NET_RAW")
SERVER = "mkdir /w; hostname > /w/name; exec httpd -f -p 80 -h /w"


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


def addresses(remora: Remora, name: str) -> dict[str, str]:
    networks = json.loads(remora("inspect", "-f", "{{json .NetworkSettings.Networks}}", name))
    return {network: entry["IPAddress"] for network, entry in networks.items()}


# ---- one network ----


def test_a_container_has_an_address_of_the_default_network_and_a_way_out(host: BridgeHost, remora: Remora) -> None:
    script = "ip -o -4 addr; ping -c1 -W5 192.0.2.1"
    output = remora(*PING, "--network", "bridge", "busybox", "sh", "-c", script)
    assert re.search(rf"eth0\s+inet {re.escape(DEFAULT)}", output) and "1 packets received" in output


def test_addresses_asked_for_are_given_and_told_when_they_are_taken(remora: Remora) -> None:
    remora("network", "create", "--subnet", "10.90.1.0/24", "--subnet", "fd00:90::/64", "net")
    words = ["--network", "net", "--ip", "10.90.1.7", "--ip6", "fd00:90::7", "--mac-address", "02:00:00:00:00:07"]
    remora("run", "-d", "--name", "c", *words, "busybox", "sleep", "1000")
    shown = remora("exec", "c", "ip", "addr", "show", "eth0")
    assert "10.90.1.7/24" in shown and "fd00:90::7/64" in shown and "02:00:00:00:00:07" in shown
    result = remora.run("run", "--rm", "--network", "net:ip=10.90.1.7", "busybox", "true", status=126)
    identity = remora("inspect", "-f", "{{.Id}}", "c")
    assert f"already allocated to container {identity[:12]}" in result.stderr and result.stderr.count("\n") == 1
    result = remora.run("run", "--rm", "--network", "net", "--ip", "10.91.0.1", "busybox", "true", status=126)
    assert "in no subnet of network net" in result.stderr
    result = remora.run("run", "--rm", "--network", "net", "--ip", "10.90.1.1", "busybox", "true", status=126)
    assert "is the gateway of network net" in result.stderr
    remora("rm", "-f", "-t", "0", "c")
    assert "10.90.1.7/24" in remora("run", "--rm", "--network", "net", "--ip", "10.90.1.7", "busybox", "ip", "addr")


def test_a_network_without_a_free_address_says_so_and_gives_one_when_one_is_free(remora: Remora) -> None:
    remora("network", "create", "--subnet", "10.90.2.0/30", "net")
    remora("run", "-d", "--name", "c", "--network", "net", "busybox", "sleep", "1000")
    result = remora.run("run", "--rm", "--network", "net", "busybox", "true", status=126)
    assert "network net: no address is left" in result.stderr and result.stderr.count("\n") == 1
    remora("stop", "-t", "0", "c")
    remora("run", "--rm", "--network", "net", "busybox", "true")


def test_a_range_is_kept_to(remora: Remora) -> None:
    remora("network", "create", "--subnet", "10.90.3.0/24", "--ip-range", "10.90.3.64/30", "net")
    given = set()
    for _ in range(5):
        output = remora("run", "--rm", "--network", "net", "busybox", "ip", "-4", "-o", "addr", "show", "eth0")
        given.add(output.split()[3])
    assert given == {f"10.90.3.{last}/24" for last in (64, 65, 66, 67)}


def test_hundred_starts_at_once_get_hundred_addresses(host: BridgeHost, remora: Remora) -> None:
    remora("network", "create", "--subnet", "10.90.4.0/24", "--disable-dns", "net")

    def start(number: int) -> str:
        name = f"c{number}"
        remora("run", "-d", "--name", name, "--network", "net", "busybox", "sleep", "1000")
        return addresses(remora, name)["net"]

    with ThreadPoolExecutor(20) as pool:
        given = list(pool.map(start, range(100)))
    assert len(set(given)) == 100
    leases = [path.name for path in (remora.runroot / "networks" / "net").iterdir() if path.name[0].isdigit()]
    assert sorted(leases) == sorted(given)
    for number in (0, 50, 99):
        assert given[number] in remora("exec", f"c{number}", "ip", "addr")
    host.sh(f"busybox ping -c1 -W5 {given[7]}")


def test_networks_made_at_once_have_names_bridges_and_subnets_of_their_own(remora: Remora) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: remora("network", "create"), range(8)))
    made = json.loads(remora("network", "inspect", *names))
    for values in (names, [one["network_interface"] for one in made], [one["subnets"][0]["subnet"] for one in made]):
        assert len(set(values)) == 8


# ---- names ----


def test_containers_find_each_other_by_name_and_alias(remora: Remora) -> None:
    remora("network", "create", "net")
    remora(
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "net:alias=www",
        "--network-alias",
        "site",
        "busybox",
        "sh",
        "-c",
        SERVER,
    )
    for name in ("web", "www", "site", "web.dns.podman", remora("inspect", "-f", "{{.Id}}", "web")[:12]):
        command = ["run", "--rm", "--network", "net", "busybox", "wget", "-qO-", f"http://{name}/name"]

        def answers(words: list[str] = command) -> bool:
            return remora.run(*words, status=None).returncode == 0

        # aardvark-dns reads its files anew some time after netavark has asked it to.
        eventually(answers, f"{name} answers")


def test_hosts_and_resolv_conf_say_what_was_asked_for(host: BridgeHost, remora: Remora) -> None:
    words = ["--add-host", "one:192.0.2.77", "--add-host", "gate:host-gateway", "--hostname", "box", "--name", "c"]
    text = remora("run", "--rm", "--network", "bridge", *words, "busybox", "cat", "/etc/hosts")
    assert text.startswith("192.0.2.77\tone\n10.88.0.1\tgate\n") and "10.88.0.1\thost.containers.internal" in text
    assert re.search(r"^10\.88\.\d+\.\d+\tbox c$", text, re.MULTILINE) and "localhost" in text
    resolv = ["run", "--rm", "--network", "bridge", "busybox", "cat", "/etc/resolv.conf"]
    assert remora(*resolv) == "nameserver 192.0.2.1"
    words = ["--dns", "192.0.2.9", "--dns-search", "example.org", "--dns-option", "ndots:3"]
    given = remora(*resolv[:2], *words, *resolv[2:])
    assert given == "search example.org\nnameserver 192.0.2.9\noptions ndots:3"
    image = remora("run", "--rm", "--network", "bridge", "--no-hosts", "busybox", "sh", "-c", "cat /etc/hosts; true")
    assert "host.containers.internal" not in image


def test_containers_conf_has_its_say_about_names(remora: Remora, tmp_path: Path) -> None:
    conf, base = tmp_path / "containers.conf", tmp_path / "hosts"
    base.write_text("192.0.2.50 printer\n")
    settings = ['dns_servers = ["192.0.2.9"]', 'dns_searches = ["ex.org"]', 'dns_options = ["ndots:3"]']
    settings += [f'base_hosts_file = "{base}"', 'host_containers_internal_ip = "192.0.2.51"']
    conf.write_text("[containers]\n" + "\n".join(settings))
    show = ["run", "--rm", "--network", "bridge", "busybox", "cat"]
    env = {"CONTAINERS_CONF": str(conf)}
    assert remora.run(*show, "/etc/resolv.conf", env=env).stdout == (
        "search ex.org\nnameserver 192.0.2.9\noptions ndots:3\n"
    )
    hosts = remora.run(*show, "/etc/hosts", env=env).stdout
    assert "192.0.2.50\tprinter\n192.0.2.51\thost.containers.internal" in hosts
    conf.write_text("[containers]\nno_hosts = true\n")
    assert "host.containers.internal" not in remora.run(*show, "/etc/hosts", env=env, status=None).stdout
    conf.write_text("[containers]\nno_hosts = 3\n")
    result = remora.run(*show, "/etc/hosts", env=env, status=125)
    assert f"wrong value 3 for [containers] no_hosts in {conf}" in result.stderr


# ---- several networks ----


def test_a_container_may_be_on_several_networks_and_change_them_while_it_runs(remora: Remora) -> None:
    for number in (1, 2, 3):
        remora("network", "create", "--subnet", f"10.90.{10 + number}.0/24", f"net{number}")
    words = ["--network", "net1", "--network", "net2:interface_name=second"]
    remora("run", "-d", "--name", "c", *words, "busybox", "sleep", "1000")
    shown = remora("exec", "c", "ip", "-o", "-4", "addr")
    assert re.search(r"eth0\s+inet 10\.90\.11\.", shown) and re.search(r"second\s+inet 10\.90\.12\.", shown)
    remora("network", "connect", "--ip", "10.90.13.5", "net3", "c")
    assert re.search(r"eth1\s+inet 10\.90\.13\.5/", remora("exec", "c", "ip", "-o", "-4", "addr"))
    assert "10.90.13.5\t" in remora("exec", "c", "cat", "/etc/hosts")
    assert addresses(remora, "c")["net3"] == "10.90.13.5"
    result = remora.run("network", "connect", "net3", "c", status=125)
    assert 'already connected to network "net3"' in result.stderr
    remora("network", "disconnect", "net1", "c")
    assert "10.90.11." not in remora("exec", "c", "ip", "-o", "-4", "addr") + remora("exec", "c", "cat", "/etc/hosts")
    remora("restart", "-t", "0", "c")
    assert set(addresses(remora, "c")) == {"net2", "net3"} and addresses(remora, "c")["net3"] == "10.90.13.5"
    result = remora.run("network", "disconnect", "net1", "c", status=125)
    assert "is not connected" in result.stderr


def test_an_address_given_up_while_a_container_runs_is_nobody_elses_to_lose(remora: Remora) -> None:
    """The lease that goes with the container's end is not the one that another container has meanwhile."""
    remora("network", "create", "--subnet", "10.90.20.0/24", "net")
    remora("run", "-d", "--name", "a", "--network", "net:ip=10.90.20.9", "busybox", "sleep", "1000")
    remora("network", "disconnect", "net", "a")
    remora("run", "-d", "--name", "b", "--network", "net:ip=10.90.20.9", "busybox", "sleep", "1000")
    remora("rm", "-f", "-t", "0", "a")
    assert (remora.runroot / "networks/net/10.90.20.9").read_text() == remora("inspect", "-f", "{{.Id}}", "b")


def test_reload_makes_rules_and_interfaces_anew_with_the_same_addresses(host: BridgeHost, remora: Remora) -> None:
    words = ["--network", "bridge", "-p", "18080:80"]
    remora("run", "-d", "--name", "c", *words, "busybox", "sh", "-c", SERVER)
    before, rules = addresses(remora, "c"), host.rules()
    host.sh("iptables -t nat -F; iptables -F")
    assert host.rules() != rules
    remora("network", "reload", "--all")
    assert addresses(remora, "c") == before and before["podman"] in remora("exec", "c", "ip", "addr")
    host.sh("timeout 5 busybox wget -qO- http://192.0.2.2:18080/name", world=True)


def test_networks_are_apart(host: BridgeHost, remora: Remora) -> None:
    remora("network", "create", "--internal", "--subnet", "10.90.30.0/24", "inner")
    output = remora.run(*PING, "--network", "inner", "busybox", "ping", "-c1", "-W1", "192.0.2.1", status=None)
    assert output.returncode != 0
    for name, subnet in (("red", 31), ("blue", 32)):
        remora("network", "create", "-o", "isolate=true", "--subnet", f"10.90.{subnet}.0/24", name)
    remora("run", "-d", "--network", "red:ip=10.90.31.7", "busybox", "sleep", "1000")
    ping = ["busybox", "ping", "-c1", "-W1", "10.90.31.7"]
    assert remora.run(*PING, "--network", "blue", *ping, status=None).returncode != 0
    assert remora.run(*PING, "--network", "red", *ping, status=None).returncode == 0


def test_macvlan_puts_a_container_on_the_hosts_own_link(host: BridgeHost, remora: Remora) -> None:
    words = ["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.64/26", "--gateway", "192.0.2.1"]
    host.sh("ip addr del 192.0.2.2/24 dev up0; ip addr add 198.51.100.2/24 dev up0")
    try:
        remora("network", "create", "-d", "macvlan", "-o", "parent=up0", *words, "lan")
        remora(*PING, "--network", "lan", "busybox", "ping", "-c1", "-W5", "192.0.2.1")
    finally:
        host.sh("ip addr add 192.0.2.2/24 dev up0; ip addr del 198.51.100.2/24 dev up0")
        host.sh("ip route replace default via 192.0.2.1")
    result = remora.run("network", "create", "-d", "macvlan", "-o", "parent=up9", "other", status=125)
    assert "parent interface up9 does not exist" in result.stderr


# ---- what others see ----


def test_ps_port_and_inspect_tell_what_is_published(remora: Remora) -> None:
    words = ["-p", "18081:80", "-p", "127.0.0.1:18082-18083:90-91/udp", "-p", "70", "--expose", "99"]
    remora("run", "-d", "--name", "c", "--network", "bridge", *words, "busybox", "sleep", "1000")
    ports = remora("port", "c").splitlines()
    assert ports[:3] == ["80/tcp -> 0.0.0.0:18081", "90/udp -> 127.0.0.1:18082", "91/udp -> 127.0.0.1:18083"]
    chosen = ports[3].removeprefix("70/tcp -> 0.0.0.0:")
    assert chosen.isdecimal() and remora("port", "c", "70") == f"0.0.0.0:{chosen}"
    shown = f"0.0.0.0:18081->80/tcp, 127.0.0.1:18082-18083->90-91/udp, 0.0.0.0:{chosen}->70/tcp"
    assert remora("ps", "--format", "{{.Ports}} {{.Networks}}") == f"{shown} podman"
    settings = json.loads(remora("inspect", "c"))[0]["NetworkSettings"]
    assert settings["Ports"]["80/tcp"] == [{"HostIp": "", "HostPort": "18081"}] and settings["Ports"]["99/tcp"] is None
    assert settings["IPAddress"] == settings["Networks"]["podman"]["IPAddress"] != ""
    assert settings["Gateway"] == "10.88.0.1" and settings["IPPrefixLen"] == 16
    result = remora.run("port", "c", "81", status=125)
    assert 'no port "81"' in result.stderr
    assert remora("ps", "-q", "--filter", "network=podman") and not remora("ps", "-q", "--filter", "network=other")


def test_a_network_in_use_is_not_removed_but_by_force(remora: Remora) -> None:
    remora("network", "create", "net")
    remora("run", "-d", "--name", "c", "--network", "net", "busybox", "sleep", "1000")
    result = remora.run("network", "rm", "net", status=2)
    assert '"net" has associated containers with it (c)' in result.stderr
    assert remora("network", "prune", "--force") == ""
    seen = json.loads(remora("network", "inspect", "net"))[0]["containers"]
    assert [entry["name"] for entry in seen.values()] == ["c"]
    assert remora("network", "rm", "--force", "--time", "0", "net") == "net"
    assert remora("ps", "-aq") == "" and remora.run("network", "exists", "net", status=1).stderr == ""


@pytest.fixture
def podman(host: BridgeHost, tmp_path: Path, busybox_tar: Path) -> Iterator[Callable[..., str]]:
    """Podman on the same host, with a store of its own and the image `bb`."""
    run = tempfile.mkdtemp(prefix="p")  # Podman takes no longer path
    conf = tmp_path / "podman.conf"
    limits = '["nofile=1000:1000", "nproc=1000:1000"]'
    conf.write_text(f'[containers]\ndefault_ulimits = {limits}\n[engine]\ncgroup_manager = "cgroupfs"\n')
    words = [*host.host.words("podman"), "--root", str(tmp_path / "p"), "--runroot", run, "--runtime", "runc"]

    def say(*arguments: str) -> str:
        result = subprocess.run(
            [*words, *arguments],
            env={**os.environ, "CONTAINERS_CONF": str(conf)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    say("import", str(busybox_tar), "bb")
    yield say
    say("rm", "-f", "-t", "0", "-a")
    shutil.rmtree(run, ignore_errors=True)


def test_podman_reads_our_networks_and_we_read_podmans(remora: Remora, podman: Callable[..., str]) -> None:
    remora("network", "create", "--subnet", "10.90.40.0/24", "--ipv6", "--label", "a=b", "-o", "mtu=1400", "ours")
    assert podman("network", "inspect", "ours", "-f", "{{.Driver}} {{.DNSEnabled}} {{.Labels.a}}") == "bridge true b"
    podman("network", "create", "--subnet", "10.90.41.0/24", "theirs")
    assert remora("network", "inspect", "theirs", "-f", "{{range .Subnets}}{{.Subnet}}{{end}}") == "10.90.41.0/24"
    result = remora.run("network", "create", "--subnet", "10.90.41.128/25", "third", status=125)
    assert "by network theirs" in result.stderr


def test_an_address_that_podman_has_given_is_not_given_again(remora: Remora, podman: Callable[..., str]) -> None:
    podman("network", "create", "--subnet", "10.90.42.0/29", "--ipv6", "net")
    for number in range(3):
        podman("run", "-d", "--name", f"p{number}", "--network", "net", "bb", "sleep", "1000")
    theirs = {
        podman("inspect", "-f", "{{.NetworkSettings.Networks.net.IPAddress}}", f"p{number}") for number in range(3)
    }
    for number in range(2):
        remora("run", "-d", "--name", f"c{number}", "--network", "net", "busybox", "sleep", "1000")
    ours = {addresses(remora, f"c{number}")["net"] for number in range(2)}
    assert ours | theirs == {f"10.90.42.{last}" for last in (2, 3, 4, 5, 6)}
    assert "no address is left" in remora.run("run", "--rm", "--network", "net", "busybox", "true", status=126).stderr
    result = remora.run("run", "--rm", "--network", "net:ip=10.90.42.2", "busybox", "true", status=126)
    assert "already allocated to a container of Podman" in result.stderr
    podman("rm", "-f", "-t", "0", "p1")
    remora("run", "--rm", "--network", "net", "busybox", "true")
