"""images, tag and rmi beside Podman on equal stores: the same output, the same exit status, the same store after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remora.frontend.images.store import Store
from remora.frontend.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Remora

DEADLINE = 60
State = dict[str, list[str]]

LISTINGS = (
    (),
    ("-a",),
    ("-q",),
    ("-q", "--no-trunc"),
    ("--digests",),
    ("--no-trunc",),
    ("-n",),
    ("base",),
    ("nosuch",),
    ("localhost/*",),
    ("quay.io/*",),
    ("again", "--digests"),
    ("--filter", "label=k"),
    ("--filter", "label=k=x"),
    ("--filter", "dangling=true"),
    ("--filter", "dangling=false"),
    ("--filter", "reference=*a*"),
    ("--filter", "reference=*a*", "--filter", "reference=lab*"),
    ("--history",),
    ("--sort", "repository"),
    ("--sort", "tag"),
    ("--sort", "odd"),
    ("-f", "odd=1"),
    ("-f", "dangling"),
    ("-f", "dangling=odd"),
    ("-f", "before=labelled:1"),
    ("-f", "since=base"),
    ("-f", "since=nosuch"),
    (
        "--format",
        "{{.ID}}|{{.Id}}|{{.Repository}}|{{.Tag}}|{{.Size}}|{{.Digest}}|{{.CreatedAt}}|{{.Names}}|{{.Labels}}|"
        "{{.VirtualSize}}|{{.History}}|{{.Containers}}|{{.Dangling}}|{{.ReadOnly}}",
    ),
    ("--format", "table {{.ID}} {{.Repository}}"),
    ("--format", "{{.Odd}}"),
)

REMOVALS = (
    ("base",),
    ("again:1",),
    ("quay.io/me/tool",),
    ("me/tool",),
    ("tool",),
    ("labelled:1",),
    ("LABELLED",),
    ("BASE",),
    ("-f", "BASE"),
    ("BASE7",),
    ("-f", "base"),
    ("nosuch",),
    ("nosuch", "base"),
    ("base", "nosuch", "labelled:1"),
    ("-f", "nosuch"),
    ("-i", "nosuch"),
    ("base", "labelled:1"),
    ("labelled:1", "labelled:1"),
    ("-a",),
    ("-a", "base"),
    (),
    ("UPPER:case:odd",),
)


def open_store(remora: Remora) -> Store:
    return Store(Settings(str(remora.root), str(remora.runroot), environ=remora.environment))


def state(remora: Remora) -> State:
    return {image.id: sorted(image.names) for image in open_store(remora).images()}


def run(remora: Remora, program: str, *words: str) -> tuple[int, list[str], str]:
    """Status, sorted lines of stdout (equal times have no order), stderr."""
    if shutil.which(program) is None and program != "remora":
        pytest.skip(f"{program} is not installed")
    result = subprocess.run(
        [program, *words], env=remora.environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return result.returncode, sorted(result.stdout.splitlines()), result.stderr


@pytest.fixture(scope="module")
def old_tar(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tarball of long ago: how long ago is the same text for both programs."""
    path = tmp_path_factory.mktemp("old") / "old.tar"
    shutil.copy(busybox_tar, path)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    return path


