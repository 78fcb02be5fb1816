"""The definitions of networks: one JSON file each, shared with Podman (containers-common, libnetwork).

Root's lie in /etc/containers/networks, a user's beside the image store; containers.conf may name another folder. A file
is called as its network. The default network need not have a file: until there is one, it is what `_default` says,
which is what Podman takes it for, too. Who changes the folder holds `netavark.lock` in it, a POSIX record lock, and so
does Podman; a reader needs no lock, for files are put in place whole.
"""

from __future__ import annotations

import os

from remora.frontend import jsontext
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.networks import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NotRequired, TypedDict

    from remora.frontend.settings import Settings

    class LeaseRange(TypedDict):
        start_ip: NotRequired[str]
        end_ip: NotRequired[str]

    class NetworkSubnet(TypedDict):
        subnet: str
        gateway: NotRequired[str]
        lease_range: NotRequired[LeaseRange]

    class Route(TypedDict):
        destination: str
        gateway: str
        metric: NotRequired[int]

    class Network(TypedDict):
        """The keys and their order are those of Podman's files."""

        name: str
        id: str
        driver: str
        network_interface: NotRequired[str]
        created: str
        subnets: NotRequired[list[NetworkSubnet]]
        routes: NotRequired[list[Route]]
        ipv6_enabled: bool
        internal: bool
        dns_enabled: bool
        network_dns_servers: NotRequired[list[str]]
        labels: NotRequired[dict[str, str]]
        options: NotRequired[dict[str, str]]
        ipam_options: NotRequired[dict[str, str]]


SYSTEM_FOLDER = "/etc/containers/networks"
DEFAULT_NAME = "podman"
DEFAULT_SUBNET = "10.88.0.0/16"
DEFAULT_BRIDGE = "podman0"
LOCK = "netavark.lock"
SUFFIX = ".json"
LARGEST = 1 << 20
LONGEST = 200  # a file name may have 255 bytes
HEX = frozenset("0123456789abcdef")
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")


class NoSuchNetwork(RemoraError):
    """No network has this name or id."""

    __slots__ = ()

    def __init__(self, given: str, status: int = 125) -> None:
        super().__init__(
            f"unable to find network with name or ID {given}: network not found",
            "`remora network ls` lists the networks, `remora network create` makes one",
            status,
        )


def is_name(text: str) -> bool:
    """Whether a network may be called so."""
    return 0 < len(text) <= LONGEST and text[0] in _FIRST and _REST.issuperset(text)


def folder(settings: Settings) -> str:
    """Where the definitions lie."""
    given = settings.conf.text("network", "network_config_dir")
    if given or not settings.rootless:
        return given or SYSTEM_FOLDER
    from remora.frontend.rootless import folders

    return f"{folders.shared_data(settings.environ, settings.uid)}/containers/storage/networks"


def default_name(settings: Settings) -> str:
    """The network that `bridge` stands for."""
    return settings.conf.text("network", "default_network") or DEFAULT_NAME


