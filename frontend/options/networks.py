"""`--network`, `--publish`, `--dns` and the other options that say how a container meets networks.

What is named is looked at here, so that a mistake is told before a container is made: networks must exist, addresses
lie in their subnets. Whether a port or an address is free turns out at the start.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from remora.frontend.arguments import Namespace
    from remora.frontend.container.spec import NetworkUse, Spec
    from remora.frontend.settings import Settings

DEFAULT = "none"
# Each is a mode by itself: the container has no network of ours.
ELSEWHERE = ("none", "host", "container", "ns")
USER_MODE = ("pasta", "slirp4netns")
OURS = ("bridge", "private", "default")
OPTIONS = ("alias", "interface_name", "ip", "ip6", "mac")
HOST_GATEWAY = "host-gateway"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_HEX = frozenset("0123456789abcdefABCDEF")


def read(arguments: Namespace, settings: Settings, spec: Spec) -> None:
    """Fill in the keys of networks. Raises RemoraError for the first thing that makes no sense."""
    conf = settings.conf
    option, given = "--network", list(arguments.network)
    if not given:
        option = conf.where("containers", "netns") if conf.has("containers", "netns") else option
        given = [conf.text("containers", "netns") or ("private" if settings.rootless else DEFAULT)]
    if settings.rootless and given == ["private"]:
        from remora.frontend.networks import user_mode

        given = [user_mode.default(settings)]
    _mode(arguments, settings, spec, option, given)
    spec["dns"] = [_server(text) for text in arguments.dns or conf.texts("containers", "dns_servers")]
    spec["dns_search"] = list(arguments.dns_search or conf.texts("containers", "dns_searches"))
    spec["dns_options"] = list(arguments.dns_option or conf.texts("containers", "dns_options"))
    spec["add_hosts"] = [host for text in arguments.add_host for host in _hosts(text)]
    spec["no_hosts"] = arguments.no_hosts or (conf.flag("containers", "no_hosts") and not arguments.add_host)
    if arguments.no_hosts and arguments.add_host:
        raise RemoraError("--no-hosts and --add-host exclude each other", "leave out one of them")
    if "none" in spec["dns"] and len(spec["dns"]) > 1:
        raise RemoraError("--dns none excludes other servers", "leave out one of them")
    _ports(arguments, spec)


def _mode(arguments: Namespace, settings: Settings, spec: Spec, option: str, given: list[str]) -> None:
    words = [text.partition(":")[0] for text in given]
    alone = next((word for word in words if word in (*ELSEWHERE, *USER_MODE)), "")
    if alone and len(given) > 1:
        raise RemoraError(f"{option} {alone} can't be combined with other networks", "name it alone, or leave it out")
    if given[0] in ("none", "host"):
        spec["network"] = given[0]
    elif alone in ELSEWHERE:
        from remora.frontend.options import namespaces

        spec["network"] = namespaces.check(settings, option, given[0], "network")
    elif alone:
        spec["network"] = alone
        from remora.frontend.networks import user_mode

        spec["network_options"] = user_mode.read(settings, option, alone, given[0].partition(":")[2])
    if alone:
        for name in ("ip", "ip6", "mac_address", "network_alias"):
            if getattr(arguments, name):
                raise RemoraError(
                    f"--{name.replace('_', '-')} needs a network of its own, not {option} {alone}",
                    "name a bridge network with --network",
                )
        return
    spec["network"] = "bridge"
    spec["networks"] = _uses(settings, option, given)
    _common(arguments, settings, spec["networks"])
    _check(settings, spec["networks"])


def _uses(settings: Settings, option: str, given: Sequence[str]) -> list[NetworkUse]:
    from remora.frontend.networks import definitions

    uses: list[NetworkUse] = []
    for text in given:
        for part in [text] if ":" in text else text.split(","):
            name, _, rest = part.partition(":")
            if name in OURS:
                name = definitions.default_name(settings)
            network = definitions.find(settings, name)
            if any(use["name"] == network["name"] for use in uses):
                raise RemoraError(f"{option}: network {network['name']} is named twice", "leave out one of them")
            uses.append(_use(option, part, network["name"], rest))
    return uses


def _use(option: str, text: str, name: str, rest: str) -> NetworkUse:
    use: NetworkUse = {"name": name, "aliases": [], "ip": "", "ip6": "", "mac": "", "interface": ""}
    for word in rest.split(",") if rest else ():
        key, equals, value = word.partition("=")
        where = f"{option} {text}: {key}"
        if key not in OPTIONS or not equals or not value:
            raise RemoraError(f'{option} {text}: unknown option "{word}"', "one of alias=NAME, " + EXPECTED)
        if key == "alias":
            use["aliases"].append(alias(where, value))
        elif key == "ip":
            use["ip"] = address(where, value, 4)
        elif key == "ip6":
            use["ip6"] = address(where, value, 6)
        elif key == "mac":
            use["mac"] = mac(where, value)
        else:
            use["interface"] = interface(where, value)
    return use


EXPECTED = "interface_name=NAME, ip=ADDRESS, ip6=ADDRESS, mac=ADDRESS"


def _common(arguments: Namespace, settings: Settings, uses: list[NetworkUse]) -> None:
    """What is given for all networks, or for the only one."""
    for name in ("ip", "ip6", "mac_address"):
        if getattr(arguments, name) and len(uses) > 1:
            raise RemoraError(
                f"--{name.replace('_', '-')} can only be set for a single network",
                "use --network NAME:ip=ADDRESS,mac=ADDRESS for each",
            )
    if arguments.ip:
        uses[0]["ip"] = address("--ip", arguments.ip, 4)
    if arguments.ip6:
        uses[0]["ip6"] = address("--ip6", arguments.ip6, 6)
    if arguments.mac_address:
        uses[0]["mac"] = mac("--mac-address", arguments.mac_address)
    names = [alias("--network-alias", text) for given in arguments.network_alias for text in given.split(",")]
    for use in uses:
        use["aliases"] = list(dict.fromkeys([*use["aliases"], *names]))


def _check(settings: Settings, uses: list[NetworkUse]) -> None:
    from remora.frontend.networks import definitions, leases

    for use in uses:
        network = definitions.load(settings, use["name"])
        leases.check(network, [use["ip"], use["ip6"]])
        if use["aliases"] and not network["dns_enabled"]:
            raise RemoraError(
                f"network {use['name']} has no name resolution: aliases need it",
                "make a network with `remora network create`, and name it with --network",
            )
    names = [use["interface"] for use in uses if use["interface"]]
    if len(set(names)) < len(names):
        raise RemoraError("two networks have the same interface_name", "name each interface differently")


# ---- values ----------------------------------------------------------------------------------


def address(option: str, text: str, family: int) -> str:
    """An address of the family. Raises RemoraError."""
    from remora.frontend.networks import addresses

    try:
        found, number = addresses.parse(text)
        if found != family:
            raise ValueError(text)
    except ValueError:
        raise RemoraError(f'invalid value "{text}" for {option}', f"an IPv{family} address expected") from None
    return addresses.text(found, number)


def mac(option: str, text: str) -> str:
    """Six bytes in hex of a single interface, as 02:42:ac:11:00:02."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(len(part) == 2 and _HEX.issuperset(part) for part in parts):
        raise RemoraError(f'invalid value "{text}" for {option}', "six bytes in hex expected, as 02:42:ac:11:00:02")
    if int(parts[0], 16) & 1:
        raise RemoraError(f"{option} {text}: that is an address of many", "the first byte must be even")
    return ":".join(parts).lower()


