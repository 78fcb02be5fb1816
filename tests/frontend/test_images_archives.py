"""import, save and load: every format there and back, and input that is none."""

from __future__ import annotations

import bz2
import gzip
import http.server
import io
import json
import lzma
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remora.frontend.images.store import Store
from remora.frontend.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Remora

DEADLINE = 60


def names_of(remora: Remora) -> dict[str, str]:
    """Full name → image id; untagged images under their id."""
    store = Store(Settings(str(remora.root), str(remora.runroot), environ=remora.environment))
    return {name: image.id for image in store.images() for name in image.names or [image.id]}


def one_line(text: str) -> bool:
    return text.startswith("Error: ") and text.count("\n") == 1


@pytest.fixture
def temporary(empty_remora: Remora, tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files: nothing may stay there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    empty_remora.environment["TMPDIR"] = str(folder)
    yield folder
    assert os.listdir(folder) == []


@pytest.fixture
def base(empty_remora: Remora, temporary: Path, busybox_tar: Path) -> str:
    """Id of `localhost/base:latest`."""
    return empty_remora("import", "-q", "-c", 'CMD ["/bin/sh"]', str(busybox_tar), "base").removeprefix("sha256:")


# ---- import ---------------------------------------------------------------------------------


def test_a_tarball_imported_in_any_compression_is_the_same_layer(
    empty_remora: Remora, temporary: Path, busybox_tar: Path, tmp_path: Path
) -> None:
    plain = busybox_tar.read_bytes()
    half = len(plain) // 2
    forms = {
        "plain": plain,
        "gzip": gzip.compress(plain),
        "gzip in two members": gzip.compress(plain[:half]) + gzip.compress(plain[half:]),
        "bzip2": bz2.compress(plain),
        "xz": lzma.compress(plain),
    }
    layers = set()
    for number, (form, data) in enumerate(forms.items()):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(data)
        empty_remora("import", "-q", str(path), f"file:{number}")
        empty_remora.popen  # noqa: B018 - the same through a pipe:
        result = subprocess.run(
            ["remora", "import", "-q", "-", f"pipe:{number}"],
            input=data,
            env=empty_remora.environment,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert result.returncode == 0, (form, result.stderr)
        for name in (f"file:{number}", f"pipe:{number}"):
            store = Store(Settings(str(empty_remora.root), environ=empty_remora.environment))
            layers.add(json.dumps(store.find(name).document["rootfs"]))
    assert len(layers) == 1


def test_an_imported_image_runs(empty_remora: Remora, base: str) -> None:
    assert empty_remora("run", "--rm", "--network", "none", "base", "/bin/echo", "hello") == "hello"


def test_nothing_is_left_mounted(empty_remora: Remora, base: str, tmp_path: Path) -> None:
    """skopeo's overlay driver mounts the store's folder on itself."""
    empty_remora("save", "-q", "-o", str(tmp_path / "a"), "base")
    empty_remora("rmi", "base")
    empty_remora("load", "-q", "-i", str(tmp_path / "a"))
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_import_without_a_name_leaves_the_image_untagged_and_keeps_the_names_it_has(
    empty_remora: Remora, temporary: Path, busybox_tar: Path
) -> None:
    id = empty_remora("import", "-q", str(busybox_tar)).removeprefix("sha256:")
    assert names_of(empty_remora) == {id: id}
    empty_remora("import", "-q", str(busybox_tar), "named")
    empty_remora("import", "-q", str(busybox_tar))
    assert names_of(empty_remora) == {"localhost/named:latest": id}


def test_message_and_platform_are_in_the_image(empty_remora: Remora, temporary: Path, busybox_tar: Path) -> None:
    empty_remora("import", "-q", "-m", "why ä", "--arch", "arm64", "--variant", "v8", str(busybox_tar), "other")
    store = Store(Settings(str(empty_remora.root), environ=empty_remora.environment))
    document = store.find("other").document
    assert (document["architecture"], document["variant"], document["os"]) == ("arm64", "v8", "linux")
    assert "why ä" in json.dumps(document["history"], ensure_ascii=False)


def test_a_tarball_is_imported_from_a_url(
    empty_remora: Remora, temporary: Path, busybox_tar: Path, tmp_path: Path
) -> None:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(busybox_tar.parent))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        empty_remora("import", "-q", f"{url}/{busybox_tar.name}", "web")
        assert "localhost/web:latest" in names_of(empty_remora)
        assert one_line(empty_remora.run("import", "-q", f"{url}/none", status=125).stderr)
        server.shutdown()
    assert one_line(empty_remora.run("import", "-q", url, status=125).stderr)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("empty", "it is empty"),
        ("text", "it is not a tarball"),
        ("short text", "it is not a tarball"),
        ("cut in a block", "cut off in the middle of a block"),
        ("cut at a block", "the data is cut off"),
        ("cut gzip", "the gzip data is cut off"),
        ("damaged gzip", "the gzip data is damaged"),
        ("damaged xz", "the xz data is damaged"),
        ("zstd", "zstd"),
    ],
)
@pytest.mark.parametrize("through", ["a file", "a pipe"])
def test_input_that_is_no_tarball_is_named_and_leaves_nothing(
    empty_remora: Remora, temporary: Path, busybox_tar: Path, tmp_path: Path, kind: str, told: str, through: str
) -> None:
    plain = busybox_tar.read_bytes()
    packed = gzip.compress(plain)
    data = {
        "empty": b"",
        "text": b"root:x:0:0\n" * 100,
        "short text": b"hello\n",
        "cut in a block": plain[:100_001],
        "cut at a block": plain[:102_400],
        "cut gzip": packed[:100_000],
        "damaged gzip": packed[:5000] + b"\xff" * 5000 + packed[10_000:],
        "damaged xz": lzma.compress(plain[:4096])[:100] + b"\xff" * 100,
        "zstd": b"\x28\xb5\x2f\xfd" + b"x" * 100,
    }[kind]
    path = tmp_path / "input"
    path.write_bytes(data)
    result = subprocess.run(
        ["remora", "import", "-q", "-" if through == "a pipe" else str(path), "broken"],
        input=data if through == "a pipe" else None,
        env=empty_remora.environment,
        capture_output=True,
        text=False,
        timeout=DEADLINE,
        check=False,
    )
    assert result.returncode == 125
    assert told in result.stderr.decode()
    assert one_line(result.stderr.decode())
    assert names_of(empty_remora) == {}


