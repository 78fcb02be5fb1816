"""Sizes, durations and times read as Docker's do; text for a terminal is harmless."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from remora.frontend.errors import RemoraError
from remora.frontend.output import text
from remora.frontend.output.template.values import Time
from remora.frontend.output.when import parse

NS = 1_000_000_000
MINUTE, HOUR, DAY = 60, 3600, 86400


# The table of go-units (duration_test.go) in its own steps.
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.45, "Less than a second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (46, "46 seconds"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (90, "About a minute"),
        (3 * MINUTE, "3 minutes"),
        (35 * MINUTE + 40, "35 minutes"),
        (45 * MINUTE, "45 minutes"),
        (60 * MINUTE, "About an hour"),
        (90 * MINUTE, "2 hours"),
        (3 * HOUR, "3 hours"),
        (3 * HOUR + 59 * MINUTE, "4 hours"),
        (24 * HOUR, "24 hours"),
        (36 * HOUR, "36 hours"),
        (2 * DAY, "2 days"),
        (7 * DAY, "7 days"),
        (13 * DAY + 5 * HOUR, "13 days"),
        (2 * 7 * DAY, "2 weeks"),
        (3 * 7 * DAY + 4 * DAY, "3 weeks"),
        (2 * 30 * DAY, "2 months"),
        (23 * 30 * DAY, "23 months"),
        (24 * 30 * DAY, "24 months"),
        (24 * 30 * DAY + 2 * 7 * DAY, "2 years"),
        (3 * 365 * DAY + 2 * 30 * DAY, "3 years"),
    ],
)
def test_duration_is_worded_as_go_units_does(seconds: float, expected: str) -> None:
    assert text.duration(seconds) == expected


def test_ago_never_speaks_of_the_future() -> None:
    assert text.ago(5 * NS, 125 * NS) == "2 minutes ago"
    assert text.ago(125 * NS, 5 * NS) == "Less than a second ago"


@pytest.mark.parametrize(
    ("count", "decimal", "binary"),
    [
        (0, "0B", "0B"),
        (12, "12B", "12B"),
        (1000, "1kB", "1000B"),
        (1024, "1.02kB", "1KiB"),
        (1_980_000, "1.98MB", "1.888MiB"),
        (3.42 * 1e12, "3.42TB", "3.11TiB"),
    ],
)
def test_size_has_three_digits_in_decimal_and_four_in_binary_units(count: float, decimal: str, binary: str) -> None:
    assert text.size(count) == decimal
    assert text.binary_size(count) == binary


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XYZ-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_moment_is_rfc3339_in_json_and_gos_form_in_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    made = text.moment(1_795_325_596_737_652_200)
    assert made == "2026-11-22T05:33:16.7376522Z"
    assert isinstance(made, Time)
    assert made.go == "2026-11-22 05:33:16.7376522 +0000 UTC"
    assert text.moment(1_795_325_596 * NS) == "2026-11-22T05:33:16Z"
    assert text.moment(0) == "0001-01-01T00:00:00Z"


@pytest.mark.usefixtures("zone")
def test_moment_names_the_local_zone() -> None:
    made = text.moment(1_795_325_596 * NS)
    assert made == "2026-11-22T11:03:16+05:30"
    assert made.go == "2026-11-22 11:03:16 +0530 XYZ"


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-11-22T05:33:16Z", 1_795_325_596 * NS),
        ("2026-11-22T05:33:16.7376522Z", 1_795_325_596_737_652_200),
        ("2026-11-22T06:33:16+01:00", 1_795_325_596 * NS),
        ("2026-11-22T00:03:16-05:30", 1_795_325_596 * NS),
        ("2026-11-22T11:03:16", 1_795_325_596 * NS),
        ("2026-11-22 11:03", 1_795_325_580 * NS),
        ("2026-11-22", (1_795_325_596 - 11 * HOUR - 3 * MINUTE - 16) * NS),
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T00:00:00Z", 951_782_400 * NS),
        ("1795325596", 1_795_325_596 * NS),
        ("1795325596.5", 1_795_325_596_500_000_000),
        ("10m", 1000 * NS - 600 * NS),
        ("1m30s", 910 * NS),
        ("1.5h", 1000 * NS - 5400 * NS),
        ("200ms", 999_800_000_000),
    ],
)
def test_times_are_understood_in_every_usual_form(given: str, expected: int) -> None:
    assert parse("--since", given, 1000 * NS) == expected


@pytest.mark.parametrize("given", ["", "bogus", "2026-13-01", "2026-1-1", "10x", "2026-11-22T25:00:00Z", "m", "١٢"])
def test_other_times_are_refused_with_an_example(given: str) -> None:
    with pytest.raises(RemoraError) as caught:
        parse("--since", given)
    assert "--since" in caught.value.message
    assert "10m" in caught.value.hint


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert text.visible("plain ünïcode") == "plain ünïcode"
    assert text.visible("a\x1b[31mb\nc\td\x7f\udc80\x85") == "a\\x1b[31mb\\nc\\td\\x7f\\x80\\x85"


def test_table_pads_all_columns_but_the_last() -> None:
    rows = [["ID", "NAME"], ["1", "web"], ["123456789012345", "x"]]
    assert text.table(rows) == "ID               NAME\n1                web\n123456789012345  x\n"
    assert text.table([]) == ""
