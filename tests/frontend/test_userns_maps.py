"""The arithmetic of id maps, and the texts that make them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remora.frontend.errors import RemoraError
from remora.frontend.userns import maps

SPANS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=8)


def ids(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, count in ranges for number in range(first, first + count)}


@given(SPANS)
def test_spans_hold_the_same_ids_and_do_not_touch(ranges: list[tuple[int, int]]) -> None:
    found = maps.spans(ranges)
    assert ids(found) == ids(ranges)
    assert all(a + count < b for (a, count), (b, _) in pairwise(found))


@given(SPANS, SPANS)
def test_without_leaves_what_is_not_taken(ranges: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    assert ids(maps.without(ranges, taken)) == ids(ranges) - ids(taken)


@given(SPANS, SPANS)
def test_assigned_ids_are_free_and_each_is_used_once(
    wanted: list[tuple[int, int]], free: list[tuple[int, int]]
) -> None:
    wanted, free = maps.spans(wanted), maps.spans(free)
    found = maps.assign(wanted, free)
    if len(ids(wanted)) > len(ids(free)) or not wanted:
        assert found == []
        return
    inside = [number for first, _, count in found for number in range(first, first + count)]
    outside = [number for _, first, count in found for number in range(first, first + count)]
    assert sorted(inside) == sorted(ids(wanted))
    assert len(set(outside)) == len(outside) and set(outside) <= ids(free)


def test_one_range_is_taken_whole_where_there_is_room() -> None:
    assert maps.assign([(0, 10)], [(5, 3), (100, 20)]) == [[0, 100, 10]]


@pytest.mark.parametrize(
    ("number", "count", "expected"),
    [
        (1001, 65536, [[0, 1, 1001], [1001, 0, 1], [1002, 1002, 64535]]),
        (0, 65536, [[0, 0, 1], [1, 1, 65536]]),
        (70000, 65536, [[0, 1, 65536], [70000, 0, 1]]),
        (65536, 65536, [[0, 1, 65536], [65536, 0, 1]]),
    ],
)
def test_keep_id_is_podmans_map(number: int, count: int, expected: list[list[int]]) -> None:
    assert maps.keep_id(number, count) == expected


@given(st.integers(0, 400), st.integers(1, 300))
def test_keep_id_maps_each_id_of_the_user_once(number: int, count: int) -> None:
    found = maps.keep_id(number, count)
    outside = [at + i for _, at, length in found for i in range(length)]
    assert sorted(outside) == list(range(count + 1))
    assert maps.outside(found, number) == 0
    assert maps.outside(found, 0) is not None


def test_outside_of_an_empty_map_is_the_same() -> None:
    assert maps.outside([], 77) == 77
    assert maps.outside([[0, 100, 5], [10, 0, 1]], 4) == 104
    assert maps.outside([[0, 100, 5], [10, 0, 1]], 10) == 0
    assert maps.outside([[0, 100, 5]], 5) is None


def test_an_unused_id_is_nobodys_in_the_container() -> None:
    assert maps.unused([[0, 100000, 65536]], [(0, 4294967295)]) == 4294967294
    assert maps.unused([[0, 1, 65536]], [(0, 65537)]) == 0
    assert maps.unused([[0, 0, 65537]], [(0, 65537)]) == 65534


def test_a_map_is_read_from_text() -> None:
    assert maps.parse("--uidmap", "0:100000:65536") == [0, 100000, 65536]
    assert maps.parse("--uidmap", "5:7") == [5, 7, 1]


@pytest.mark.parametrize("text", ["", "0", "0:1:2:3", "a:1:2", "0:1:0", "-1:5:5", "0:4294967294:5", "0:1:\u0661"])
def test_a_text_that_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(RemoraError, match="--uidmap"):
        maps.parse("--uidmap", text)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([[0, 1000, 10], [5, 2000, 10]], "the container's id 5"),
        ([[0, 1000, 10], [20, 1005, 10]], "the id 1005 outside"),
        ([[0, 90000, 10]], "no ids 90000 to 90009"),
        ([[1, 1000, 10]], "the container's id 0"),
    ],
)
def test_a_map_that_the_kernel_would_refuse_is_refused_with_the_cause(mapping: list[list[int]], message: str) -> None:
    with pytest.raises(RemoraError) as caught:
        maps.check("--uidmap", mapping, [(0, 65537)])
    assert message in str(caught.value) and caught.value.hint


def test_a_good_map_passes() -> None:
    assert maps.check("--uidmap", [[0, 1, 10], [10, 0, 1]], [(0, 65537)]) == [[0, 1, 10], [10, 0, 1]]
