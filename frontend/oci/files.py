"""The files that are made for each container at each start and bound into it.

/etc/hosts, /etc/hostname, /etc/resolv.conf (only with a network) and /run/.containerenv; here they are in
`<data>/containers/<id>/etc`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Spec

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
    hosts, resolv = (_hosts(spec, hostname), _resolv(spec)) if texts is None else texts
    files = [] if spec["no_hosts"] else [("/etc/hosts", "hosts", hosts)]
    if resolv is not None and spec["dns"] != ["none"]:
        files.append(("/etc/resolv.conf", "resolv.conf", resolv))
    files.append(("/run/.containerenv", "containerenv", _containerenv(spec)))
    files.append(("/etc/hostname", "hostname", hostname + "\n"))
    result = []
    for target, name, text in files:
        path = f"{folder}/{name}"
        replace_text(path, text)
        result.append((target, path))
    return result


def replace_text(path: str, text: str) -> None:
    """Write a file in place: it is, or will be, bound into the container."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o644)
    try:
        os.fchmod(fd, 0o644)  # whatever the umask is: the container's users read it
        view = memoryview(text.encode("utf-8", "surrogateescape"))
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _hosts(spec: Spec, hostname: str) -> str:
    """With the host's network the host's file, else the container alone; after what was asked for."""
    text = _host_file("/etc/hosts") or LOCAL_HOSTS
    if spec["network"] != "host":
        names = hostname if spec["name"] == hostname else f"{hostname} {spec['name']}"
        text = f"{LOCAL_HOSTS}127.0.0.1\t{names}\n"
    if spec["add_hosts"]:
        from remora.frontend.networks import hosts

        return hosts.hosts(spec["add_hosts"], text, "127.0.0.1" if spec["network"] == "host" else "", [], "")
    return text if text.endswith("\n") else text + "\n"


def _resolv(spec: Spec) -> str | None:
    """The host's file with what was asked for in it; None without a network."""
    if spec["network"] == "none":
        return None
    text = _host_file("/etc/resolv.conf")
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
