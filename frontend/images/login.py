"""Logins to registries: checked with the registry, then kept in auth.json, where Podman, Buildah and Skopeo look too.

skopeo does both, and reads Docker's ~/.docker/config.json where auth.json knows nothing. The file is --authfile, else
REGISTRY_AUTH_FILE, else `$XDG_RUNTIME_DIR/containers/auth.json`, else `/run/containers/UID/auth.json`
(containers-auth.json(5)). Passwords go to skopeo by stdin: argv is there for all to see.
"""

from __future__ import annotations

import os

from remora.frontend import process
from remora.frontend.errors import RemoraError
from remora.frontend.images import skopeo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.process import Result
    from remora.frontend.settings import Settings

HUB = "docker.io"
HUB_NAMES = ("index.docker.io", "registry-1.docker.io")
MAX_PASSWORD = 65536  # bytes, of stdin


class Access:
    """Where logins are kept and how the registry is reached. authfile, cert_dir: paths, "" the usual ones.

    tls_verify: False allows plain HTTP and any certificate, None leaves it to registries.conf.
    """

    __slots__ = ("authfile", "cert_dir", "tls_verify")

    def __init__(self, authfile: str = "", cert_dir: str = "", tls_verify: bool | None = None) -> None:
        self.authfile = authfile
        self.cert_dir = cert_dir
        self.tls_verify = tls_verify

    def words(self) -> list[str]:
        """skopeo's options."""
        verify = "" if self.tls_verify is None else str(self.tls_verify).lower()
        valued = (("authfile", self.authfile), ("cert-dir", self.cert_dir), ("tls-verify", verify))
        return [f"--{key}={value}" for key, value in valued if value]


def registry_of(settings: Settings, given: str) -> str:
    """The registry as auth.json calls it, from what was typed: a host, `host/path` or an address with a scheme.

    "" stands for the first search registry of registries.conf, else Docker Hub.
    """
    if not given:
        from remora.frontend.images import registries

        return next(iter(registries.load(settings).search), HUB)
    name = given
    for scheme in ("https://", "http://", "docker://"):
        name = name.removeprefix(scheme)
    name = name.strip("/")
    host = name.partition("/")[0]
    if not host or any(character.isspace() for character in name):
        raise RemoraError(f'"{given}" is not a registry', "HOST[:PORT] or HOST[:PORT]/PATH expected")
    if host in HUB_NAMES:
        return HUB
    return name if given == name or "://" not in given or given.startswith("docker://") else host


def user_of(settings: Settings, registry: str, access: Access) -> str:
    """The user name that is kept for a registry, "" when there is none."""
    file = [f"--authfile={access.authfile}"] if access.authfile else []
    if access.authfile and not os.path.exists(access.authfile):
        return ""
    result = _skopeo(settings, ["login", "--get-login", *file, registry])
    return result.stdout.decode(errors="replace").strip() if result.status == 0 else ""


def still_good(settings: Settings, registry: str, access: Access) -> bool:
    """Whether the registry takes the login that is kept for it."""
    return _skopeo(settings, ["login", *access.words(), registry]).status == 0


def login(settings: Settings, registry: str, user: str, password: str, access: Access) -> None:
    """Check a login with the registry and keep it. Raises RemoraError, SkopeoFailed when the registry refuses it."""
    words = ["login", *access.words(), f"--username={user}", "--password-stdin", registry]
    result = _skopeo(settings, words, password.encode("utf-8", "surrogateescape"))
    if result.status:
        raise _explain(result, f"logging in to {registry}", registry)


def logout(settings: Settings, registry: str, access: Access) -> str:
    """Forget the login for a registry, "" for all of them; what is to be told about it. RemoraError: no login."""
    phase = f"logging out of {registry or 'all registries'}"
    if access.authfile and not os.path.exists(access.authfile):
        raise RemoraError(f"{phase}: there is no file {access.authfile}", "`remora login --authfile` makes one")
    result = _skopeo(settings, ["logout", *access.words(), registry or "--all"])
    if result.status:
        if b"not logged into" in result.stderr.lower():
            raise RemoraError(f"{phase}: not logged in", "`remora login --get-login` tells as whom one is")
        raise _explain(result, phase, registry)
    return result.stdout.decode(errors="replace")


def password_from_stdin() -> str:
    """One line, or all there is, without the line's end. RemoraError when that is nothing or far too much."""
    pieces = b""
    while len(pieces) <= MAX_PASSWORD and (piece := os.read(0, 4096)):
        pieces += piece
    text = pieces.removesuffix(b"\n").removesuffix(b"\r")
    if not text:
        raise RemoraError(
            "reading the password from stdin: there is none", "printf %s … | remora login --password-stdin"
        )
    if len(pieces) > MAX_PASSWORD or b"\n" in text:
        raise RemoraError("reading the password from stdin: it has more than one line", "give the password alone")
    return text.decode("utf-8", "surrogateescape")


def ask(user: str) -> tuple[str, str]:
    """User name and password from the terminal, the password without echo. user: known already, "" asks for it."""
    if not os.isatty(0):
        raise RemoraError(
            "asking for the login: stdin is no terminal", "give --username, and the password by --password-stdin"
        )
    from getpass import getpass

    try:
        if not user:
            os.write(2, b"Username: ")
            user = _line()
        password = getpass("Password: ") if user else ""
    except EOFError:
        password = ""
    if not user or not password:
        raise RemoraError("asking for the login: user name and password are both needed")
    return user, password


def _line() -> str:
    """A line of the terminal, which hands out whole ones."""
    line = os.read(0, 4096)
    if not line:
        raise EOFError
    return line.decode("utf-8", "surrogateescape").strip()


def _skopeo(settings: Settings, words: Sequence[str], input: bytes = b"") -> Result:
    program = process.which("skopeo", settings.environ)
    if program is None:
        raise RemoraError(f"{words[0]}: skopeo is not installed", "`apt-get install skopeo`")
    return process.capture([program, *words], input=input, env=settings.tool_environ)


def _explain(result: Result, phase: str, registry: str) -> RemoraError:
    text = skopeo.message_of(result.stderr) or f"skopeo ended with status {result.status}"
    lowered = text.lower()
    if "invalid username/password" in lowered or "unauthorized" in lowered:
        return RemoraError(f"{phase}: the registry refuses this user name or password", "check both and try again")
    if ("permission denied" in lowered and "/auth.json" in lowered) or "mkdir /run/containers" in lowered:
        return RemoraError(f"{phase}: {text}", "set XDG_RUNTIME_DIR, or name a file of yours with --authfile")
    return skopeo.explain(text, phase, registry, "the folder of auth.json")
