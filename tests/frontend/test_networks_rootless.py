"""What pasta and slirp4netns are told: options, command lines, published ports."""

from __future__ import annotations

import pytest

from remora.frontend.errors import RemoraError
from remora.frontend.networks import pasta, slirp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Port

NETNS = "/data/ns/network"
PIDFILE = "/run/x/pasta.pid"


def mapping(host: int, inside: int, *, protocol: str = "tcp", host_ip: str = "", count: int = 1) -> Port:
    return {
        "host_ip": host_ip,
        "host_port": host,
        "container_port": inside,
        "range": count,
        "protocol": protocol,
    }


def pasta_words(given: list[str], *ports: Port) -> list[str]:
    return pasta.argv("/usr/bin/pasta", given, ports, netns=NETNS, pidfile=PIDFILE)


def after(words: list[str], option: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == option]


# ---- pasta


def test_pasta_forwards_nothing_that_was_not_published() -> None:
    words = pasta_words([])
    assert [after(words, option) for option in ("-t", "-u", "-T", "-U")] == [["none"]] * 4
    assert "--no-map-gw" in words
    assert after(words, "--netns") == [NETNS] and words[-1] == NETNS
    assert after(words, "--pid") == [PIDFILE]


def test_pasta_gets_each_published_port_with_its_address_and_range() -> None:
    words = pasta_words(
        [],
        mapping(8080, 80),
        mapping(9000, 90, host_ip="127.0.0.1", count=3),
        mapping(5353, 53, protocol="udp", host_ip="::1"),
    )
    assert after(words, "-t") == ["8080:80", "127.0.0.1/9000-9002:90-92"]
    assert after(words, "-u") == ["::1/5353:53"]
    assert after(words, "-T") == ["none"]


@pytest.mark.parametrize("given", [["-T", "5432"], ["--tcp-ns", "5432"], ["--tcp-ns=5432"]])
def test_pasta_option_of_the_user_replaces_the_default_of_that_name(given: list[str]) -> None:
    words = pasta_words(given)
    assert after(words, "-T") == (["5432"] if given[0] == "-T" else [])
    assert after(words, "-U") == ["none"]


def test_map_gw_takes_back_no_map_gw_and_is_not_handed_on() -> None:
    words = pasta_words(pasta.parse("--network", "--map-gw,--mtu,1500"))
    assert "--map-gw" not in words and "--no-map-gw" not in words
    assert after(words, "--mtu") == ["1500"]


@pytest.mark.parametrize("text", ["--netns,/x", "-f", "--pid=/etc/passwd", "8080", "-t,,x", "-a,\x07"])
def test_pasta_options_that_are_not_the_users_to_give_are_refused_by_name(text: str) -> None:
    with pytest.raises(RemoraError) as caught:
        pasta.parse("--network", text)
    assert caught.value.status == 125 and "--network" in caught.value.message and caught.value.hint


def test_pasta_refuses_to_publish_sctp() -> None:
    with pytest.raises(RemoraError, match="sctp"):
        pasta_words([], mapping(80, 80, protocol="sctp"))


def test_pasta_name_server_is_the_forwarded_one() -> None:
    assert pasta.nameservers([]) == [pasta.DNS]
    assert pasta.nameservers(["--dns-forward", "10.9.9.9"]) == ["10.9.9.9"]
    assert pasta.nameservers(["--dns-forward=10.9.9.9"]) == ["10.9.9.9"]


def test_pasta_address_given_by_the_user_is_the_containers() -> None:
    assert pasta.addresses(["-a", "10.1.2.3", "-n", "24"]) == ["10.1.2.3"]
    assert pasta.addresses(["--address=10.1.2.3/24"]) == ["10.1.2.3"]


# ---- slirp4netns


def slirp_words(*options: str) -> list[str]:
    return slirp.argv("/usr/bin/slirp4netns", slirp.parse("--network", options), netns=NETNS, api="slirp", ready_fd=3)


def test_slirp_defaults_are_podmans() -> None:
    words = slirp_words()
    assert words[0] == "/usr/bin/slirp4netns" and words[-2:] == [NETNS, "tap0"]
    for word in ("--mtu=65520", "--disable-host-loopback", "--enable-ipv6", "--enable-sandbox", "--netns-type=path"):
        assert word in words


def test_slirp_options_reach_the_command_line() -> None:
    words = slirp_words(
        "allow_host_loopback=true",
        "cidr=10.9.9.0/24",
        "enable_ipv6=false",
        "mtu=1400",
        "outbound_addr=192.0.2.7",
        "outbound_addr6=eth0",
        "port_handler=slirp4netns",
    )
    assert {"--cidr=10.9.9.0/24", "--mtu=1400", "--outbound-addr=192.0.2.7", "--outbound-addr6=eth0"} <= set(words)
    assert "--disable-host-loopback" not in words and "--enable-ipv6" not in words


def test_slirp_addresses_follow_the_cidr() -> None:
    options = slirp.parse("--network", ["cidr=10.9.8.64/25"])
    assert (options.address, options.gateway, options.nameserver) == ("10.9.8.100", "10.9.8.2", "10.9.8.3")
    assert slirp.Options().address == "10.0.2.100"


@pytest.mark.parametrize(
    "text",
    [
        "mtu=1",
        "mtu=65522",
        "mtu=x",
        "cidr=10.0.0.0",
        "cidr=10.0.0.0/26",
        "cidr=300.0.0.0/24",
        "cidr=fd00::/64",
        "enable_ipv6=yes",
        "allow_host_loopback=",
        "outbound_addr=--help",
        "outbound_addr=a b",
        "port_handler=other",
        "nonsense=1",
        "mtu",
    ],
)
def test_wrong_slirp_options_are_refused_by_name(text: str) -> None:
    with pytest.raises(RemoraError) as caught:
        slirp.parse("--network", [text])
    assert text in caught.value.message and "cidr=" in caught.value.hint


def test_slirp_is_asked_for_every_port_of_a_range() -> None:
    asked = slirp.requests(
        [mapping(8080, 80, count=2), mapping(53, 5353, protocol="udp", host_ip="127.0.0.1")], "10.0.2.100"
    )
    assert [request["arguments"] for request in asked] == [
        {"proto": "tcp", "host_addr": "0.0.0.0", "host_port": 8080, "guest_addr": "10.0.2.100", "guest_port": 80},
        {"proto": "tcp", "host_addr": "0.0.0.0", "host_port": 8081, "guest_addr": "10.0.2.100", "guest_port": 81},
        {"proto": "udp", "host_addr": "127.0.0.1", "host_port": 53, "guest_addr": "10.0.2.100", "guest_port": 5353},
    ]
    assert {request["execute"] for request in asked} == {"add_hostfwd"}


@pytest.mark.parametrize("port", [mapping(1, 1, protocol="sctp"), mapping(1, 1, host_ip="::1")])
def test_slirp_refuses_ports_it_can_not_forward(port: Port) -> None:
    with pytest.raises(RemoraError, match="slirp4netns can't"):
        slirp.requests([port], "10.0.2.100")


def test_refusal_is_read_from_a_reply() -> None:
    assert slirp.refusal({"return": {"id": 1}}) == ""
    assert slirp.refusal({"error": {"desc": "bad request: no"}}) == "bad request: no"
    assert slirp.refusal({"error": "no"}) == "no"
