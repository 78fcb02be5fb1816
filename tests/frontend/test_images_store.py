"""The store as Remora reads it, beside what skopeo, Podman and Buildah put there."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remora.frontend.errors import RemoraError
from remora.frontend.images.store import Image, Store, UnknownImage
from remora.frontend.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Remora

DEADLINE = 60


def open_store(remora: Remora) -> Store:
    return Store(Settings(str(remora.root), str(remora.runroot), environ=remora.environment))


def tool(remora: Remora, *argv: str, status: int = 0) -> str:
    """Run another program on the same store."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    result = subprocess.run(argv, env=remora.environment, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert result.returncode == status, result.stderr
    return result.stdout.strip()


@pytest.fixture
def import_image(empty_remora: Remora, busybox_tar: Path) -> Callable[..., str]:
    """import_image(name, *changes): the id of a new image; the same changes make the same image."""

    def make(name: str, *changes: str) -> str:
        words = [word for change in changes for word in ("-c", change)]
        return empty_remora("import", "-q", *words, str(busybox_tar), *([name] if name else [])).removeprefix("sha256:")

    return make


def test_an_empty_store_has_no_images(empty_remora: Remora) -> None:
    store = open_store(empty_remora)
    assert store.images() == []
    with pytest.raises(UnknownImage) as caught:
        store.find("busybox")
    assert "remora pull busybox" in caught.value.hint


def test_an_image_is_found_by_every_kind_of_name(empty_remora: Remora, import_image: Callable[..., str]) -> None:
    id = import_image("quay.io/me/tool:2", "USER=1")
    other = import_image("tool:2", "USER=2")
    store = open_store(empty_remora)
    found = store.find("quay.io/me/tool:2")
    assert found.id == id
    assert found.matched == "quay.io/me/tool:2"
    assert store.find("me/tool:2").id == id
    assert store.find("tool:2").id == other
    assert store.find("localhost/tool:2").id == other
    for name in (id, f"sha256:{id}", id[:12], id[:5], found.digest, f"quay.io/me/tool@{found.digest}"):
        assert store.find(name).id == id
        assert store.find(name).matched == ""
    for unknown in ("tool", "tool:3", "ool:2", "quay.io/tool:2", "f" * 64, "sha256:" + "f" * 64, "sha256:" + id[:12]):
        with pytest.raises(UnknownImage):
            store.find(unknown)


def test_an_alias_of_registries_conf_names_an_image(empty_remora: Remora, import_image: Callable[..., str]) -> None:
    id = import_image("registry.example/deep/tool:1")
    conf = empty_remora.folder / "registries.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(
        'unqualified-search-registries = ["two.example"]\n[aliases]\n"short" = "registry.example/deep/tool"\n'
    )
    empty_remora.environment["CONTAINERS_REGISTRIES_CONF"] = str(conf)
    assert open_store(empty_remora).find("short:1").id == id
    second = import_image("two.example/else:1", "USER=9")
    assert open_store(empty_remora).find("else:1").id == second


def test_several_matches_are_an_error_that_lists_them(empty_remora: Remora, import_image: Callable[..., str]) -> None:
    import_image("one.example/a/tool", "USER=1")
    import_image("two.example/a/tool", "USER=2")
    store = open_store(empty_remora)
    with pytest.raises(RemoraError, match="several") as caught:
        store.find("tool")
    assert "one.example/a/tool:latest, two.example/a/tool:latest" in caught.value.hint
    taken: dict[str, str] = {}
    number = 0
    while True:  # seventeen images share a first digit
        number += 1
        id = import_image("", f"USER={number}")
        if id[0] in taken and not id[0].isalpha():
            break
        taken[id[0]] = id
    with pytest.raises(RemoraError, match="several") as caught:
        open_store(empty_remora).find(id[0])
    assert id[:20] in caught.value.hint
    assert taken[id[0]][:20] in caught.value.hint


def test_the_configuration_is_what_import_was_told(empty_remora: Remora, import_image: Callable[..., str]) -> None:
    import_image("full", 'CMD ["/bin/sh"]', "ENV A=b", "USER=7", "WORKDIR=/etc", "LABEL=a=b", "STOPSIGNAL=SIGINT")
    config = open_store(empty_remora).find("full").config
    assert config == {
        "Cmd": ["/bin/sh"],
        "Env": ["A=b"],
        "User": "7",
        "WorkingDir": "/etc",
        "Labels": {"a": "b"},
        "StopSignal": "SIGINT",
    }


def _layered(remora: Remora, folder: Path, count: int) -> Image:
    """An image of `count` layers, each with a file /N, made by skopeo from a docker-archive."""
    import hashlib
    import io

    layers: list[str] = []
    diff_ids: list[str] = []
    path = folder / "layered.tar"
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for number in range(count):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as layer:
                info = tarfile.TarInfo(str(number))
                info.size = 3
                layer.addfile(info, io.BytesIO(b"abc"))
            diff_ids.append("sha256:" + hashlib.sha256(buffer.getvalue()).hexdigest())
            layers.append(f"{number}.tar")
            add(layers[-1], buffer.getvalue())
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        add("config.json", json.dumps(config).encode())
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["deep:1"], "Layers": layers}]).encode())
    remora("load", "-q", "-i", str(path))
    return open_store(remora).find("deep:1")


