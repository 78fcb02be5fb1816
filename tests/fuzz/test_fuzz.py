"""Feeds each fuzz target with its corpus and with what the driver makes of it: no crash, no hang, no objection.

The targets are those of the build with ASan and UBSan (REMORA_FUZZ_TARGETS, set by tools/run-tests). Each runs for
REMORA_FUZZ_SECONDS; REMORA_FUZZ_SEED gives other random inputs. `make fuzz` searches for longer, with libFuzzer.
"""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
TARGETS = sorted(path.stem for path in HERE.glob("*.c") if path.stem not in ("driver", "canary"))


def _run(target: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    programs = os.environ.get("REMORA_FUZZ_TARGETS")
    if not programs:
        pytest.fail("REMORA_FUZZ_TARGETS is not set: run the tests through `make test`")
    return subprocess.run(
        [Path(programs) / f"fuzz_{target}", f"-artifact_prefix={folder}/", *arguments],
        cwd=folder,
        env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=3000,
        check=False,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_fuzz_target_takes_whatever_comes(target: str, tmp_path: Path) -> None:
    seconds = os.environ.get("REMORA_FUZZ_SECONDS", "3")
    arguments = [f"-max_total_time={seconds}", str(CORPUS / target)]
    if seed := os.environ.get("REMORA_FUZZ_SEED"):
        arguments.insert(0, f"-seed={seed}")
    result = _run(target, tmp_path, *arguments)
    if result.returncode != 0:
        crash = base64.b64encode((tmp_path / "crash").read_bytes()).decode()
        pytest.fail(f"{target} ended with {result.returncode}\n{result.stderr[-3000:]}\nits input, base64: {crash}")
    inputs = int(result.stderr.rpartition("stat::number_of_executed_units:")[2])
    assert inputs > len(list((CORPUS / target).iterdir())), result.stderr


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == TARGETS


def test_a_read_past_the_end_of_an_input_is_told_with_that_input(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(b"!!")
    result = _run("canary", tmp_path, "-runs=1", str(seed))
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr
    assert (tmp_path / "crash").read_bytes() == b"!!"
