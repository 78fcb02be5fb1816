"""Giving a container its place on bridge networks, at its start.

    ports bound ─▶ addresses leased ─▶ what undoes it written ─▶ namespace made ─▶ netavark started …
    … meanwhile the frontend mounts the root and writes the bundle … ─▶ netavark awaited ─▶ monitor spawned

The monitor gets the namespace and the descriptor that holds the ports, and undoes the rest at the end of the container:
it executes `network-down` in the run folder, which has netavark take back what `netavark.json` beside it says, and
then unlinks the leases. (`network connect` and `disconnect` replace both files.) Killed at any moment, what is left is
undone by whoever meets the container next: see stale.py.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.networks import definitions, hosts, leases, netavark, ports, stale, status
from remora.frontend.networks.netavark import Wanted
from remora.frontend.oci import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import NetworkUse
    from remora.frontend.networks.definitions import Network
    from remora.frontend.settings import Settings

DNS_DOMAIN = "dns.podman"  # what aardvark-dns answers for
SHORT = 12


class Attach:
    """The networks of one start. `close` when the monitor has been spawned, or when it came to nothing."""

    __slots__ = ("settings", "record", "wanted", "bound", "_held", "_lock", "_run", "_netns", "_uplink")

    def __init__(self, settings: Settings, record: ContainerRecord, lock: int) -> None:
        """lock: descriptor of the container's, borrowed."""
        self.settings = settings
        self.record = record
        self._held = lock
        self.wanted: list[Wanted] = []
        self.bound = ports.Bound([], -1)
        self._lock: definitions.Lock | None = None
        self._run: netavark.Run | None = None
        self._netns = -1
        self._uplink = ""

    def begin(self, plan: Plan, user_fd: int = -1) -> None:
        """Do all that can fail early, and start netavark. user_fd: the user namespace that the network's one is to
        belong to, -1 for our own.

        Raises RemoraError (no such network, port or address taken, no netavark); the caller then undoes what the plan
        says, and closes this.
        """
        settings, record = self.settings, self.record
        networks = [definitions.load(settings, use["name"]) for use in record.spec["networks"]]
        os.makedirs(netavark.run_folder(settings), 0o755, exist_ok=True)
        plan.add_execute(["/bin/sh", write_script(settings, record, [])])
        plan.save()
        if record.spec["ports"]:
            ipv6 = any(network["ipv6_enabled"] for network in networks) and not settings.rootless
            self.bound = self._bind(ipv6)
        told = self.bound.ports
        if settings.rootless:
            from remora.frontend.networks import rootless_bridge

            self._uplink = rootless_bridge.prepare(settings, record, plan, self.bound.ports)
            self.bound.close()  # slirp4netns listens
            told = [{**port, "host_ip": ""} for port in told]
        names = interfaces(record.spec["networks"])
        for use, network, interface in zip(record.spec["networks"], networks, names, strict=True):
            taken = leases.take(settings, network, record.id, [use["ip"], use["ip6"]], stale.reclaimer(settings))
            self.wanted.append(Wanted(network, taken, aliases(record, use["aliases"]), interface, use["mac"]))
        write_request(settings, record, netavark.request(record.id, record.name, self.wanted, told))
        write_script(settings, record, lease_paths(settings, self.wanted))
        self._netns = monitor.make_namespaces(["network"], user_fd)[0]
        plan.add_namespace("network", os.dup(self._netns))
        if self.bound.holder >= 0:
            plan.held.append(self.bound.holder)
        plan.texts = file_texts(settings, record, namespaces.hostname(settings, record.spec), self.wanted)
        self._lock = definitions.Lock(settings, make=False)
        self._lock.__enter__()
        self._run = netavark.Run(settings, self._command("setup"), hold=self._held)

    def _bind(self, ipv6: bool) -> ports.Bound:
        if self.settings.rootless:
            from remora.frontend.networks import user_mode

            return user_mode.bind(self.settings, self.record.spec["ports"], ipv6)
        return ports.bind(self.settings, self.record.spec["ports"], ipv6)

    def _command(self, action: str) -> list[str]:
        path = f"/proc/{os.getpid()}/fd/{self._netns}"
        request = request_path(self.settings, self.record.id)
        return netavark.command(self.settings, action, path, request, self._uplink)

    def finish(self) -> None:
        """Await netavark and write down what it made. Raises RemoraError when it failed; nothing is left then."""
        run, self._run = self._run, None
        assert run is not None
        names = ", ".join(one.network["name"] for one in self.wanted)
        try:
            made = run.finish(f"setting up network {names} of container {self.record.name}")
        except RemoraError:
            # What it made before it failed is still there.
            netavark.Run(self.settings, self._command("teardown")).close()
            os.unlink(request_path(self.settings, self.record.id))
            raise
        finally:
            self._unlock()
        status.write(
            self.settings,
            self.record.id,
            {
                "networks": {one.network["name"]: attachment(one, made) for one in self.wanted},
                "ports": self.bound.ports,
            },
        )

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.__exit__()

    def close(self) -> None:
        """Let go of the descriptors; those that the monitor was given are its own."""
        if self._run is not None:
            self._run.close()
            self._run = None
        self._unlock()
        self.bound.close()
        if self._netns >= 0:
            os.close(self._netns)
            self._netns = -1


