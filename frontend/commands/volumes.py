"""`remora volume create`, `ls`, `inspect`, `rm`, `prune` and `exists`.

Exit status of rm: 1 when there is no such volume, 2 when containers use it and --force was not given; of exists: 0 or 1
(as Podman's).
"""

from __future__ import annotations

import os
import sys

from remora.frontend.commands import selection
from remora.frontend.commands.prune import sure
from remora.frontend.errors import RemoraError
from remora.frontend.volumes import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings
    from remora.frontend.volumes.store import Volume

EXAMPLE_volume_create = "remora volume create --label site=web data"
EXAMPLE_volume_ls = "remora volume ls --filter dangling=true"
EXAMPLE_volume_inspect = "remora volume inspect -f '{{.Mountpoint}}' data"
EXAMPLE_volume_rm = "remora volume rm data"
EXAMPLE_volume_prune = "remora volume prune --force"
EXAMPLE_volume_exists = "remora volume exists data || remora volume create data"
INDENT = 5
COLUMNS = "table {{.Driver}}\t{{.Name}}"
HEADINGS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}


# ---- create ----------------------------------------------------------------------------------


def add_arguments_volume_create(parser: ArgumentParser) -> None:
    parser.add_argument("--driver", "-d", default="local", metavar="DRIVER", help="local, there is no other")
    parser.add_argument("--ignore", action="store_true", help="A volume that is there already is no error")
    parser.add_argument("--label", "-l", action="append", metavar="KEY=VALUE", help="Label of the volume")
    text = "type=tmpfs with o=size=…,mode=…, or type=none, o=bind and device=FOLDER"
    parser.add_argument("--opt", "-o", action="append", metavar="KEY=VALUE", help=text)
    parser.add_argument("name", nargs="?", default="", metavar="NAME")


def run_volume_create(arguments: Namespace, settings: Settings) -> int:
    """Make the volume and print its name."""
    from remora.frontend.options import values
    from remora.frontend.volumes import options

    if arguments.driver != "local":
        raise RemoraError(f'volume driver "{arguments.driver}" is not known', "leave out --driver")
    name = arguments.name or os.urandom(32).hex()
    store.check_name(name)
    labels = dict(values.pair("--label", text) for text in arguments.label)
    given = dict(values.pair("--opt", text) for text in arguments.opt)
    options.check(given)
    if settings.outside:
        from remora.frontend.rootless import folders

        folders.prepare(settings)
    else:
        store.sweep(settings)
    try:
        os.close(store.make(settings, store.new(name, labels, given)))
    except FileExistsError:
        if not arguments.ignore:
            hint = f"`remora volume rm {name}` removes it, --ignore leaves it as it is"
            raise RemoraError(f'volume with name "{name}" already exists', hint) from None
    selection.put(name)
    return 0


# ---- ls, inspect, exists -----------------------------------------------------------------------


def add_arguments_volume_ls(parser: ArgumentParser) -> None:
    parser.add_argument("--filter", "-f", action="append", metavar="KEY=VALUE", help="Only volumes that match")
    parser.add_argument("--format", default="", metavar="FORMAT", help="json, table COLUMNS or a Go template")
    parser.add_argument("--noheading", "-n", action="store_true", help="No headings")
    parser.add_argument("--quiet", "-q", action="store_true", help="Only names")


def run_volume_ls(arguments: Namespace, settings: Settings) -> int:
    """Print the table, the names, JSON, or what a template makes of each."""
    from remora.frontend.volumes import describe

    if arguments.quiet and arguments.format:
        raise RemoraError("--quiet and --format exclude each other", "leave out one of them")
    filters = describe.Filters(settings, arguments.filter)
    used = store.users(settings, corrupt=[]) if "dangling" in filters.values or arguments.format else {}
    volumes = [one for one in _everything(settings) if filters.matches(one, one["name"] in used)]
    if arguments.quiet:
        sys.stdout.write("".join(volume["name"] + "\n" for volume in volumes))
        return 0
    shown = [describe.fields(settings, volume, len(used.get(volume["name"], []))) for volume in volumes]
    if arguments.format == "json":
        from json import dumps

        sys.stdout.write(dumps(shown, indent=INDENT, ensure_ascii=False) + "\n")
    else:
        from remora.frontend.output.rows import render

        form = COLUMNS if arguments.format in ("", "table") else arguments.format
        sys.stdout.write(render(form, shown, HEADINGS, not arguments.noheading))
    return 0


def _everything(settings: Settings) -> list[Volume]:
    """All volumes; those whose record can't be used are told on stderr."""
    if not settings.outside:
        store.sweep(settings)
    found = []
    for name in store.listed(settings):
        try:
            found.append(store.load(settings, name))
        except store.NoSuchVolume:
            continue
        except RemoraError as error:
            selection.say(str(error))
    return found


def add_arguments_volume_inspect(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="All volumes")
    parser.add_argument("--format", "-f", default="json", metavar="FORMAT", help="json (default) or a Go template")
    parser.add_argument("volumes", nargs="*", metavar="VOLUME")


