"""Fetch an image from a registry into the store, through skopeo.

Short names are completed by registries.conf: an alias, else each of the search registries in order.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.images import names, registries, skopeo
from remora.frontend.images.store import Store, UnknownImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.images.store import Image
    from remora.frontend.settings import Settings

POLICIES = ("always", "missing", "never", "newer")
ELSEWHERE = ("oci:", "oci-archive:", "docker-archive:", "dir:")


class Options:
    """How to reach the registry.

    tls_verify: False allows plain HTTP and any certificate, None leaves it to registries.conf.
    credentials: `USER[:PASSWORD]`. authfile, cert_dir: paths. architecture, system, variant: of another platform.
    """

    __slots__ = ("architecture", "authfile", "cert_dir", "credentials", "system", "tls_verify", "variant")

    def __init__(
        self,
        tls_verify: bool | None = None,
        credentials: str = "",
        authfile: str = "",
        cert_dir: str = "",
        architecture: str = "",
        system: str = "",
        variant: str = "",
    ) -> None:
        self.tls_verify = tls_verify
        self.credentials = credentials
        self.authfile = authfile
        self.cert_dir = cert_dir
        self.architecture = architecture
        self.system = system
        self.variant = variant


def pull(
    settings: Settings,
    name: str,
    *,
    tls_verify: bool | None = None,
    quiet: bool = False,
    policy: str = "always",
    options: Options | None = None,
) -> Image:
    """The image of this name, fetched if the policy wants it.

    policy: `always`, `missing` (only if it isn't in the store), `never`, `newer` (if the registry's differs; a
    registry that can't be asked is no error while there is a local image).
    Raises RemoraError: malformed or unknown name, or what skopeo met.
    """
    if policy not in POLICIES:
        raise RemoraError(f'pulling {name}: unknown policy "{policy}"', f"one of {', '.join(POLICIES)}")
    local = None
    if policy != "always":
        try:
            local = Store(settings).find(name)
        except UnknownImage:
            if policy == "never":
                raise RemoraError(
                    f"{name}: image not known, and the pull policy is never", f"fetch it with `remora pull {name}`"
                ) from None
        if local is not None and policy != "newer":
            return local
    chosen = options or Options(tls_verify)
    if local is not None and not _is_newer(settings, name, local, chosen):
        return local
    return _fetch(settings, name, quiet, chosen)


def sources(settings: Settings, given: str) -> list[str]:
    """The full names that a typed one may stand for in a registry, to be tried in order."""
    name = given.removeprefix("docker://")
    if name.startswith(ELSEWHERE):
        raise RemoraError(f"pulling {given}: not in a registry", "`remora load` reads archives and folders")
    if names.is_id(name.removeprefix("sha256:")):
        raise RemoraError(f"pulling {given}: an image id can't be pulled", "use a name")
    reference = names.parse(name)
    if reference.digest:
        reference.tag = ""  # the digest decides; skopeo takes only one of the two
    if reference.domain:
        return [str(reference.tagged())]
    if name != given:  # docker://busybox
        return [str(reference.at("docker.io").tagged())]
    known = registries.load(settings)
    alias = known.aliases.get(reference.path, "")
    if alias:
        return names.local_candidates(reference, alias, ())[:1]
    if not known.search:
        raise RemoraError(
            f'short-name "{name}" did not resolve to an alias and no unqualified-search registries are defined '
            f'in "{known.source}"',
            f"use a full name, docker.io/library/{name} perhaps",
        )
    return [str(reference.at(host).tagged()) for host in known.search]


def _fetch(settings: Settings, given: str, quiet: bool, options: Options) -> Image:
    found = sources(settings, given)
    for position, name in enumerate(found):
        if not quiet:
            os.write(2, f"Trying to pull {name}...\n".encode())
        try:
            _copy(settings, name, quiet, options)
        except skopeo.SkopeoFailed as error:
            if position + 1 == len(found):
                raise
            os.write(2, f"{error}\n".encode())
            continue
        return Store(settings).find(name)
    raise RemoraError(f"pulling {given}: no registry to ask")


def _copy(settings: Settings, name: str, quiet: bool, options: Options) -> None:
    store = Store(settings)
    arguments = [*_platform(options), "copy", *(("-q",) if quiet else ())]
    if options.tls_verify is not None:
        arguments.append(f"--src-tls-verify={str(options.tls_verify).lower()}")
    if options.cert_dir:
        arguments.append(f"--src-cert-dir={options.cert_dir}")
    with skopeo.TemporaryFolder(settings.environ) as folder:
        skopeo.run(
            [
                *arguments,
                *login(settings, name, options, folder),
                f"docker://{name}",
                store.transport + name,
            ],
            phase=f"pulling {name}",
            environ=settings.tool_environ,
            quiet=quiet,
            name=name,
            folder=store.root,
        )


def _is_newer(settings: Settings, given: str, local: Image, options: Options) -> bool:
    """Whether a registry's image has a manifest that the local one has not."""
    from remora.frontend import process

    program = process.which("skopeo", settings.environ)
    if program is None:
        return False
    verify = [] if options.tls_verify is None else [f"--tls-verify={str(options.tls_verify).lower()}"]
    for name in sources(settings, given):
        with skopeo.TemporaryFolder(settings.environ) as folder:
            access = login(settings, name, options, folder)
            result = process.capture(
                [program, "inspect", *verify, *access, "--format", "{{.Digest}}", f"docker://{name}"],
                env=settings.tool_environ,
            )
        if result.status == 0:
            return result.stdout.decode().strip() not in local.digests
    return False


def _platform(options: Options) -> list[str]:
    chosen = (("arch", options.architecture), ("os", options.system), ("variant", options.variant))
    return [f"--override-{key}={value}" for key, value in chosen if value]


def login(settings: Settings, name: str, options: Options, folder: str) -> list[str]:
    """skopeo's `--authfile`; a password given by the user goes into a private file, as argv is there for all to see."""
    authfile = options.authfile or settings.environ.get("REGISTRY_AUTH_FILE", "")
    if options.credentials:
        from base64 import b64encode
        from json import dumps

        user, colon, password = options.credentials.partition(":")
        if not colon:
            from getpass import getpass

            password = getpass("Password: ")
        token = b64encode(f"{user}:{password}".encode()).decode()
        authfile = f"{folder}/auth.json"
        with open(os.open(authfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(dumps({"auths": {name.partition("/")[0]: {"auth": token}}}))
    return [f"--authfile={authfile}"] if authfile else []
