"""The image store, read in place: find an image, its configuration and the folders of its layers.

The store's JSON files are replaced by rename, so a reader sees one whole version without taking a lock, and is
never held up by a program that holds the write lock while it deletes a big image. Whether an image may still
vanish after it was found is not decided here but by its guard (guard.py), under the lock.

To find one image, images.json, its manifest, its config blob and one `lower` file are read; layers.json only for
sizes and for a damaged `lower`. Layout: <graph root>/overlay-images/images.json, …/<id>/<key>, overlay/<layer>/.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import configuration, names, registries
from remora.frontend.images.decode import as_int, as_list, as_map, as_text, member, parse, rfc3339_ns, text_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from remora.frontend.settings import Settings

KEY_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz.")
SHORT_ID = 12
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class UnknownImage(RemoraError):
    """No image has this name or id."""

    __slots__ = ("given",)

    def __init__(self, given: str) -> None:
        by_id = given.startswith("sha256:") or (len(given) >= SHORT_ID and names.HEX.issuperset(given))
        fetch = "" if by_id else f"fetch it with `remora pull {given}`; "
        super().__init__(f"{given}: image not known", f"{fetch}`remora images -a` lists the images")
        self.given = given


class Image:
    """One image record. Everything but the record itself is read when it is asked for.

    id: 64 hex digits. names: full names, newest first. digest: of the manifest, `sha256:…`. layer: id of the top one.
    root: the graph root it lives in. writable: whether that is the store itself (not an additional, read-only one).
    given: what `find` was asked for; matched: the full name that was found by it, "" when it was an id or digest.
    """

    __slots__ = (
        "_configuration",
        "_layers",
        "digest",
        "given",
        "id",
        "layer",
        "matched",
        "names",
        "record",
        "root",
        "writable",
    )

    def __init__(self, root: str, writable: bool, record: dict[str, object], layers: Callable[[], Layers]) -> None:
        self.root = root
        self.writable = writable
        self.record = record
        self.id = as_text(record.get("id"))
        self.names = text_list(record.get("names"))
        self.digest = as_text(record.get("digest"))
        self.layer = as_text(record.get("layer"))
        self.given = ""
        self.matched = ""
        self._configuration: dict[str, object] | None = None
        self._layers = layers

    @property
    def name(self) -> str:
        """The name to show: the first full one, else the id."""
        return self.names[0] if self.names else self.id

    @property
    def created(self) -> str:
        """RFC 3339, as the record has it."""
        return as_text(self.record.get("created"))

    @property
    def created_ns(self) -> int:
        """Wall clock in nanoseconds, 0 when unknown."""
        return rfc3339_ns(self.created)

    @property
    def digests(self) -> list[str]:
        """Every manifest digest the image answers to."""
        found = [self.digest] if self.digest else []
        for key, value in as_map(self.record.get("big-data-digests")).items():
            if key.startswith("manifest") and isinstance(value, str) and value not in found:
                found.append(value)
        return found

    @property
    def size(self) -> int:
        """Bytes: the uncompressed layers and the metadata."""
        metadata = sum(as_int(size) for size in as_map(self.record.get("big-data-sizes")).values())
        layers = self._layers()
        return metadata + sum(layers.size(layer) for layer in layers.chain(self.layer))

    def big_data(self, key: str) -> bytes:
        """One metadata file of the image; FileNotFoundError when it has none of this key."""
        name = key
        if not KEY_CHARACTERS.issuperset(key):
            from binascii import b2a_base64

            name = "=" + b2a_base64(key.encode(), newline=False).decode()
        with open(f"{self.root}/overlay-images/{self.id}/{name}", "rb", buffering=0) as file:
            return file.read()

    @property
    def manifest(self) -> dict[str, object]:
        """The image's manifest."""
        return self._metadata("manifest")

    @property
    def document(self) -> dict[str, object]:
        """The whole config blob: `architecture`, `os`, `config`, `rootfs`, `history` …"""
        if self._configuration is None:
            key = as_text(member(self.manifest, "config", "digest"))
            if not key:
                raise RemoraError(
                    f"reading image {self.name}: its manifest names no configuration",
                    "manifest lists and schema 1 images can't be run; pull the image anew",
                )
            self._configuration = self._metadata(key)
        return self._configuration

    @property
    def config(self) -> dict[str, object]:
        """The run-time part: Env, Cmd, Entrypoint, User, WorkingDir, Labels, Volumes, StopSignal, ExposedPorts."""
        return as_map(self.document.get("config"))

    def _metadata(self, key: str) -> dict[str, object]:
        try:
            return as_map(parse(self.big_data(key)))
        except FileNotFoundError:
            raise self._damaged(f"its {key} is missing") from None
        except OSError as error:
            raise self._damaged(os_error_text(error)) from None
        except ValueError as error:
            raise self._damaged(f"its {key} is not JSON: {error}") from None

    def _damaged(self, what: str) -> RemoraError:
        return RemoraError(f"reading image {self.name}: {what}", f"`remora rmi -f {self.id[:12]}` and pull it anew")

    @property
    def lower(self) -> list[str]:
        """Folders of the layers for overlayfs, absolute, nearest first.

        They are named by the short links of <graph root>/overlay/l, as the store's own mounts are: mount options
        have to fit into one page. RemoraError when one is missing.
        """
        overlay = f"{self.root}/overlay"
        if not self.layer:
            raise self._damaged("it has no layers")
        try:
            top = "l/" + _read_text(f"{overlay}/{self.layer}/link")
            try:
                below = _read_text(f"{overlay}/{self.layer}/lower")
            except FileNotFoundError:
                below = ""
            found = [f"{overlay}/{part}" for part in (top, *below.split(":")) if part]
        except OSError:
            found = []
        if not found or not all(os.path.isdir(folder) for folder in found):
            found = [f"{overlay}/{layer}/diff" for layer in self._layers().chain(self.layer)]
            for folder in found:
                if not os.path.isdir(folder):
                    raise self._damaged(f"the layer folder {folder} is missing")
        return found


