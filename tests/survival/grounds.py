"""The phases of both kinds of monitor under one roof: a name, and a fresh container for each run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.conmon.caller import Caller
from tests.support.box import Box, boxes
from tests.support.columns import Monitor
from tests.survival.conmon_phases import CONMON
from tests.survival.phases import NATIVE as LIFE
from tests.survival.phases import Trial
from tests.survival.phases_outside import OUTSIDE

NATIVE = {**LIFE, **OUTSIDE}
PHASES = [*NATIVE, *(f"conmon {name}" for name in CONMON)]


class OrphanedBox(Box):
    """A box whose keeper is killed: nobody is left who could have the runtime forget the container; `rm` does that."""

    def leftovers(self) -> dict[str, object]:
        return {key: what for key, what in super().leftovers().items() if key not in ("runtime state", "cgroups")}


def conmon_program() -> Monitor:
    """The installed monitor, by the name under which it takes conmon's options."""
    path = os.environ.get("REMORA_MONITOR") or str(Path(sys.executable).parent / "remora-monitor")
    return Monitor("remora", path)


def run_phase(phase: str, folder: Path, root: Path, trial: Trial, box: type[Box] = Box) -> str:
    """Run a phase with a container of its own; what came of it, `right` or `told`."""
    kind, _, name = phase.rpartition(" ")
    if not kind:
        with boxes(folder, root) as made:
            made.append(box(folder, root))
            return NATIVE[name](made[0], trial)
    caller = Caller(conmon_program(), folder, root)
    try:
        return CONMON[name](caller, trial)
    finally:
        caller.close()
