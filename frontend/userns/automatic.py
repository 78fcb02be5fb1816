"""`--userns auto`: ids that no other container has, found when a container is made.

Root's come from the ranges of the user `containers` in /etc/subuid and /etc/subgid, an ordinary user's from its own.
Taken are those of every other container here, and of every container that the image store knows (Podman's).
Who looks and who writes the record holds one lock, so that no two containers get the same.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.errors import RemoraError
from remora.frontend.userns import maps, subids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Spec
    from remora.frontend.settings import Settings
    from remora.frontend.userns.maps import Map, Span

LOCK = "userns.lock"  # in the data folder
# Podman's: [storage.options] auto-userns-min-size, auto-userns-max-size (containers-storage.conf(5)).
SMALLEST, LARGEST = 1024, 65536
FILE_MAX = 1 << 20  # bytes of passwd and group that are looked at
NOBODY = ("nobody", "nogroup", "nfsnobody")


def save(settings: Settings, record: ContainerRecord, *, durable: bool) -> None:
    """Find the maps of a container that is being made and write its record.

    Raises RemoraError when too few ids are free.
    """
    import fcntl

    lock = os.open(f"{settings.data}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        choose(settings, record.spec)
        record.save(durable=durable)
    finally:
        os.close(lock)


def choose(settings: Settings, spec: Spec) -> None:
    """Fill in both maps; those that were asked for stay."""
    asked = spec["userns"]
    size = asked["size"] or _size(spec)
    forced = {"uid": asked["uid_map"], "gid": asked["gid_map"]}
    taken = _taken(settings, spec["id"])
    made = {}
    for kind, fixed in forced.items():
        wanted = maps.without([(0, size)], ((first, count) for first, _, count in fixed))
        have = _available(settings, kind)
        free = maps.without(have, [*taken[kind], *((at, count) for _, at, count in fixed)])
        found = maps.assign(wanted, free)
        if wanted and not found:
            left = sum(count for _, count in free)
            raise RemoraError(
                f"--userns auto: {size} {kind}s are needed, {left} are free",
                "remove containers that have some, ask for fewer with --userns auto:size=N, or add a range to "
                f"{subids.FILES[kind]}",
            )
        made[kind] = maps.check("--userns auto", sorted(fixed + found), maps.own(settings, kind))
    spec["userns"] = {**asked, "size": size, "uid_map": made["uid"], "gid_map": made["gid"]}


def _available(settings: Settings, kind: str) -> list[Span]:
    if settings.rootless:
        return maps.without(maps.own(settings, kind), [(0, 1)])  # its own id is not a container's to have
    found = subids.of(kind, subids.AUTOMATIC)
    if not found:
        raise RemoraError(
            f'--userns auto: no line for the user "{subids.AUTOMATIC}" in {subids.FILES[kind]}',
            subids.command(subids.AUTOMATIC),
        )
    return maps.spans(found)


def _taken(settings: Settings, own_id: str) -> dict[str, list[Span]]:
    from remora.frontend.container import record as records

    result: dict[str, list[Span]] = {"uid": [], "gid": []}
    for other in records.records(settings, []):
        if other.id != own_id:
            _add(result, other.spec["userns"]["uid_map"], other.spec["userns"]["gid_map"])
    for uid_map, gid_map in _of_store(settings):
        _add(result, uid_map, gid_map)
    return result


def _add(result: dict[str, list[Span]], uid_map: Map, gid_map: Map) -> None:
    result["uid"] += [(at, count) for _, at, count in uid_map]
    result["gid"] += [(at, count) for _, at, count in gid_map]


def _of_store(settings: Settings) -> Iterator[tuple[Map, Map]]:
    """The maps of the containers that others have in the image store."""
    from remora.frontend.images.decode import as_int, as_list, as_map
    from remora.frontend.images.store import Store, read_records

    for record in read_records(f"{Store(settings).root}/overlay-containers/containers.json"):
        both: list[Map] = []
        for key in ("uidmap", "gidmap"):
            rows = [as_map(row) for row in as_list(record.get(key))]
            both.append([[as_int(row.get(name)) for name in ("container_id", "host_id", "size")] for row in rows])
        yield both[0], both[1]


def _size(spec: Spec) -> int:
    """As many ids as the image has users, groups and a user to run as for."""
    most = 0
    for name in ("passwd", "group"):
        for line in _image_file(spec, "/etc/" + name):
            fields = line.split(":")
            if len(fields) > 3 and fields[0] not in NOBODY:
                ids = fields[2:4] if name == "passwd" else fields[2:3]
                most = max([most, *(int(text) + 1 for text in ids if text.isascii() and text.isdecimal())])
    for text in spec["user"].split(":"):
        if text.isascii() and text.isdecimal():
            most = max(most, int(text) + 1)
    return max(SMALLEST, min(most, LARGEST))


def _image_file(spec: Spec, path: str) -> list[str]:
    """The lines of a file of the image, from the nearest layer that has it."""
    image = spec["image"]
    for folder in image["lower"] if image is not None else [spec["rootfs"] or "/"]:
        try:
            root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fd = monitor.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            continue
        finally:
            os.close(root)
        try:
            return os.read(fd, FILE_MAX).decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        finally:
            os.close(fd)
    return []
