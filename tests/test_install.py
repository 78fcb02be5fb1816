"""What `pip install` puts where: every source file, both programs, and parts that find each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import remora.monitor._core as core

TREE = Path(__file__).parent.parent
PACKAGE = Path(core.__file__).parent.parent
SCRIPTS = Path(sys.executable).parent


@pytest.mark.parametrize("part", ["monitor", "frontend"])
def test_every_python_file_of_the_tree_is_installed(part: str) -> None:
    sources = {path.relative_to(TREE / part) for path in (TREE / part).rglob("*.py")}
    installed = {path.relative_to(PACKAGE / part) for path in (PACKAGE / part).rglob("*.py")}
    assert sources
    assert sources - installed == set(), f"not listed in {part}/meson.build"
    assert installed - sources == set(), "installed, but no longer in the tree"


def test_the_monitor_lies_beside_the_extension_and_on_path() -> None:
    for program in (PACKAGE / "monitor" / "remora-monitor", SCRIPTS / "remora-monitor"):
        assert os.access(program, os.X_OK), f"{program} is missing"
        assert program.read_bytes()[:4] == b"\x7fELF"


def test_the_command_starts_without_the_caller_s_python_path(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the working directory')\n")
    result = subprocess.run(
        [SCRIPTS / "remora", "version"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "0.1.0" in result.stdout


def test_the_extension_has_every_name_of_its_stub() -> None:
    stub = TREE / "monitor" / "_core.pyi"
    assert stub.exists()
    assert {"ffi", "lib"} <= set(dir(core))
