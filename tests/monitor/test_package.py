"""The package as a whole: what importing it costs, and that the hand-written stub is true."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import remora.monitor
from remora.monitor import core
from remora.monitor._core import ffi, lib

ALLOWED = {"remora", "__future__", "_cffi_backend", "errno"}
FOLDER = Path(__file__).parents[2] / "monitor"


def _modules_after(code: str) -> set[str]:
    names = "import sys; before = set(sys.modules); " + code + "; print(*set(sys.modules) - before)"
    return set(subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    assert _modules_after("import remora.monitor") <= {"remora", "remora.monitor", "__future__"}


def test_the_core_loads_only_the_extension() -> None:
    loaded = _modules_after("from remora.monitor import lock, remove_tree, process_start")
    assert {name for name in loaded if not name.startswith("remora.")} <= {
        "remora",
        "__future__",
        "_cffi_backend",
        "errno",
    }


def test_a_connection_loads_no_slow_module() -> None:
    loaded = _modules_after("from remora.monitor import Connection, spawn, pack, unpack; pack({})")
    slow = {"json", "argparse", "subprocess", "dataclasses", "typing", "shutil", "tempfile", "asyncio", "trio", "re"}
    assert not loaded & slow


def test_every_public_name_is_there() -> None:
    for name in remora.monitor.__all__:
        assert getattr(remora.monitor, name) is not None
    assert not hasattr(remora.monitor, "nonsense")


def test_public_names_and_the_imports_for_type_checkers_agree() -> None:
    tree = ast.parse((FOLDER / "__init__.py").read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named - {"annotations"} == set(remora.monitor.__all__)


def test_the_stub_names_what_the_library_has() -> None:
    tree = ast.parse((FOLDER / "_core.pyi").read_text())
    library = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "_Lib")
    stub = {node.name for node in library.body if isinstance(node, ast.FunctionDef)}
    stub |= {
        node.target.id for node in library.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert stub == {name for name in dir(lib) if not name.startswith("_")}


def test_the_stub_has_the_librarys_parameters() -> None:
    tree = ast.parse((FOLDER / "_core.pyi").read_text())
    library = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "_Lib")
    for node in library.body:
        if isinstance(node, ast.FunctionDef):
            kind = ffi.typeof(getattr(lib, node.name))
            assert len(node.args.posonlyargs) - 1 == len(kind.args), node.name


def test_constants_agree_with_the_headers() -> None:
    assert (core.CONTROL, core.STDIN, core.STDOUT, core.STDERR, core.RESIZE, core.EXIT) == (
        lib.REMORA_PACKET_CONTROL,
        lib.REMORA_PACKET_STDIN,
        lib.REMORA_PACKET_STDOUT,
        lib.REMORA_PACKET_STDERR,
        lib.REMORA_PACKET_RESIZE,
        lib.REMORA_PACKET_EXIT,
    )
    assert core.PAYLOAD_MAX == lib.REMORA_PAYLOAD_MAX
    assert core.RECORD_MAX >= lib.REMORA_RECORD_MAX
    end = remora.monitor.RelayEnd
    assert (end.EXITED, end.DETACHED, end.LOST, end.LAGGED, end.OUTPUT_CLOSED) == (
        lib.REMORA_RELAY_EXITED,
        lib.REMORA_RELAY_DETACHED,
        lib.REMORA_RELAY_LOST,
        lib.REMORA_RELAY_LAGGED,
        lib.REMORA_RELAY_OUTPUT_CLOSED,
    )


def test_the_monitor_program_is_beside_the_extension_unless_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec("remora.monitor._core")
    assert spec is not None
    assert spec.origin is not None
    monkeypatch.delenv("REMORA_MONITOR", raising=False)
    path = remora.monitor.monitor_program()
    assert path == f"{Path(spec.origin).parent}/remora-monitor"
    assert os.access(path, os.X_OK)
    monkeypatch.setenv("REMORA_MONITOR", "/elsewhere/monitor")
    assert remora.monitor.monitor_program() == "/elsewhere/monitor"
