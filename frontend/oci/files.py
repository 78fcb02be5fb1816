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


def write(folder: str, spec: Spec, hostname: str) -> list[tuple[str, str]]:
    """Write the files into `folder` (made where needed); returns (target in the container, path here)."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    files = [("/etc/hosts", "hosts", _hosts(spec, hostname))]
    if spec["network"] != "none":
        files.append(("/etc/resolv.conf", "resolv.conf", _host_file("/etc/resolv.conf")))
    files.append(("/run/.containerenv", "containerenv", _containerenv(spec)))
    files.append(("/etc/hostname", "hostname", hostname + "\n"))
    result = []
    for target, name, text in files:
        path = f"{folder}/{name}"
        _write(path, text)
        result.append((target, path))
    return result


def _write(path: str, text: str) -> None:
    """In place: a running container of before is gone, and the file's identity does not matter."""
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
    if spec["network"] == "host":
        text = _host_file("/etc/hosts") or LOCAL_HOSTS
        return text if text.endswith("\n") else text + "\n"
    names = hostname if spec["name"] == hostname else f"{hostname} {spec['name']}"
    return f"{LOCAL_HOSTS}127.0.0.1\t{names}\n"


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