def test_the_layers_come_nearest_first(empty_remora: Remora, tmp_path: Path) -> None:
    image = _layered(empty_remora, tmp_path, 5)
    assert image.names == ["docker.io/library/deep:1"]
    assert [sorted(path.name for path in Path(folder).iterdir()) for folder in image.lower] == [
        [str(number)] for number in reversed(range(5))
    ]
    assert all(folder.startswith(open_store(empty_remora).root + "/overlay/l/") for folder in image.lower)


def test_layers_are_found_without_the_short_links(empty_remora: Remora, tmp_path: Path) -> None:
    image = _layered(empty_remora, tmp_path, 3)
    before = [str(Path(folder).resolve()) for folder in image.lower]
    shutil.rmtree(Path(image.root) / "overlay" / "l")
    assert open_store(empty_remora).find("deep:1").lower == before


def test_a_missing_layer_is_named(empty_remora: Remora, tmp_path: Path) -> None:
    image = _layered(empty_remora, tmp_path, 3)
    gone = Path(image.lower[1]).resolve()
    shutil.rmtree(gone)
    with pytest.raises(RemoraError) as caught:
        _ = open_store(empty_remora).find("deep:1").lower
    assert str(gone) in caught.value.message
    assert "rmi -f" in caught.value.hint


@pytest.mark.parametrize("damage", ["manifest", "config", "images.json"])
def test_damaged_metadata_is_named(empty_remora: Remora, import_image: Callable[..., str], damage: str) -> None:
    import_image("base")
    image = open_store(empty_remora).find("base")
    folder = Path(image.root) / "overlay-images"
    if damage == "images.json":
        (folder / damage).write_text("[{")
        with pytest.raises(RemoraError, match=r"images\.json is damaged"):
            open_store(empty_remora).find("base")
        return
    name = "manifest" if damage == "manifest" else next(p.name for p in (folder / image.id).glob("=c2hhMjU2*"))
    (folder / image.id / name).write_text("{")
    with pytest.raises(RemoraError, match="not JSON"):
        _ = open_store(empty_remora).find("base").config
    (folder / image.id / name).unlink()
    with pytest.raises(RemoraError, match="missing"):
        _ = open_store(empty_remora).find("base").config


def test_an_additional_store_is_read_but_never_changed(
    empty_remora: Remora, import_image: Callable[..., str], tmp_path: Path
) -> None:
    id = import_image("base")
    conf = tmp_path / "second.conf"
    root = open_store(empty_remora).root
    conf.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{tmp_path}/second"\nrunroot = "{tmp_path}/second-run"\n'
        f'[storage.options]\nadditionalimagestores = ["{root}"]\n'
    )
    empty_remora.environment["CONTAINERS_STORAGE_CONF"] = str(conf)
    image = open_store(empty_remora).find("base")
    assert (image.id, image.writable) == (id, False)
    assert Path(image.lower[0]).is_dir()
    assert "read-only" in empty_remora.run("rmi", "base", status=125).stderr
    assert "read-only" in empty_remora.run("tag", "base", "other", status=125).stderr
    assert empty_remora("images", "-q") == id[:12]


def test_what_podman_and_buildah_made_is_found(empty_remora: Remora, busybox_tar: Path, tmp_path: Path) -> None:
    id = tool(empty_remora, "podman", "import", "-q", "-c", "ENV A=b", str(busybox_tar), "pod:1").removeprefix(
        "sha256:"
    )
    assert open_store(empty_remora).find("pod:1").id == id
    assert open_store(empty_remora).find("pod:1").config["Env"] == ["A=b"]
    (tmp_path / "Containerfile").write_text("FROM localhost/pod:1\nCOPY Containerfile /here\nLABEL k=v\n")
    tool(empty_remora, "buildah", "bud", "-q", "-t", "built:1", str(tmp_path))
    image = open_store(empty_remora).find("built:1")
    labels = image.config["Labels"]
    assert isinstance(labels, dict)
    assert labels["k"] == "v"
    assert (Path(image.lower[0]) / "here").is_file()
    assert len(image.lower) == 2


def test_import_makes_the_very_image_that_podman_makes(
    empty_remora: Remora, import_image: Callable[..., str], busybox_tar: Path
) -> None:
    ours = import_image("ours", 'CMD ["/bin/sh"]', "ENV A=b")
    theirs = tool(
        empty_remora, "podman", "import", "-q", "-c", 'CMD ["/bin/sh"]', "-c", "ENV A=b", str(busybox_tar), "theirs"
    )
    assert theirs == f"sha256:{ours}"


def test_finding_an_image_reads_neither_layers_nor_tomllib(
    empty_remora: Remora, import_image: Callable[..., str]
) -> None:
    import_image("base")
    import sys

    script = (
        "import sys\n"
        "from remora.frontend.images.store import Store\n"
        "from remora.frontend.settings import Settings\n"
        "image = Store(Settings()).find('base')\n"
        "image.config, image.lower\n"
        "unwanted = {'tomllib', 'subprocess', 'dataclasses', 'tempfile', 'shutil', 'typing', 'argparse'}\n"
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)\n"
    )
    open(Path(open_store(empty_remora).root) / "overlay-layers/layers.json", "w").write("damaged")
    subprocess.run([sys.executable, "-I", "-c", script], env=empty_remora.environment, check=True, timeout=DEADLINE)
