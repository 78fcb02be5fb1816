"""`save`: images from the store into an archive or a folder.

skopeo writes one image. Several go into one docker-archive by writing each to an archive of its own and putting
those together: layers and configurations that are equal once, one manifest.json for all.
"""

from __future__ import annotations

import json
import os

from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import skopeo
from remora.frontend.images.decode import as_list, parse
from remora.frontend.images.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from remora.frontend.images.store import Image
    from remora.frontend.settings import Settings

FORMATS = {"docker-archive": "docker-archive", "oci-archive": "oci-archive", "oci-dir": "oci", "docker-dir": "dir"}
FOLDERS = ("oci-dir", "docker-dir")
PIECE = 1 << 20


def save(settings: Settings, given: Sequence[str], *, form: str, output: str, quiet: bool) -> None:
    """Write images to `output`, "" being stdout (archives only).

    form: one of FORMATS. Names of one image become its tags in the archive; an id leaves it untagged.
    Raises RemoraError; no half-written archive stays behind.
    """
    store = Store(settings)
    chosen = _grouped(store, given)
    if len(chosen) > 1 and form != "docker-archive":
        raise RemoraError(
            f"saving {', '.join(given)}: only docker-archive can hold several images", "save them one by one"
        )
    if output and os.path.lexists(output) and (form in FOLDERS or os.path.isfile(output)) and not _is_empty(output):
        raise RemoraError(f"saving to {output}: it exists already", "remove it first or choose another name")
    with skopeo.TemporaryFolder(settings.environ) as folder:
        if not output:
            if form in FOLDERS:
                raise RemoraError(f"saving as {form}: a folder can't go to stdout", "use --output")
            archive = f"{folder}/out"
            _write(settings, store, chosen, form, archive, folder, True)
            _to_stdout(archive)
        elif form in FOLDERS:
            _save_folder(settings, store, chosen, form, output, folder, quiet)
        elif os.path.exists(output) and not os.path.isfile(output):  # a device or fifo
            archive = f"{folder}/out"
            _write(settings, store, chosen, form, archive, folder, quiet)
            with open(output, "wb", buffering=0) as file:
                _copy(archive, file, output)
        else:
            _save_file(settings, store, chosen, form, output, folder, quiet)


def _grouped(store: Store, given: Sequence[str]) -> list[tuple[Image, list[str]]]:
    """Each image once, with the names it was given by."""
    found: dict[str, tuple[Image, list[str]]] = {}
    for name in given:
        image = store.find(name)
        tags = found.setdefault(image.id, (image, []))[1]
        if image.matched and "@" not in image.matched and image.matched not in tags:
            tags.append(image.matched)
    return list(found.values())


def _is_empty(path: str) -> bool:
    return not os.listdir(path) if os.path.isdir(path) else os.path.getsize(path) == 0


def _save_file(
    settings: Settings,
    store: Store,
    chosen: list[tuple[Image, list[str]]],
    form: str,
    output: str,
    folder: str,
    quiet: bool,
) -> None:
    """Beside the file, then renamed: it appears whole or not at all."""
    parent = os.path.dirname(os.path.abspath(output))
    if not os.path.isdir(parent):
        raise RemoraError(f"saving to {output}: the folder {parent} does not exist", "make it first")
    os.symlink(parent, f"{folder}/parent")  # skopeo takes a colon in a path for its end
    temporary = f"{folder}/parent/.remora-save-{os.getpid()}"
    try:
        _write(settings, store, chosen, form, temporary, folder, quiet)
        os.chmod(temporary, 0o666 & ~_umask())
        os.rename(temporary, output)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _save_folder(
    settings: Settings,
    store: Store,
    chosen: list[tuple[Image, list[str]]],
    form: str,
    output: str,
    folder: str,
    quiet: bool,
) -> None:
    from shutil import rmtree

    made = not os.path.isdir(output)
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise RemoraError(f"saving to {output}: {os_error_text(error)}")
    os.symlink(os.path.abspath(output), f"{folder}/target")
    try:
        _write(settings, store, chosen, form, f"{folder}/target", folder, quiet)
    except BaseException:
        if made:
            rmtree(output, ignore_errors=True)
        raise


def _write(
    settings: Settings,
    store: Store,
    chosen: list[tuple[Image, list[str]]],
    form: str,
    path: str,
    folder: str,
    quiet: bool,
) -> None:
    if len(chosen) == 1:
        _one(settings, store, *chosen[0], form, path, quiet)
        return
    parts: list[str] = []
    for image, tags in chosen:
        parts.append(f"{folder}/{image.id}.tar")
        _one(settings, store, image, tags, form, parts[-1], quiet)
    _merge(parts, path)


def _one(settings: Settings, store: Store, image: Image, tags: list[str], form: str, path: str, quiet: bool) -> None:
    arguments = ["copy", *(("-q",) if quiet else ())]
    if form == "docker-archive":
        arguments += [f"--additional-tag={tag}" for tag in tags[1:]]
        arguments.append("--format=v2s2")
    elif form == "docker-dir":
        arguments.append("--format=v2s2")
    target = f"{FORMATS[form]}:{path}"
    if tags and form != "docker-dir":
        target += f":{tags[0]}"
    source = store.transport + f"@{image.id}"
    skopeo.run(
        [*arguments, source, target],
        phase=f"saving {image.name}",
        environ=settings.tool_environ,
        quiet=quiet,
        folder="the folder written to",
    )


def _merge(parts: Sequence[str], path: str) -> None:
    """Several docker-archives as one."""
    import io
    import tarfile

    manifest: list[object] = []
    repositories: dict[str, dict[str, str]] = {}
    seen: set[str] = set()
    with tarfile.open(path, "x:", format=tarfile.GNU_FORMAT) as out:
        for part in parts:
            with tarfile.open(part, "r:") as archive:
                for info in archive:
                    if info.name in ("manifest.json", "repositories"):
                        file = archive.extractfile(info)
                        data = parse(file.read()) if file is not None else None
                        if info.name == "manifest.json":
                            manifest += as_list(data)
                        elif isinstance(data, dict):
                            for repository, tags in data.items():
                                repositories.setdefault(repository, {}).update(tags)
                    elif info.name not in seen:
                        seen.add(info.name)
                        out.addfile(info, archive.extractfile(info) if info.isreg() else None)
            os.unlink(part)
        for name, value in (("manifest.json", manifest), ("repositories", repositories)):
            text = json.dumps(value, separators=(",", ":")).encode()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o444
            out.addfile(info, io.BytesIO(text))


def _to_stdout(path: str) -> None:
    with open(1, "wb", buffering=0, closefd=False) as file:
        _copy(path, file, "stdout")


def _copy(path: str, target: BinaryIO, shown: str) -> None:
    with open(path, "rb", buffering=0) as source:
        try:
            while piece := source.read(PIECE):
                view = memoryview(piece)
                while view:
                    view = view[target.write(view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise RemoraError(f"saving to {shown}: {os_error_text(error)}")


def check_form(form: str) -> str:
    """The format if it is one; RemoraError otherwise."""
    if form not in FORMATS:
        raise RemoraError(f'unknown format "{form}"', f"format value must be one of {' '.join(sorted(FORMATS))}")
    return form
