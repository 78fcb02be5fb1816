"""The text of /etc/hosts and /etc/resolv.conf in a container that has a network of its own. The rules are Podman's."""

from __future__ import annotations

from remora.frontend.networks import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remora.frontend.container.spec import Spec

LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
HOST_NAMES = "host.containers.internal host.docker.internal"
HOST_GATEWAY = "host-gateway"
RESOLV = "/etc/resolv.conf"
RESOLVED = "/run/systemd/resolve/resolv.conf"
SETTINGS = ("nameserver", "search", "domain", "options")


def hosts(add: Sequence[str], base: str, gateway: str, own: Sequence[str], names: str) -> str:
    """/etc/hosts: the lines asked for, those of `base`, the host, the container itself.

    add: `NAME:ADDRESS`; base: the text of a hosts file; gateway: an address at which the host is reached, "" = none;
    own: the container's addresses; names: its own, separated by blanks. A name that is there already is not added.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for text in add:
        name, _, address = text.partition(":")
        address = gateway if address == HOST_GATEWAY else address
        if address:
            _add(lines, seen, address, [name], always=True)
    has_local = False
    for line in base.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1:
            has_local = has_local or "localhost" in words[1:]
            _add(lines, seen, words[0], words[1:], always=not set(words[1:]) & _asked(add))
    text = "" if has_local or not own else LOCAL
    if gateway:
        _add(lines, seen, gateway, HOST_NAMES.split())
    for address in own:
        lines.append(f"{address}\t{names}")
    return text + "".join(line + "\n" for line in lines)


def _asked(add: Iterable[str]) -> set[str]:
    return {text.partition(":")[0] for text in add}


def _add(lines: list[str], seen: set[str], address: str, names: Sequence[str], always: bool = False) -> None:
    """A line with those of the names that are not there yet (always: with all)."""
    wanted = [name for name in names if always or name not in seen]
    if wanted:
        lines.append(f"{address}\t{' '.join(wanted)}")
        seen.update(wanted)


def resolv(spec: Spec, servers: Sequence[str], domains: Sequence[str], base: str, *, loopback: bool = False) -> str:
    """/etc/resolv.conf: what was asked for, else the networks' own servers and domains and then the host's.

    servers, domains: of the networks. base: the text of the host's file. loopback: its servers on the loopback are the
    container's, too; else they are left out, for the container's loopback is another one.
    """
    found: dict[str, list[str]] = {keyword: [] for keyword in SETTINGS}
    for line in base.splitlines():
        words = line.split()
        if words and words[0] in found:
            found[words[0]] = found[words[0]] + words[1:] if words[0] == "nameserver" else words[1:]
    host_servers = [server for server in found["nameserver"] if loopback or not is_loopback(server)]
    search = list(spec["dns_search"]) or [*domains, *(found["search"] or found["domain"])]
    if search == ["."]:
        search = []
    options = list(spec["dns_options"]) or found["options"]
    lines = [f"search {' '.join(dict.fromkeys(search))}"] if search else []
    lines += [f"nameserver {server}" for server in spec["dns"] or dict.fromkeys([*servers, *host_servers])]
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(line + "\n" for line in lines)


def is_loopback(server: str) -> bool:
    """Whether a name server is on the machine itself (127.0.0.0/8, ::1)."""
    try:
        family, number = addresses.parse(server.partition("%")[0])
    except ValueError:
        return False
    return number >> 24 == 127 if family == 4 else number == 1


def host_resolv() -> str:
    """The text of the host's resolv.conf; where all its servers are on the loopback (systemd-resolved), of the file
    that has the true ones."""
    text = read(RESOLV)
    words = [line.split() for line in text.splitlines()]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    if servers and all(is_loopback(server) for server in servers):
        return read(RESOLVED) or text
    return text


def read(path: str) -> str:
    """The text of a file of the host, "" when it can't be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def base_hosts(given: str, image: str) -> str:
    """The text that the container's hosts file starts from. given: `base_hosts_file` of containers.conf: "" the host's
    file, `none`, `image`, or a path; image: the text of the image's own file."""
    if given == "none":
        return ""
    return image if given == "image" else read(given or "/etc/hosts")
