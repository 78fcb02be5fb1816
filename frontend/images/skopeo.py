"""skopeo does every transport of images; this runs it and turns its errors into one line with a remedy.

Its progress (stdout) goes to our stderr, or nowhere when quiet; what it logs on stderr is collected and read when
it fails. It never outlives us: whatever takes us out of the wait ends it first.
"""

from __future__ import annotations

import os
import signal
import time
from fcntl import LOCK_EX, LOCK_NB, flock

from remora.frontend import process
from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "remora-images-"
STALE = 60.0  # seconds
ROOTLESS = "_CONTAINERS_ROOTLESS_UID"  # Settings.tool_environ

# Part of skopeo's message (lower case) → (what it means, remedy). {host}, {name} and {folder} are filled in.
KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        "server gave http response to https client",
        "the registry {host} speaks plain HTTP, not HTTPS",
        "`--tls-verify=false` allows that",
    ),
    (
        "x509: ",
        "the certificate of the registry {host} can't be verified",
        "`--tls-verify=false` accepts any; its CA belongs into /etc/containers/certs.d/{host}/",
    ),
    ("connection refused", "the registry {host} refuses connections", "is it running, and is the port right?"),
    ("no such host", "the registry host {host} is not known", "check the name and the network"),
    ("network is unreachable", "the registry {host} can't be reached", "check the network"),
    ("i/o timeout", "the registry {host} does not answer", "check the network"),
    (
        "manifest unknown",
        "the registry has no image of this name and tag",
        "`skopeo list-tags docker://{repository}` lists the tags",
    ),
    ("tags list: invalid status code from registry 404", "the registry has no such repository", "check the name"),
    ("name unknown", "the registry has no such repository", "check the name"),
    ("unauthorized", "the registry {host} wants a login or does not know the image", "`remora login {host}`"),
    ("authentication required", "the registry {host} wants a login", "`remora login {host}`"),
    ("permission denied", "{text}", ""),
    ("denied", "the registry {host} denies access", "`remora login {host}`, and check the name"),
    (
        "insufficient uids or gids available",
        "the image has files of users or groups that have no id here",
        "add ranges with usermod --add-subuids and --add-subgids (`remora info` shows those there are)",
    ),
    ("no space left on device", "no space left on device", "make room in {folder} and in /var/tmp (or set TMPDIR)"),
    (
        "policy.json: no such file",
        "there is no signature policy /etc/containers/policy.json",
        "install containers-common (Debian: golang-github-containers-common)",
    ),
    ("is in use by a container", "the image is in use by a container", "`podman ps -a --external` lists them"),
    ("doesn't support modifying existing images", "it exists already", "remove it first or choose another name"),
    ("unexpected eof", "the data is cut off", "get it again"),
    ("read-only file system", "the file system of {folder} is read-only", ""),
)


class SkopeoFailed(RemoraError):
    """skopeo ended with an error. text: its own words."""

    __slots__ = ("text",)

    def __init__(self, message: str, hint: str, text: str) -> None:
        super().__init__(message, hint)
        self.text = text


def run(
    arguments: Sequence[str],
    *,
    phase: str,
    environ: Mapping[str, str],
    quiet: bool,
    name: str = "",
    folder: str = "the image store",
    stdout: int | None = None,
) -> None:
    """Run `skopeo ARGUMENTS` to its end.

    phase: what is being done, begins the error message. name: full name of the image, for the remedies.
    folder: where the data goes. stdout: a descriptor for skopeo's output instead of our stderr.
    Raises RemoraError when skopeo is missing, SkopeoFailed when it fails.
    """
    program = process.which("skopeo", environ)
    if program is None:
        raise RemoraError(f"{phase}: skopeo is not installed", "`apt-get install skopeo`")
    argv = [*_own_mounts(environ), program, *_global(environ), *arguments]
    out = stdout if stdout is not None else -1 if quiet else 2
    status, text = _spawn(argv, environ, out)
    if status:
        raise explain(message_of(text) or f"skopeo ended with status {status}", phase, name, folder)


def _own_mounts(environ: Mapping[str, str]) -> list[str]:
    """Words before skopeo that give it a mount namespace of its own.

    Its overlay driver mounts <graph root>/overlay on itself and (1.9) leaves that behind: the folder could not be
    removed any more. unshare(1) executes in place, so skopeo keeps the pid. An ordinary user's command has one already.
    """
    if ROOTLESS in environ:
        return []
    unshare = process.which("unshare", environ)
    return [unshare, "--mount", "--"] if unshare is not None else []