def run_volume_inspect(arguments: Namespace, settings: Settings) -> int:
    """Print what is found; 125 when something is not there (what is there is printed all the same)."""
    from remora.frontend.volumes import describe

    if bool(arguments.volumes) == arguments.all:
        raise RemoraError("name volumes, or use --all", "`remora volume ls` lists the volumes")
    used = store.users(settings, corrupt=[])
    outcome = selection.Outcome()
    found: list[dict[str, object]] = []
    for name in store.listed(settings) if arguments.all else arguments.volumes:
        try:
            volume = store.load(settings, _full(settings, name))
        except RemoraError as error:
            error.status = 125
            outcome.failed(error)
            continue
        found.append(describe.fields(settings, volume, len(used.get(volume["name"], []))))
    if arguments.format == "json":
        from json import dumps

        selection.put(dumps(found, indent=INDENT, ensure_ascii=False))
        return outcome.status
    from remora.frontend.output.rows import unescape
    from remora.frontend.output.template.evaluate import Template

    template = Template(unescape(arguments.format))
    for value in found:
        selection.put(template.render(value))
    return outcome.status


def _full(settings: Settings, given: str) -> str:
    """The name of the volume that is meant: the name, or a beginning that only one has."""
    names = store.listed(settings)
    matches = [given] if given in names else [name for name in names if given and name.startswith(given)]
    if len(matches) > 1:
        raise RemoraError(f'more than one volume has a name beginning with "{given}"', "give more of the name")
    if not matches:
        raise store.NoSuchVolume(given)
    return matches[0]


def add_arguments_volume_exists(parser: ArgumentParser) -> None:
    parser.add_argument("volume", metavar="VOLUME")


def run_volume_exists(arguments: Namespace, settings: Settings) -> int:
    """0 when it is there, else 1."""
    return 0 if arguments.volume in store.listed(settings) else store.ABSENT


# ---- rm, prune ---------------------------------------------------------------------------------


def add_arguments_volume_rm(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="All volumes")
    parser.add_argument("--force", "-f", action="store_true", help="Also remove the containers that use them")
    text = "Seconds before containers are killed, with --force"
    parser.add_argument("--time", "-t", type=int, default=None, metavar="SECONDS", help=text)
    parser.add_argument("volumes", nargs="*", metavar="VOLUME")


def run_volume_rm(arguments: Namespace, settings: Settings) -> int:
    """Remove each and print its name."""
    if bool(arguments.volumes) == arguments.all:
        raise RemoraError("name volumes, or use --all", "`remora volume ls` lists the volumes")
    outcome = selection.Outcome()
    names: list[str] = []
    for given in store.listed(settings) if arguments.all else arguments.volumes:
        try:
            names.append(_full(settings, given))
        except RemoraError as error:
            if not (arguments.force and isinstance(error, store.NoSuchVolume)):
                outcome.failed(error)
    if arguments.force:
        names = [name for name in names if outcome.attempt(_remove_containers, settings, name, arguments)]
    _enter(settings)
    for name in names:
        if outcome.attempt(store.remove, settings, name):
            selection.put(name)
    return outcome.status


def _enter(settings: Settings) -> None:
    """An ordinary user's volumes hold files of other ids."""
    if settings.outside:
        from remora.frontend.rootless import entering

        entering.enter(settings)


def _remove_containers(settings: Settings, name: str, arguments: Namespace) -> None:
    from remora.frontend.arguments import ArgumentParser
    from remora.frontend.commands import rm

    users = store.users(settings, name, corrupt=[]).get(name, [])
    if not users:
        return
    parser = ArgumentParser("remora rm")
    rm.add_arguments(parser)
    words = ["--force", "--ignore", *(["--time", str(arguments.time)] if arguments.time is not None else [])]
    status = rm.remove(parser.parse_args([*words, *(record.id for record in users)]), settings, lambda _: None)
    if status:
        raise RemoraError(f'not all containers of volume "{name}" could be removed', status=status)


def add_arguments_volume_prune(parser: ArgumentParser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="Also volumes that were given a name")
    text = "Only volumes that match: label, label!, until; all=true"
    parser.add_argument("--filter", action="append", metavar="KEY=VALUE", help=text)
    parser.add_argument("--force", "-f", action="store_true", help="Do not ask")


def run_volume_prune(arguments: Namespace, settings: Settings) -> int:
    """Remove the volumes that no container uses, with --all also those with a name of their own; print the names."""
    from remora.frontend.volumes import describe

    filters = describe.Filters(settings, arguments.filter, describe.PRUNE_FILTERS)
    everything = arguments.all or filters.says("all")
    kind = "" if everything else "anonymous "
    if not arguments.force and not sure(f"This will remove all {kind}volumes not used by at least one container."):
        return 0
    _enter(settings)
    used = store.users(settings)
    outcome = selection.Outcome()
    for volume in _everything(settings):
        name = volume["name"]
        if name in used or not (everything or volume["owner"]) or not filters.matches(volume, False):
            continue
        try:
            store.remove(settings, name)
        except store.NoSuchVolume:
            continue
        except (RemoraError, OSError) as error:
            if getattr(error, "status", 0) != store.USED:  # by a container that has just been made
                outcome.failed(error)
            continue
        selection.put(name)
    return outcome.status