@pytest.fixture(scope="module")
def template(old_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A graph root with the images of these tests, to be copied, and their ids."""
    folder = tmp_path_factory.mktemp("template")
    conf = folder / "storage.conf"
    conf.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n')
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(conf), "REMORA_ROOT": f"{folder}/data"}

    def remora(*words: str) -> str:
        result = subprocess.run(
            [Path(sys.executable).parent / "remora", *words],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        return result.stdout.strip().removeprefix("sha256:")

    base = remora("import", "-q", str(old_tar), "base")
    remora("tag", "base", "again:1", "quay.io/me/tool")
    labelled = remora("import", "-q", "-c", "LABEL k=v", str(old_tar), "labelled:1")
    remora("import", "-q", "-c", "LABEL k=x", str(old_tar))
    return folder / "root", {"BASE7": base[:7], "BASE": base, "LABELLED": labelled[:12]}


@pytest.fixture
def fill(empty_remora: Remora, template: tuple[Path, dict[str, str]]) -> Callable[[], dict[str, str]]:
    """Put the same images into the store, whatever was there; their ids."""
    root, ids = template

    def filled() -> dict[str, str]:
        target = Path(open_store(empty_remora).root)
        subprocess.run(
            ["umount", "-l", target / "overlay"], check=False, capture_output=True
        )  # Podman's own bind mount
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", root, target], check=True)
        return ids

    return filled


def test_every_listing_is_podmans(empty_remora: Remora, fill: Callable[[], dict[str, str]]) -> None:
    fill()
    for words in LISTINGS:
        ours, theirs = (run(empty_remora, program, "images", *words) for program in ("remora", "podman"))
        assert ours[:2] == theirs[:2], words
        if ours[0]:
            assert ours[2].startswith("Error: ")
            assert ours[2].count("\n") == 1


def test_labels_asked_for_must_all_be_there(empty_remora: Remora, fill: Callable[[], dict[str, str]]) -> None:
    """As in Docker, and in later Podmans; 4.3 takes them as alternatives."""
    ids = fill()
    found = empty_remora("images", "-q", "--filter", "label=k", "--filter", "label=k=v")
    assert found == ids["LABELLED"]


def test_the_json_listing_has_podmans_fields(empty_remora: Remora, fill: Callable[[], dict[str, str]]) -> None:
    fill()
    found: list[dict[str, dict[str, object]]] = []
    for program in ("remora", "podman"):
        if shutil.which(program) is None and program == "podman":
            pytest.skip("podman is not installed")
        result = subprocess.run(
            [program, "images", "--format", "json"],
            env=empty_remora.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        found.append({image["Id"]: {**image, "RepoTags": None} for image in json.loads(result.stdout)})
    assert found[0] == found[1]


@pytest.mark.parametrize("words", REMOVALS, ids=" ".join)
def test_every_removal_is_podmans(
    empty_remora: Remora, fill: Callable[[], dict[str, str]], words: tuple[str, ...]
) -> None:
    results: list[tuple[int, list[str], State]] = []
    for program in ("remora", "podman"):
        ids = fill()
        status, lines, error = run(empty_remora, program, "rmi", *(ids.get(word, word) for word in words))
        results.append((status, lines, state(empty_remora)))
        if program == "remora":
            assert all(line.startswith("Error: ") for line in error.splitlines())
            assert bool(error) == bool(status)
    assert results[0] == results[1]


def test_a_tag_moves_as_podman_moves_it(empty_remora: Remora, fill: Callable[[], dict[str, str]]) -> None:
    records: list[object] = []
    for program in ("remora", "podman"):
        ids = fill()
        for words in (
            ("labelled:1", "again:1"),
            (ids["BASE7"], "docker.io/foo", "bar/foo:2"),
            ("base", "base"),
        ):
            assert run(empty_remora, program, "tag", *words)[0] == 0
        store = open_store(empty_remora)
        records.append({image.id: (image.names, image.record.get("names-history")) for image in store.images()})
    assert records[0] == records[1]


@pytest.mark.parametrize(
    "words", [("nosuch", "x"), ("base", "BAD"), ("base", "a b"), ("base",), ("base", "x@sha256:" + "0" * 64)]
)
def test_a_tag_that_can_not_be_is_refused_as_by_podman(
    empty_remora: Remora, fill: Callable[[], dict[str, str]], words: tuple[str, ...]
) -> None:
    fill()
    before = state(empty_remora)
    ours, theirs = (run(empty_remora, program, "tag", *words) for program in ("remora", "podman"))
    assert ours[0] == theirs[0] == 125
    assert ours[2].startswith("Error: ")
    assert ours[2].count("\n") == 1
    assert state(empty_remora) == before


def test_an_image_of_anothers_container_is_refused_with_status_2(
    empty_remora: Remora, fill: Callable[[], dict[str, str]]
) -> None:
    fill()
    status, lines, error = run(empty_remora, "podman", "create", "--network", "none", "labelled:1", "/bin/true")
    assert status == 0, error
    for words in (("labelled:1",), ("-f", "labelled:1")):
        result = empty_remora.run("rmi", *words, status=2)
        assert lines[0] in result.stderr
        assert "podman ps -a --external" in result.stderr
    assert run(empty_remora, "podman", "rm", lines[0])[0] == 0
    empty_remora("rmi", "labelled:1")


def test_removing_goes_on_after_an_image_in_use(empty_remora: Remora, fill: Callable[[], dict[str, str]]) -> None:
    fill()
    empty_remora("create", "--network", "none", "base", "/bin/true")
    empty_remora("rmi", "again:1", "quay.io/me/tool")
    result = empty_remora.run("rmi", "nosuch", "base", "labelled:1", status=2)
    assert [line.partition(":")[2].strip()[:6] for line in result.stderr.splitlines()] == ["nosuch", "image "]
    assert "Untagged: localhost/labelled:1" in result.stdout
