"""`--userns auto`: ids that no other container has, found by root in the ranges of the user `containers`."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator

import pytest

from tests.conftest import Remora
from tests.support.commands import said
from tests.support.village import Village

FIRST = 2147483648


@pytest.fixture(scope="module")
def village() -> Iterator[Village]:
    with Village() as made:
        yield made


@pytest.fixture
def automatic(remora: Remora, village: Village) -> Remora:
    """Root's Remora where the user `containers` has 20000 ids."""
    _give(village, f"containers:{FIRST}:10000\ncontainers:{FIRST + 50000}:10000")
    remora.prefix = village.enter
    return remora


def _give(village: Village, text: str) -> None:
    for name in ("subuid", "subgid"):
        (village.etc / name).write_text(text + "\n")


def mapped(remora: Remora, name: str, key: str = "UidMap") -> list[tuple[int, int, int]]:
    """(inside, outside, count) of each range."""
    found = json.loads(remora("inspect", name))[0]["HostConfig"]["IDMappings"][key]
    return [(int(a), int(b), int(c)) for a, b, c in (text.split(":") for text in found)]


def outside(remora: Remora, *names: str) -> list[int]:
    return sorted(number for name in names for _, at, count in mapped(remora, name) for number in range(at, at + count))


def test_a_container_gets_as_many_ids_as_the_image_needs(automatic: Remora) -> None:
    text = automatic("run", "--name", "one", "--userns", "auto", "busybox", "cat", "/proc/self/uid_map")
    assert text.split() == ["0", str(FIRST), "2001"]
    assert mapped(automatic, "one") == mapped(automatic, "one", "GidMap") == [(0, FIRST, 2001)]
    assert automatic("start", "-a", "one") == text


def test_no_id_is_given_twice(automatic: Remora) -> None:
    for name in ("one", "two", "three"):
        automatic("create", "--name", name, "--userns", "auto:size=3000", "busybox")
    automatic("create", "--name", "fixed", "--uidmap", f"0:{FIRST + 9000}:10", "busybox")
    # What is left of the first range is too short: the next one is taken.
    automatic("create", "--name", "four", "--userns", "auto:size=9000", "busybox")
    assert mapped(automatic, "four") == [(0, FIRST + 50000, 9000)]
    found = outside(automatic, "one", "two", "three", "fixed", "four")
    assert len(set(found)) == len(found) == 18010
    automatic("rm", "two")
    automatic("create", "--name", "five", "--userns", "auto:size=2500", "busybox")
    assert mapped(automatic, "five") == [(0, FIRST + 3000, 2500)]


def test_twenty_at_once_have_ids_of_their_own(automatic: Remora) -> None:
    names = [f"c{number}" for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: automatic("create", "--name", name, "--userns", "auto:size=900", "busybox"), names))
    found = outside(automatic, *names)
    assert len(set(found)) == len(found) == 20 * 900


def test_too_few_free_ids_are_told_with_what_is_left(automatic: Remora) -> None:
    automatic("create", "--name", "one", "--userns", "auto:size=15000", "busybox")
    assert mapped(automatic, "one") == [(0, FIRST, 10000), (10000, FIRST + 50000, 5000)]
    line = said(automatic, "run", "--userns", "auto:size=5001", "busybox", "true")
    assert "5001 uids are needed, 5000 are free" in line and "--userns auto:size=N" in line
    assert automatic("ps", "-aq").count("\n") == 0


def test_forced_ranges_stay_and_the_others_go_round_them(automatic: Remora) -> None:
    mode = f"auto:size=2000,uidmapping=100:{FIRST + 10}:5,gidmapping=0:{FIRST + 7}:1"
    script = "cat /proc/self/uid_map; echo; cat /proc/self/gid_map"
    text = automatic("run", "--name", "one", "--userns", mode, "busybox", "sh", "-c", script)
    uids, gids = ([tuple(map(int, line.split())) for line in part.splitlines()] for part in text.split("\n\n"))
    assert sorted(uids) == mapped(automatic, "one")
    assert (100, FIRST + 10, 5) in uids and sum(count for _, _, count in uids) == 2000
    assert (0, FIRST + 7, 1) in gids and sum(count for _, _, count in gids) == 2000


def test_a_user_beyond_the_map_is_told(automatic: Remora) -> None:
    # A number given as the user counts when the size is chosen …
    assert automatic("run", "--rm", "--userns", "auto", "--user", "4999", "busybox", "id", "-u") == "4999"
    line = said(automatic, "run", "--rm", "--userns", "auto:size=2000", "--user", "4999", "busybox", "id", "-u")
    assert "user 4999 of the container has no id" in line and "auto:size=5000" in line


def test_without_ranges_the_line_to_add_is_told(automatic: Remora, village: Village) -> None:
    _give(village, "somebody:100000:65536")
    line = said(automatic, "run", "--userns", "auto", "busybox", "true")
    assert 'no line for the user "containers" in /etc/subuid' in line
    assert "echo containers:2147483648:1048576 | sudo tee -a /etc/subuid /etc/subgid" in line


def test_ids_by_a_name(automatic: Remora, village: Village) -> None:
    _give(village, f"web:{FIRST}:1000\nweb:{FIRST + 5000}:500\n1234:1:1")
    options = ("--subuidname", "web", "--subgidname", "web")
    text = automatic("run", "--rm", *options, "busybox", "cat", "/proc/self/uid_map")
    assert text.split() == ["0", str(FIRST), "1000", "1000", str(FIRST + 5000), "500"]
    assert automatic("run", "--rm", "--subuidname", "web", "busybox", "cat", "/proc/self/gid_map") == text


def test_containers_conf_chooses(automatic: Remora, village: Village) -> None:
    conf = village.folder / "containers.conf"
    conf.write_text('[containers]\nuserns = "auto"\nuserns_size = 2222\n')
    environment = {"CONTAINERS_CONF_OVERRIDE": str(conf)}
    result = automatic.run("run", "--rm", "busybox", "cat", "/proc/self/uid_map", env=environment)
    assert result.stdout.split() == ["0", str(FIRST), "2222"]
    conf.write_text('[containers]\nuserns = "sideways"\n')
    result = automatic.run("run", "--rm", "busybox", "true", env=environment, status=125)
    assert f"[containers] userns in {conf}" in result.stderr
    assert automatic.run("run", "--rm", "--userns", "host", "busybox", "id", "-u", env=environment).stdout == "0\n"
