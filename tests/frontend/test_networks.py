"""Networks without a network: addresses, definitions, new networks, leases, ports, hosts and resolv.conf."""

from __future__ import annotations

import ipaddress
import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remora.frontend.container import spec as specs
from remora.frontend.errors import RemoraError
from remora.frontend.networks import addresses, creation, definitions, hosts, leases, netavark, podman, ports
from remora.frontend.options import ports as port_options
from remora.frontend.settings import Settings

if TYPE_CHECKING:
    from remora.frontend.networks.definitions import Network

ID = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    conf = tmp_path / "containers.conf"
    conf.write_text(f'[network]\nnetwork_config_dir = "{tmp_path}/networks"\n')
    environ = {"CONTAINERS_CONF": str(conf)}
    return Settings(data=str(tmp_path / "data"), run=str(tmp_path / "run"), environ=environ)


def asked(name: str = "net", **values: object) -> creation.Asked:
    made = creation.Asked(name)
    for key, value in values.items():
        setattr(made, key, value)
    return made


def made(settings: Settings, name: str = "net", **values: object) -> Network:
    return definitions.load(settings, creation.create(settings, asked(name, **values)))


# ---- addresses ----


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.data())
def test_subnets_are_those_of_the_standard_library(address: ipaddress.IPv4Address, data: st.DataObject) -> None:
    prefix = data.draw(st.integers(0, address.max_prefixlen))
    theirs = ipaddress.ip_network((address, prefix), strict=False)
    ours = addresses.parse_subnet(f"{address}/{prefix}")
    assert (ours.base, ours.last) == (int(theirs.network_address), int(theirs.broadcast_address))
    assert ipaddress.ip_address(addresses.text(ours.family, ours.base)) == theirs.network_address
    assert ours.holds(int(address)) and ours.overlaps(ours)


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4/33", "1.2.3.4", "::/129", "a/8", "1.2.3.4/-1", "1.2.3.4/٣"])
def test_what_is_no_subnet_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        addresses.parse_subnet(text)


# ---- definitions ----


def test_the_default_network_is_there_without_a_file(settings: Settings) -> None:
    network = definitions.find(settings, "2f259bab")
    assert network["name"] == "podman" and network["subnets"][0] == {"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}
    assert [one["name"] for one in definitions.everything(settings)] == ["podman"]


def test_networks_are_found_by_name_and_the_beginning_of_an_id(settings: Settings) -> None:
    network = made(settings)
    for given_name in ("net", network["id"], network["id"][:10]):
        assert definitions.find(settings, given_name)["name"] == "net"
    for wrong in ("ne", "../net", "", "x" * 300):
        with pytest.raises(definitions.NoSuchNetwork):
            definitions.find(settings, wrong)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "other"}, "the name in it is 'other'"),
        ({"id": "x"}, "no usable id"),
        ({"subnets": [{"subnet": "1.2.3.4"}]}, "is no subnet"),
        ({"subnets": [{"subnet": "10.0.0.0/24", "gateway": "10.1.0.1"}]}, "does not lie in 10.0.0.0/24"),
        ({"dns_enabled": "yes"}, "dns_enabled"),
        ({"labels": []}, ""),
        ({"labels": ["a"]}, "labels"),
    ],
)
def test_a_file_that_makes_no_sense_is_named_and_stops_no_other(
    settings: Settings, change: dict[str, object], why: str
) -> None:
    network = made(settings)
    path = Path(definitions.folder(settings)) / "net.json"
    path.write_text(json.dumps({**network, **change}))
    broken: list[RemoraError] = []
    found = [one["name"] for one in definitions.everything(settings, broken)]
    if not why:
        assert found == ["net", "podman"]
        return
    assert found == ["podman"] and len(broken) == 1
    with pytest.raises(RemoraError, match=why) as caught:
        definitions.load(settings, "net")
    assert str(path) in str(caught.value)


# ---- new networks ----


def test_a_new_network_gets_what_podman_would_give_it(settings: Settings) -> None:
    first, second = made(settings, ""), made(settings, "net", ipv6=True)
    assert first["name"] == first["network_interface"] and first["name"].startswith("podman")
    assert [network["subnets"][0]["gateway"] for network in (first, second)] == ["10.89.0.1", "10.89.1.1"]
    assert ipaddress.IPv6Network(second["subnets"][1]["subnet"]).subnet_of(ipaddress.IPv6Network("fd00::/8"))
    assert (first["dns_enabled"], first["ipv6_enabled"], second["ipv6_enabled"]) == (True, False, True)
    inner = made(settings, "inner", internal=True)
    assert "gateway" not in inner["subnets"][0] and not inner["dns_enabled"]


