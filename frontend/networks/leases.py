"""Which container has which address: one file for each lease, `<run>/networks/<network>/<address>`, with its id in it.

A lease is made exclusively under the lock of its network and given back by unlinking it, which needs no lock: the
monitor does that when its container has ended. `<run>` is empty after a boot, and so no lease outlives what it stands
for. Addresses are given from the end of the range downwards, each time after the one given last: Podman gives them from
the beginning upwards, so that the two don't meet on a network that both use, and one just given back rests for a while.
What Podman has given is not given again (podman.py).
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.networks import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from remora.frontend.networks.addresses import Subnet
    from remora.frontend.networks.definitions import Network, NetworkSubnet
    from remora.frontend.settings import Settings

    # What to do about the leases of a container that may have ended without giving them back; True: try again.
    Reclaim = Callable[[str], bool]

PODMANS = "ipam.db"
TAKEN = 126  # exit status when an address asked for can't be had, as Podman's


def folder(settings: Settings, network: str) -> str:
    """The leases of a network."""
    return f"{settings.run}/networks/{network}"


def take(settings: Settings, network: Network, container_id: str, wanted: Sequence[str], reclaim: Reclaim) -> list[str]:
    """Lease one address in each subnet of a network, all or none; `wanted` addresses where they are given.

    reclaim: called with the id of a container whose leases are in the way; says whether they may be gone now.
    Raises RemoraError when an address is taken, lies in no subnet, or none is left.
    """
    name = network["name"]
    subnets = network.get("subnets") or []
    chosen = _assign(name, subnets, [address for address in wanted if address])
    place = folder(settings, name)
    made: list[str] = []
    foreign = _foreign(settings, name)
    try:
        lock = monitor.lock(place, wait=True)
        try:
            for subnet, address in zip(subnets, chosen, strict=True):
                made.append(
                    _exactly(place, name, address, container_id, reclaim, foreign)
                    if address
                    else _next(place, name, subnet, container_id, reclaim, foreign)
                )
        finally:
            os.close(lock)
    except BaseException as error:
        for address in made:
            release(settings, name, address)
        if isinstance(error, OSError):
            raise RemoraError(f"leasing an address of network {name}: {os_error_text(error)}") from None
        raise
    return made


def check(network: Network, wanted: Sequence[str]) -> None:
    """Raise RemoraError when an address wanted ("" = none) can't be had on a network, whoever else is there."""
    _assign(network["name"], network.get("subnets") or [], [address for address in wanted if address])


def release(settings: Settings, network: str, address: str) -> None:
    """Give an address back, if it is still leased."""
    try:
        os.unlink(path(settings, network, address))
    except FileNotFoundError:
        pass


def path(settings: Settings, network: str, address: str) -> str:
    """The file that stands for the lease; an IPv6 address is written as it is."""
    return f"{folder(settings, network)}/{address}"


def holders(settings: Settings, network: str) -> dict[str, str]:
    """The addresses of a network that are leased, each with its container's id."""
    place = folder(settings, network)
    try:
        entries = os.listdir(place)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {entry: _holder(f"{place}/{entry}") for entry in entries if addresses.is_address(entry)}


def held_by(settings: Settings, container_id: str) -> Iterator[str]:
    """The files of all leases that a container has."""
    try:
        networks = os.listdir(f"{settings.run}/networks")
    except FileNotFoundError:
        return
    for network in networks:
        for address, holder in holders(settings, network).items():
            if holder == container_id:
                yield path(settings, network, address)


def forget(settings: Settings, network: str) -> None:
    """Remove what is kept of a network that is no more."""
    monitor.remove_tree(folder(settings, network))


def _holder(file: str) -> str:
    """The id in a lease; "" when it went away."""
    try:
        with open(file, "rb", buffering=0) as opened:
            return opened.read(64).decode("ascii", "replace")
    except OSError:
        return ""


