"""`load`: images from archives and folders into the store.

What is given is told by its contents: a tar with `manifest.json` (docker-archive), a tar with `index.json`
(oci-archive), a folder with `index.json` (oci-dir), a folder with `manifest.json` and `version` (docker-dir).
Each image gets the names the archive has for it; one without names is stored by its id.
"""

from __future__ import annotations

import hashlib
import os
import sys

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import names, naming, skopeo
from remora.frontend.images.decode import as_list, as_map, as_text, member, parse, text_list
from remora.frontend.images.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bz2 import BZ2File
    from gzip import GzipFile
    from lzma import LZMAFile
    from typing import Protocol

    from remora.frontend.settings import Settings

    class Reader(Protocol):
        """One file of an archive or folder by name; None when it isn't there."""

        def __call__(self, name: str) -> bytes | None: ...


REFERENCE = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
EXPECTED = "an archive or folder made by `save` (docker-archive, oci-archive, oci-dir, docker-dir) is expected"
SMALL = 16 << 20


class Entry:
    """One image in an archive: skopeo's reference to it, its full names, its id ("" when not known beforehand)."""

    __slots__ = ("image_id", "names", "source")

    def __init__(self, source: str, names: list[str], image_id: str) -> None:
        self.source = source
        self.names = names
        self.image_id = image_id


def load(settings: Settings, path: str, *, quiet: bool) -> list[str]:
    """Load every image of an archive or folder; `-` is stdin. The names (or `sha256:<id>`) that were loaded."""
    store = Store(settings)
    with skopeo.TemporaryFolder(settings.environ) as folder:
        link = f"{folder}/archive"  # skopeo takes a colon in a path for its end
        shown = "the archive on stdin" if path == "-" else path
        if path == "-":
            _copy_stdin(link)
        elif os.path.exists(path):
            os.symlink(os.path.abspath(path), link)
        else:
            raise RemoraError(f"loading {path}: no such file or folder", "")
        loaded: list[str] = []
        for entry in _entries(_unpacked(link, folder, shown), shown):
            loaded += _load(settings, store, entry, shown, quiet)
    return loaded


def _load(settings: Settings, store: Store, entry: Entry, shown: str, quiet: bool) -> list[str]:
    skopeo.run(
        [
            "copy",
            *(("-q",) if quiet else ()),
            entry.source,
            store.transport + (entry.names[0] if entry.names else f"@{entry.image_id}"),
        ],
        phase=f"loading {shown}",
        environ=settings.tool_environ,
        quiet=quiet,
        folder=store.root,
    )
    if len(entry.names) > 1:
        naming.add(store, store.find(entry.names[0]), entry.names[1:])
    return entry.names or [f"sha256:{entry.image_id}"]


def _copy_stdin(path: str) -> None:
    if sys.stdin.isatty():
        raise RemoraError("loading from stdin: it is a terminal", "redirect an archive to it, or use --input")
    try:
        with open(path, "xb", buffering=0) as copy:
            while piece := os.read(0, 1 << 20):
                view = memoryview(piece)
                while view:
                    view = view[copy.write(view) :]
    except OSError as error:
        raise RemoraError(
            f"loading from stdin: copying it to {path}: {os_error_text(error)}", "TMPDIR names another folder"
        )


def _unpacked(link: str, folder: str, shown: str) -> str:
    """The archive, unpacked if it is compressed: skopeo 1.9 can't read a compressed docker-archive."""
    if os.path.isdir(link):
        return link
    packed = _opened(link)
    if packed is None:
        return link
    from lzma import LZMAError
    from shutil import copyfileobj
    from zlib import error as zlib_error

    plain = f"{folder}/plain"
    try:
        with packed as source, open(plain, "xb") as target:
            copyfileobj(source, target, 1 << 20)
    except (EOFError, LZMAError, zlib_error) as error:
        raise RemoraError(f"loading {shown}: the compressed data is damaged: {error}", "get it again")
    except OSError as error:
        if error.errno is None:  # gzip.BadGzipFile and bz2's complaints
            raise RemoraError(f"loading {shown}: the compressed data is damaged: {error}", "get it again")
        raise RemoraError(f"loading {shown}: unpacking it: {os_error_text(error)}", "TMPDIR names another folder")
    return plain


