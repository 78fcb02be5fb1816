"""`remora inspect`: everything about containers, images or volumes, as JSON or through a Go template."""

from __future__ import annotations

from remora.frontend.commands import selection
from remora.frontend.container import record as records
from remora.frontend.errors import NoSuchContainer, RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora inspect --format '{{.State.Pid}}' web"
TYPES = ("all", "container", "image", "volume")
INDENT = 4


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--format", "-f", default="json", metavar="FORMAT", help="json (default) or a Go template")
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("--size", "-s", action="store_true", help="Also the size of what containers wrote")
    text = "container, image, volume or all"
    parser.add_argument("--type", "-t", default="all", choices=TYPES, metavar="TYPE", help=text)
    parser.add_argument("names", nargs="*", metavar="NAME", complete="@object")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print what is found; 125 when something is not there (what is there is printed all the same)."""
    names = list(arguments.names)
    if arguments.latest:
        if names:
            raise RemoraError("--latest and names exclude each other", "leave out one of them")
        names = [selection.latest(settings).id]
    if not names:
        raise RemoraError("no names or ids specified", f"for example `{EXAMPLE}`")
    as_json = arguments.format == "json"
    template = None
    if not as_json:
        from remora.frontend.output.rows import unescape
        from remora.frontend.output.template.evaluate import Template

        template = Template(unescape(arguments.format))
    found: list[dict[str, object]] = []
    outcome = selection.Outcome()
    for name in names:
        try:
            value = _object(settings, name, arguments.type, arguments.size)
        except (RemoraError, OSError) as error:
            outcome.failed(error)
            continue
        if template is not None:
            selection.put(template.render(value))
        else:
            found.append(value)
    if as_json:
        from json import dumps

        selection.put(dumps(found, indent=INDENT, ensure_ascii=False))
    return outcome.status


def _object(settings: Settings, name: str, kind: str, size: bool) -> dict[str, object]:
    """The container, the image or the volume that is called so; a container goes first, a volume last."""
    if kind == "volume":
        return _volume(settings, name)
    if kind != "image":
        from remora.frontend.container import describe

        try:
            return describe.container(settings, records.find(settings, name), size)
        except NoSuchContainer:
            if kind == "container":
                raise
    from remora.frontend.images import describe as images
    from remora.frontend.images.store import Store, UnknownImage

    try:
        return images.image(Store(settings).find(name))
    except UnknownImage:
        if kind == "image":
            raise
    try:
        return _volume(settings, name)
    except RemoraError:
        raise RemoraError(
            f'inspecting object: no such object: "{name}"', "`remora ps -a` and `remora images` list what there is"
        ) from None


def _volume(settings: Settings, name: str) -> dict[str, object]:
    from remora.frontend.volumes import describe, store

    try:
        volume = store.load(settings, name)
    except store.NoSuchVolume as error:
        error.status = 125
        raise
    return describe.fields(settings, volume, len(store.users(settings, name, corrupt=[]).get(name, [])))
