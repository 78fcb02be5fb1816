"""Image archives made by hand: layers with exactly the entries that a test wants."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# path ("name/" is a folder) → (uid, gid, contents)
Layer = Mapping[str, tuple[int, int, bytes]]


def oci_archive(
    path: Path, layers: Sequence[Layer], name: str, history: Sequence[Mapping[str, object]] | None = None
) -> Path:
    """An oci-archive with one image of these layers (the lowest first) under this name; returns `path`.

    history: of the configuration, None = it has none.
    """
    blobs: dict[str, bytes] = {}

    def blob(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    tars = [_tar(layer) for layer in layers]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    digests = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
    configuration = {
        "architecture": machine,
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": digests},
        **({"history": list(history)} if history is not None else {}),
    }
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": {"mediaType": f"{kind}.config.v1+json", **blob(json.dumps(configuration).encode())},
        "layers": [{"mediaType": f"{kind}.layer.v1.tar", **blob(tar)} for tar in tars],
    }
    entry = {"mediaType": f"{kind}.manifest.v1+json", **blob(json.dumps(manifest).encode())}
    index = {"schemaVersion": 2, "manifests": [{**entry, "annotations": {"org.opencontainers.image.ref.name": name}}]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    files.update({f"blobs/sha256/{digest}": data for digest, data in blobs.items()})
    with tarfile.open(path, "w") as archive:
        for file, data in files.items():
            info = tarfile.TarInfo(file)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _tar(layer: Layer) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (uid, gid, data) in layer.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.uid, info.gid, info.mode = uid, gid, 0o755
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