def _global(environ: Mapping[str, str]) -> list[str]:
    options = ["--tmpdir", temporary_folder(environ)]
    registries = environ.get("CONTAINERS_REGISTRIES_CONF", "")
    return [*options, "--registries-conf", registries] if registries else options


def temporary_folder(environ: Mapping[str, str]) -> str:
    """Where big temporary files go: TMPDIR, else /var/tmp, which is on a disk."""
    folder = environ.get("TMPDIR", "")
    return folder if folder.startswith("/") and os.path.isdir(folder) else "/var/tmp"


def _spawn(argv: Sequence[str], environ: Mapping[str, str], out: int) -> tuple[int, bytes]:
    """Run with the log on a pipe; exit status and log."""
    read, write = os.pipe()
    pid = 0
    # A signal between the start of the child and our knowing its pid would leave it behind.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            dict(environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0) if out < 0 else (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, write, 2),
            ],
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            setsigmask=mask,
        )
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(write)
        write = -1
        pieces: list[bytes] = []
        while piece := os.read(read, 65536):
            pieces.append(piece)
        status = os.waitpid(pid, 0)[1]
        pid = 0
        return process.exit_status(status), b"".join(pieces)
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for fd in (read, write):
            if fd >= 0:
                os.close(fd)


def message_of(log: bytes) -> str:
    """The text of the last error in a log: `time="…" level=fatal msg="…"`, quotes and escapes undone."""
    found = ""
    for line in log.decode(errors="replace").splitlines():
        head, marker, rest = line.partition(' msg="')
        if not marker:
            marker, rest = (" msg=", line.partition(" msg=")[2]) if " msg=" in line else ("", line)
        if not rest.strip() or (marker and "level=warning" in head):
            continue
        if marker and (not found or "level=fatal" in head):
            end = rest.rfind('"')
            text = rest[:end] if marker.endswith('"') and end >= 0 else rest
            found = text.replace('\\"', '"').replace("\\n", " ").replace("\\\\", "\\")
        elif not found:
            found = rest.strip()
    return " ".join(found.split())


def explain(text: str, phase: str, name: str, folder: str) -> SkopeoFailed:
    """One line and a remedy for skopeo's error text."""
    lowered = text.lower()
    host = name.partition("/")[0]
    repository = name.rpartition("@")[0] or name
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    for part, meaning, remedy in KNOWN:
        if part in lowered:
            values = {"host": host, "name": name, "folder": folder, "repository": repository, "text": text}
            return SkopeoFailed(f"{phase}: {meaning.format(**values)}", remedy.format(**values), text)
    return SkopeoFailed(f"{phase}: {text}", "", text)


class TemporaryFolder:
    """A folder for big temporary files while the `with` block runs.

    SIGTERM unwinds the block like an exception, so that the folder goes and a running skopeo is ended. What a killed
    one left is removed by the next: a folder in use is locked (flock) through the descriptor kept here.
    """

    __slots__ = ("_before", "_fd", "path")

    def __init__(self, environ: Mapping[str, str]) -> None:
        from tempfile import mkdtemp

        parent = temporary_folder(environ)
        _sweep(parent)
        self._before = signal.signal(signal.SIGTERM, _unwind)
        try:
            self.path = mkdtemp(prefix=PREFIX, dir=parent)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            flock(self._fd, LOCK_EX)
        except OSError as error:
            signal.signal(signal.SIGTERM, self._before)
            raise RemoraError(f"making a temporary folder: {os_error_text(error)}", "TMPDIR names another place")

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        from shutil import rmtree

        rmtree(self.path, ignore_errors=True)
        os.close(self._fd)
        signal.signal(signal.SIGTERM, self._before)


def _unwind(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _sweep(parent: str) -> None:
    """Remove our folders that nobody has locked, but not one that is just being made."""
    from shutil import rmtree

    for name in os.listdir(parent):
        path = f"{parent}/{name}"
        if not name.startswith(PREFIX):
            continue
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            status = os.fstat(fd)
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > STALE:
                flock(fd, LOCK_EX | LOCK_NB)
                rmtree(path, ignore_errors=True)
        except OSError:  # in use
            pass
        finally:
            os.close(fd)
