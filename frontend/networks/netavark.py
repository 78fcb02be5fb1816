"""netavark, which makes interfaces, routes and firewall rules, and has aardvark-dns answer for names.

It is given JSON and the path of a network namespace, and says on stdout what it made, or `{"error": …}` (netavark(1)).
Its runs are serialised by a lock of our own that flock(1) holds for as long as netavark lives, also when we are
killed: netavark looks first and acts then. Podman's lock of the definitions is held while something is set up.
What it writes goes to a memory file: aardvark-dns inherits it and outlives netavark, a pipe would not come to its end.
"""

from __future__ import annotations

import os

from remora.frontend import jsontext, process
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Json, Port
    from remora.frontend.networks.definitions import Network
    from remora.frontend.settings import Settings

FOLDERS = ("/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman")
# aardvark-dns serves the containers of all engines on a network from one folder: Podman's.
RUN = "/run/containers/networks"
LOCK = "remora.lock"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORDS_MAX = 1 << 16


class Wanted:
    """One network for one container. addresses: one for each of its subnets."""

    __slots__ = ("network", "addresses", "aliases", "interface", "mac")

    def __init__(
        self, network: Network, addresses: Sequence[str], aliases: Sequence[str], interface: str, mac: str
    ) -> None:
        self.network = network
        self.addresses = addresses
        self.aliases = aliases
        self.interface = interface
        self.mac = mac


def program(settings: Settings, name: str) -> str:
    """Absolute path of `netavark` or `aardvark-dns`; "" when it is not installed."""
    for folder in settings.conf.texts("engine", "helper_binaries_dir", FOLDERS):
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    return process.which(name, settings.environ) or ""


def request(container_id: str, name: str, wanted: Sequence[Wanted], ports: Sequence[Port]) -> str:
    """What netavark is told, for setup and for teardown alike."""
    infos: dict[str, Json] = {one.network["name"]: _json(one.network) for one in wanted}
    value: dict[str, Json] = {
        "container_id": container_id,
        "container_name": name,
        "networks": {one.network["name"]: _options(one) for one in wanted},
        "network_info": infos,
    }
    if ports:
        value["port_mappings"] = [_json(port) for port in ports]
    return jsontext.dumps(value)


def _json(value: Network | Port) -> Json:
    return value  # type: ignore[return-value]


def _options(one: Wanted) -> dict[str, Json]:
    options: dict[str, Json] = {
        "static_ips": list(one.addresses),
        "aliases": list(one.aliases),
        "interface_name": one.interface,
    }
    if one.mac:
        options["static_mac"] = one.mac
    return options


def run_folder(settings: Settings) -> str:
    """Where netavark and aardvark-dns keep their state. A user's bridges are in a namespace of their own."""
    return f"{settings.run}/networks/rootless/netavark" if settings.rootless else RUN


def command(settings: Settings, action: str, netns: str, file: str = "", uplink: str = "") -> list[str]:
    """argv of a run. action: `setup` or `teardown`; netns: path of the namespace; file: with the request, "" = stdin;
    uplink: path of the user's namespace that has the bridges, without root; "" = beside `netns`.

    Raises RemoraError when netavark is not there.
    """
    netavark = program(settings, "netavark")
    if not netavark:
        raise RemoraError(
            "netavark, which makes bridge networks, is not installed",
            "install the package netavark, or use --network none or host",
        )
    flock = process.which("flock", settings.environ)
    if not flock:
        raise RemoraError("flock, which keeps runs of netavark apart, is not installed", "install util-linux")
    run = run_folder(settings)
    words = [
        flock,
        "--close",
        f"{run}/{LOCK}",
        netavark,
        "--config",
        run,
        f"--rootless={str(settings.rootless).lower()}",
    ]
    if settings.rootless:
        from remora.frontend.networks import rootless_bridge

        words = [*rootless_bridge.inside(settings, uplink or rootless_bridge.beside(netns)), *words]
    dns = program(settings, "aardvark-dns")
    if dns:
        words += ["--aardvark-binary", dns]
    return [*words, *(["--file", file] if file else []), action, netns]


def environment(settings: Settings) -> dict[str, str]:
    """What netavark and the programs that it runs need."""
    found = {"PATH": PATH, "RUST_LOG": "netavark=error"}
    firewall = settings.environ.get("NETAVARK_FW", "") or settings.conf.text("network", "firewall_driver")
    if firewall:
        found["NETAVARK_FW"] = firewall
    return found


class Run:
    """A run of netavark that is under way, so that other things can be done meanwhile; `finish` awaits its end."""

    __slots__ = ("_pid", "_out")

    def __init__(self, settings: Settings, argv: Sequence[str], text: str = "", hold: int = -1) -> None:
        """hold: descriptor of a lock that shall be held until it ends, though we are killed: who undoes what it makes
        must come after it. A shell of its own has it, for netavark hands on what it has to aardvark-dns."""
        self._pid = -1
        _keep_to_ourselves()
        self._out = _memory("netavark", b"")
        source = _memory("request", text.encode("utf-8", "surrogateescape"))
        try:
            words = [*argv] if hold < 0 else ["sh", "-c", '"$@" 3<&-; exit $?', "sh", *argv]
            self._pid = process.start(
                words, stdin=source, stdout=self._out, stderr=self._out, env=environment(settings), hold=hold
            )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(source)

    def finish(self, doing: str) -> dict[str, object]:
        """Wait for its end; what it says it made. Raises RemoraError with its words when it failed."""
        pid, self._pid = self._pid, -1
        status = process.exit_status(os.waitpid(pid, 0)[1])
        said = os.pread(self._out, WORDS_MAX, 0).decode("utf-8", "replace")
        self.close()
        result = _last_object(said)
        if status == 0 and "error" not in result:
            return result
        words = str(result.get("error") or said.strip().replace("\n", "; ") or f"it ended with status {status}")
        raise RemoraError(f"{doing}: netavark: {words.strip()}", _remedy(words))

    def close(self) -> None:
        """Await it, if nobody did, and forget what it said."""
        if self._pid >= 0:
            os.waitpid(self._pid, 0)
            self._pid = -1
        if self._out >= 0:
            os.close(self._out)
            self._out = -1


def _keep_to_ourselves() -> None:
    """Descriptors that our caller left open for us are not for aardvark-dns: it would hold them for days."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                os.set_inheritable(int(name), False)
        except OSError:
            continue  # that of the listing


def _memory(name: str, data: bytes) -> int:
    fd = os.memfd_create(name)
    try:
        while data:
            data = data[os.write(fd, data) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _last_object(said: str) -> dict[str, object]:
    """The JSON object among the lines; helpers of netavark may have written others."""
    for line in reversed(said.splitlines()):
        if line.startswith("{"):
            try:
                value = jsontext.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
    return {}


def _remedy(words: str) -> str:
    if "iptables" in words and ("No such file" in words or "not found" in words):
        return "install the package iptables"
    if "aardvark" in words:
        return "see that port 53 of the network's gateway is free, or use a network without name resolution"
    return ""
