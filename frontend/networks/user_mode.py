"""The networks of containers without root: pasta or slirp4netns for one container, at its start.

    programs and device looked at ─▶ ports tried ─▶ namespace made ─▶ helper told to the monitor, which starts it

The helper listens on published ports itself, so they are only tried here: for numbers where none was given, and for a
refusal that says who has the port.
"""

from __future__ import annotations

from remora import monitor
from remora.frontend import process
from remora.frontend.errors import RemoraError
from remora.frontend.networks import hosts, pasta, ports, slirp, status
from remora.frontend.oci import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Port
    from remora.frontend.networks.ports import Bound
    from remora.frontend.settings import Settings

MODES = (pasta.PROGRAM, slirp.PROGRAM)
PACKAGES = {pasta.PROGRAM: "passt", slirp.PROGRAM: "slirp4netns"}


def default(settings: Settings) -> str:
    """The network of a container that was asked for none in particular."""
    return settings.conf.choice("network", "default_rootless_network_cmd", MODES, pasta.PROGRAM)


def read(settings: Settings, option: str, mode: str, text: str) -> list[str]:
    """`network_options` of a container with this mode: those of containers.conf, then those given. text: what stands
    behind `pasta:` or `slirp4netns:`. Raises RemoraError for wrong ones."""
    if not settings.rootless:
        raise RemoraError(
            f"{option} {mode} is for containers without root", "use --network bridge, none or host, or run it as a user"
        )
    if mode == pasta.PROGRAM:
        words = settings.conf.texts("network", "pasta_options")
        return [
            *pasta.parse(settings.conf.where("network", "pasta_options"), ",".join(words)),
            *pasta.parse(option, text),
        ]
    words = settings.conf.texts("engine", "network_cmd_options")
    slirp.parse(settings.conf.where("engine", "network_cmd_options"), words)
    given = text.split(",") if text else []
    slirp.parse(option, given)
    return [*words, *given]


def prepare(settings: Settings, record: ContainerRecord, plan: Plan, user_fd: int = -1) -> None:
    """Add what the container's start needs to its plan. user_fd: the user namespace that the network's one is to belong
    to, -1 for our own.

    Raises RemoraError: no such program, no /dev/net/tun, a port that is taken.
    """
    spec = record.spec
    mode = spec["network"]
    program = find(settings, mode)
    pasta.check_device()
    found = _ports(settings, spec["ports"], ipv6=mode == pasta.PROGRAM)
    path = plan.add_namespace("network", monitor.make_namespaces(["network"], user_fd)[0])
    if mode == pasta.PROGRAM:
        options = spec["network_options"]
        plan.add_helper(
            pasta.PROGRAM, pasta.argv(program, options, found, netns=path, pidfile=plan.pidfile(pasta.PROGRAM))
        )
        plan.texts = texts(settings, record, pasta.addresses(options), "", pasta.nameservers(options), drop_first=True)
    else:
        given = slirp.parse("--network", spec["network_options"])
        slirp.requests(found, given.address)  # what it can't forward is told now
        plan.add_helper(slirp.PROGRAM, _slirp_command(settings, program, path, plan, spec["network_options"], found))
        plan.texts = texts(settings, record, [given.address], given.gateway, [given.nameserver])
    plan.save()
    status.write(settings, record.id, {"networks": {}, "ports": found})


def find(settings: Settings, name: str) -> str:
    """The path of pasta or slirp4netns. Raises RemoraError when it is not installed."""
    given = settings.conf.text("engine", "network_cmd_path") if name == slirp.PROGRAM else ""
    path = process.which(given or name, settings.environ)
    if path is None:
        other = MODES[name == MODES[0]]
        raise RemoraError(
            f"{given or name}, which gives containers a network without root, is not installed",
            f"install the package {PACKAGES[name]}, or use --network {other}, none or host",
        )
    return path


def _slirp_command(
    settings: Settings, program: str, netns: str, plan: Plan, options: Sequence[str], found: Sequence[Port]
) -> list[str]:
    from remora.frontend import jsontext

    listed = jsontext.dumps([dict(port) for port in found])
    return [*settings.own_command(), "_slirp", program, netns, plan.pidfile(slirp.PROGRAM), ",".join(options), listed]


def _ports(settings: Settings, wanted: Sequence[Port], ipv6: bool) -> list[Port]:
    """The ports with every number filled in. Raises RemoraError for one that can't be had."""
    if not wanted:
        return []
    bound = bind(settings, wanted, ipv6 and has_ipv6())
    bound.close()
    return bound.ports


def bind(settings: Settings, wanted: Sequence[Port], ipv6: bool) -> Bound:
    """As ports.bind; what a killed monitor's helper still listens on is freed."""
    try:
        return ports.bind(settings, wanted, ipv6)
    except RemoraError as error:
        if error.status != ports.IN_USE:
            raise
    from remora.frontend.container import cleanup

    cleanup.sweep(settings)
    return ports.bind(settings, wanted, ipv6)


def has_ipv6() -> bool:
    """Whether this kernel knows IPv6."""
    from os.path import exists

    return exists("/proc/net/if_inet6")


def texts(
    settings: Settings,
    record: ContainerRecord,
    own: Sequence[str],
    gateway: str,
    servers: Sequence[str],
    drop_first: bool = False,
) -> tuple[str, str]:
    """The text of /etc/hosts and of /etc/resolv.conf.

    own: the container's addresses; gateway: an address at which the host is reached, "" = none; servers: the network's
    own name servers; drop_first: the first of them stands for the host's first, which can't be asked directly then.
    """
    spec, conf = record.spec, settings.conf
    text = ""
    if not spec["no_hosts"]:
        name = namespaces.hostname(settings, spec)
        names = " ".join(text for text in dict.fromkeys((name, spec["name"])) if text)
        given = conf.text("containers", "base_hosts_file")
        gateway = conf.text("containers", "host_containers_internal_ip") or gateway
        base = hosts.base_hosts(given, "") if given != "image" else ""
        text = hosts.hosts(spec["add_hosts"], base, gateway, own, names)
    resolv = hosts.host_resolv()
    if drop_first:
        resolv = _without_first(resolv)
    return text, hosts.resolv(spec, servers, [], resolv)


def _without_first(text: str) -> str:
    """A resolv.conf without its first name server."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.split()[:1] == ["nameserver"]:
            del lines[at]
            break
    return "".join(line + "\n" for line in lines)


def explain(words: str, hint: str) -> tuple[str, str]:
    """The words of a helper that could not be started, without what is beside the point, and what to do about it."""
    import re

    words = re.sub(r"Failed to send \d+ bytes to syslog\s*", "", words).removeprefix("Error: ")
    if "routable interface" in words or "interface not usable" in words:
        hint = "the host has no route to the world: use --network slirp4netns, none or host"
    elif "bind any port" in words:
        hint = "the port was taken just now: choose another one"
    elif "tun socket" in words:
        hint = f"{pasta.TUN} must be there and open to you: `modprobe tun`, `chmod 0666 {pasta.TUN}` as root"
    return words, hint
