"""Whoever is killed, and when: rules, interfaces, namespaces, leases and ports are gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support import host as hosts
from tests.support.bridge_host import BridgeHost, bridge_host
from tests.support.waiting import eventually

WORDS = ("--network", "net", "-p", "18080:80", "busybox", "sleep", "1000")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeHost]:
    with bridge_host(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture
def remora(host: BridgeHost, tmp_path: Path, storage_conf: Path) -> Iterator[Remora]:
    """Remora on the private host with a network `net`; nothing is left when all containers are removed."""
    program = host.remora(tmp_path / "remora", storage_conf)
    program("network", "create", "--ipv6", "net")
    yield program
    ids = hosts.known_ids(program)
    program.clear()
    host.assert_nothing_left(program)
    hosts.assert_nothing_left(program, ids)
    program("network", "prune", "--force")


def keeper_of(remora: Remora, name: str) -> int:
    return int(remora("inspect", "-f", "{{.State.ConmonPid}}", name))


def leases(remora: Remora) -> list[Path]:
    return [path for path in (remora.runroot / "networks").glob("net/*") if path.name[0].isdigit()]


def test_everything_is_undone_when_the_container_ends_by_itself(host: BridgeHost, remora: Remora) -> None:
    namespaces = host.namespaces()
    remora("run", "--name", "c", *WORDS[:-2], "true")
    host.assert_nothing_left(remora)
    assert remora("ps", "-a", "--format", "{{.Names}} {{.State}}") == "c exited"
    eventually(lambda: host.namespaces() <= namespaces, "no network namespace more than before")


def test_restarts_keep_address_and_ports(remora: Remora) -> None:
    script = "ip -4 -o addr show eth0; exit 1"
    words = ["--network", "net", "-p", "18080:80", "--restart", "on-failure:2", "busybox", "sh", "-c", script]
    remora.run("run", "--name", "c", *words, status=None)
    shown = {line.split()[3] for line in remora("logs", "c").splitlines()}
    assert len(remora("logs", "c").splitlines()) == 3 and len(shown) == 1


def test_a_pipe_of_the_caller_ends_with_the_command(remora: Remora) -> None:
    """aardvark-dns lives on, and must not keep what somebody waits for to be closed."""
    read, write = os.pipe()
    command = [*remora.prefix, str(PROGRAM), "run", "-d", "--name", "c", *WORDS]
    subprocess.run(command, env=remora.environment, pass_fds=[write], check=True, stdout=subprocess.DEVNULL, timeout=60)
    os.close(write)
    os.set_blocking(read, False)
    assert os.read(read, 1) == b""
    os.close(read)


STAGES: dict[str, Callable[[Remora], bool]] = {
    "leased": lambda remora: bool(leases(remora)),
    "netavark told": lambda remora: any(remora.runroot.glob("*/netavark.json")),
    "set up": lambda remora: any(remora.runroot.glob("*/network")),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_frontend_killed_in_the_middle_of_a_start_leaves_nothing_that_stays(
    host: BridgeHost, remora: Remora, stage: str
) -> None:
    remora("create", "--name", "c", *WORDS)
    process = remora.popen("start", "c")
    while not STAGES[stage](remora) and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # It may have handed over to the monitor by then: both is well.
    remora("rm", "-f", "-t", "0", "c")
    host.assert_nothing_left(remora)


def test_a_start_that_was_killed_stands_in_nobodys_way(host: BridgeHost, remora: Remora) -> None:
    remora("network", "create", "--subnet", "10.90.9.0/30", "--disable-dns", "small")
    remora("create", "--name", "a", "--network", "small", "-p", "18080:80", "busybox", "sleep", "1000")
    process = remora.popen("start", "a")
    while not any(remora.runroot.glob("*/netavark.json")) and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if remora("ps", "-q"):
        remora("stop", "-t", "0", "a")
    remora("run", "--rm", "--network", "small", "-p", "18080:80", "busybox", "true")
    remora("start", "a")


@pytest.mark.parametrize("victim", ["keeper", "worker", "both"])
def test_a_killed_monitor_costs_nothing(host: BridgeHost, remora: Remora, victim: str) -> None:
    remora("run", "-d", "--name", "c", *WORDS)
    keeper = keeper_of(remora, "c")
    pids = hosts.monitor_processes(keeper)
    for pid in {"keeper": pids[:1], "worker": pids[1:], "both": pids}[victim]:
        hosts.send(pid, signal.SIGKILL)
    remora("rm", "-f", "-t", "0", "c")
    host.assert_nothing_left(remora)


@pytest.mark.parametrize("kill_keeper", [True, False])
def test_a_container_that_dies_with_its_monitor_starts_again_at_once(
    host: BridgeHost, remora: Remora, kill_keeper: bool
) -> None:
    remora("run", "-d", "--name", "c", *WORDS)
    init = int(remora("inspect", "-f", "{{.State.Pid}}", "c"))
    keeper = keeper_of(remora, "c")
    pids = hosts.monitor_processes(keeper) if kill_keeper else [keeper]
    for pid in pids:
        hosts.send(pid, signal.SIGKILL)
    hosts.send(init, signal.SIGKILL)
    eventually(lambda: remora("ps", "-q") == "", "it has ended")
    remora("start", "c")
    assert len(leases(remora)) == 1
    assert len([rule for rule in host.rules() if "18080" in rule and "DNAT" in rule]) > 0
    remora("stop", "-t", "0", "c")
    host.assert_nothing_left(remora)


def test_a_removed_container_leaves_nothing_although_its_run_folder_is_gone(host: BridgeHost, remora: Remora) -> None:
    """As after a reboot: definitions and requests are there, leases and rules are not."""
    remora("run", "-d", "--name", "c", *WORDS)
    keeper, init = keeper_of(remora, "c"), int(remora("inspect", "-f", "{{.State.Pid}}", "c"))
    hosts.kill_monitor(keeper)
    hosts.send(init, signal.SIGKILL)
    eventually(lambda: not hosts.alive(init), "it has ended")
    identity = remora("inspect", "-f", "{{.Id}}", "c")
    shutil.rmtree(remora.runroot)
    os.mkdir(remora.runroot, 0o700)
    host.sh(
        "for t in nat filter; do iptables -t $t -F; iptables -t $t -X; ip6tables -t $t -F; ip6tables -t $t -X; done"
    )
    host.sh("ip -o link show type bridge | cut -d: -f2 | xargs -rn1 ip link del")
    host.sh("pkill -x -F /run/containers/networks/aardvark-dns/aardvark.pid || true; rm -rf /run/containers/networks")
    remora("start", "c")
    assert remora("inspect", "-f", "{{.Id}} {{.State.Running}}", "c") == f"{identity} true"


def test_without_netavark_the_start_says_so_and_leaves_nothing(
    host: BridgeHost, remora: Remora, tmp_path: Path
) -> None:
    conf = tmp_path / "containers.conf"
    conf.write_text(f'[engine]\nhelper_binaries_dir = ["{tmp_path}"]\n')
    path = f"{tmp_path}:/bin"
    words = ["run", "--name", "c", "--network", "bridge", "-p", "18080:80", "busybox", "true"]
    result = remora.run(*words, status=125, env={"CONTAINERS_CONF": str(conf), "PATH": path})
    assert "netavark, which makes bridge networks, is not installed" in result.stderr and result.stderr.count("\n") == 1
    host.assert_nothing_left(remora)
    fake = tmp_path / "netavark"
    fake.write_text('#!/bin/sh\necho \'{"error":"no luck today"}\'; exit 1\n')
    fake.chmod(0o755)
    result = remora.run("start", "c", status=125, env={"CONTAINERS_CONF": str(conf)})
    assert "setting up network podman of container c: netavark: no luck today" in result.stderr
    assert result.stderr.count("\n") == 1
    host.assert_nothing_left(remora)


def test_prune_undoes_what_a_killed_container_left(host: BridgeHost, remora: Remora) -> None:
    remora("run", "-d", "--name", "c", *WORDS)
    init = int(remora("inspect", "-f", "{{.State.Pid}}", "c"))
    hosts.kill_monitor(keeper_of(remora, "c"))
    hosts.send(init, signal.SIGKILL)
    eventually(lambda: remora("ps", "-q") == "", "it has ended")
    assert host.rules() and leases(remora)
    assert remora("network", "prune", "--force") == ""
    assert not host.rules() and not leases(remora)
