"""Changing the networks of a container that is there already: `network connect`, `disconnect` and `reload`.

The request (spec.json) is changed in any case, and of a container that runs its namespace, too. Two such commands on
one container wait for each other at its data folder, as renames do. The files in the run folder that undo the networks
are replaced before anything is made and after something was removed.
"""

from __future__ import annotations

import os

from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError
from remora.frontend.networks import attach, definitions, leases, netavark, stale, status
from remora.frontend.networks.netavark import Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import NetworkUse
    from remora.frontend.settings import Settings


class Locked:
    """A container whose networks are being changed, for the time of the `with` block: its record as it is then."""

    __slots__ = ("_settings", "_id", "_fd")

    def __init__(self, settings: Settings, container_id: str) -> None:
        self._settings = settings
        self._id = container_id
        self._fd = -1

    def __enter__(self) -> ContainerRecord:
        import fcntl

        self._fd = os.open(self._settings.data_dir(self._id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            return records.load(self._settings, self._id)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def connect(settings: Settings, container_id: str, use: NetworkUse) -> None:
    """Connect a container to a network. Raises RemoraError when it is connected, or can't be."""
    network = definitions.load(settings, use["name"])
    with Locked(settings, container_id) as record:
        spec = record.spec
        _check_mode(record)
        if any(other["name"] == use["name"] for other in spec["networks"]):
            raise RemoraError(f'container {record.name} is already connected to network "{use["name"]}"')
        if use["aliases"] and not network["dns_enabled"]:
            raise RemoraError(f"network {use['name']} has no name resolution: aliases need it", "leave out --alias")
        leases.check(network, [use["ip"], use["ip6"]])
        state = states.derive(settings, record)
        if state.live:
            _connect_live(settings, record, state.pid, use)
        spec["networks"].append(use)
        record.save()


def _check_mode(record: ContainerRecord) -> None:
    mode = record.spec["network"]
    if mode != "bridge":
        raise RemoraError(
            f"container {record.name} has --network {mode.partition(':')[0]}: only containers on bridge networks can "
            "be connected and disconnected",
            "make it anew with --network NAME",
        )


def _connect_live(settings: Settings, record: ContainerRecord, pid: int, use: NetworkUse) -> None:
    network = definitions.load(settings, use["name"])
    now = status.read(settings, record.id)
    before = present(settings, now)
    interface = use["interface"] or attach.free_interface({one.interface for one in before})
    if any(one.interface == interface for one in before):
        raise RemoraError(f"container {record.name} has an interface {interface} already", "choose another name")
    taken = leases.take(settings, network, record.id, [use["ip"], use["ip6"]], stale.reclaimer(settings))
    new = Wanted(network, taken, attach.aliases(record, use["aliases"]), interface, use["mac"])
    netns = f"/proc/{pid}/ns/net"
    try:
        _write_down(settings, record, [*before, new], now)
        made = _run(settings, record, "setup", netns, [new], now, f"connecting container {record.name}")
    except RemoraError:
        _forget(settings, record, netns, new, before, now)
        raise
    now["networks"][network["name"]] = attach.attachment(new, made)
    status.write(settings, record.id, now)
    rewrite_files(settings, record, [*before, new])
    if not states.derive(settings, record).live:  # its end did not know of this
        _forget(settings, record, netns, new, before, now)


def _forget(
    settings: Settings,
    record: ContainerRecord,
    netns: str,
    one: Wanted,
    others: list[Wanted],
    now: status.Status,
) -> None:
    """Take one network back from a namespace, and forget it."""
    try:
        _run(settings, record, "teardown", netns, [one], now, "")
    except RemoraError:
        pass
    if os.path.isdir(record.run_dir):
        _write_down(settings, record, others, now)
    for address in one.addresses:
        leases.release(settings, one.network["name"], address)


def disconnect(settings: Settings, container_id: str, name: str) -> None:
    """Disconnect a container from a network. Raises RemoraError when it is not connected."""
    with Locked(settings, container_id) as record:
        _check_mode(record)
        spec = record.spec
        if all(use["name"] != name for use in spec["networks"]):
            raise RemoraError(f'container {record.name} is not connected to network "{name}"')
        state = states.derive(settings, record)
        if state.live:
            now = status.read(settings, record.id)
            before = present(settings, now)
            gone = next((one for one in before if one.network["name"] == name), None)
            if gone is not None:
                left = [one for one in before if one is not gone]
                now["networks"].pop(name)
                _forget(settings, record, f"/proc/{state.pid}/ns/net", gone, left, now)
                status.write(settings, record.id, now)
                rewrite_files(settings, record, left)
        spec["networks"] = [use for use in spec["networks"] if use["name"] != name]
        record.save()


def reload(settings: Settings, container_id: str) -> None:
    """Make the interfaces and rules of a container anew, with the same addresses. Nothing happens when it does not run
    or has no bridge network."""
    with Locked(settings, container_id) as record:
        state = states.derive(settings, record)
        now = status.read(settings, record.id)
        if not state.live or record.spec["network"] != "bridge" or not now["networks"]:
            return
        wanted = present(settings, now)
        netns = f"/proc/{state.pid}/ns/net"
        try:
            _run(settings, record, "teardown", netns, wanted, now, "")
        except RemoraError:
            pass  # the rules may be gone: that is what this is for
        _run(settings, record, "setup", netns, wanted, now, f"reloading the networks of container {record.name}")


def present(settings: Settings, now: status.Status) -> list[Wanted]:
    """The networks in effect, as netavark was told of them, with the hardware addresses that it chose."""
    return [
        Wanted(
            definitions.load(settings, name),
            [address.partition("/")[0] for address in entry["addresses"]],
            entry["aliases"],
            entry["interface"],
            entry["mac"],
        )
        for name, entry in now["networks"].items()
    ]


def _write_down(settings: Settings, record: ContainerRecord, wanted: list[Wanted], now: status.Status) -> None:
    attach.write_request(settings, record, netavark.request(record.id, record.name, wanted, now["ports"]))
    attach.write_script(settings, record, attach.lease_paths(settings, wanted))


def _run(
    settings: Settings,
    record: ContainerRecord,
    action: str,
    netns: str,
    wanted: list[Wanted],
    now: status.Status,
    doing: str,
) -> dict[str, object]:
    text = netavark.request(record.id, record.name, wanted, now["ports"])
    with definitions.Lock(settings, make=False):
        uplink = ""
        if settings.rootless:
            from remora.frontend.networks import rootless_bridge

            uplink = rootless_bridge.living(settings)
        argv = netavark.command(settings, action, netns, uplink=uplink)
        return netavark.Run(settings, argv, text).finish(doing)


def rewrite_files(settings: Settings, record: ContainerRecord, wanted: list[Wanted]) -> None:
    """/etc/hosts and /etc/resolv.conf of a running container, in place: they are bound into it."""
    from remora.frontend.oci import files, namespaces

    hosts, resolv = attach.file_texts(settings, record, namespaces.hostname(settings, record.spec), wanted)
    for name, text in (("hosts", hosts), ("resolv.conf", resolv)):
        path = f"{record.data_dir}/etc/{name}"
        if os.path.exists(path):
            files.replace_text(path, text)
