"""container prune, image prune, container exists, image exists: what goes, what stays, and what is asked before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support.commands import SLEEP, said
from tests.support.village import Person, Village, import_image, staying


@pytest.fixture(scope="module")
def somebody(busybox_tar: Path) -> Iterator[Person]:
    if os.geteuid() != 0:
        pytest.fail("making users needs root: run the tests with `make test`")
    with Village() as village:
        made = village.person("alice")
        import_image(made, busybox_tar)
        yield made


def ids(remora: Remora, *words: str) -> list[str]:
    return remora(*words).splitlines()


def test_container_prune_removes_what_does_not_run_and_prints_the_ids(remora: Remora) -> None:
    created = remora("create", "--name", "made", *SLEEP)
    remora("run", "--name", "ended", "busybox", "true")
    ended = remora("inspect", "-f", "{{.Id}}", "ended")
    remora("run", "-d", "--name", "runs", *SLEEP)
    remora("run", "-d", "--name", "frozen", *SLEEP)
    remora("pause", "frozen")
    assert ids(remora, "container", "prune", "--force") == [created, ended]
    assert ids(remora, "ps", "-a", "--format", "{{.Names}}") == ["runs", "frozen"]
    assert remora("container", "prune", "-f") == ""
    remora("unpause", "frozen")


def test_container_prune_asks_and_takes_only_yes_for_it(remora: Remora) -> None:
    remora("create", "--name", "made", *SLEEP)
    for answer in ("", "n\n", "perhaps\n"):
        result = remora.run("container", "prune", input=answer)
        assert "WARNING! This will remove all non running containers." in result.stderr
        assert result.stdout == ""
    closed = remora.popen("container", "prune", preexec=("sh", "-c", 'exec "$0" "$@" <&-'))
    assert closed.wait(timeout=30) == 0
    assert remora.run("container", "exists", "made").stdout == ""
    assert len(remora.run("container", "prune", input="y\n").stdout) == 65
    assert remora.run("container", "exists", "made", status=1).stderr == ""


def test_container_prune_keeps_what_its_filters_do_not_match(remora: Remora) -> None:
    remora("create", "--name", "kept", "--label", "keep=yes", *SLEEP)
    remora("create", "--name", "other", "--label", "tier=web", *SLEEP)
    remora("container", "prune", "-f", "--filter", "until=1h")
    remora("container", "prune", "-f", "--filter", "label=tier=db")
    assert ids(remora, "ps", "-a", "--format", "{{.Names}}") == ["kept", "other"]
    remora("container", "prune", "-f", "--filter", "label!=keep")
    assert ids(remora, "ps", "-a", "--format", "{{.Names}}") == ["kept"]
    assert "name is an invalid filter" in said(remora, "container", "prune", "-f", "--filter", "name=kept")


def test_exists_tells_by_its_status_alone(remora: Remora) -> None:
    whole = remora("create", "--name", "made", *SLEEP)
    for name in ("made", whole, whole[:12]):
        assert remora.run("container", "exists", name).stdout == ""
    result = remora.run("container", "exists", "nosuch", status=1)
    assert result.stdout + result.stderr == ""
    image = remora("images", "-q", "--no-trunc", "busybox")
    for name in ("busybox", "localhost/busybox:latest", image, image.removeprefix("sha256:")[:12]):
        assert remora.run("image", "exists", name).stdout == ""
    result = remora.run("image", "exists", "busybox:9", status=1)
    assert result.stdout + result.stderr == ""


def test_image_prune_removes_images_without_a_name_unless_a_container_uses_them(
    empty_remora: Remora, busybox_tar: Path
) -> None:
    remora = empty_remora
    made = [
        remora("import", "-q", "-c", f"ENV N={number}", "-c", f"LABEL n={number}", str(busybox_tar), "tool")
        for number in range(4)
    ]
    first, second, third, last = (image.removeprefix("sha256:") for image in made)
    remora("create", "--name", "uses", first, "true")
    assert ids(remora, "image", "prune", "-f", "--filter", "label=n=1") == [second]
    assert ids(remora, "image", "prune", "-f", "--filter", "until=1h") == []
    result = remora.run("image", "prune", input="n\n")
    assert "WARNING! This command removes all dangling images." in result.stderr
    assert result.stdout == ""
    assert ids(remora, "image", "prune", "-f") == [third]
    assert set(ids(remora, "images", "-q", "--no-trunc")) == {f"sha256:{first}", f"sha256:{last}"}
    remora("rm", "uses")
    assert ids(remora, "image", "prune", "-f") == [first]


def test_image_prune_of_all_leaves_those_that_containers_use(empty_remora: Remora, busybox_tar: Path) -> None:
    remora = empty_remora
    used = remora("import", "-q", str(busybox_tar), "used").removeprefix("sha256:")
    spare = remora("import", "-q", "-c", "ENV A=B", str(busybox_tar), "spare").removeprefix("sha256:")
    remora("tag", "spare", "also")
    remora("create", "--name", "uses", "used", "true")
    result = remora.run("image", "prune", "--all", input="y\n")
    assert "all images without at least one container" in result.stderr
    assert result.stdout == spare + "\n"
    assert remora("images", "-q", "--no-trunc") == f"sha256:{used}"
    assert "odd is an invalid filter" in said(remora, "image", "prune", "-f", "--filter", "odd=1")


def test_a_user_prunes_their_own_containers_and_images(somebody: Person, busybox_tar: Path) -> None:
    with staying(somebody) as alice:
        alice("run", "--name", "ended", "busybox", "sh", "-c", "touch /file; chown 1000:7 /file")
        assert alice.run("container", "exists", "ended").stdout == ""
        assert len(ids(alice, "container", "prune", "-f")) == 1
        alice.run("container", "exists", "ended", status=1)
        import_image(alice, busybox_tar, "tool", ("-c", "ENV A=B"))
        alice("untag", "tool")
        alice.run("image", "exists", "tool", status=1)
        assert len(ids(alice, "image", "prune", "-f")) == 1
        assert [step["comment"] for step in json.loads(alice("history", "--format", "json", "busybox"))]
