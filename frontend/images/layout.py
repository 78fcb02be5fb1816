"""An OCI image layout of one tarball: what `import` hands to skopeo.

The tarball becomes the only layer. It is read once, in pieces, to get its digests; a regular file is then linked
into the layout, anything else is copied there while it is read. gzip stays as it is (the layer id needs the digest
of the uncompressed tar as well), bzip2 and xz are unpacked. (OCI image-spec: image-layout, manifest, config.)
"""

from __future__ import annotations

import hashlib
import json
import os
import time

from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO, Protocol

    class Decompressor(Protocol):
        """What bz2, lzma and zlib have in common."""

        @property
        def eof(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, /) -> bytes: ...


PIECE = 1 << 20
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REFERENCE = "image"
MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
BLOCK = 512
NS = 1_000_000_000


class Layer:
    """The tarball as a blob. digest, size: of the file in the layout; diff_id: of the uncompressed tar."""

    __slots__ = ("diff_id", "digest", "media_type", "size")

    def __init__(self, digest: str, size: int, diff_id: str, media_type: str) -> None:
        self.digest = digest
        self.size = size
        self.diff_id = diff_id
        self.media_type = media_type


def add_layer(folder: str, source: BinaryIO, shown: str) -> Layer:
    """Put the tarball read from `source` into the layout at `folder`. shown: its name in errors.

    Raises RemoraError when it isn't a tarball, is cut off or can't be copied.
    """
    blobs = f"{folder}/blobs/sha256"
    os.makedirs(blobs, 0o700, exist_ok=True)
    first = _read(source, PIECE, shown)
    compression = next((name for magic, name in MAGIC if first.startswith(magic)), "")
    if compression == "zstd":
        raise RemoraError(f"importing {shown}: zstd is not supported", "unpack it first: `zstd -d`")
    keep = compression in ("", "gzip")
    path = _regular_path(source) if keep else ""
    temporary = f"{folder}/layer"
    blob, plain, size = hashlib.sha256(), hashlib.sha256(), 0
    check = _TarCheck(shown)
    decompressor = _decompressor(compression)
    try:
        with open("/dev/null" if path else temporary, "wb", buffering=0) as copy:
            for piece in _pieces(first, source, shown):
                unpacked = _unpack(decompressor, compression, piece, shown) if decompressor else piece
                check.feed(unpacked)
                plain.update(unpacked)
                kept = piece if keep else unpacked
                size += len(kept)
                if decompressor and keep:
                    blob.update(kept)
                if not path:
                    _write(copy.fileno(), kept)
    except OSError as error:
        raise RemoraError(
            f"importing {shown}: copying it to {folder}: {os_error_text(error)}", "TMPDIR names another folder"
        )
    if decompressor and not decompressor[0].eof:
        raise RemoraError(f"importing {shown}: the {compression} data is cut off", "get the file again")
    check.end()
    diff_id = plain.hexdigest()
    digest = blob.hexdigest() if decompressor and keep else diff_id
    if path:
        os.symlink(path, f"{blobs}/{digest}")
    else:
        os.rename(temporary, f"{blobs}/{digest}")
    media_type = LAYER + "+gzip" if compression == "gzip" else LAYER
    return Layer(f"sha256:{digest}", size, f"sha256:{diff_id}", media_type)