def alias(option: str, text: str) -> str:
    """A name that a container answers to."""
    if not text or len(text) > 253 or not _NAME.issuperset(text):
        raise RemoraError(f'invalid value "{text}" for {option}', "letters, digits, -, _ and . expected")
    return text


def interface(option: str, text: str) -> str:
    """The name of a network interface: at most 15 characters (the kernel's bound)."""
    if not text or len(text) > 15 or not _NAME.issuperset(text) or text in (".", "..", "lo", "all", "default"):
        raise RemoraError(f'invalid value "{text}" for {option}', "at most 15 letters, digits, -, _ and .")
    return text


def _server(text: str) -> str:
    from remora.frontend.networks import addresses

    if text != "none" and not addresses.is_address(text):
        raise RemoraError(f'--dns "{text}" is no address', "give the address of a name server, or none")
    return text


def _hosts(text: str) -> list[str]:
    """`NAME[;NAME…]:ADDRESS` as `NAME:ADDRESS` for each."""
    from remora.frontend.networks import addresses

    names, colon, where = text.partition(":")
    where = where[1:-1] if where.startswith("[") and where.endswith("]") else where
    if not colon or not all(name and _NAME.issuperset(name) for name in names.split(";")):
        raise RemoraError(f'invalid value "{text}" for --add-host', "NAME:ADDRESS or NAME:host-gateway expected")
    if where != HOST_GATEWAY and not addresses.is_address(where):
        raise RemoraError(f'--add-host {text}: "{where}" is no address', "an address, or host-gateway, expected")
    return [f"{name}:{where}" for name in names.split(";")]


# ---- ports -----------------------------------------------------------------------------------


def _ports(arguments: Namespace, spec: Spec) -> None:
    if not arguments.publish and not arguments.expose and not arguments.publish_all:
        return
    from remora.frontend.options import ports

    found = [port for text in arguments.publish for port in ports.publish("--publish", text)]
    ports.check(found)
    spec["exposed"] = list(dict.fromkeys(port for text in arguments.expose for port in ports.expose("--expose", text)))
    spec["publish_all"] = arguments.publish_all
    if spec["network"] == "bridge" or spec["network"] in USER_MODE:
        spec["ports"] = found
    elif found or arguments.publish_all:
        spec["publish_all"] = False
        mode = spec["network"].partition(":")[0]
        os.write(
            2, f"Warning: published ports are left out: with --network {mode} there is nothing to publish\n".encode()
        )


def apply_image(spec: Spec, config: Mapping[str, object]) -> None:
    """Add the ports that the image exposes, and publish all that are exposed if that was asked for."""
    exposed = config.get("ExposedPorts")
    if isinstance(exposed, dict) and exposed:
        found = (text if "/" in text else f"{text}/tcp" for text in map(str, exposed))
        spec["exposed"] = list(dict.fromkeys([*spec["exposed"], *found]))
    if spec["publish_all"]:
        from remora.frontend.options import ports

        spec["ports"] = [*spec["ports"], *ports.publish_exposed(spec["ports"], spec["exposed"])]
