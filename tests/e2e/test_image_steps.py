"""untag and history."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Remora
from tests.support.commands import said
from tests.support.layers import oci_archive

HISTORY = (
    {"created": "2026-01-31T12:00:00Z", "created_by": "ADD base", "comment": "the ground"},
    {"created": "2026-02-01T12:00:00.5Z", "created_by": "ENV A=B", "empty_layer": True},
    {"created": "2026-02-02T12:00:00Z", "created_by": "RUN /bin/true with words that are a good deal too long for it"},
)
LAYERS = ({"low": (0, 0, b"x" * 5000)}, {"high": (0, 0, b"y" * 90000)})


def names(remora: Remora, image: str) -> list[str]:
    found = json.loads(remora("images", "--format", "json"))
    return next(entry.get("Names", []) for entry in found if entry["Id"] == image)


def test_untag_takes_the_names_given_and_without_any_all(empty_remora: Remora, busybox_tar: Path) -> None:
    remora = empty_remora
    image = remora("import", "-q", str(busybox_tar), "tool").removeprefix("sha256:")
    remora("tag", "tool", "quay.io/me/tool:1", "other:2")
    assert remora("untag", "tool", "other:2") == ""
    assert names(remora, image) == ["localhost/tool:latest", "quay.io/me/tool:1"]
    remora("untag", image[:12])
    assert names(remora, image) == []
    assert remora("images", "-q", "--no-trunc", "--filter", "dangling=true") == f"sha256:{image}"


def test_untag_changes_nothing_when_a_name_is_not_the_images(empty_remora: Remora, busybox_tar: Path) -> None:
    remora = empty_remora
    image = remora("import", "-q", str(busybox_tar), "tool").removeprefix("sha256:")
    remora("import", "-q", "-c", "ENV A=B", str(busybox_tar), "second")
    remora("tag", "tool", "again")
    assert "second: tag not known" in said(remora, "untag", "tool", "again", "second")
    assert "nosuch: tag not known" in said(remora, "untag", "tool", "again", "nosuch")
    assert "image not known" in said(remora, "untag", "nosuch")
    assert names(remora, image) == ["localhost/tool:latest", "localhost/again:latest"]


def test_history_tells_each_step_with_the_size_of_its_layer(empty_remora: Remora, tmp_path: Path) -> None:
    remora = empty_remora
    remora("load", "-q", "-i", str(oci_archive(tmp_path / "image.tar", LAYERS, "localhost/steps:1", HISTORY)))
    image = remora("images", "-q", "--no-trunc", "steps:1").removeprefix("sha256:")
    steps = json.loads(remora("history", "--format", "json", "steps:1"))
    assert [step["CreatedBy"] for step in steps] == [entry["created_by"] for entry in reversed(HISTORY)]
    assert [step["id"] for step in steps] == [image, "<missing>", "<missing>"]
    assert steps[0]["tags"] == ["localhost/steps:1"]
    assert steps[0]["size"] > 90000
    assert steps[1]["size"] == 0
    assert steps[1]["Created"] == "2026-02-01T12:00:00Z"
    assert 5000 < steps[2]["size"] < 90000
    assert steps[2]["comment"] == "the ground"
    table = remora("history", "steps:1").splitlines()
    assert table[0].split() == ["ID", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert table[1].startswith(image[:12])
    assert "RUN /bin/true with words that are a good d..." in table[1]
    assert "0 B" in table[2]
    assert remora("history", "-q", "steps:1").splitlines() == [image[:12], "<missing>", "<missing>"]
    form = "{{.CreatedBy}}|{{.Size}}|{{.Created}}"
    whole = remora("history", "--no-trunc", "-H=false", "--format", form, "steps:1").splitlines()
    assert whole[0] == f"{HISTORY[2]['created_by']}|{steps[0]['size']}|2026-02-02T12:00:00Z"


def test_an_image_that_says_nothing_of_its_steps_shows_its_layers(empty_remora: Remora, tmp_path: Path) -> None:
    remora = empty_remora
    remora("load", "-q", "-i", str(oci_archive(tmp_path / "image.tar", LAYERS, "localhost/steps:1")))
    steps = json.loads(remora("history", "--format", "json", "steps:1"))
    assert [step["size"] > 5000 for step in steps] == [True, True]
    assert "image not known" in said(remora, "history", "nosuch")
