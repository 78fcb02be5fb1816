"""`remora history`: the steps that an image was made in, newest first."""

from __future__ import annotations

import sys
import time

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.images.history import Step
    from remora.frontend.settings import Settings

EXAMPLE = "remora history --no-trunc --format '{{.Size}} {{.CreatedBy}}' busybox"
COLUMNS = "table {{.ID}}\t{{.Created}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
FIELDS = ("ID", "Created", "CreatedAt", "CreatedBy", "CreatedSince", "Size", "Comment", "Tags")
HEADINGS = {name: name.upper() for name in FIELDS} | {
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "CreatedSince": "CREATED SINCE",
}
SHORT = 12
BY_WIDTH = 45


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman history` has them."""
    parser.add_argument("image", metavar="IMAGE", help="Name or id of the image")
    parser.add_argument("--format", default="", metavar="FORMAT", help="json, table COLUMNS or a Go template")
    text = "Sizes and times for people (--human=false: bytes and RFC 3339)"
    parser.add_argument("-H", "--human", action="store_true", default=True, help=text)
    parser.add_argument("--no-trunc", action="store_true", help="Show whole ids and steps")
    parser.add_argument("-q", "--quiet", action="store_true", help="Show ids only")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the table, the ids, JSON, or what a template makes of each step."""
    from remora.frontend.images import history
    from remora.frontend.images.store import Store

    if arguments.quiet and arguments.format:
        raise RemoraError("--quiet and --format exclude each other", "leave out one of them")
    store = Store(settings)
    steps = history.steps(store, store.find(arguments.image))
    if arguments.quiet:
        sys.stdout.write("".join(_id(step, arguments.no_trunc) + "\n" for step in steps))
    elif arguments.format == "json":
        from json import dumps

        sys.stdout.write(dumps([_object(step) for step in steps], indent=2, ensure_ascii=False) + "\n")
    else:
        from remora.frontend.output.rows import render

        form = COLUMNS if arguments.format in ("", "table") else arguments.format
        rows = [_fields(step, arguments.human, arguments.no_trunc) for step in steps]
        sys.stdout.write(render(form, rows, HEADINGS))
    return 0


def _id(step: Step, whole: bool) -> str:
    return step.image if whole else step.image[:SHORT]


def _object(step: Step) -> dict[str, object]:
    """Podman's names; what is empty is left out, as there."""
    return {
        "id": step.image,
        "created": step.created,
        **({"CreatedBy": step.created_by} if step.created_by else {}),
        **({"tags": step.names} if step.names else {}),
        "size": step.size,
        **({"comment": step.comment} if step.comment else {}),
        "Created": _seconds(step),
    }


def _seconds(step: Step) -> str:
    """RFC 3339; "" when it is not known."""
    if not step.created_ns:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(step.created_ns // 1_000_000_000))


def _fields(step: Step, human: bool, whole: bool) -> dict[str, object]:
    """What a template may use."""
    from remora.frontend.output import text

    since = text.ago(step.created_ns, time.time_ns()) if step.created_ns else ""
    by = text.visible(step.created_by)
    return {
        "ID": _id(step, whole),
        "Created": since if human else _seconds(step),
        "CreatedAt": text.moment(step.created_ns),
        "CreatedBy": by if whole or len(by) <= BY_WIDTH else by[: BY_WIDTH - 3] + "...",
        "CreatedSince": since,
        "Size": _size(step.size) if human else str(step.size),
        "Comment": text.visible(step.comment),
        "Tags": list(step.names),
    }


def _size(count: int) -> str:
    """`2.14 MB`, as Podman has it here."""
    from remora.frontend.output.text import size

    shown = size(count)
    digits = shown.rstrip("kMGTPEB")
    return f"{digits} {shown[len(digits) :]}"
