"""skopeo does every transport of images; this runs it and turns its errors into one line with a remedy.

Its progress (stdout) goes to our stderr, or nowhere when quiet; what it logs on stderr is collected and read when
it fails. It never outlives us: whatever takes us out of the wait ends it first.
"""

from __future__ import annotations

import os
import signal

from remora.frontend import process
from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Part of skopeo's message (lower case) → (what it means, remedy). {host}, {name} and {folder} are filled in.
KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        "server gave http response to https client",
        "the registry {host} speaks plain HTTP, not HTTPS",
        "`--tls-verify=false` allows that",
    ),
    ("x509: ", "the certificate of the registry {host} can't be verified", "`--tls-verify=false` accepts any"),
    ("connection refused", "the registry {host} refuses connections", "is it running, and is the port right?"),
    ("no such host", "the registry host {host} is not known", "check the name and the network"),
    ("network is unreachable", "the registry {host} can't be reached", "check the network"),
    ("i/o timeout", "the registry {host} does not answer", "check the network"),
    (
        "manifest unknown",
        "the registry has no image of this name and tag",
        "`skopeo list-tags docker://{repository}` lists the tags",
    ),
    ("name unknown", "the registry has no such repository", "check the name"),
    ("unauthorized", "the registry {host} wants a login or does not know the image", "`skopeo login {host}`"),
    ("authentication required", "the registry {host} wants a login", "`skopeo login {host}`"),
    ("denied", "the registry {host} denies access", "`skopeo login {host}`, and check the name"),
    ("no space left on device", "no space left on device", "make room in {folder} and in /var/tmp (or set TMPDIR)"),
    (
        "policy.json: no such file",
        "there is no signature policy /etc/containers/policy.json",
        "install containers-common (Debian: golang-github-containers-common)",
    ),
    ("is in use by a container", "the image is in use by a container", "`podman ps -a --external` lists them"),
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
    argv = [program, *_global(environ), *arguments]
    out = stdout if stdout is not None else -1 if quiet else 2
    status, text = _spawn(argv, environ, out)
    if status:
        raise explain(message_of(text) or f"skopeo ended with status {status}", phase, name, folder)


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
    try:
        actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0) if out < 0 else (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, write, 2),
        ]
        pid = os.posix_spawn(
            argv[0], list(argv), dict(environ), file_actions=actions, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
        )
        os.close(write)
        write = -1
        pieces: list[bytes] = []
        try:
            while piece := os.read(read, 65536):
                pieces.append(piece)
            return process.exit_status(os.waitpid(pid, 0)[1]), b"".join(pieces)
        except BaseException:
            try:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
            except OSError:
                pass
            raise
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


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
            values = {"host": host, "name": name, "folder": folder, "repository": repository}
            return SkopeoFailed(f"{phase}: {meaning.format(**values)}", remedy.format(**values), text)
    return SkopeoFailed(f"{phase}: {text}", "", text)


class TemporaryFolder:
    """A folder for big temporary files while the `with` block runs.

    SIGTERM unwinds the block like an exception, so that the folder goes and a running skopeo is ended.
    """

    __slots__ = ("_before", "path")

    def __init__(self, environ: Mapping[str, str]) -> None:
        from tempfile import mkdtemp

        parent = temporary_folder(environ)
        try:
            self.path = mkdtemp(prefix="remora-", dir=parent)
        except OSError as error:
            raise RemoraError(f"making a temporary folder: {os_error_text(error)}", "TMPDIR names another place")
        self._before = signal.signal(signal.SIGTERM, _unwind)

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        from shutil import rmtree

        rmtree(self.path, ignore_errors=True)
        signal.signal(signal.SIGTERM, self._before)


def _unwind(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)
