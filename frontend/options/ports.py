"""`--publish` and `--expose`: ports and ranges of them, as Docker and Podman write them."""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.networks import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from remora.frontend.container.spec import Port

PROTOCOLS = ("tcp", "udp", "sctp")
PORT_MAX = 65535
EXPECTED = "[[ADDRESS:][HOST-PORT]:]CONTAINER-PORT[/PROTOCOL], ports may be ranges, as 8000-8003:80-83"


def publish(option: str, text: str) -> list[Port]:
    """`[[ADDRESS:][HOST-PORT]:]CONTAINER-PORT[/PROTOCOL]`.

    A host port that is left out is any free one: one entry for each of a range then. Raises RemoraError.
    """
    rest, slash, protocol = text.partition("/")
    host_ip, host, inner = _split(option, text, rest)
    first, count = _range(option, text, inner)
    made: Port = {
        "host_ip": host_ip,
        "host_port": 0,
        "container_port": first,
        "range": count,
        "protocol": _protocol(option, text, protocol) if slash else "tcp",
    }
    if not host:
        return [{**made, "container_port": first + at, "range": 1} for at in range(count)]
    made["host_port"], host_count = _range(option, text, host)
    if host_count != count:
        raise RemoraError(
            f"{option} {text}: host and container port ranges have different lengths: {host_count} vs {count}",
            "name as many ports on both sides",
        )
    return [made]


def _split(option: str, text: str, rest: str) -> tuple[str, str, str]:
    """Address, port of the host, port of the container; "" for what is left out."""
    host_ip = ""
    if rest.startswith("["):
        host_ip, bracket, rest = rest[1:].partition("]:")
        if not bracket:
            raise RemoraError(f'invalid value "{text}" for {option}', EXPECTED)
    parts = rest.split(":")
    if len(parts) == 3 and not host_ip:
        host_ip, parts = parts[0], parts[1:]
        if host_ip in ("", "*"):
            host_ip = ""
    if len(parts) > 2 or not parts[-1]:
        raise RemoraError(f'invalid value "{text}" for {option}', EXPECTED)
    if host_ip == "localhost":
        host_ip = "127.0.0.1"
    if host_ip:
        try:
            host_ip = addresses.text(*addresses.parse(host_ip))
        except ValueError:
            raise RemoraError(f'{option} {text}: "{host_ip}" is no address', EXPECTED) from None
    return host_ip, parts[0] if len(parts) == 2 else "", parts[-1]


def _range(option: str, text: str, part: str) -> tuple[int, int]:
    """First port and how many."""
    first, dash, last = part.partition("-")
    numbers = [first, last] if dash else [first]
    if not all(number.isascii() and number.isdecimal() and 1 <= int(number) <= PORT_MAX for number in numbers):
        raise RemoraError(f'{option} {text}: "{part}" is no port', f"ports go from 1 to {PORT_MAX}")
    count = int(numbers[-1]) - int(first) + 1
    if count < 1:
        raise RemoraError(f'{option} {text}: the range "{part}" ends before it begins', "the lower port goes first")
    return int(first), count


def _protocol(option: str, text: str, protocol: str) -> str:
    if protocol.lower() not in PROTOCOLS:
        raise RemoraError(f'{option} {text}: unknown protocol "{protocol}"', "one of " + ", ".join(PROTOCOLS))
    return protocol.lower()


def expose(option: str, text: str) -> list[str]:
    """`PORT[-PORT][/PROTOCOL]` as a list of `80/tcp`."""
    part, slash, protocol = text.partition("/")
    first, count = _range(option, text, part)
    kind = _protocol(option, text, protocol) if slash else "tcp"
    return [f"{first + at}/{kind}" for at in range(count)]


def check(ports: Sequence[Port]) -> None:
    """Raise RemoraError when a port of the host is asked for twice."""
    seen: dict[tuple[str, int], list[str]] = {}
    for port in ports:
        for number in range(port["host_port"], port["host_port"] + port["range"]) if port["host_port"] else ():
            others = seen.setdefault((port["protocol"], number), [])
            if any(_same_host(port["host_ip"], other) for other in others):
                raise RemoraError(
                    f"--publish: port {number}/{port['protocol']} of the host is named twice", "leave out one of them"
                )
            others.append(port["host_ip"])


def _same_host(one: str, other: str) -> bool:
    every = ("", "0.0.0.0", "::")
    return one == other or ((one in every or other in every) and (":" in one) == (":" in other))


def publish_exposed(ports: Sequence[Port], exposed: Iterable[str]) -> Iterator[Port]:
    """For `--publish-all`: entries for the exposed ports that are not published yet, at any free port each."""
    for text in exposed:
        number, _, protocol = text.partition("/")
        inner = int(number)
        if not any(
            port["protocol"] == protocol and port["container_port"] <= inner < port["container_port"] + port["range"]
            for port in ports
        ):
            yield {"host_ip": "", "host_port": 0, "container_port": inner, "range": 1, "protocol": protocol}