def finish(
    folder: str,
    layer: Layer,
    config: Mapping[str, object],
    *,
    created_ns: int,
    message: str,
    architecture: str,
    system: str = "linux",
    variant: str = "",
) -> str:
    """Write config, manifest and index around the layer; the image id (64 hex digits).

    created_ns: wall clock, for image and history. message: comment in the history.
    """
    fraction = f".{created_ns % NS:09d}".rstrip("0").rstrip(".")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created_ns // NS)) + fraction + "Z"
    plain = layer.diff_id.removeprefix("sha256:")
    history = {
        "created": stamp,
        "created_by": f"/bin/sh -c #(nop) ADD file:{plain} in /",
        "comment": message or "imported from tarball",
    }
    document: dict[str, object] = {"created": stamp, "architecture": architecture}
    if variant:
        document["variant"] = variant
    document |= {
        "os": system,
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [history],
    }
    image_id, config_size = _blob(folder, document)
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": f"sha256:{image_id}", "size": config_size},
        "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}],
    }
    digest, size = _blob(folder, manifest)
    entry = {
        "mediaType": MANIFEST,
        "digest": f"sha256:{digest}",
        "size": size,
        "annotations": {"org.opencontainers.image.ref.name": REFERENCE},
    }
    _file(f"{folder}/index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
    _file(f"{folder}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    return image_id


class _TarCheck:
    """A tarball by its look: a first header with a right checksum, an end on a block (or skopeo's own checks)."""

    __slots__ = ("_head", "_shown", "_size")

    def __init__(self, shown: str) -> None:
        self._head = b""
        self._size = 0
        self._shown = shown

    def feed(self, data: bytes) -> None:
        if len(self._head) < BLOCK:
            self._head += data[: BLOCK - len(self._head)]
            if len(self._head) == BLOCK:
                self._verify()
        self._size += len(data)

    def end(self) -> None:
        if len(self._head) < BLOCK:
            raise self._error("is not a tarball" if self._size else "is empty")
        if self._size % BLOCK:
            raise self._error("is cut off in the middle of a block")

    def _verify(self) -> None:
        head = self._head
        if not head.strip(b"\0"):
            return  # an empty archive
        field = head[148:156].strip(b" \0")
        total = sum(head[:148]) + 8 * 0x20 + sum(head[156:])
        try:
            if int(field, 8) == total:
                return
        except ValueError:
            pass
        raise self._error("is not a tarball")

    def _error(self, what: str) -> RemoraError:
        return RemoraError(
            f"importing {self._shown}: it {what}", "a tar of a root file system is expected, plain or compressed"
        )


def _regular_path(source: BinaryIO) -> str:
    """Absolute path of a regular file opened by name, "" for anything else (stdin, a download)."""
    name = getattr(source, "name", "")
    return os.path.realpath(name) if isinstance(name, str) and os.path.isfile(name) else ""


def _decompressor(compression: str) -> list[Decompressor]:
    if compression == "gzip":
        import zlib

        return [zlib.decompressobj(31)]
    if compression == "bzip2":
        import bz2

        return [bz2.BZ2Decompressor()]
    if compression == "xz":
        import lzma

        return [lzma.LZMADecompressor()]
    return []


def _unpack(state: list[Decompressor], compression: str, data: bytes, shown: str) -> bytes:
    """One piece unpacked; `state` holds the current decompressor, replaced where one stream follows another."""
    pieces: list[bytes] = []
    try:
        while data:
            if state[0].eof:
                if not data.strip(b"\0"):  # padding after the last stream
                    break
                state[0] = _decompressor(compression)[0]
            pieces.append(state[0].decompress(data))
            data = state[0].unused_data if state[0].eof else b""
    except Exception as error:  # zlib.error, LZMAError, OSError, EOFError: four modules' words for the same
        raise RemoraError(f"importing {shown}: the {compression} data is damaged: {error}", "get the file again")
    return b"".join(pieces)


def _pieces(first: bytes, source: BinaryIO, shown: str) -> Iterator[bytes]:
    piece = first
    while piece:
        yield piece
        piece = _read(source, PIECE, shown)


def _read(source: BinaryIO, count: int, shown: str) -> bytes:
    try:
        return source.read(count)
    except OSError as error:
        raise RemoraError(f"importing {shown}: {os_error_text(error)}")


def _blob(folder: str, value: object) -> tuple[str, int]:
    """Write a JSON blob; its digest (hex) and size."""
    data = _json(value)
    digest = hashlib.sha256(data).hexdigest()
    _file(f"{folder}/blobs/sha256/{digest}", data)
    return digest, len(data)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _file(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
