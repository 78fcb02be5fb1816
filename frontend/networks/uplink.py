"""slirp4netns of the user's network namespace: one for all containers on it (see rootless_bridge.py).

`start` is a helper of every monitor there, and finds one that runs or starts it; `end` is the last step of every
container. Both leave its ports as the living containers want them.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.builtin import SIGKILL
from remora.frontend.networks import rootless_bridge, slirp, slirp_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings

STATE = "slirp4netns"
Forward = tuple[str, str, int]  # protocol, address, port of the host


class Lock:
    """Changes of slirp4netns exclude each other while the `with` block runs; its folder is the working one."""

    __slots__ = ("_fd", "_folder")

    def __init__(self, settings: Settings) -> None:
        self._folder = rootless_bridge.folder(settings)
        self._fd = -1

    def __enter__(self) -> Lock:
        import fcntl

        os.chdir(self._folder)
        self._fd = os.open("uplink.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def start(settings: Settings, container_id: str, netns: str, pidfile: str, program: str) -> None:
    """See to it that slirp4netns runs for the namespace and has the container's ports; its pid goes into `pidfile`.

    Raises RemoraError; for ports of other containers nothing is raised.
    """
    options = slirp.Options()
    inode = os.stat(netns).st_ino
    with Lock(settings):
        pid = _running(inode)
        if not pid:
            pid = slirp_process.start(program, options, (), netns=netns, pidfile=os.getcwd() + "/pid", more_ports=True)
            _remember(pid, inode)
        wanted = {user.id: user.ports for user in rootless_bridge.users(settings)}
        own = slirp.requests(wanted.pop(container_id, []), options.address)
        others = [request for ports in wanted.values() for request in slirp.requests(ports, options.address)]
        _synchronise(_same_port(own), _same_port(others))
        slirp_process.write_pid(pidfile, pid)


def end(settings: Settings, container_id: str) -> None:
    """Forget a container: its ports, and slirp4netns itself with the last one."""
    with Lock(settings):
        try:
            os.unlink(f"users/{container_id}")
        except FileNotFoundError:
            pass
        wanted = [user.ports for user in rootless_bridge.users(settings) if user.id != container_id]
        if not wanted:
            _end()
            _end_names()
            return
        address = slirp.Options().address
        try:
            _synchronise([], _same_port([request for ports in wanted for request in slirp.requests(ports, address)]))
        except OSError:
            pass  # it died: the monitors of the others start it again, with their ports


def _same_port(requests: list[dict[str, object]]) -> list[dict[str, object]]:
    """netavark redirects the host's port: that is what slirp4netns has to lead to, not the container's."""
    for request in requests:
        arguments = request["arguments"]
        assert isinstance(arguments, dict)
        arguments["guest_port"] = arguments["host_port"]
    return requests


def _synchronise(own: list[dict[str, object]], others: list[dict[str, object]]) -> None:
    """Have slirp4netns forward these and nothing else. Raises RemoraError for one of `own` that is refused."""
    reply = slirp_process.ask({"execute": "list_hostfwd"})
    entries = reply.get("entries")
    entries = entries if isinstance(entries, list) else []
    have = {_key(entry): entry.get("id") for entry in entries if isinstance(entry, dict)}
    wanted = {_key(request["arguments"]) for request in [*own, *others]}
    for key, number in have.items():
        if key not in wanted:
            slirp_process.ask({"execute": "remove_hostfwd", "arguments": {"id": number}})
    slirp_process.publish([one for one in own if _key(one["arguments"]) not in have])
    for request in others:
        if _key(request["arguments"]) not in have:
            slirp_process.ask(request)


def _key(entry: object) -> Forward:
    assert isinstance(entry, dict)
    return str(entry.get("proto")), str(entry.get("host_addr")), int(entry.get("host_port", 0))


# ---- the process -------------------------------------------------------------------------------


def _remember(pid: int, inode: int) -> None:
    with open(STATE, "w", encoding="ascii") as file:
        file.write(f"{pid} {monitor.process_start(pid) or 0} {inode}\n")


def _recorded() -> tuple[int, int]:
    """(pid, inode of its namespace) of the slirp4netns that runs; (0, 0) without one."""
    try:
        with open(STATE, encoding="ascii") as file:
            pid, started, inode = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return 0, 0
    return (pid, inode) if monitor.process_start(pid) == started else (0, 0)


def _running(inode: int) -> int:
    """The pid of the one for this namespace, 0 without one; one for a namespace that is gone is ended."""
    pid, theirs = _recorded()
    if pid and theirs != inode:
        _end()
        return 0
    return pid


def _end() -> None:
    """End it, if it runs."""
    pid, _ = _recorded()
    if pid:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            fd = -1
        if fd >= 0:
            try:
                if _recorded()[0] == pid:
                    _kill(fd)
            finally:
                os.close(fd)
    for name in (STATE, slirp_process.API, "pid"):
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass


def _end_names() -> None:
    """aardvark-dns ends by itself when its last container is taken back; one that was not is of no use any more."""
    folder = "netavark/aardvark-dns"
    try:
        with open(f"{folder}/aardvark.pid", encoding="ascii") as file:
            pid = int(file.read())
        fd = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if f"{os.getcwd()}/{folder}".encode() in file.read().split(b"\0"):
                _kill(fd)
                monitor.remove_tree(f"{os.getcwd()}/{folder}")
    except OSError:
        pass
    finally:
        os.close(fd)


def _kill(fd: int) -> None:
    from signal import pidfd_send_signal

    try:
        pidfd_send_signal(fd, SIGKILL)
    except ProcessLookupError:
        pass