class Layers:
    """layers.json, by id."""

    __slots__ = ("by_id",)

    def __init__(self, records: list[dict[str, object]]) -> None:
        self.by_id = {as_text(record.get("id")): record for record in records}

    def chain(self, layer: str) -> list[str]:
        """The layer and its parents, nearest first."""
        found: list[str] = []
        while layer and layer in self.by_id and layer not in found:
            found.append(layer)
            layer = as_text(self.by_id[layer].get("parent"))
        return found

    def size(self, layer: str) -> int:
        """Bytes of the layer's uncompressed tar; 0 where the store doesn't know."""
        return max(as_int(self.by_id.get(layer, {}).get("diff-size")), 0)


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def read_records(path: str) -> list[dict[str, object]]:
    """One of the store's JSON files: a list of objects; a missing or empty file has none."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RemoraError(f"reading the image store {path}: {os_error_text(error)}")
    try:
        return [as_map(record) for record in as_list(parse(data))] if data.strip() else []
    except ValueError as error:
        raise RemoraError(f"reading the image store: {path} is damaged: {error}", "repair or remove the file")


class Store:
    """The store of this host and its additional, read-only ones."""

    __slots__ = ("configuration", "settings", "_layers")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.configuration = configuration.load(settings)
        self._layers: dict[str, Layers] = {}

    @property
    def root(self) -> str:
        """The graph root."""
        return self.configuration.graph_root

    @property
    def transport(self) -> str:
        """What skopeo takes for this store; a name, or `@` and an image id, follows."""
        if not self.settings.rootless:
            return self.configuration.transport()
        from remora.frontend.rootless import overlay

        return self.configuration.transport(overlay.store_options(self.configuration))

    def layers(self, root: str) -> Layers:
        """The layers of one graph root, read once."""
        if root not in self._layers:
            self._layers[root] = Layers(read_records(f"{root}/overlay-layers/layers.json"))
        return self._layers[root]

    def images(self) -> list[Image]:
        """Every image, the store's own first."""
        found: list[Image] = []
        for root in (self.root, *self.configuration.additional):
            writable = root == self.root

            def layers(root: str = root) -> Layers:
                return self.layers(root)

            for record in read_records(f"{root}/overlay-images/images.json"):
                if names.is_id(as_text(record.get("id"))):
                    found.append(Image(root, writable, record, layers))
        return found

    def find(self, name: str) -> Image:
        """The image of a name, id, start of an id or digest, by Podman's rules.

        Raises UnknownImage; RemoraError when the name is malformed or means several images.
        """
        image = self._find(name, self.images())
        image.given = name
        return image

    def _find(self, given: str, images: list[Image]) -> Image:
        name = given[7:] if given.startswith("sha256:") else given
        if names.is_id(name):
            for image in images:
                if image.id == name:
                    return image
            return self._by_digest("sha256:" + name, given, images)
        if not name or name != given:  # "sha256:" and less than a whole id
            raise UnknownImage(given)
        by_name: dict[str, Image] = {}
        for image in images:
            for stored in image.names:
                by_name.setdefault(stored, image)
        try:
            reference = names.parse(name)
        except RemoraError:
            if names.HEX.issuperset(name):
                return self._by_prefix(given, images)
            raise
        for candidate in self._candidates(reference):
            if candidate in by_name:
                by_name[candidate].matched = candidate
                return self._resolve(by_name[candidate], images)
        if names.HEX.issuperset(name) and any(image.id.startswith(name) for image in images):
            return self._by_prefix(given, images)
        if reference.digest:
            return self._by_digest(reference.digest, given, images)
        if not reference.domain:
            return self._by_ending(reference, given, by_name, images)
        raise UnknownImage(given)

    def _candidates(self, reference: names.Reference) -> list[str]:
        if reference.domain:
            return names.local_candidates(reference, "", ())
        known = registries.load(self.settings)
        return names.local_candidates(reference, known.aliases.get(reference.path, ""), known.search)

    def _by_prefix(self, given: str, images: list[Image]) -> Image:
        found = {image.id: image for image in images if image.id.startswith(given)}
        if not found:
            raise UnknownImage(given)
        if len(found) > 1:
            raise _ambiguous(given, sorted(f"{id[:20]} ({image.name})" for id, image in found.items()))
        return next(iter(found.values()))

    def _by_digest(self, digest: str, given: str, images: list[Image]) -> Image:
        for image in images:
            if digest in image.digests:
                return self._resolve(image, images)
        raise UnknownImage(given)

    def _by_ending(
        self, wanted: names.Reference, given: str, by_name: Mapping[str, Image], images: list[Image]
    ) -> Image:
        """A short name that no completion found: any image whose last path components are the same."""
        found = {name: image for name, image in by_name.items() if names.matches_end(name, wanted)}
        if not found:
            raise UnknownImage(given)
        if len({image.id for image in found.values()}) > 1:
            raise _ambiguous(given, sorted(found))
        ending, image = next(iter(found.items()))
        image.matched = ending
        return self._resolve(image, images)

    def _resolve(self, image: Image, images: list[Image]) -> Image:
        """The image itself, or for a manifest list the member for this machine."""
        if image.layer:
            return image
        machine = os.uname().machine
        wanted = ARCHITECTURES.get(machine, machine)
        for entry in as_list(image.manifest.get("manifests")):
            if as_text(member(as_map(entry), "platform", "architecture")) == wanted:
                digest = as_text(as_map(entry).get("digest"))
                for other in images:
                    if other is not image and digest in other.digests:
                        return other
        return image


def _ambiguous(given: str, choices: list[str]) -> RemoraError:
    return RemoraError(f'finding the image "{given}": several images match', f"use one of {', '.join(choices)}")