def _opened(path: str) -> GzipFile | BZ2File | LZMAFile | None:
    """A compressed file opened for reading what is in it, None when it isn't compressed."""
    with open(path, "rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(path, "rb")
    if head.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(path, "rb")
    if head.startswith(b"\xfd7zXZ"):
        import lzma

        return lzma.LZMAFile(path, "rb")
    return None


def _entries(link: str, shown: str) -> list[Entry]:
    if os.path.isdir(link):

        def read(name: str) -> bytes | None:
            try:
                with open(f"{link}/{name}", "rb") as file:
                    return file.read(SMALL)
            except (FileNotFoundError, NotADirectoryError):
                return None

        index, manifest = read("index.json"), read("manifest.json")
        if index is not None:
            return _oci("oci", link, index, read, shown)
        if manifest is not None:
            return [Entry(f"dir:{link}", [], _config_id(manifest, shown))]
        raise RemoraError(f"loading {shown}: no image in this folder", EXPECTED)
    import tarfile

    try:
        with tarfile.open(link, "r:") as archive:
            members = {info.name.removeprefix("./"): info for info in archive.getmembers()}

            def extract(name: str) -> bytes | None:
                info = members.get(name)
                while info is not None and info.issym():
                    info = members.get(os.path.normpath(f"{os.path.dirname(info.name)}/{info.linkname}"))
                file = archive.extractfile(info) if info is not None else None
                return file.read(SMALL) if file is not None else None

            manifest, index = extract("manifest.json"), extract("index.json")
            if manifest is not None:
                return _docker(link, manifest, extract, shown)
            if index is not None:
                return _oci("oci-archive", link, index, extract, shown)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        text = os_error_text(error) if isinstance(error, OSError) else str(error) or "empty"
        raise RemoraError(f"loading {shown}: not an image archive, or damaged: {text}", EXPECTED)
    raise RemoraError(
        f"loading {shown}: no image in this archive", f"{EXPECTED}; `remora import` takes root file systems"
    )


def _docker(link: str, manifest: bytes, read: Reader, shown: str) -> list[Entry]:
    """manifest.json of `docker save`: [{"Config", "RepoTags", "Layers"}]."""
    found: list[Entry] = []
    for position, item in enumerate(as_list(_parse(manifest, shown))):
        entry = as_map(item)
        config = read(as_text(entry.get("Config")))
        if config is None:
            raise RemoraError(f"loading {shown}: its configuration {entry.get('Config')} is missing", "get it again")
        tags = [_full(tag) for tag in text_list(entry.get("RepoTags"))]
        found.append(Entry(f"docker-archive:{link}:@{position}", tags, hashlib.sha256(config).hexdigest()))
    if not found:
        raise RemoraError(f"loading {shown}: the archive holds no image")
    return found


def _oci(transport: str, link: str, index: bytes, read: Reader, shown: str) -> list[Entry]:
    """index.json of an OCI layout: manifests with names in annotations."""
    manifests = as_list(member(as_map(_parse(index, shown)), "manifests"))
    found: list[Entry] = []
    for item in manifests:
        reference = as_text(member(as_map(item), "annotations", REFERENCE))
        given = as_text(member(as_map(item), "annotations", CONTAINERD_NAME)) or reference
        digest = as_text(as_map(item).get("digest"))
        manifest = read(f"blobs/{digest.replace(':', '/')}")
        if manifest is None:
            raise RemoraError(f"loading {shown}: its manifest {digest} is missing", "get it again")
        if not reference and len(manifests) > 1:
            raise RemoraError(
                f"loading {shown}: it holds several images, and {digest} has no name",
                f"`skopeo copy` takes it apart; its annotation {REFERENCE} is missing",
            )
        image_id = "" if given else _config_id(manifest, shown)
        source = f"{transport}:{link}" + (f":{reference}" if reference else "")
        found.append(Entry(source, [_full(given, "localhost")] if given else [], image_id))
    if not found:
        raise RemoraError(f"loading {shown}: the archive holds no image")
    return found


def _full(name: str, host: str = "docker.io") -> str:
    """A name from an archive in full; Docker leaves its own registry out, an OCI layout may have a mere tag."""
    reference = names.parse(name)
    return str((reference if reference.domain else reference.at(host)).tagged())


def _config_id(manifest: bytes, shown: str) -> str:
    digest = as_text(member(as_map(_parse(manifest, shown)), "config", "digest"))
    if not names.is_digest(digest):
        raise RemoraError(f"loading {shown}: its manifest names no configuration", "lists of images need a name")
    return digest.removeprefix("sha256:")


def _parse(data: bytes, shown: str) -> object:
    try:
        return parse(data)
    except ValueError as error:
        raise RemoraError(f"loading {shown}: damaged: {error}", "get it again")
