"""What `pip install` puts where: every source file, both programs, and parts that find each other."""

from __future__ import annotations

import os
import shutil
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


def test_the_monitor_is_one_small_static_file() -> None:
    program = PACKAGE / "monitor" / "remora-monitor"
    assert program.stat().st_size < 1_000_000
    headers = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
    assert "LOAD" in headers
    assert "INTERP" not in headers, "it needs the dynamic linker: three times the memory for each container"


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


def test_an_editable_install_has_both_commands_and_they_find_each_other(tmp_path: Path) -> None:
    tree, venv = tmp_path / "tree", tmp_path / "venv"
    for folder in ("csrc", "monitor", "frontend", "tools"):
        shutil.copytree(TREE / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("meson.build", "meson.options", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TREE / name, tree)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("REMORA_")}
    # What the build and the commands need is taken from this environment; Remora itself is not, for the path of an
    # editable install comes first.
    environment |= {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "PYTHONPATH": str(PACKAGE.parent)}

    def run(*argv: str | Path) -> str:
        result = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert result.returncode == 0, f"{argv}: {result.stdout}{result.stderr}"
        return result.stdout

    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin" / "python", "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "-e", tree)
    found = "import sys; from remora.monitor.program import monitor_program; print(sys.argv, monitor_program())"
    assert str(tree / "build") in run(venv / "bin" / "python", "-c", found)
    assert "0.1.0" in run(venv / "bin" / "remora", "version")
    assert os.access(venv / "bin" / "remora-monitor", os.X_OK)
