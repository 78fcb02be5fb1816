"""Leases and rules of containers that ended without anybody undoing them: their monitor, or their start, was killed.

Whoever meets such a container does it: `start`, `rm`, commands about networks, and a container that needs its address.
The namespace is gone by then, and its interfaces with it; the rules are not. netavark insists on interfaces to remove,
so it gets an empty namespace with stand-ins.
"""

from __future__ import annotations

import os
import time

from remora import monitor
from remora.frontend import jsontext, process
from remora.frontend.errors import RemoraError
from remora.frontend.networks import leases, netavark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.networks.leases import Reclaim
    from remora.frontend.settings import Settings

REQUEST, SCRIPT = "netavark.json", "network-down"
TRIES = 20
PAUSE = 0.1  # seconds; the kernel takes interfaces of a namespace away some time after its last process


def reclaimer(settings: Settings) -> Reclaim:
    """For `leases.take`: give back what a container has that has ended; False when it lives, or is being started."""

    def reclaim(container_id: str) -> bool:
        from remora.frontend.container.record import is_id

        return not container_id or (is_id(container_id) and settle(settings, container_id))

    return reclaim


def settle(settings: Settings, container_id: str) -> bool:
    """Undo what a container has left, if it has ended. False: it lives, or somebody is at work on it."""
    run_dir = settings.run_dir(container_id)
    if not os.path.isdir(run_dir):
        release_all(settings, container_id)
        return True
    try:
        lock = monitor.lock(run_dir)
    except OSError:
        return False
    try:
        from remora.frontend.container import cleanup, sweep

        if cleanup.runs_on(run_dir):
            return False
        sweep.finish_cleanup(run_dir)
        release_all(settings, container_id)
    finally:
        os.close(lock)
    return True


def release_all(settings: Settings, container_id: str) -> None:
    """Give back every lease of a container."""
    for path in list(leases.held_by(settings, container_id)):
        _unlink(path)


def finish(settings: Settings, container_id: str) -> None:
    """Have netavark take back the rules of a container whose namespace is gone, then give its leases back.

    The container's lock must be held, and none of its processes be left. Nothing is raised: what can't be undone now
    does not keep the container from being removed. The script that would have done it goes: leases that it names may
    be others' from now on.
    """
    _unlink(f"{settings.run_dir(container_id)}/{SCRIPT}")
    path = f"{settings.run_dir(container_id)}/{REQUEST}"
    try:
        with open(path, "rb", buffering=0) as file:
            request = jsontext.loads(file.read(1 << 20))
    except (OSError, ValueError):
        request = None
    release_all(settings, container_id)
    if not isinstance(request, dict):
        return
    options, infos = request.get("networks"), request.get("network_info")
    if not isinstance(options, dict) or not isinstance(infos, dict):
        return
    names = [str(entry.get("interface_name", "")) for entry in options.values() if isinstance(entry, dict)]
    bridges = {name: str(info.get("network_interface", "")) for name, info in infos.items() if isinstance(info, dict)}
    try:
        for _ in range(TRIES):
            _take_back(settings, path, names)
            # The last one takes the bridge with it, once the kernel has taken our own interface from it.
            if all(_in_use(settings, name) or not _is_there(bridge) for name, bridge in bridges.items()):
                break
            time.sleep(PAUSE)
    except (RemoraError, OSError):
        pass
    _unlink(path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _in_use(settings: Settings, network: str) -> bool:
    return bool(leases.holders(settings, network))


def _is_there(interface: str) -> bool:
    from _socket import if_nametoindex

    try:
        return bool(interface) and if_nametoindex(interface) > 0
    except OSError:
        return False


def _take_back(settings: Settings, request: str, names: list[str]) -> None:
    """One teardown, with interfaces of these names for netavark to remove."""
    uplink = ""
    if settings.rootless:
        from remora.frontend.networks import rootless_bridge

        uplink = rootless_bridge.living(settings)
        if not uplink:
            return  # the bridges are gone, too
    netns = monitor.make_namespaces(["network"])[0]
    try:
        path = f"/proc/{os.getpid()}/fd/{netns}"
        for at, name in enumerate(names):
            words = ["ip", "link", "add", name, "type", "veth", "peer", "name", f"stand-in{at}"]
            process.capture(["nsenter", f"--net={path}", *words])
        run = netavark.Run(settings, netavark.command(settings, "teardown", path, request, uplink))
        try:
            run.finish("")
        except RemoraError:
            pass
    finally:
        os.close(netns)
