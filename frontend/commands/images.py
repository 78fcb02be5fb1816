"""`remora images`: list the images of the store."""

from __future__ import annotations

import sys
import time

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.images.listing import Row
    from remora.frontend.images.store import Image, Store
    from remora.frontend.settings import Settings

EXAMPLE = "remora images --filter dangling=true --format '{{.ID}} {{.Size}}'"
COLUMNS = ["{{.Repository}}", "{{.Tag}}", "{{.ID}}", "{{.Created}}", "{{.Size}}"]
FIELDS = (
    "Containers Created CreatedAt CreatedSince CreatedTime Dangling Digest History ID Id Labels Names ParentId "
    "ReadOnly RepoDigests RepoTags Repository SharedSize Size Tag VirtualSize"
).split()
HEADINGS = {name: name.upper() for name in FIELDS} | {
    "ID": "IMAGE ID",
    "Id": "IMAGE ID",
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
}
SHORT = 12


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman images` has them."""
    parser.add_argument(
        "pattern", nargs="?", default="", metavar="NAME", help="Only images of this name", complete="@image"
    )
    parser.add_argument("-a", "--all", action="store_true", help="Show intermediate images too")
    parser.add_argument("--digests", action="store_true", help="Show digests")
    parser.add_argument(
        "-f", "--filter", action="append", metavar="KEY=VALUE", help="Only images that match", complete="@imagefilter"
    )
    parser.add_argument("--format", default="", metavar="FORMAT", help="json, table COLUMNS or a Go template")
    parser.add_argument("--history", action="store_true", help="Show the names they once had")
    parser.add_argument("--no-trunc", action="store_true", help="Show whole ids")
    parser.add_argument("-n", "--noheading", action="store_true", help="No headings")
    parser.add_argument("-q", "--quiet", action="store_true", help="Show ids only")
    parser.add_argument("--sort", default="created", metavar="FIELD", help="created, id, repository, size or tag")


def run(arguments: Namespace, settings: Settings) -> int:
    """An image that isn't there is an empty list, not an error."""
    from remora.frontend.images import listing
    from remora.frontend.images.store import Store

    if arguments.quiet and arguments.format:
        raise RemoraError("listing images: --quiet and --format exclude each other")
    store = Store(settings)
    images = listing.select(settings, store, arguments.filter, arguments.pattern, every=arguments.all)
    rows = listing.rows(images, arguments.sort)
    if arguments.quiet:
        ids = dict.fromkeys(_id(row.image, arguments.no_trunc) for row in rows)
        sys.stdout.write("".join(id + "\n" for id in ids))
    elif arguments.format == "json":
        _json(settings, store, rows)
    else:
        _table(arguments, settings, store, rows)
    return 0


def _id(image: Image, whole: bool) -> str:
    return f"sha256:{image.id}" if whole else image.id[:SHORT]


def _table(arguments: Namespace, settings: Settings, store: Store, rows: list[Row]) -> None:
    from remora.frontend.output.rows import render

    columns = list(COLUMNS)
    if arguments.digests:
        columns.insert(2, "{{.Digest}}")
    if arguments.history:
        columns.append("{{if .History}}{{.History}}{{else}}<none>{{end}}")
    form = arguments.format or "table " + "\t".join(columns)
    if form == "table":
        form = "table " + "\t".join(columns)
    shown = [_fields(settings, store, row, arguments.no_trunc) for row in rows]
    sys.stdout.write(render(form, shown, HEADINGS, not arguments.noheading))


def _fields(settings: Settings, store: Store, row: Row, whole: bool) -> dict[str, object]:
    """What a template may use."""
    from remora.frontend.images import listing
    from remora.frontend.output import text
    from remora.frontend.output.template.values import Map

    image = row.image
    ago = text.ago(image.created_ns, time.time_ns())
    seconds = image.created_ns // 1_000_000_000
    at = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(seconds))
    return {
        "Containers": listing.containers(settings, store, image),
        "Created": ago,
        "CreatedAt": at,
        "CreatedSince": ago,
        "CreatedTime": at,
        "Dangling": not image.names,
        "Digest": image.digest,
        "History": ", ".join(listing.history_names(image)),
        "ID": _id(image, whole),
        "Id": image.id,
        "Labels": Map(listing.labels(image)),
        "Names": list(image.names),
        "ParentId": "",
        "ReadOnly": not image.writable,
        "RepoDigests": _digests(image),
        "RepoTags": _tags(image),
        "Repository": row.repository,
        "SharedSize": 0,
        "Size": _size(row.size),
        "Tag": row.tag,
        "VirtualSize": row.size,
    }


def _size(count: int) -> str:
    """`2 MB`: Podman sets a space before the unit here."""
    from remora.frontend.output.text import size

    shown = size(count)
    digits = shown.rstrip("kMGTPEB")
    return f"{digits} {shown[len(digits) :]}"


def _digests(image: Image) -> list[str]:
    from remora.frontend.images import names

    return sorted({f"{names.split(name)[0]}@{image.digest}" for name in image.names})


def _tags(image: Image) -> list[str]:
    from remora.frontend.images import names

    return [name for name in image.names if names.split(name)[1]]


def _json(settings: Settings, store: Store, rows: list[Row]) -> None:
    """One object for each image, with Podman's field names."""
    import json

    from remora.frontend.images import listing

    found: dict[str, dict[str, object]] = {}
    for row in rows:
        image = row.image
        seconds = image.created_ns // 1_000_000_000
        history = listing.history_names(image)
        found[image.id] = {
            "Id": image.id,
            "ParentId": "",
            "RepoTags": _tags(image) or None,
            "RepoDigests": _digests(image),
            "Size": row.size,
            "SharedSize": 0,
            "VirtualSize": row.size,
            "Labels": listing.labels(image) or None,
            "Containers": listing.containers(settings, store, image),
            **({"Names": image.names} if image.names else {"Dangling": True}),
            "Digest": image.digest,
            **({"History": history} if history else {}),
            "Created": seconds,
            "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
        }
    sys.stdout.write(json.dumps(list(found.values()), indent=4) + "\n")