def _assign(name: str, subnets: Sequence[NetworkSubnet], wanted: Sequence[str]) -> list[str]:
    """The address wanted in each subnet, "" where none is. Raises RemoraError for one that can't be had there."""
    chosen = [""] * len(subnets)
    for text in wanted:
        family, number = addresses.parse(text)
        for at, entry in enumerate(subnets):
            subnet = addresses.parse_subnet(entry["subnet"])
            if subnet.family != family or not subnet.holds(number):
                continue
            if entry.get("gateway") == addresses.text(family, number):
                raise RemoraError(f"address {text} is the gateway of network {name}", "choose another one", TAKEN)
            if not subnet.lowest_host <= number <= subnet.highest_host:
                raise RemoraError(f"address {text} is no host's in subnet {subnet} of network {name}", status=TAKEN)
            if chosen[at]:
                raise RemoraError(f"two addresses are asked for in subnet {subnet} of network {name}", status=TAKEN)
            chosen[at] = addresses.text(family, number)
            break
        else:
            have = ", ".join(entry["subnet"] for entry in subnets) or "none"
            raise RemoraError(
                f"requested address {text} is in no subnet of network {name}", f"its subnets: {have}", TAKEN
            )
    return chosen


def _claim(place: str, address: str, container_id: str) -> bool:
    try:
        fd = os.open(f"{place}/{address}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(fd, container_id.encode())
    except OSError:
        os.unlink(f"{place}/{address}")
        raise
    finally:
        os.close(fd)
    return True


def _foreign(settings: Settings, network: str) -> set[str]:
    """The addresses that Podman's containers have."""
    from remora.frontend.networks import netavark

    if not os.path.exists(f"{netavark.run_folder(settings)}/{PODMANS}"):
        return set()
    from remora.frontend.networks import podman

    return podman.taken(f"{netavark.run_folder(settings)}/{PODMANS}", network)


def _exactly(place: str, name: str, address: str, container_id: str, reclaim: Reclaim, foreign: Collection[str]) -> str:
    if address in foreign:
        raise RemoraError(
            f"requested address {address} of network {name} is already allocated to a container of Podman",
            "leave the address out, or choose another one",
            TAKEN,
        )
    if _claim(place, address, container_id):
        return address
    holder = _holder(f"{place}/{address}")
    if reclaim(holder) and _claim(place, address, container_id):
        return address
    raise RemoraError(
        f"requested address {address} of network {name} is already allocated to container {holder[:12]}",
        f"`remora rm {holder[:12]}`, or leave the address out",
        TAKEN,
    )


def _next(
    place: str, name: str, entry: NetworkSubnet, container_id: str, reclaim: Reclaim, foreign: Collection[str]
) -> str:
    """The next free address below the one given last, round and round."""
    subnet = addresses.parse_subnet(entry["subnet"])
    low, high = _bounds(subnet, entry)
    gateway = addresses.parse(entry["gateway"])[1] if entry.get("gateway") else -1
    last_file = f"{place}/last-{addresses.text(subnet.family, subnet.base)}"
    last = _last(last_file)
    if not low <= last <= high:
        last = high + 1
    met = set()
    for again in (True, False):
        number = last
        for _ in range(min(high - low + 1, len(os.listdir(place)) + len(foreign) + 2)):
            number = number - 1 if number > low else high
            text = addresses.text(subnet.family, number)
            if number == gateway or text in foreign:
                continue
            if _claim(place, text, container_id):
                _remember(last_file, number)
                return text
            met.add(_holder(f"{place}/{text}"))
        freed = [holder for holder in met if again and reclaim(holder)]
        if not freed:
            break
    raise RemoraError(
        f"network {name}: no address is left in {addresses.text(subnet.family, low)} to "
        f"{addresses.text(subnet.family, high)}",
        "remove containers, or use another network",
        TAKEN,
    )


def _bounds(subnet: Subnet, entry: NetworkSubnet) -> tuple[int, int]:
    """The lowest and the highest address to be given; the range of a file may reach beyond the hosts'."""
    lease_range = entry.get("lease_range") or {}
    start, end = lease_range.get("start_ip"), lease_range.get("end_ip")
    low = addresses.parse(start)[1] if start else subnet.lowest_host
    high = addresses.parse(end)[1] if end else subnet.highest_host
    return max(low, subnet.lowest_host), min(high, subnet.highest_host)


def _last(file: str) -> int:
    try:
        with open(file, "rb", buffering=0) as opened:
            return int(opened.read(64))
    except (OSError, ValueError):
        return -1


def _remember(file: str, number: int) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"%d" % number)
    finally:
        os.close(fd)
