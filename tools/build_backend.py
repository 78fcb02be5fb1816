"""The build backend: meson-python, with the commands put into an editable wheel as well.

meson-python leaves out of an editable wheel what lies outside of the package, so that `pip install -e .` would install
neither `remora` nor `remora-monitor`. A normal wheel is meson-python's own.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import mesonpy
from mesonpy import (  # noqa: F401 - the hooks of PEP 517 and PEP 660 that need nothing more
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

MONITOR = b"""#!python
import os
import sys

from remora.monitor.program import monitor_program

os.execv(monitor_program(), ["remora-monitor", *sys.argv[1:]])
"""


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, str | list[str]] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """The editable wheel of PEP 660. Returns its file name."""
    name: str = mesonpy.build_editable(wheel_directory, config_settings, metadata_directory)
    command = Path(__file__).parent.parent / "frontend" / "remora.in"
    _add_scripts(Path(wheel_directory) / name, {"remora": command.read_bytes(), "remora-monitor": MONITOR})
    return name


def _add_scripts(wheel: Path, scripts: dict[str, bytes]) -> None:
    """Write the wheel anew with the scripts in it, and in its RECORD."""
    with zipfile.ZipFile(wheel) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    release = "-".join(wheel.name.split("-")[:2])
    record = f"{release}.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        lines = b""
        for name, content in scripts.items():
            info = zipfile.ZipInfo(f"{release}.data/scripts/{name}")
            info.external_attr = 0o100755 << 16
            new.writestr(info, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            lines += f"{info.filename},sha256={digest.decode()},{len(content)}\n".encode()
        for info, content in members:
            new.writestr(info, content + lines if info.filename == record else content)
