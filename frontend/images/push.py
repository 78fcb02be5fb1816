"""Copy an image from the store to a registry, an archive or a folder, through skopeo.

A destination is `[docker://]NAME`, or one of skopeo's others: `docker-archive:PATH[:NAME]`, `oci-archive:PATH[:TAG]`,
`oci:PATH[:TAG]`, `dir:PATH`, `docker-daemon:NAME`. What a push that failed has made of a file or folder is removed.
(Destinations: containers-transports(5).)
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.images import names, pull, skopeo
from remora.frontend.images.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.images.pull import Options
    from remora.frontend.images.store import Image
    from remora.frontend.settings import Settings

FORMATS = ("oci", "v2s1", "v2s2")
PATHS = ("dir:", "docker-archive:", "oci-archive:", "oci:")
DAEMON = "docker-daemon:"
REFUSED = ("unauthorized", "authentication required", "invalid username/password", "denied: ")


class Manner:
    """How to write. form: one of FORMATS, "" as it is in the store. digestfile: path for the manifest's digest, or "".

    compression, level: of layers (gzip, zstd), "" the usual. compress: also in a folder. unsigned: no signatures.
    sign_by: fingerprint of a GPG key.
    """

    __slots__ = ("compress", "compression", "digestfile", "form", "level", "sign_by", "unsigned")

    def __init__(
        self,
        form: str = "",
        digestfile: str = "",
        compression: str = "",
        level: str = "",
        compress: bool = False,
        unsigned: bool = False,
        sign_by: str = "",
    ) -> None:
        if form and form not in FORMATS:
            raise RemoraError(f'unknown format "{form}"', f"format value must be one of {' '.join(FORMATS)}")
        self.form = form
        self.digestfile = digestfile
        self.compression = compression
        self.level = level
        self.compress = compress
        self.unsigned = unsigned
        self.sign_by = sign_by

    def words(self) -> list[str]:
        """skopeo's options."""
        valued = (
            ("format", self.form),
            ("digestfile", self.digestfile),
            ("dest-compress-format", self.compression),
            ("dest-compress-level", self.level),
            ("sign-by", self.sign_by),
        )
        flags = (("dest-compress", self.compress), ("remove-signatures", self.unsigned))
        return [f"--{key}={value}" for key, value in valued if value] + [f"--{key}" for key, on in flags if on]


def push(settings: Settings, given: str, destination: str, *, quiet: bool, options: Options, manner: Manner) -> None:
    """Copy the image `given` (a name or an id) to `destination`, "" being the registry that its name begins with.

    Raises RemoraError: unknown image, no or a malformed destination, or what skopeo met.
    """
    store = Store(settings)
    image = store.find(given)
    target, name = _target(image, given, destination)
    path = _path(target)
    was_there = bool(path) and os.path.lexists(path)
    words = ["copy", *(("-q",) if quiet else ()), *manner.words()]
    if options.tls_verify is not None:
        words.append(f"--dest-tls-verify={str(options.tls_verify).lower()}")
    if options.cert_dir:
        words.append(f"--dest-cert-dir={options.cert_dir}")
    with skopeo.TemporaryFolder(settings.environ) as folder:
        try:
            skopeo.run(
                [*words, *pull.login(settings, name, options, folder), f"{store.transport}@{image.id}", target],
                phase=f"pushing {given}" + (f" to {name or destination}" if name or destination else ""),
                environ=settings.tool_environ,
                quiet=quiet,
                name=name,
                folder=os.path.dirname(os.path.abspath(path)) if path else "the registry",
            )
        except BaseException as error:
            if path and not was_there:
                _remove(path)
            if isinstance(error, skopeo.SkopeoFailed):
                raise _explained(error, given, name, destination, options) from None
            raise


def _target(image: Image, given: str, destination: str) -> tuple[str, str]:
    """skopeo's word for the destination, and the full name in a registry ("" when it is none)."""
    if destination.startswith((*PATHS, DAEMON)):
        if not destination.partition(":")[2]:
            raise RemoraError(f"pushing {given} to {destination}: no path or name is given")
        return destination, ""
    wanted = destination.removeprefix("docker://")
    if not wanted:
        wanted = image.matched.partition("@")[0]
        if not wanted:
            raise RemoraError(f"pushing {given}: an id doesn't tell where to", f"`remora push {given} HOST/PATH:TAG`")
    reference = names.parse(wanted).tagged()
    if not reference.domain:
        reference = reference.at("docker.io")
    return f"docker://{reference}", str(reference)


def _path(target: str) -> str:
    """The file or folder that is written, "" when there is none."""
    transport, _, rest = target.partition(":")
    if transport + ":" not in PATHS:
        return ""
    return rest if transport == "dir" else rest.partition(":")[0]


def _remove(path: str) -> None:
    from shutil import rmtree

    try:
        os.unlink(path)
    except IsADirectoryError:
        rmtree(path, ignore_errors=True)
    except OSError:
        pass  # nothing was made


def _explained(
    error: skopeo.SkopeoFailed, given: str, name: str, destination: str, options: Options
) -> skopeo.SkopeoFailed:
    """The error with a better remedy where more is known than skopeo's words."""
    lowered = error.text.lower()
    host = name.partition("/")[0]
    if options.credentials and any(part in lowered for part in REFUSED):
        return skopeo.SkopeoFailed(
            f"pushing {given} to {name}: the registry {host} refuses this user name, password or repository",
            "check --creds",
            error.text,
        )
    if not destination and host == "localhost":
        return skopeo.SkopeoFailed(error.message, f"name a registry: `remora push {given} HOST/PATH:TAG`", error.text)
    return error