def _default(settings: Settings) -> Network:
    name = default_name(settings)
    text = settings.conf.text("network", "default_subnet") or DEFAULT_SUBNET
    try:
        subnet = addresses.parse_subnet(text)
    except ValueError as error:
        raise RemoraError(f"{settings.conf.where('network', 'default_subnet')}: {error}") from None
    return {
        "name": name,
        "id": _name_digest(name),
        "driver": "bridge",
        "network_interface": DEFAULT_BRIDGE,
        "created": "0001-01-01T00:00:00Z",
        "subnets": [{"subnet": str(subnet), "gateway": addresses.text(subnet.family, subnet.lowest_host)}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
    }


def _name_digest(name: str) -> str:
    """The id of a network that has no file: the same in each program."""
    if name == DEFAULT_NAME:  # hashlib takes 2 ms to import
        return "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9"
    from hashlib import sha256

    return sha256(name.encode()).hexdigest()


def load(settings: Settings, name: str) -> Network:
    """The network of this name. Raises NoSuchNetwork, and RemoraError when its file makes no sense."""
    if not is_name(name):
        raise NoSuchNetwork(name)
    path = f"{folder(settings)}/{name}{SUFFIX}"
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read(LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        if name == default_name(settings):
            return _default(settings)
        raise NoSuchNetwork(name) from None
    except OSError as error:
        raise RemoraError(f"reading network {name}: {os_error_text(error)}") from None
    try:
        return check(jsontext.loads(text), name)
    except (ValueError, RecursionError) as error:
        raise RemoraError(f"reading network {name}: {path}: {error}", "mend the file, or remove it") from None


def find(settings: Settings, given: str) -> Network:
    """The network called `given`: its name, its id, or the beginning of its id.

    Raises NoSuchNetwork, and RemoraError when several ids begin so or its file makes no sense.
    """
    try:
        return load(settings, given)
    except NoSuchNetwork:
        if not given or not HEX.issuperset(given):
            raise
    matches = [network for network in everything(settings) if network["id"].startswith(given)]
    if not matches:
        raise NoSuchNetwork(given)
    if len(matches) > 1:
        names = ", ".join(network["name"] for network in matches)
        raise RemoraError(f'more than one network has an ID beginning with "{given}": {names}', "give more digits")
    return matches[0]


def everything(settings: Settings, broken: list[RemoraError] | None = None) -> list[Network]:
    """All networks by name, the default one among them; files that make no sense are appended to `broken`."""
    names = {default_name(settings)}
    try:
        names.update(entry.removesuffix(SUFFIX) for entry in os.listdir(folder(settings)) if entry.endswith(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        pass
    found = []
    for name in sorted(names):
        try:
            found.append(load(settings, name))
        except NoSuchNetwork:
            continue  # removed meanwhile, or not a name of a network
        except RemoraError as error:
            if broken is not None:
                broken.append(error)
    return found


def check(value: object, name: str) -> Network:
    """The value as a network, if it has what is relied on. Raises ValueError with what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    if value.get("name") != name:
        raise ValueError(f"the name in it is {value.get('name')!r}")
    identity = value.get("id")
    if not isinstance(identity, str) or len(identity) != 64 or not HEX.issuperset(identity):
        raise ValueError("no usable id")
    for key in ("ipv6_enabled", "internal", "dns_enabled"):
        if not isinstance(value.setdefault(key, False), bool):
            raise ValueError(f"{key} is neither true nor false")
    for key in ("driver", "network_interface", "created"):
        if not isinstance(value.setdefault(key, ""), str):
            raise ValueError(f"{key} is no text")
    value["driver"] = value["driver"] or "bridge"
    for key in ("labels", "options", "ipam_options"):
        if not isinstance(value.get(key) or {}, dict):
            raise ValueError(f"{key} is no object")
    subnets = value.get("subnets") or []
    if not isinstance(subnets, list):
        raise ValueError("subnets is no list")
    for subnet in subnets:
        _check_subnet(subnet)
    return value  # type: ignore[return-value]


def _check_subnet(value: object) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("subnet"), str):
        raise ValueError("a subnet is no object with a subnet in it")
    subnet = addresses.parse_subnet(value["subnet"])
    lease_range = value.get("lease_range") or {}
    if not isinstance(lease_range, dict):
        raise ValueError("lease_range is no object")
    for text in (value.get("gateway"), lease_range.get("start_ip"), lease_range.get("end_ip")):
        if not text:
            continue
        family, number = addresses.parse(str(text))
        if family != subnet.family or not subnet.holds(number):
            raise ValueError(f"{text} does not lie in {subnet}")


class Lock:
    """The lock of the folder, held while the `with` block runs; the folder is made where needed (make=True), and
    without a folder there is nothing to lock (make=False)."""

    __slots__ = ("_fd", "_make", "_path")

    def __init__(self, settings: Settings, *, make: bool = True) -> None:
        self._path = folder(settings)
        self._make = make
        self._fd = -1

    def __enter__(self) -> Lock:
        import fcntl

        try:
            if self._make:
                os.makedirs(self._path, 0o755, exist_ok=True)
            self._fd = os.open(f"{self._path}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            self.__exit__()
            if self._make:
                raise RemoraError(f"locking the networks: {os_error_text(error)}") from None
        return self

    def __exit__(self, *_: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def save(settings: Settings, network: Network) -> None:
    """Write a network's file, durably. The caller holds the lock."""
    import json

    place = folder(settings)
    temporary = f"{place}/.{network['name']}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview((json.dumps(network, indent=5, ensure_ascii=False) + "\n").encode())
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, f"{place}/{network['name']}{SUFFIX}")
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise RemoraError(f"writing network {network['name']}: {os_error_text(error)}") from None


def delete(settings: Settings, network: Network) -> None:
    """Remove a network's file. The caller holds the lock."""
    try:
        os.unlink(f"{folder(settings)}/{network['name']}{SUFFIX}")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RemoraError(f"removing network {network['name']}: {os_error_text(error)}") from None
