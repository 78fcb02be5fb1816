"""The files that are made for each container at each start and bound into it.

/etc/hosts, /etc/hostname, /etc/resolv.conf (only with a network), /run/.containerenv, and /etc/localtime where a time
zone was asked for; here they are in `<data>/containers/<id>/etc`. A container that has another one's network has that
one's hosts and resolv.conf.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.oci import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Spec

ZONES = "/usr/share/zoneinfo"
ZONE_MAX = 1 << 20  # bytes; the files have one to four thousand
LOCAL_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def write(folder: str, spec: Spec, hostname: str, texts: tuple[str, str | None] | None = None) -> list[tuple[str, str]]:
    """Write the files into `folder` (made where needed); returns (target in the container, path here).

    texts: of /etc/hosts and /etc/resolv.conf (None = the image's) where a network decides.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    result = _shared(folder, spec)
    files: list[tuple[str, str, str]] = []
    if not result:
        hosts, resolv = (_hosts(spec, hostname), _resolv(spec)) if texts is None else texts
        if not spec["no_hosts"]:
            files.append(("/etc/hosts", "hosts", hosts))
        if resolv is not None and spec["dns"] != ["none"]:
            files.append(("/etc/resolv.conf", "resolv.conf", resolv))
    files.append(("/run/.containerenv", "containerenv", _containerenv(spec)))
    if hostname:
        files.append(("/etc/hostname", "hostname", hostname + "\n"))
    if spec["timezone"]:
        result.append(("/etc/localtime", _localtime(folder, spec["timezone"])))
    for target, name, text in files:
        path = f"{folder}/{name}"
        replace_text(path, text)
        result.append((target, path))
    return result


def _shared(folder: str, spec: Spec) -> list[tuple[str, str]]:
    """The files that come with another container's network; none when it has none.

    They are links to that one's files, so that what is written to them is seen by both, and that they are there for a
    restart by the monitor when the other container has been removed.
    """
    other = namespaces.other(spec, "network")
    if not other:
        return []
    theirs = f"{os.path.dirname(os.path.dirname(folder))}/{other}/etc"
    result = []
    for name in ("hosts", "resolv.conf"):
        path = f"{folder}/{name}"
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        try:
            os.link(f"{theirs}/{name}", path)
        except FileNotFoundError:
            continue
        result.append((f"/etc/{name}", path))
    return result


def _resolv_conf(spec: Spec) -> str:
    """The host's, or that which ip-netns(8) has for a network namespace by name."""
    path = spec["network"].removeprefix("ns:")
    if os.path.dirname(path) in ("/run/netns", "/var/run/netns"):
        own = _host_file(f"/etc/netns/{os.path.basename(path)}/resolv.conf")
        if own:
            return own
    return _host_file("/etc/resolv.conf")


def _localtime(folder: str, zone: str) -> str:
    """A copy of the zone's file: a link would lead into the image. Raises RemoraError when it is gone."""
    source = "/etc/localtime" if zone == "local" else f"{ZONES}/{zone}"
    try:
        with open(source, "rb", buffering=0) as file:
            data = file.read(ZONE_MAX)
    except OSError as error:
        raise RemoraError(f"time zone {zone}: {os_error_text(error)}", "install the package tzdata") from None
    path = folder + "/localtime"
    _write(path, data)
    return path


def replace_text(path: str, text: str) -> None:
    """Write a file in place: it is, or will be, bound into the container."""
    _write(path, text.encode("utf-8", "surrogateescape"))


def _write(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o644)
    try:
        os.fchmod(fd, 0o644)  # whatever the umask is: the container's users read it
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _hosts(spec: Spec, hostname: str) -> str:
    """With the host's network the host's file, else the container alone; after what was asked for."""
    text = _host_file("/etc/hosts") or LOCAL_HOSTS
    if spec["network"] != "host":
        names = " ".join(name for name in dict.fromkeys((hostname, spec["name"])) if name)
        text = f"{LOCAL_HOSTS}127.0.0.1\t{names}\n"
    if spec["add_hosts"]:
        from remora.frontend.networks import hosts

        return hosts.hosts(spec["add_hosts"], text, "127.0.0.1" if spec["network"] == "host" else "", [], "")
    return text if text.endswith("\n") else text + "\n"


def _resolv(spec: Spec) -> str | None:
    """The host's file with what was asked for in it; None without a network."""
    if spec["network"] == "none":
        return None
    text = _resolv_conf(spec)
    if spec["dns"] or spec["dns_search"] or spec["dns_options"]:
        from remora.frontend.networks import hosts

        return hosts.resolv(spec, [], [], text, loopback=True)
    return text


def _containerenv(spec: Spec) -> str:
    """Empty as in Podman, but for a privileged container, which may know what it is."""
    if not spec["privileged"]:
        return ""
    image = spec["image"]
    lines = [
        ("engine", "remora"),
        ("name", spec["name"]),
        ("id", spec["id"]),
        ("image", image["name"] if image else spec["rootfs"] or ""),
        ("imageid", image["id"] if image else ""),
    ]
    return "".join(f'{key}="{value}"\n' for key, value in lines) + "rootless=0\n"


def _host_file(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return ""