# ---- what a network is to a container ----------------------------------------------------------


def interfaces(uses: Sequence[NetworkUse]) -> list[str]:
    """The interface of each network: as asked for, else the first `eth<N>` that is free."""
    taken = {use["interface"] for use in uses}
    found = []
    for use in uses:
        found.append(use["interface"] or free_interface(taken))
        taken.add(found[-1])
    return found


def free_interface(taken: set[str]) -> str:
    """The first `eth<N>` that is not taken."""
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)


def aliases(record: ContainerRecord, given: Sequence[str]) -> list[str]:
    """The names that a container has on a network beside its own."""
    return list(dict.fromkeys([*given, record.id[:SHORT]]))


def attachment(one: Wanted, made: dict[str, object]) -> status.Attachment:
    """One network as it is in effect. made: what netavark says of all."""
    entry = made.get(one.network["name"])
    found = entry.get("interfaces", {}).get(one.interface, {}) if isinstance(entry, dict) else {}
    subnets = one.network.get("subnets") or []
    return {
        "id": one.network["id"],
        "interface": one.interface,
        "mac": str(found.get("mac_address", one.mac)),
        "addresses": [
            f"{address}/{subnet['subnet'].partition('/')[2]}"
            for address, subnet in zip(one.addresses, subnets, strict=True)
        ],
        "gateways": gateways(one.network),
        "aliases": list(one.aliases),
    }


def gateways(network: Network) -> list[str]:
    """The gateways of a network; an internal one has none."""
    if network["internal"]:
        return []
    return [subnet["gateway"] for subnet in network.get("subnets") or [] if subnet.get("gateway")]


def file_texts(settings: Settings, record: ContainerRecord, hostname: str, wanted: Sequence[Wanted]) -> tuple[str, str]:
    """The text of /etc/hosts ("" to leave the image's) and of /etc/resolv.conf."""
    spec, conf = record.spec, settings.conf
    all_gateways = [gateway for one in wanted for gateway in gateways(one.network)]
    own = [address for one in wanted for address in one.addresses]
    servers = [gateway for one in wanted if one.network["dns_enabled"] for gateway in gateways(one.network)]
    text = ""
    if not spec["no_hosts"]:
        given = conf.text("containers", "base_hosts_file")
        image = _image_hosts(record) if given == "image" else ""
        host = conf.text("containers", "host_containers_internal_ip") or next(iter(all_gateways), "")
        names = " ".join(name for name in dict.fromkeys((hostname, spec["name"])) if name)
        text = hosts.hosts(spec["add_hosts"], hosts.base_hosts(given, image), host, own, names)
    return text, hosts.resolv(spec, servers, [DNS_DOMAIN] if servers else [], hosts.host_resolv())


def _image_hosts(record: ContainerRecord) -> str:
    """The text of the image's own /etc/hosts: in the topmost layer that has one."""
    image = record.spec["image"]
    for folder in image["lower"] if image is not None else [record.spec["rootfs"] or ""]:
        try:
            root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            with open(monitor.open_in_root(root, "/etc/hosts", os.O_RDONLY), "rb", buffering=0) as file:
                return file.read().decode("utf-8", "surrogateescape")
        except OSError:
            continue
        finally:
            os.close(root)
    return ""


# ---- what undoes it ------------------------------------------------------------------------------


def request_path(settings: Settings, container_id: str) -> str:
    """What netavark was told."""
    return settings.run_dir(container_id) + "/netavark.json"


def script_path(settings: Settings, container_id: str) -> str:
    """What the monitor executes at the end."""
    return settings.run_dir(container_id) + "/network-down"


def write_request(settings: Settings, record: ContainerRecord, text: str) -> None:
    """Write down what netavark is told, for setup and teardown."""
    _replace(request_path(settings, record.id), text)


def lease_paths(settings: Settings, wanted: Sequence[Wanted]) -> list[str]:
    """The files of the leases of these networks."""
    return [leases.path(settings, one.network["name"], address) for one in wanted for address in one.addresses]


def write_script(settings: Settings, record: ContainerRecord, paths: Sequence[str]) -> str:
    """Write the script that the monitor executes at the end; its path. paths: the leases.

    It is run in the monitor's mount namespace, where the network namespace is bound.
    """
    netns = f"{record.data_dir}/ns/network"
    argv = netavark.command(settings, "teardown", netns, request_path(settings, record.id))
    lines = [f"{key}={_quoted(value)}; export {key}" for key, value in netavark.environment(settings).items()]
    lines.append(" ".join(map(_quoted, argv)))
    lines.append("exec rm -f " + " ".join(map(_quoted, paths)))
    path = script_path(settings, record.id)
    _replace(path, "".join(line + "\n" for line in lines))
    return path


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _replace(path: str, text: str) -> None:
    try:
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(text.encode("utf-8", "surrogateescape"))
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        os.rename(path + ".new", path)
    except OSError as error:
        raise RemoraError(f"setting up networks: {os_error_text(error)}") from None
