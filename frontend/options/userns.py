"""`--userns`, `--uidmap`, `--gidmap`, `--subuidname`, `--subgidname`: which user namespace a container gets.

Modes and rules are those documented for Podman (`podman run --userns`). A map is settled here, once for the container's
life; only that of `auto` is found when the container is made (userns/automatic.py), under a lock.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.userns import maps, space, subids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.arguments import Namespace
    from remora.frontend.container.spec import Spec, UserNamespace
    from remora.frontend.settings import Settings
    from remora.frontend.userns.maps import Map

WORDS = ("auto", "host", "keep-id", "nomap", "container:NAME", "ns:PATH")
OF_USERS = ("keep-id", "nomap")
SIZE_LARGEST = 1 << 31


def read(settings: Settings, arguments: Namespace, spec: Spec) -> None:
    """Put the user namespace asked for, else configured, into the request; with keep-id the user, too.

    Raises RemoraError for what makes no sense, or can't be had here.
    """
    given = bool(arguments.uidmap or arguments.gidmap)
    names = bool(arguments.subuidname or arguments.subgidname)
    option, text = "--userns", arguments.userns or ""
    if given + names + bool(text and text != "private") > 1:
        two = [name for name, there in (("--userns", text), ("--uidmap", given), ("--subuidname", names)) if there]
        raise RemoraError(f"options {two[0]} and {two[1]} exclude each other", hint="leave out one of them")
    if given:
        spec["userns"] = _given(settings, arguments)
        return
    if names:
        spec["userns"] = _named(settings, arguments)
        return
    if not text and settings.conf.has("containers", "userns"):
        option, text = settings.conf.where("containers", "userns"), settings.conf.text("containers", "userns")
    word, _, rest = text.partition(":")
    if word in OF_USERS and not settings.rootless:
        raise RemoraError(
            f"{option} {text}: only for containers of ordinary users", "root chooses with --userns auto or --uidmap"
        )
    if word == "auto":
        spec["userns"] = _automatic(settings, option, text, rest)
    elif word == "keep-id":
        _keep(settings, option, text, rest, arguments, spec)
    elif text == "nomap":
        uids, gids = (_count(settings, option, kind) for kind in ("uid", "gid"))
        spec["userns"] = _settled("nomap", [[0, 1, uids]], [[0, 1, gids]])
    elif word == "container" and rest:
        spec["userns"] = _container(settings, rest)
    elif word == "ns" and rest:
        spec["userns"] = _path(option, os.path.abspath(rest))
    elif text not in ("", "host"):
        raise _unknown(option, text)


def _unknown(option: str, text: str) -> RemoraError:
    if text == "private":
        return RemoraError(f"{option} private: the map is missing", hint="give it with --uidmap, or use --userns auto")
    from difflib import get_close_matches

    near = get_close_matches(text, WORDS, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return RemoraError(f'unknown mode "{text}" for {option}', f"{hint}One of {', '.join(WORDS)}")


def _settled(mode: str, uid_map: Map, gid_map: Map, target: str = "") -> UserNamespace:
    return {"mode": mode, "target": target, "size": 0, "uid_map": uid_map, "gid_map": gid_map}


# ---- maps by numbers and by names


def _given(settings: Settings, arguments: Namespace) -> UserNamespace:
    uids, gids = list(arguments.uidmap), list(arguments.gidmap)
    uid_map = _parsed(settings, "--uidmap" if uids else "--gidmap", uids or gids, "uid")
    gid_map = _parsed(settings, "--gidmap" if gids else "--uidmap", gids or uids, "gid")
    return _settled("map", uid_map, gid_map)


def _parsed(settings: Settings, option: str, texts: Sequence[str], kind: str) -> Map:
    found = [maps.parse(option, word) for text in texts for word in text.split(",")]
    return maps.check(option, found, maps.own(settings, kind))


def _named(settings: Settings, arguments: Namespace) -> UserNamespace:
    uids = arguments.subuidname or arguments.subgidname
    gids = arguments.subgidname or arguments.subuidname
    made = []
    for option, kind, name in (("--subuidname", "uid", uids), ("--subgidname", "gid", gids)):
        found = subids.in_a_row(option, kind, name)
        if settings.rootless:
            found = _translated(settings, f"{option} {name}", kind, found)
        made.append(maps.check(option, found, maps.own(settings, kind)))
    return _settled("map", made[0], made[1])


def _translated(settings: Settings, what: str, kind: str, found: Map) -> Map:
    """Host ids as ids of the user's own namespace, in which the container will be."""
    rows = maps.base(settings, kind)
    result = []
    for first, host, count in found:
        row = next((row for row in rows if row[1] <= host and host + count <= row[1] + row[2]), None)
        if row is None:
            raise RemoraError(f"{what}: the ids {host} to {host + count - 1} are not this user's", "see `remora info`")
        result.append([first, row[0] + host - row[1], count])
    return result


