"""Maps of ids: lists of [inside, outside, count], as in /proc/PID/uid_map (user_namespaces(7)).

`inside` is what the container sees, `outside` what it is where the monitor lives: for root the host's ids, for an
ordinary user those of the user's own namespace (0 is the user, 1 … the ranges of /etc/subuid). All but `base` is pure.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from remora.frontend.settings import Settings

    Map: TypeAlias = list[list[int]]
    # (first, count), ascending, none touching the next
    Span: TypeAlias = tuple[int, int]

LARGEST = 4294967295  # the kernel's own "no id"
RANGES_MAX = 340  # lines of a map (user_namespaces(7))


def base(settings: Settings, kind: str) -> Map:
    """The map of the user namespace that the container's monitor lives in. kind: `uid` or `gid`."""
    if settings.outside:  # it will be entered with this map
        from remora.frontend.rootless import ranges

        found = ranges.load(settings)
        return [list(row) for row in (found.uid_map if kind == "uid" else found.gid_map)]
    with open(f"/proc/self/{kind}_map", "rb", buffering=0) as file:
        rows = [line.split() for line in file.read(65536).splitlines()]
    return [[int(word) for word in row] for row in rows if len(row) == 3]


def own(settings: Settings, kind: str) -> list[Span]:
    """The ids that there are to be mapped: those of the monitor's namespace."""
    return spans((first, count) for first, _, count in base(settings, kind))


def spans(ranges: Iterable[Span]) -> list[Span]:
    """Ranges in order, joined where they touch or overlap."""
    result: list[Span] = []
    for first, count in sorted(ranges):
        if result and first <= result[-1][0] + result[-1][1]:
            begin, have = result[-1]
            result[-1] = (begin, max(have, first + count - begin))
        elif count:
            result.append((first, count))
    return result


def without(ranges: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What of the ranges is not taken."""
    result = []
    used = spans(taken)
    for first, count in spans(ranges):
        end = first + count
        for begin, length in used:
            if begin + length <= first or begin >= end:
                continue
            if begin > first:
                result.append((first, begin - first))
            first = begin + length
        if first < end:
            result.append((first, end - first))
    return result


def holds(ranges: Iterable[Span], first: int, count: int) -> bool:
    """Whether all these ids are in the ranges, which are as `spans` gives them."""
    return any(begin <= first and first + count <= begin + length for begin, length in ranges)


def outside(mapping: Sequence[Sequence[int]], number: int) -> int | None:
    """What an id of the container is outside; None when it has none. An empty map changes nothing."""
    if not mapping:
        return number
    for first, at, count in mapping:
        if first <= number < first + count:
            return at + number - first
    return None


def unused(mapping: Sequence[Sequence[int]], have: Sequence[Span]) -> int:
    """An id outside that is nobody's in the container: for files whose owner the container does not know.

    The last one there is; 65534 when the map takes all of them (then no file can have such an owner).
    """
    left = without(have, ((at, count) for _, at, count in mapping))
    return left[-1][0] + left[-1][1] - 1 if left else 65534


def parse(option: str, text: str) -> list[int]:
    """`INSIDE:OUTSIDE[:COUNT]` in numbers. Raises RemoraError for another form."""
    words = text.split(":")
    if len(words) == 2:
        words.append("1")
    if len(words) != 3 or not all(word.isascii() and word.isdecimal() for word in words):
        raise RemoraError(f'invalid value "{text}" for {option}', hint="CONTAINER-ID:HOST-ID:COUNT, as 0:100000:65536")
    first, at, count = (int(word) for word in words)
    if not count or first + count > LARGEST or at + count > LARGEST:
        raise RemoraError(f'invalid value "{text}" for {option}', hint=f"at least one id, none above {LARGEST - 1}")
    return [first, at, count]


def check(option: str, mapping: Map, have: Sequence[Span], whose: str = "") -> Map:
    """A map that the kernel takes, else RemoraError. have: the ids there are to be mapped; whose: for the message."""
    if len(mapping) > RANGES_MAX:
        raise RemoraError(f"{option}: {len(mapping)} ranges", hint=f"the kernel takes {RANGES_MAX}")
    for index, (first, at, count) in enumerate(mapping):
        for begin, other, length in mapping[:index]:
            if first < begin + length and begin < first + count:
                raise RemoraError(f"{option}: two ranges have the container's id {max(first, begin)}", "leave out one")
            if at < other + length and other < at + count:
                raise RemoraError(f"{option}: two ranges have the id {max(at, other)} outside", "leave out one")
        if not holds(have, at, count):
            there = ", ".join(f"{begin} to {begin + length - 1}" for begin, length in have)
            raise RemoraError(
                f"{option}: {whose or 'this user'} has no ids {at} to {at + count - 1}", f"those there are: {there}"
            )
    if outside(mapping, 0) is None:
        raise RemoraError(f"{option}: no range has the container's id 0", hint="its root must be somebody: add 0:…:1")
    return mapping


def keep_id(number: int, count: int) -> Map:
    """The user itself as `number`, around it the `count` ids of the user's ranges (outside 1 …)."""
    result = []
    if number and count:
        result.append([0, 1, min(number, count)])
    result.append([number, 0, 1])
    if count > number:
        result.append([number + 1, number + 1, count - number])
    return result


def assign(wanted: Sequence[Span], free: Sequence[Span]) -> Map:
    """A map of the wanted ids of the container to free ones, as few ranges as come; [] when there are too few."""
    result = []
    left = list(free)
    for first, count in wanted:
        whole = next((index for index, (_, length) in enumerate(left) if length >= count), None)
        while count:
            if not left:
                return []
            index = 0 if whole is None else whole
            at, length = left[index]
            part = min(count, length)
            result.append([first, at, part])
            first, count = first + part, count - part
            left[index : index + 1] = [(at + part, length - part)] if length > part else []
    return result


def text(mapping: Sequence[Sequence[int]]) -> list[str]:
    """`INSIDE:OUTSIDE:COUNT` of each range."""
    return [":".join(map(str, one)) for one in mapping]
