"""Runs the C test programs of tests/core: one test for each NAME.c.

REMORA_CORE_TESTS is the folder with the built programs (tools/build-core makes it: the plain build, or the one
with the sanitizers). A program that is in the sources but was not built fails, so that none is forgotten.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SOURCES = sorted(Path(__file__).parent.glob("*.c"))


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_c_unit_program_succeeds(source: Path, tmp_path: Path) -> None:
    folder = os.environ.get("REMORA_CORE_TESTS")
    if not folder:
        pytest.fail("REMORA_CORE_TESTS is not set: run the tests through `make test`")
    program = Path(folder) / source.stem
    if not program.exists():
        pytest.fail(f"{program} was not built: is {source.name} listed in tests/core/meson.build?")
    environment = dict(os.environ, TMPDIR=str(tmp_path), UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
    result = subprocess.run(
        [program],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    output = (result.stdout + result.stderr).decode(errors="replace")
    assert result.returncode == 0, f"{source.stem} ended with {result.returncode}\n{output}"
