"""slirp4netns: the other network of a container without root, for where pasta is not wanted.

slirp4netns(1) gives the container a network of its own (10.0.2.0/24, the container at .100, gateway .2, names at .3)
behind the user's sockets. It stays in the foreground, says on a descriptor when it is ready and takes published ports
over a socket, so a small command of ours stands around it (commands/slirp.py), which the monitor runs as a helper.

Pure: options, the command line and the words of its socket (slirp4netns(1), "API SOCKET").
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.networks import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from remora.frontend.container.spec import Port

PROGRAM = "slirp4netns"
INTERFACE = "tap0"
CIDR = "10.0.2.0/24"
MTU = 65520
MTU_MAX = 65521
# What an address is, counted from the network's: slirp4netns(1).
GATEWAY, NAMESERVER, CONTAINER = 2, 3, 100
EXPECTED = (
    "allow_host_loopback=true|false, cidr=A.B.C.D/N, enable_ipv6=true|false, mtu=N, outbound_addr=ADDRESS, "
    "outbound_addr6=ADDRESS, port_handler=slirp4netns"
)


class Options:
    """What was asked for behind `slirp4netns:`.

    cidr: the container's network, not larger than /1 nor smaller than /25. mtu: bytes. outbound, outbound6: address or
    interface that connections leave from, "" = the kernel chooses.
    """

    __slots__ = ("host_loopback", "cidr", "ipv6", "mtu", "outbound", "outbound6")

    def __init__(self) -> None:
        self.host_loopback = False
        self.cidr = CIDR
        self.ipv6 = True
        self.mtu = MTU
        self.outbound = ""
        self.outbound6 = ""

    @property
    def address(self) -> str:
        return self._member(CONTAINER)

    @property
    def gateway(self) -> str:
        return self._member(GATEWAY)

    @property
    def nameserver(self) -> str:
        return self._member(NAMESERVER)

    def _member(self, offset: int) -> str:
        return addresses.text(4, addresses.parse_subnet(self.cidr).base + offset)


def parse(option: str, texts: Iterable[str]) -> Options:
    """Read `KEY=VALUE` texts: the names and the defaults are Podman's. Raises RemoraError for a wrong one."""
    options = Options()
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            if not equals or not value:
                raise ValueError(text)
            _set(options, key, value)
        except ValueError:
            raise RemoraError(f'invalid option "{text}" of slirp4netns for {option}', EXPECTED) from None
    return options


def _set(options: Options, key: str, value: str) -> None:
    """One option; ValueError when there is no such one, or none with such a value."""
    if key == "allow_host_loopback":
        options.host_loopback = _flag(value)
    elif key == "enable_ipv6":
        options.ipv6 = _flag(value)
    elif key == "mtu":
        if not value.isdecimal() or not 576 <= int(value) <= MTU_MAX:
            raise ValueError(value)
        options.mtu = int(value)
    elif key == "cidr":
        subnet = addresses.parse_subnet(value)
        if subnet.family != 4 or not 1 <= subnet.prefix <= 25:  # as slirp4netns itself has it
            raise ValueError(value)
        options.cidr = str(subnet)
    elif key == "outbound_addr":
        options.outbound = _address(value)
    elif key == "outbound_addr6":
        options.outbound6 = _address(value)
    elif key != "port_handler" or value not in ("slirp4netns", "rootlesskit"):
        # Whatever handles ports: slirp4netns does, and connections keep their sources.
        raise ValueError(key)


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(value)
    return value == "true"


def _address(value: str) -> str:
    """An address or the name of an interface; which one it is, slirp4netns finds out."""
    if not value.isascii() or not set(value.lower()) <= set("0123456789abcdefghijklmnopqrstuvwxyz.:-_@"):
        raise ValueError(value)
    if value.startswith("-"):
        raise ValueError(value)
    return value


def argv(program: str, options: Options, *, netns: str, api: str, ready_fd: int) -> list[str]:
    """The command line. netns: path of the namespace; api: path of the socket for ports, "" = none."""
    words = [program, "--configure", f"--mtu={options.mtu}", "--netns-type=path", f"--ready-fd={ready_fd}"]
    words += ["--enable-sandbox", "--enable-seccomp", f"--cidr={options.cidr}"]
    if not options.host_loopback:
        words.append("--disable-host-loopback")
    if options.ipv6:
        words.append("--enable-ipv6")
    if options.outbound:
        words.append(f"--outbound-addr={options.outbound}")
    if options.outbound6:
        words.append(f"--outbound-addr6={options.outbound6}")
    if api:
        words.append(f"--api-socket={api}")
    return [*words, netns, INTERFACE]


def requests(ports: Iterable[Port], address: str) -> list[dict[str, object]]:
    """What its socket has to be told so that these ports lead to an address behind it: one request for each port.

    Raises RemoraError for what slirp4netns can't forward.
    """
    found: list[dict[str, object]] = []
    for port in ports:
        if port["protocol"] not in ("tcp", "udp"):
            raise RemoraError(
                f"--publish: slirp4netns can't forward {port['protocol']}",
                "only tcp and udp; use a bridge network as root",
            )
        if ":" in port["host_ip"]:
            raise RemoraError(
                f"--publish: slirp4netns can't listen on {port['host_ip']}", "only IPv4; use --network pasta"
            )
        for offset in range(port["range"]):
            found.append(
                {
                    "execute": "add_hostfwd",
                    "arguments": {
                        "proto": port["protocol"],
                        "host_addr": port["host_ip"] or "0.0.0.0",
                        "host_port": port["host_port"] + offset,
                        "guest_addr": address,
                        "guest_port": port["container_port"] + offset,
                    },
                }
            )
    return found


def refusal(reply: Mapping[str, object]) -> str:
    """What a reply of the socket says against a request, "" when it was granted."""
    error = reply.get("error")
    if error is None:
        return ""
    words: Sequence[object] = list(error.values()) if isinstance(error, dict) else [error]
    return ", ".join(str(word) for word in words)
