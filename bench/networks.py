"""Bridge networks: what they add to a start, and how soon a published port answers.

Both engines run on a host of their own, a network and a mount namespace, so that the machine's interfaces, firewall
rules and definitions of networks are not touched.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.engines import IMAGE, Engine
from bench.figures import Values
from bench.measure import CommandFailed, interleaved

SETUP = """
set -eu
mkdir -p /etc/containers/networks /run/containers /run/netns
mount -t tmpfs tmpfs /etc/containers/networks
mount -t tmpfs tmpfs /run/containers
mount -t tmpfs tmpfs /run/netns
ip link set lo up
echo ready
exec sleep infinity
"""
PORT = 18080
SERVER = ("httpd", "-f", "-p", "80", "-h", "/etc")
# Starts the command that it is given and asks the port for a file until it gets one; prints the seconds.
CLIENT = """
import socket, subprocess, sys, time
port = int(sys.argv[1])
begin = time.monotonic()
command = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while time.monotonic() - begin < 60:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.05) as connection:
            connection.sendall(b"GET /hostname HTTP/1.0\\r\\n\\r\\n")
            if connection.recv(100).startswith(b"HTTP/1"):
                print(time.monotonic() - begin)
                break
    except OSError:
        time.sleep(0.001)
sys.exit(command.wait())
"""


@contextmanager
def private_host(engines: Sequence[Engine]) -> Iterator[list[str]]:
    """Have these engines run on a host of their own for the time of the block; the words that lead there."""
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "--propagation=private", "sh", "-c", SETUP], stdout=subprocess.PIPE, text=True
    )
    before = [engine.command for engine in engines]
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            raise CommandFailed("the host for the networks could not be made")
        words = ["nsenter", f"--target={holder.pid}", "--net", "--mount"]
        for engine in engines:
            engine.command = [*words, *engine.command]
        yield words
    finally:
        for engine, command in zip(engines, before, strict=True):
            engine.clear()
            engine.command = command
        holder.kill()
        holder.wait()


def run_true(engines: Sequence[Engine], rounds: int, network: str) -> Values:
    """Seconds for `run --rm --network NETWORK IMAGE true`."""
    words = ("run", "--rm", "--network", network, IMAGE, "true")
    return _each(engines, rounds, lambda engine: engine.time(*words))


REQUEST = {
    "container_id": "0" * 64,
    "container_name": "bare",
    "networks": {"bare": {"static_ips": ["10.99.0.2"], "interface_name": "eth0"}},
    "network_info": {
        "bare": {
            "name": "bare",
            "id": "1" * 64,
            "driver": "bridge",
            "network_interface": "bare0",
            "subnets": [{"subnet": "10.99.0.0/24", "gateway": "10.99.0.1"}],
            "ipv6_enabled": False,
            "internal": False,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
    },
}


def bare_netavark(engine: Engine, rounds: int, host: Sequence[str]) -> list[float]:
    """Seconds that netavark alone takes to set up, and take back, what `run --rm --network bridge` needs."""
    request = engine.folder / "netavark.json"
    request.write_text(json.dumps(REQUEST))
    words = [*host, "/usr/lib/podman/netavark", "--config", "/run/containers/networks", "--file", str(request)]
    taken = []
    for _ in range(rounds):
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            netns = f"/proc/{holder.pid}/ns/net"
            taken.append(sum(engine.timer.time([*words, action, netns]) for action in ("setup", "teardown")))
        finally:
            holder.kill()
            holder.wait()
    return taken


def publish(engines: Sequence[Engine], rounds: int, host: Sequence[str], network: str = "bridge") -> Values:
    """Seconds from the start of `run -d -p …` to the first answer of the server in the container."""

    def action(engine: Engine) -> float:
        words = ["run", "-d", "--name", "server", "--network", network, "-p", f"{PORT}:80", IMAGE, *SERVER]
        client = [*host, sys.executable, "-c", CLIENT, str(PORT), *engine.argv(*words)]
        answer = engine.timer.output(client)
        engine.run("rm", "-f", "-t", "0", "server")
        return float(answer)

    return _each(engines, rounds, action)


def _each(engines: Sequence[Engine], rounds: int, action: Callable[[Engine], float]) -> Values:
    return interleaved(rounds, {engine.name: functools.partial(action, engine) for engine in engines})
