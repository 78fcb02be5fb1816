"""pasta: the network of a container without root, and its published ports.

pasta(1) of the package passt runs beside the container for as long as it lives: it makes an interface in the
container's network namespace that has the host's address and routes, and turns what comes through it into sockets of
the user. It goes to the background by itself once all is set up, and refuses with a non-zero status when a port is
taken, so the monitor needs nothing but its command line (a "helper" in docs/architecture.md).

Pure but for `check_device` and `host_addresses`, which look.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remora.frontend.container.spec import Port

PROGRAM = "pasta"
TUN = "/dev/net/tun"
# Where the container asks for names: pasta hands what comes there to the host's first name server, wherever that is.
DNS = "169.254.1.1"
# Ours to give: where it works, and that it goes to the background once it does.
OWN = frozenset("-f --foreground -P --pid --netns --userns --netns-only --no-netns-quit --runas -e --stderr".split())
FORWARDS = {"tcp": "-t", "udp": "-u"}
# Long names of the options that a default of ours yields to.
LONG = {"-t": "--tcp-ports", "-u": "--udp-ports", "-T": "--tcp-ns", "-U": "--udp-ns"}
# An address that nobody has (RFC 5737, RFC 3849): the kernel tells from where it would be reached.
ANYWHERE = (("192.0.2.1", 2), ("2001:db8::1", 10))
SOCK_DGRAM = 2


def parse(option: str, text: str) -> list[str]:
    """The words of `pasta[:WORD,WORD…]`, to be given to pasta as they are.

    `--map-gw` is no option of pasta's: it takes back our `--no-map-gw`, as in Podman.
    Raises RemoraError for a word that is Remora's to choose.
    """
    words = text.split(",") if text else []
    for word in words:
        if not word or word.partition("=")[0] in OWN or not word.isprintable():
            raise RemoraError(
                f'invalid option "{word}" of pasta for {option}',
                "options of pasta(1), separated by commas; where it runs is not yours to say",
            )
    if words and not words[0].startswith("-"):
        raise RemoraError(f'invalid option "{words[0]}" of pasta for {option}', "options of pasta(1) begin with -")
    return words


def argv(program: str, given: Sequence[str], ports: Iterable[Port], *, netns: str, pidfile: str) -> list[str]:
    """The command line of pasta. given: as `parse`; netns, pidfile: absolute paths.

    Raises RemoraError for a port of a protocol that pasta does not know.
    """
    words = [program, "--config-net", "--quiet", "--pid", pidfile]
    words += [word for word in given if word != "--map-gw"]
    used = {word.partition("=")[0] for word in given}
    for port in ports:
        words += forward(port)
        used.add(FORWARDS[port["protocol"]])
    for short in ("-t", "-u", "-T", "-U"):
        if short not in used and LONG[short] not in used:
            words += [short, "none"]
    if "--map-gw" not in used:
        words.append("--no-map-gw")
    if "--dns-forward" not in used:
        words += ["--dns-forward", DNS]
    return [*words, "--netns", netns]


def forward(port: Port) -> list[str]:
    """The two words that publish a port, or a range of them."""
    option = FORWARDS.get(port["protocol"])
    if option is None:
        raise RemoraError(
            f"--publish: pasta can't forward {port['protocol']}", "only tcp and udp; use a bridge network as root"
        )
    last = port["range"] - 1
    outer, inner = port["host_port"], port["container_port"]
    ends = (f"-{outer + last}", f"-{inner + last}") if last > 0 else ("", "")
    where = f"{port['host_ip']}/" if port["host_ip"] else ""
    return [option, f"{where}{outer}{ends[0]}:{inner}{ends[1]}"]


def nameservers(given: Sequence[str]) -> list[str]:
    """The name servers that this pasta offers the container."""
    return [_value(given, "--dns-forward") or DNS]


def _value(given: Sequence[str], *names: str) -> str:
    """The value of an option among pasta's words, "" when it is not there; the last one counts."""
    found = ""
    for at, word in enumerate(given):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else given[at + 1] if at + 1 < len(given) else ""
    return found


def check_device(path: str = TUN) -> None:
    """Raise RemoraError when this user can't make the interface that a container's network hangs on."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        raise RemoraError(
            f"network without root: {path} may not be opened by you",
            f"`chmod 0666 {path}` as root, or --network none or host",
        ) from None
    except OSError as error:
        raise RemoraError(
            f"network without root: {path}: {error.strerror}",
            "`modprobe tun` as root, or --network none or host",
        ) from None


def host_addresses() -> list[str]:
    """The host's addresses towards the world, which are the container's too: IPv4 and IPv6, as far as there are."""
    from _socket import socket

    found = []
    for address, family in ANYWHERE:
        try:
            probe = socket(family, SOCK_DGRAM)
            try:
                probe.connect((address, 9))  # nothing is sent
                found.append(str(probe.getsockname()[0]))
            finally:
                probe.close()
        except OSError:
            pass
    return found


def addresses(given: Sequence[str]) -> list[str]:
    """The container's addresses: as pasta was told with -a, else the host's."""
    own = _value(given, "-a", "--address")
    return [own.partition("/")[0]] if own else host_addresses()