def test_a_big_tarball_is_streamed(empty_remora: Remora, temporary: Path, tmp_path: Path) -> None:
    """300 MB through a pipe with 200 MB of address space."""
    script = (
        "import resource, sys\n"
        "from remora.frontend.images import layout\n"
        "resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))\n"
        "print(layout.add_layer(sys.argv[1], open(0, 'rb', buffering=0), 'stdin').size)\n"
    )
    import sys

    folder = tmp_path / "layout"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            info = tarfile.TarInfo("zeros")
            info.size = 300_000_000
            with open("/dev/zero", "rb") as zeros:
                archive.addfile(info, zeros)
        process.stdin.close()
        assert int(process.stdout.read()) > 300_000_000
        assert process.wait(DEADLINE) == 0


# ---- save and load --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "loaded_as"),
    [
        ("docker-archive", "localhost/base:latest"),
        ("oci-archive", "localhost/base:latest"),
        ("oci-dir", "localhost/base:latest"),
        ("docker-dir", ""),
    ],
)
def test_what_was_saved_is_loaded_again(
    empty_remora: Remora, base: str, tmp_path: Path, form: str, loaded_as: str
) -> None:
    saved = str(tmp_path / "sa:ved")  # skopeo takes a colon for the end of a path
    empty_remora("save", "-q", "--format", form, "-o", saved, "base")
    empty_remora("rmi", "base")
    printed = empty_remora("load", "-q", "-i", saved)
    assert names_of(empty_remora) == {loaded_as or base: base} or form == "docker-dir"
    assert printed == f"Loaded image: {loaded_as or 'sha256:' + next(iter(names_of(empty_remora)))}"
    empty_remora("run", "--rm", "--network", "none", printed.removeprefix("Loaded image: "), "/bin/true")


def test_several_images_and_names_go_into_one_archive(
    empty_remora: Remora, base: str, busybox_tar: Path, tmp_path: Path
) -> None:
    second = empty_remora("import", "-q", "-c", "USER=1", str(busybox_tar), "second:2").removeprefix("sha256:")
    empty_remora("tag", "base", "again:1")
    archive = tmp_path / "all.tar"
    empty_remora("save", "-q", "-o", str(archive), "base", "second:2", "again:1")
    with tarfile.open(archive) as tar:
        members = tar.getnames()
    assert len(members) == len(set(members))
    empty_remora("rmi", "-a")
    assert empty_remora("load", "-q", "-i", str(archive)).splitlines() == [
        "Loaded image: localhost/base:latest",
        "Loaded image: localhost/again:1",
        "Loaded image: localhost/second:2",
    ]
    assert names_of(empty_remora) == {
        "localhost/base:latest": base,
        "localhost/again:1": base,
        "localhost/second:2": second,
    }


