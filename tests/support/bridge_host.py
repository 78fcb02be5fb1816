"""Bridge networks on a host of their own: the definitions, netavark's files and the firewall are the test's alone."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import Remora
from tests.support.private_host import PrivateHost, private_host
from tests.support.waiting import eventually

FOLDERS = """
set -eu
mkdir -p /etc/containers/networks /run/containers
mount -t tmpfs tmpfs /etc/containers/networks
mount -t tmpfs tmpfs /run/containers
"""
# netavark makes these once and leaves them; nothing in them belongs to a container.
LASTING = re.compile(r"NETAVARK-HOSTPORT|NETAVARK_FORWARD( |$)|netavark (portfw|firewall)")


class BridgeHost:
    """The host, and what containers can leave on it."""

    def __init__(self, host: PrivateHost) -> None:
        self.host = host

    def remora(self, folder: Path, storage_conf: Path) -> Remora:
        """The command, with folders of its own, on this host."""
        made = Remora(folder, storage_conf)
        made.prefix = self.host.words("env")
        made.environment["CONTAINERS_CONF"] = os.devnull
        return made

    def sh(self, script: str, *, world: bool = False, status: int | None = 0) -> str:
        """What a shell script prints there, or in the world behind the host's link."""
        return self.host.run("sh", "-c", script, world=world, status=status).stdout.strip()

    def rules(self) -> list[str]:
        """The firewall's rules that are there for some container or network."""
        lines = (self.sh("iptables-save; ip6tables-save")).splitlines()
        return [line for line in lines if line.startswith("-A") and not LASTING.search(line)] + [
            line for line in lines if re.match(r":NETAVARK[-_](?!HOSTPORT|FORWARD|ISOLATION)", line)
        ]

    def links(self) -> list[str]:
        """The interfaces of the host, but for its own."""
        names = [line.split()[0].partition("@")[0] for line in self.sh("ip -brief link").splitlines()]
        return sorted(name for name in names if name not in ("lo", "up0"))

    def namespaces(self) -> int:
        """How many network namespaces processes or mounts of this machine hold."""
        found = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/net"))
        return len(found)

    def left(self, remora: Remora) -> dict[str, list[str]]:
        """Rules, interfaces, leases and sockets of containers; empty when there is nothing."""
        leases = [
            f"{network.name}/{lease.name}"
            for network in (remora.runroot / "networks").glob("*")
            for lease in network.iterdir()
            if lease.name != "lock" and not lease.name.startswith("last-")
        ]
        found = {
            "rules": self.rules(),
            "links": self.links(),
            "leases": leases,
            "listening": self.sh("ss -Hltun").splitlines(),
            "dns": self.sh("ls /run/containers/networks/aardvark-dns 2>/dev/null || true").split(),
        }
        return {kind: what for kind, what in found.items() if what}

    def assert_nothing_left(self, remora: Remora) -> None:
        """All of it is gone, at the latest when the last monitors have ended and the kernel has cleared away."""
        eventually(lambda: not self.left(remora), "nothing of the networks is left", timeout=15)
        assert self.left(remora) == {}


@contextlib.contextmanager
def bridge_host(folder: Path) -> Iterator[BridgeHost]:
    """A host for the time of the block."""
    with private_host(folder, users=()) as host:
        made = BridgeHost(host)
        made.sh(FOLDERS)
        yield made
