"""What `images` shows: one row for each name of an image, filtered and sorted as Podman does it."""

from __future__ import annotations

from fnmatch import fnmatchcase

from remora.frontend.errors import RemoraError
from remora.frontend.images import guard, names
from remora.frontend.images.decode import as_list, as_text, text_list, text_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remora.frontend.images.store import Image, Store
    from remora.frontend.settings import Settings

NONE = "<none>"
SORTS = ("created", "id", "repository", "size", "tag")
FILTERS = "after before containers dangling id intermediate label readonly reference since until".split()


class Row:
    """One line: an image under one of its names. repository and tag are `<none>` where it has none."""

    __slots__ = ("image", "repository", "size", "tag")

    def __init__(self, image: Image, repository: str, tag: str, size: int) -> None:
        self.image = image
        self.repository = repository
        self.tag = tag
        self.size = size


def rows(images: Sequence[Image], sort: str) -> list[Row]:
    """Rows in order: newest first, or smallest first by id, repository, size or tag."""
    found: list[Row] = []
    for image in images:
        size = image.size
        for name in image.names or [""]:
            repository, tag = names.split(name)
            found.append(Row(image, repository or NONE, tag or NONE, size))
    keys: dict[str, Callable[[Row], tuple[object, ...]]] = {
        "created": lambda row: (-row.image.created_ns,),
        "id": lambda row: (row.image.id,),
        "repository": lambda row: (row.repository, row.tag),
        "size": lambda row: (row.size,),
        "tag": lambda row: (row.tag,),
    }
    if sort not in keys:
        raise RemoraError(f'"{sort}" is not a valid field for sorting', f"choose from {', '.join(SORTS)}")
    found.sort(key=keys[sort])
    return found


def select(
    settings: Settings, store: Store, filters: Sequence[str], pattern: str = "", *, every: bool = False
) -> list[Image]:
    """The images that pass all filters (`key=value` or `key!=value`) and match the pattern.

    every: intermediate ones too. Filters of one key are alternatives, but labels must all be there (as in Docker).
    """
    images = store.images()
    tests: dict[str, list[Callable[[Image], bool]]] = {}
    for position, text in enumerate(filters):
        key, test = _filter(settings, store, images, text)
        tests.setdefault(f"{key}{position}" if key == "label" else key, []).append(test)
    if pattern:
        tests["pattern"] = [_reference(store, images, pattern)]
    if not every and not any(text.startswith("intermediate") for text in filters):
        inner = _intermediate(store, images)
        tests["intermediate"] = [lambda image: image.id not in inner]
    return [image for image in images if all(any(test(image) for test in group) for group in tests.values())]


def _filter(
    settings: Settings, store: Store, images: Sequence[Image], text: str
) -> tuple[str, Callable[[Image], bool]]:
    key, equals, value = text.partition("=")
    negated = key.endswith("!")
    key = key.removesuffix("!")
    if not equals:
        raise RemoraError(f'invalid image filter "{text}"', 'must be in the format "filter=value or filter!=value"')
    if key not in FILTERS:
        raise RemoraError(f'unsupported image filter "{key}"', f"known are {', '.join(FILTERS)}")
    test = _test(settings, store, images, key, value)
    return key, (lambda image: not test(image)) if negated else test


def _test(settings: Settings, store: Store, images: Sequence[Image], key: str, value: str) -> Callable[[Image], bool]:
    if key in ("after", "since", "before"):
        other = store.find(value)
        if key == "before":
            return lambda image: image.created_ns < other.created_ns
        return lambda image: image.created_ns > other.created_ns
    if key == "until":
        from remora.frontend.output.when import parse

        moment = parse("--filter until", value)
        return lambda image: image.created_ns < moment
    if key == "label":
        name, equals, wanted = value.partition("=")
        return lambda image: _has_label(image, name, wanted if equals else None)
    if key == "reference":
        return _reference(store, images, value)
    if key == "id":
        return lambda image: image.id.startswith(value.removeprefix("sha256:"))
    wanted_flag = _flag(key, value)
    if key == "dangling":
        inner = _intermediate(store, images)
        return lambda image: (not image.names and image.id not in inner) == wanted_flag
    if key == "intermediate":
        inner = _intermediate(store, images)
        return lambda image: (image.id in inner) == wanted_flag
    if key == "readonly":
        return lambda image: (not image.writable) == wanted_flag
    return lambda image: bool(containers(settings, store, image)) == wanted_flag


def _flag(key: str, value: str) -> bool:
    if value.lower() in ("true", "t", "1"):
        return True
    if value.lower() in ("false", "f", "0"):
        return False
    raise RemoraError(f'invalid image filter "{key}={value}"', "true or false expected")


def labels(image: Image) -> dict[str, str]:
    """Its labels; none when its configuration can't be read."""
    try:
        return text_map(image.config.get("Labels"))
    except RemoraError:
        return {}


def _has_label(image: Image, name: str, value: str | None) -> bool:
    found = labels(image)
    return name in found and (value is None or found[name] == value)


def _reference(store: Store, images: Sequence[Image], pattern: str) -> Callable[[Image], bool]:
    """`*` and `?` match within one path component; also what the pattern finds as a name matches."""
    try:
        found = store.find(pattern).id if not names.HEX.issuperset(pattern) else ""
    except RemoraError:
        found = ""

    def test(image: Image) -> bool:
        return image.id == found or any(_matches(part, pattern) for name in image.names for part in _parts(name))

    return test


def _parts(name: str) -> list[str]:
    """A full name and what is left of it without domain, without path, and each of these without the tag."""
    repository = names.split(name)[0]
    ending = name[len(repository) :]
    path = repository.partition("/")[2]
    last = repository.rpartition("/")[2]
    return [f"{part}{tail}" for part in (repository, path, last) for tail in (ending, "")]


def _matches(name: str, pattern: str) -> bool:
    pieces, wanted = name.split("/"), pattern.split("/")
    return len(pieces) == len(wanted) and all(fnmatchcase(*pair) for pair in zip(pieces, wanted, strict=True))


def _intermediate(store: Store, images: Sequence[Image]) -> set[str]:
    """Ids of unnamed images that others were built on: further layers, or the same with a longer history."""
    unnamed = [image for image in images if not image.names]
    if not unnamed:
        return set()
    below: set[str] = set()
    for image in images:
        below.update(store.layers(image.root).chain(image.layer)[1:])
    found = {image.id for image in unnamed if image.layer in below}
    for image in unnamed:
        if image.id not in found and any(
            other.layer == image.layer
            and other.id != image.id
            and _history(other)[: len(_history(image))] == _history(image)
            and len(_history(other)) > len(_history(image))
            for other in images
        ):
            found.add(image.id)
    return found


def _history(image: Image) -> list[object]:
    try:
        return as_list(image.document.get("history"))
    except RemoraError:
        return []


def containers(settings: Settings, store: Store, image: Image) -> int:
    """How many containers use it, Remora's and others'."""
    own = guard.guard_id(settings, image.id)
    others = [entry for entry in guard.entries(store.configuration, image.id) if as_text(entry.get("id")) != own]
    return len(guard.users(settings, image.id)) + len(others)


def history_names(image: Image) -> list[str]:
    """Every name it ever had, newest first."""
    return text_list(image.record.get("names-history"))