def test_an_image_goes_through_a_pipe(empty_remora: Remora, base: str) -> None:
    saved = subprocess.run(
        ["remora", "save", "-q", "base"],
        env=empty_remora.environment,
        capture_output=True,
        timeout=DEADLINE,
        check=True,
    )
    assert saved.stderr == b""
    empty_remora("rmi", "base")
    for data in (saved.stdout, gzip.compress(saved.stdout), lzma.compress(saved.stdout)):
        loaded = subprocess.run(
            ["remora", "load", "-q"],
            input=data,
            env=empty_remora.environment,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert (loaded.returncode, loaded.stdout) == (0, b"Loaded image: localhost/base:latest\n"), loaded.stderr
        assert names_of(empty_remora) == {"localhost/base:latest": base}
        empty_remora("rmi", "base")


def test_saved_by_id_is_loaded_without_a_name(empty_remora: Remora, base: str, tmp_path: Path) -> None:
    empty_remora("save", "-q", "-o", str(tmp_path / "a"), base[:12])
    empty_remora("rmi", "base")
    assert empty_remora("load", "-q", "-i", str(tmp_path / "a")) == f"Loaded image: sha256:{base}"
    assert names_of(empty_remora) == {base: base}


def test_podman_loads_what_remora_saved_and_the_other_way_round(
    empty_remora: Remora, base: str, tmp_path: Path
) -> None:
    from tests.frontend.test_images_store import tool

    for form in ("docker-archive", "oci-archive"):
        ours, theirs = str(tmp_path / f"ours-{form}"), str(tmp_path / f"theirs-{form}")
        empty_remora("save", "-q", "--format", form, "-o", ours, "base")
        tool(empty_remora, "podman", "save", "-q", "--format", form, "-o", theirs, "base")
        empty_remora("rmi", "base")
        assert tool(empty_remora, "podman", "load", "-q", "-i", ours) == "Loaded image: localhost/base:latest"
        assert names_of(empty_remora) == {"localhost/base:latest": base}
        empty_remora("rmi", "base")
        assert empty_remora("load", "-q", "-i", theirs) == "Loaded image: localhost/base:latest"
        assert names_of(empty_remora) == {"localhost/base:latest": base}


def test_saving_never_overwrites_and_never_leaves_half_a_file(empty_remora: Remora, base: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("precious")
    assert "exists already" in empty_remora.run("save", "-q", "-o", str(there), "base", status=125).stderr
    assert there.read_text() == "precious"
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", small], check=True)
    try:
        for form in ("docker-archive", "oci-archive", "oci-dir"):
            result = empty_remora.run("save", "-q", "--format", form, "-o", f"{small}/x", "base", status=125)
            assert "no space left on device" in result.stderr
            assert one_line(result.stderr)
            assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("save", "-o", "x", "nosuch"), "nosuch: image not known"),
        (("save", "-o", "/nosuch/x", "base"), "/nosuch does not exist"),
        (("save", "--format", "odd", "-o", "x", "base"), "docker-archive docker-dir oci-archive oci-dir"),
        (("save", "--format", "oci-dir", "base"), "use --output"),
        (("save", "--format", "oci-archive", "-o", "x", "base", "second"), "only docker-archive"),
        (("load", "-i", "/nosuch"), "no such file"),
        (("load", "-i", "/etc/passwd"), "not an image archive"),
        (("load", "-i", "/etc"), "no image in this folder"),
        (("load", "-i", "/dev/null"), "not an image archive"),
    ],
)
def test_what_can_not_be_saved_or_loaded_is_one_line(
    empty_remora: Remora, base: str, busybox_tar: Path, words: tuple[str, ...], told: str
) -> None:
    empty_remora("import", "-q", "-c", "USER=1", str(busybox_tar), "second")
    result = empty_remora.run(*words, status=125)
    assert told in result.stderr
    assert one_line(result.stderr)


def test_a_root_file_system_given_to_load_is_sent_to_import(
    empty_remora: Remora, temporary: Path, busybox_tar: Path
) -> None:
    error = empty_remora.run("load", "-i", str(busybox_tar), status=125).stderr
    assert "`remora import`" in error


def test_an_archive_cut_off_anywhere_is_an_error_and_loads_nothing(
    empty_remora: Remora, base: str, tmp_path: Path
) -> None:
    archive = tmp_path / "whole.tar"
    empty_remora("save", "-q", "-o", str(archive), "base")
    empty_remora("rmi", "base")
    data = archive.read_bytes()
    for length in (0, 100, 512, 5000, len(data) // 2, len(data) - 12_000):
        (tmp_path / "cut.tar").write_bytes(data[:length])
        result = empty_remora.run("load", "-q", "-i", str(tmp_path / "cut.tar"), status=125)
        assert one_line(result.stderr), result.stderr
        assert names_of(empty_remora) == {}


def test_an_archive_with_hostile_names_is_refused(empty_remora: Remora, temporary: Path, tmp_path: Path) -> None:
    for tags, config in ((["../../etc:1"], "c.json"), (["a b"], "c.json"), (["ok:1"], "../../../etc/passwd")):
        path = tmp_path / "hostile.tar"
        with tarfile.open(path, "w") as archive:
            for name, data in (
                ("c.json", b"{}"),
                ("manifest.json", json.dumps([{"Config": config, "RepoTags": tags, "Layers": []}]).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        result = empty_remora.run("load", "-q", "-i", str(path), status=125)
        assert one_line(result.stderr), result.stderr
    assert names_of(empty_remora) == {}
