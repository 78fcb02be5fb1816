"""slirp4netns as a process: started, waited for until it is ready, told its ports.

What it says goes into memory of a fixed size: it may go on complaining for as long as it lives, and a pipe that nobody
reads any more would kill it.
"""

from __future__ import annotations

import os

from remora.frontend.builtin import SIGKILL
from remora.frontend.errors import RemoraError
from remora.frontend.networks import slirp
from remora.frontend.process import DEFAULTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from remora.frontend.container.spec import Port

SAID_MAX = 65536  # bytes
READY_FD = 3
# The name of its socket for ports, in the folder it is started in: a whole path may be too long for a socket.
API = "slirp"
F_ADD_SEALS, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW = 1033, 1, 2, 4
AF_UNIX, SOCK_STREAM, SHUT_WR = 1, 1, 1
ANSWER_MAX = 4096  # bytes
ANSWER_TIME = 10.0  # seconds


def start(
    program: str, options: slirp.Options, ports: Sequence[Port], *, netns: str, pidfile: str, more_ports: bool = False
) -> int:
    """Start it in the background; the pid. It works, and its ports are published, when this returns.

    The working folder is where its socket will be. pidfile: absolute; its folder is in what the process is called, so
    that it can be told whose it is. more_ports: ports may be added later. Raises RemoraError; nothing is left then.
    """
    wanted = slirp.requests(ports, options.address)
    said = _memory()
    try:
        try:
            os.unlink(API)  # of one before that was killed
        except FileNotFoundError:
            pass
        api = API if wanted or more_ports else ""
        argv = slirp.argv(program, options, netns=netns, api=api, ready_fd=READY_FD)
        pid = _spawn([f"{slirp.PROGRAM} of {os.path.dirname(pidfile)}", *argv[1:]], program, said)
        if pid < 0:
            raise RemoraError(f"slirp4netns: {_last_words(said)}")
    finally:
        os.close(said)
    try:
        publish(wanted)
        write_pid(pidfile, pid)
    except BaseException:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
        raise
    return pid


def _memory() -> int:
    """A file in memory that neither grows nor shrinks: a write beyond its end fails."""
    from fcntl import fcntl

    fd = os.memfd_create("slirp4netns", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SAID_MAX)
    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
    return fd


def _spawn(argv: Sequence[str], program: str, said: int) -> int:
    """Start it and wait until it is ready: its pid, or -1 when it ended before that."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    ready, theirs = os.pipe()
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, null, 0),
            (os.POSIX_SPAWN_DUP2, said, 1),
            (os.POSIX_SPAWN_DUP2, said, 2),
            (os.POSIX_SPAWN_DUP2, theirs, READY_FD),  # last: one of the others may have that number
        ]
        pid = os.posix_spawn(
            program, list(argv), dict(os.environ), file_actions=actions, setsid=True, setsigdef=DEFAULTED
        )
        os.close(theirs)
        theirs = -1
        if os.read(ready, 1):
            return pid
        os.waitpid(pid, 0)
        return -1
    finally:
        for fd in (null, ready, theirs):
            if fd >= 0:
                os.close(fd)


def _last_words(said: int) -> str:
    lines = os.pread(said, SAID_MAX, 0).rstrip(b"\0").decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it ended without a word"


def publish(requests: Iterable[Mapping[str, object]]) -> None:
    """Have ports forwarded. Raises RemoraError naming the first that is refused."""
    for request in requests:
        error = slirp.refusal(ask(request))
        if error:
            given = request["arguments"]
            assert isinstance(given, dict)
            raise RemoraError(
                f"slirp4netns: can't listen on {given['proto']} {given['host_addr']}:{given['host_port']}: {error}",
                "is the port taken? Ports below 1024 may be root's alone",
            )


def ask(request: Mapping[str, object]) -> dict[str, object]:
    """One request over its socket, and the reply. Raises OSError when nobody is there."""
    import json
    from _socket import socket

    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.settimeout(ANSWER_TIME)
        connection.connect(API)
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(SHUT_WR)
        answer = b""
        while len(answer) < ANSWER_MAX and (data := connection.recv(ANSWER_MAX)):
            answer += data
    finally:
        connection.close()
    try:
        reply = json.loads(answer)
    except ValueError:
        reply = None
    return reply if isinstance(reply, dict) else {"error": {"desc": "it does not answer"}}


def write_pid(pidfile: str, pid: int) -> None:
    """Whole or not at all: whoever reads it signals what it names."""
    fd = os.open(pidfile + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"{pid}\n".encode())
    finally:
        os.close(fd)
    os.rename(pidfile + ".new", pidfile)
