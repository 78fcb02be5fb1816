"""`inspect` of an image: Podman's and Docker's field names, from the store's record and the image's configuration."""

from __future__ import annotations

from remora.frontend.images import names
from remora.frontend.images.decode import as_list, as_map, as_text, member, text_list, text_map
from remora.frontend.output.template.values import Map
from remora.frontend.output.text import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.images.store import Image


def image(found: Image) -> dict[str, object]:
    """Everything about an image, ready for JSON or a template."""
    document = found.document
    config = found.config
    history = [as_map(entry) for entry in as_list(document.get("history"))]
    repositories = [names.split(name)[0] for name in found.names]
    return {
        "Id": found.id,
        "Digest": found.digest,
        "RepoTags": found.names,
        "RepoDigests": sorted({f"{repository}@{digest}" for repository in repositories for digest in found.digests}),
        "Parent": "",
        "Comment": as_text(history[-1].get("comment")) if history else "",
        "Created": moment(found.created_ns) if found.created_ns else as_text(document.get("created")),
        "Config": _config(config),
        "Version": "",
        "Author": as_text(document.get("author")),
        "Architecture": as_text(document.get("architecture")),
        "Os": as_text(document.get("os")),
        "Size": found.size,
        "VirtualSize": found.size,
        "GraphDriver": {"Name": "overlay", "Data": _layers(found.lower)},
        "RootFS": {"Type": "layers", "Layers": text_list(member(document, "rootfs", "diff_ids"))},
        "Labels": Map(text_map(config.get("Labels"))),
        "Annotations": Map(text_map(found.manifest.get("annotations"))),
        "ManifestType": as_text(found.manifest.get("mediaType")),
        "User": as_text(config.get("User")),
        "History": history,
        "NamesHistory": text_list(found.record.get("names-history")),
    }


def _config(config: dict[str, object]) -> dict[str, object]:
    return {
        "User": as_text(config.get("User")),
        "ExposedPorts": Map(as_map(config.get("ExposedPorts"))),
        "Env": text_list(config.get("Env")),
        "Entrypoint": text_list(config.get("Entrypoint")) or None,
        "Cmd": text_list(config.get("Cmd")) or None,
        "Volumes": Map(as_map(config.get("Volumes"))),
        "WorkingDir": as_text(config.get("WorkingDir")),
        "Labels": Map(text_map(config.get("Labels"))),
        "StopSignal": as_text(config.get("StopSignal")),
    }


def _layers(lower: list[str]) -> dict[str, object]:
    if len(lower) < 2:
        return {"UpperDir": lower[0] if lower else ""}
    return {"LowerDir": ":".join(lower[1:]), "UpperDir": lower[0]}
