"""Too few descriptors at any step of a start: it is told, or it goes all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from remora import monitor
from tests.support import host
from tests.survival.conftest import BoxFactory
from tests.survival.phases import SCRIPT, Gate, started_or_told


def test_too_few_descriptors_at_any_step_of_a_start_are_told(
    new_box: BoxFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor gets 7, 8, 9 … of them until it can do everything."""
    program = tmp_path / "monitor"
    real = monitor.monitor_program()
    monkeypatch.setenv("REMORA_MONITOR", str(program))
    outcomes = []
    for limit in range(7, 70):
        program.write_text(f'#!/bin/bash\nulimit -n {limit}\nexec -a remora-monitor {real} "$@"\n')
        program.chmod(0o755)
        box = new_box()
        with Gate(box) as gate:
            try:
                spawner = box.start(*SCRIPT, attach={})
            except OSError:
                outcomes.append("not executed")
                continue
            outcomes.append(started_or_told(box, spawner, gate))
        assert not host.processes_of(box._folders(), {box.id})
        if outcomes[-3:] == ["right"] * 3:
            break
    assert outcomes[-1] == "right" and len(set(outcomes)) > 1, outcomes
