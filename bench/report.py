"""Goals, tables and the machine's facts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

from bench.measure import median


class Goal:
    """What a figure is to reach: at most `most` or at least `least` times the figure of `against` (a key of the row's
    values), or at most `absolute` in the table's unit."""

    __slots__ = ("absolute", "against", "least", "most")

    def __init__(self, most: float = 0.0, least: float = 0.0, absolute: float = 0.0, against: str = "Podman") -> None:
        self.most = most
        self.least = least
        self.absolute = absolute
        self.against = against

    def text(self, unit: str) -> str:
        """As it stands in the table."""
        if self.absolute:
            return f"<= {self.absolute:g} {unit}"
        factor = f"<= {self.most:g} x" if self.most else f">= {self.least:g} x"
        return factor if self.against == "Podman" else f"{factor} {self.against}"

    def reached(self, ours: float, theirs: float) -> bool:
        """Both in the table's unit."""
        if self.absolute:
            return ours <= self.absolute
        return ours <= self.most * theirs if self.most else ours >= self.least * theirs


class Row:
    """One line of the table: the values of each engine in base units (seconds, bytes, bytes a second).

    values: keys are "Remora", "Podman", "raw" (what a reader takes that only copies) and what a goal is against.
    """

    __slots__ = ("goal", "name", "scale", "unit", "values")

    def __init__(self, name: str, values: dict[str, list[float]], unit: str, scale: float, goal: Goal) -> None:
        self.name = name
        self.values = values
        self.unit = unit
        self.scale = scale
        self.goal = goal

    def middle(self, engine: str) -> float:
        """The median in the table's unit; not a number when the engine was not measured."""
        return median(self.values.get(engine, [])) * self.scale

    def _cell(self, engine: str) -> str:
        return f"{self.middle(engine):.4g} {self.unit}" if self.values.get(engine) else "-"

    def cells(self) -> list[str]:
        """What stands in the table."""
        ours, theirs = self.middle("Remora"), self.middle(self.goal.against)
        return [
            self.name,
            *[self._cell(engine) for engine in COLUMNS],
            f"{ours / theirs:.2f}" if self.values.get(self.goal.against) and theirs else "-",
            self.goal.text(self.unit),
            "reached" if self.goal.reached(ours, theirs) else "MISSED",
        ]


COLUMNS = ("Remora", "Podman", "raw")
HEAD = ["figure (median)", "Remora", "Podman/conmon", "raw copy", "ratio", "goal", ""]


def table(rows: list[Row]) -> str:
    """The table as Markdown that also reads well as text."""
    lines = [HEAD, *[row.cells() for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def _first_line(*argv: str) -> str:
    try:
        output = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return "absent"
    return output.splitlines()[0] if output else "?"


def machine(folder: Path, runtime: str) -> dict[str, str]:
    """Facts that the figures depend on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {
        "processor": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory} MiB",
        "kernel": platform.release(),
        "file system": _first_line("stat", "-f", "-c", "%T", str(folder)),
        "runtime": _first_line(runtime, "--version"),
        "podman": _first_line("podman", "--version"),
        "conmon": _first_line("conmon", "--version"),
        "python": platform.python_version(),
        "load at the start": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def save(path: Path, facts: dict[str, str], rows: list[Row], extra: dict[str, list[float]]) -> None:
    """Everything that was measured, as JSON, for later comparison."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {row.name: row.values for row in rows}
    path.write_text(json.dumps({"machine": facts, "figures": figures, "extra": extra}, indent=1) + "\n")