def test_a_range_has_only_addresses_that_a_host_may_have(settings: Settings) -> None:
    network = made(settings, subnets=["10.99.0.0/24"], ranges=["10.99.0.128/25"])
    assert network["subnets"][0]["lease_range"] == {"start_ip": "10.99.0.128", "end_ip": "10.99.0.254"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"subnets": ["10.88.3.0/24"]}, "already used on the host or by another config: by network podman"),
        ({"subnets": ["127.0.0.0/30"], "name": "x y"}, "no name for a network"),
        ({"subnets": ["10.99.0.0/31"]}, "too small"),
        ({"subnets": ["10.99.0.0/24", "10.99.0.128/25"]}, "another --subnet of this command"),
        ({"subnets": ["10.99.0.0/24"], "gateways": ["10.98.0.1"]}, "gateway 10.98.0.1 is no host's address"),
        ({"subnets": ["10.99.0.0/24"], "gateways": ["10.99.0.255"]}, "gateway 10.99.0.255 is no host's address"),
        ({"subnets": ["10.99.0.0/24"], "ranges": ["10.98.0.0/25"]}, "does not lie in subnet"),
        ({"gateways": ["10.99.0.1"]}, "need a --subnet"),
        ({"driver": "brigde"}, "did you mean bridge"),
        ({"options": {"mtuu": "3"}}, "did you mean mtu"),
        ({"options": {"mtu": "3"}}, "bytes from 68"),
        ({"options": {"isolate": "perhaps"}}, "true or false"),
        ({"driver": "macvlan", "options": {"parent": "no-such-link"}}, "parent interface no-such-link does not exist"),
        ({"ipam_driver": "dhcp"}, "can't be had here"),
        ({"name": "host"}, "a mode of --network"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_makes_nothing(
    settings: Settings, values: dict[str, object], message: str
) -> None:
    with pytest.raises(RemoraError, match=message):
        creation.create(settings, asked(**{"name": "net", **values}))  # type: ignore[arg-type]
    folder = Path(definitions.folder(settings))
    assert not folder.exists() or [entry.name for entry in folder.iterdir()] == ["netavark.lock"]


# ---- leases ----


def take(settings: Settings, network: Network, container: str = ID, *wanted: str) -> list[str]:
    return leases.take(settings, network, container, wanted, lambda _: False)


@given(count=st.integers(1, 40), freed=st.sets(st.integers(0, 39)))
def test_no_address_is_given_twice_and_all_are_given(
    tmp_path_factory: pytest.TempPathFactory, count: int, freed: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("leases")
    settings = Settings(data=str(folder / "data"), run=str(folder / "run"))
    network: Network = {
        "name": "net",
        "id": ID,
        "driver": "bridge",
        "created": "",
        "subnets": [{"subnet": "10.0.0.0/27", "gateway": "10.0.0.1"}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
    }
    held: list[str] = []
    for number in range(count):
        if number in freed and held:
            leases.release(settings, "net", held.pop())
        if len(held) == 29:
            with pytest.raises(RemoraError, match="no address is left"):
                take(settings, network)
            continue
        address = take(settings, network)[0]
        assert address not in held
        held.append(address)
    assert set(leases.holders(settings, "net")) == set(held)
    assert not {"10.0.0.0", "10.0.0.1", "10.0.0.31"} & set(held)


def test_an_address_given_back_rests_until_all_others_were_given(settings: Settings) -> None:
    network = made(settings, subnets=["10.99.0.0/29"])
    given_out = []
    for _ in range(10):
        given_out += take(settings, network)
        leases.release(settings, "net", given_out[-1])
    assert len(set(given_out[:5])) == 5 and given_out[:5] == given_out[5:]


def test_a_lease_of_a_container_that_is_gone_is_taken_over(settings: Settings) -> None:
    network = made(settings, subnets=["10.99.0.0/30"])
    assert take(settings, network, OTHER) == ["10.99.0.2"]
    asked_for: list[str] = []

    def reclaim(container: str) -> bool:
        asked_for.append(container)
        leases.release(settings, "net", "10.99.0.2")
        return True

    assert leases.take(settings, network, ID, ["10.99.0.2"], reclaim) == ["10.99.0.2"]
    assert leases.take(settings, network, OTHER, [], reclaim) == ["10.99.0.2"]
    assert asked_for == [OTHER, ID]


def test_all_subnets_or_none(settings: Settings) -> None:
    network = made(settings, subnets=["10.99.0.0/30", "fd00:99::/64"])
    first = take(settings, network)
    assert [":" in address for address in first] == [False, True]
    with pytest.raises(RemoraError, match="no address is left"):
        take(settings, network, OTHER)
    assert sorted(leases.holders(settings, "net")) == sorted(first)


# ---- ports ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [("", 0, 80, 1, "tcp")]),
        ("8080:80", [("", 8080, 80, 1, "tcp")]),
        ("8080:80/udp", [("", 8080, 80, 1, "udp")]),
        ("127.0.0.1:8080:80/SCTP", [("127.0.0.1", 8080, 80, 1, "sctp")]),
        ("127.0.0.1::80", [("127.0.0.1", 0, 80, 1, "tcp")]),
        ("[::1]:8080:80", [("::1", 8080, 80, 1, "tcp")]),
        ("8000-8002:80-82", [("", 8000, 80, 3, "tcp")]),
        ("80-81", [("", 0, 80, 1, "tcp"), ("", 0, 81, 1, "tcp")]),
    ],
)
def test_ports_are_read_as_docker_and_podman_write_them(text: str, expected: list[tuple[object, ...]]) -> None:
    keys = ("host_ip", "host_port", "container_port", "range", "protocol")
    assert port_options.publish("-p", text) == [dict(zip(keys, one, strict=True)) for one in expected]


@given(st.text(alphabet="0123456789.:-[]/tcpud*", max_size=30))
def test_any_text_gives_ports_or_one_error(text: str) -> None:
    try:
        found = port_options.publish("-p", text)
    except RemoraError:
        return
    assert found
    assert all(1 <= one["container_port"] <= 65535 and one["range"] > 0 for one in found)


@pytest.fixture
def free_port(settings: Settings) -> int:
    bound = ports.bind(settings, port_options.publish("-p", "127.0.0.1::1"), False)
    bound.close()
    return bound.ports[0]["host_port"]


def test_a_bound_port_is_nobody_elses_until_it_is_let_go(settings: Settings, free_port: int) -> None:
    wanted = port_options.publish("-p", f"127.0.0.1:{free_port}:80")
    bound = ports.bind(settings, wanted, False)
    with pytest.raises(RemoraError, match="address already in use") as caught:
        ports.bind(settings, wanted, False)
    assert caught.value.status == 126
    bound.close()
    ports.bind(settings, wanted, False).close()


def test_what_is_bound_costs_one_descriptor(settings: Settings) -> None:
    before = len(os.listdir("/proc/self/fd"))
    bound = ports.bind(
        settings, [one for _ in range(300) for one in port_options.publish("-p", "127.0.0.1::80")], False
    )
    assert len(os.listdir("/proc/self/fd")) == before + 1 and len({port["host_port"] for port in bound.ports}) == 300
    bound.close()


# ---- files ----


def test_the_hosts_file_has_each_name_once_and_what_was_asked_for_first() -> None:
    base = "127.0.0.1 localhost # here\n# nothing\n192.0.2.5 db old-db\n10.0.0.1 host.containers.internal\n"
    text = hosts.hosts(["db:192.0.2.7", "gate:host-gateway"], base, "10.89.0.1", ["10.89.0.7", "fd00::7"], "box web")
    assert text == (
        "192.0.2.7\tdb\n10.89.0.1\tgate\n127.0.0.1\tlocalhost\n192.0.2.5\told-db\n"
        "10.0.0.1\thost.containers.internal\n10.89.0.1\thost.docker.internal\n"
        "10.89.0.7\tbox web\nfd00::7\tbox web\n"
    )


@pytest.mark.parametrize(
    ("given_keys", "expected"),
    [
        ({}, "search dns.podman ex.org\nnameserver 10.89.0.1\nnameserver 192.0.2.1\noptions ndots:2\n"),
        ({"dns": ["192.0.2.9"]}, "search dns.podman ex.org\nnameserver 192.0.2.9\noptions ndots:2\n"),
        ({"dns_search": ["."]}, "nameserver 10.89.0.1\nnameserver 192.0.2.1\noptions ndots:2\n"),
        (
            {"dns_search": ["a.b"], "dns_options": ["use-vc"]},
            "search a.b\nnameserver 10.89.0.1\nnameserver 192.0.2.1\noptions use-vc\n",
        ),
    ],
)
def test_resolv_conf(given_keys: dict[str, object], expected: str) -> None:
    base = "nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch ex.org\noptions ndots:2\n"
    spec = {**specs.defaults(), **given_keys}
    assert hosts.resolv(spec, ["10.89.0.1"], ["dns.podman"], base) == expected  # type: ignore[arg-type]


def test_netavark_is_told_all_it_needs() -> None:
    network: Network = {"name": "net", "id": ID, "driver": "bridge"}  # type: ignore[typeddict-item]
    wanted = netavark.Wanted(network, ["10.0.0.2"], ["web"], "eth0", "02:00:00:00:00:01")
    told = json.loads(netavark.request(ID, "c", [wanted], port_options.publish("-p", "8080:80")))
    assert told["networks"]["net"] == {
        "static_ips": ["10.0.0.2"],
        "aliases": ["web"],
        "interface_name": "eth0",
        "static_mac": "02:00:00:00:00:01",
    }
    assert told["port_mappings"] == [
        {"host_ip": "", "host_port": 8080, "container_port": 80, "range": 1, "protocol": "tcp"}
    ]
    assert told["network_info"]["net"]["id"] == told["container_id"] == ID


@pytest.mark.parametrize("data", [b"", b"\0" * 4096, bytes(range(256)) * 64, b"\xed\x0c\xda\xed" * 4096])
def test_a_database_that_makes_no_sense_has_no_addresses(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "ipam.db"
    path.write_bytes(data)
    assert podman.taken(str(path), "net") == set()


@given(st.binary(max_size=300))
def test_nor_has_any_other(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("db") / "ipam.db"
    meta = struct.pack("<QHHIIIIIQQ", 0, 4, 0, 0, podman.MAGIC, podman.VERSION, 128, 0, 2, 0)
    path.write_bytes((meta.ljust(128, b"\0") * 2) + data)
    podman.taken(str(path), "net")
