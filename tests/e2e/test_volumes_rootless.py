"""Volumes of an ordinary user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import SLEEP, said
from tests.support.village import Person, Village, import_image, staying
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def somebody(busybox_tar: Path) -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as village:
        made = village.person("vera")
        import_image(made, busybox_tar)
        yield made


@pytest.fixture
def vera(somebody: Person) -> Iterator[Person]:
    with staying(somebody) as person:
        yield person


def test_a_user_has_volumes_with_files_of_other_ids(vera: Person) -> None:
    assert vera("volume", "create", "mine") == "mine"
    script = "id -u >/x/file; chown 1000:7 /x/file /x; chmod 0700 /x"
    vera("run", "--rm", "-v", "mine:/x", "busybox", "sh", "-c", script)
    assert vera("run", "--rm", "-v", "mine:/x", "busybox", "stat", "-c", "%u:%g", "/x/file") == "1000:7"
    assert vera("volume", "inspect", "-f", "{{.Mountpoint}}", "mine") == str(vera.root / "volumes/mine/_data")
    assert (vera.root / "volumes/mine/_data/file").stat().st_uid in vera.ids() - {vera.uid}
    vera("create", "--name", "user", "-v", "mine:/x", "busybox")
    assert "user" in said(vera, "volume", "rm", "mine", status=2)
    assert vera("volume", "rm", "--force", "mine") == "mine"
    assert vera("volume", "ls", "-q") == "" and vera("ps", "-aq") == ""
    assert os.listdir(vera.root / "volumes") == []


def test_a_user_exports_and_imports_files_of_other_ids(vera: Person) -> None:
    vera("run", "--rm", "-v", "from:/x", "busybox", "sh", "-c", "touch /x/f; chown 1000:7 /x/f; chmod 0600 /x/f")
    archive = vera.home / "a.tar"
    vera("volume", "export", "-o", str(archive), "from")
    vera("volume", "create", "to")
    vera("volume", "import", "to", str(archive))
    assert vera("run", "--rm", "-v", "to:/x", "busybox", "stat", "-c", "%u:%g:%a", "/x/f") == "1000:7:600"
    vera("volume", "rm", "--all")


def test_anonymous_volumes_of_a_user_go_with_their_containers(vera: Person) -> None:
    vera("run", "-d", "--rm", "--name", "gone", "-v", "/x", *SLEEP)
    vera("exec", "gone", "sh", "-c", "touch /x/file; chown 5:5 /x/file")
    assert len(vera("volume", "ls", "-q").split()) == 1
    vera("kill", "gone")
    eventually(lambda: not os.listdir(vera.root / "volumes"), "the anonymous volume goes with its container")
    vera("run", "--name", "left", "-v", "/x", "busybox", "touch", "/x/file")
    vera("rm", "left")
    assert vera("volume", "prune", "--force") != ""
    assert os.listdir(vera.root / "volumes") == []