# ---- modes


def _count(settings: Settings, option: str, kind: str) -> int:
    """How many ids the user has beside its own. Raises RemoraError when there is none."""
    count = sum(length for _, length in maps.own(settings, kind)) - 1
    if count < 1:
        from remora.frontend.rootless import ranges

        found = ranges.load(settings)
        raise RemoraError(f"{option}: {found.name} has no ranges in {subids.FILES[kind]}", f"`{found.command()}`")
    return count


def _keep(settings: Settings, option: str, text: str, rest: str, arguments: Namespace, spec: Spec) -> None:
    numbers = {"uid": settings.uid, "gid": settings.gid}
    for word in rest.split(",") if rest else ():
        key, _, value = word.partition("=")
        if key not in numbers or not value.isascii() or not value.isdecimal() or int(value) >= maps.LARGEST:
            raise RemoraError(f'invalid value "{text}" for {option}', hint="keep-id, or keep-id:uid=UID,gid=GID")
        numbers[key] = int(value)
    made = [maps.keep_id(number, _count(settings, option, kind)) for kind, number in numbers.items()]
    spec["userns"] = _settled("keep-id", made[0], made[1])
    if not arguments.user:
        spec["user"] = f"{numbers['uid']}:{numbers['gid']}"


def _automatic(settings: Settings, option: str, text: str, rest: str) -> UserNamespace:
    """Forced ranges and the size; the others are found when the container is made."""
    made = _settled("auto", [], [])
    size = (
        settings.conf.integer("containers", "userns_size", 0, 0)
        if settings.conf.has("containers", "userns_size")
        else 0
    )
    for word in rest.split(",") if rest else ():
        key, _, value = word.partition("=")
        if key == "size" and value.isascii() and value.isdecimal() and 0 < int(value) < SIZE_LARGEST:
            size = int(value)
        elif key == "uidmapping":
            made["uid_map"].append(maps.parse(f"{option} auto:uidmapping", value))
        elif key == "gidmapping":
            made["gid_map"].append(maps.parse(f"{option} auto:gidmapping", value))
        else:
            raise RemoraError(
                f'invalid value "{text}" for {option}',
                hint="auto, or auto:size=N,uidmapping=ID:ID:N,gidmapping=ID:ID:N",
            )
    made["size"] = size
    return made


def _container(settings: Settings, name: str) -> UserNamespace:
    from remora.frontend.container import record as records

    other = records.find(settings, name)
    theirs = other.spec["userns"]
    return _settled("container", theirs["uid_map"], theirs["gid_map"], other.id)


def _path(option: str, path: str) -> UserNamespace:
    fd = space.open_file(f"{option} ns", path)
    try:
        uid_map, gid_map = space.read_maps(fd)
    except OSError as error:
        raise RemoraError(f"{option} ns:{path}: entering it: {os_error_text(error)}") from None
    finally:
        os.close(fd)
    return _settled("ns", uid_map, gid_map, path)
