"""Figures and tables of a test run, printed at its end (conftest.py)."""

from __future__ import annotations

from collections import Counter, defaultdict

# right: nobody noticed. told: who asked for something was told that it failed. lost: one packet of input, of which
# nobody can say whether it arrived. unmade: the process did not come to that call.
OUTCOMES = ("right", "told", "lost", "unmade", "wrong")


class Report:
    """Collects: `figure` for one number after another, `row` for the fault table."""

    def __init__(self) -> None:
        self._figures: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._rows: defaultdict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        self._notes: list[str] = []

    def figure(self, name: str, value: float, unit: str = "ms") -> None:
        """One measurement of a figure."""
        self._figures[name, unit].append(value)

    def row(self, phase: str, part: str, call: str, outcome: str) -> None:
        """One fault: which call of which process failed in which phase, and how that ended."""
        self._rows[phase, part, call][outcome] += 1

    def note(self, line: str) -> None:
        """One line."""
        self._notes.append(line)

    def lines(self) -> list[str]:
        """All of it as text."""
        text = []
        if self._rows:
            text += ["", "fault table: calls made to fail once", ""]
            heads = " ".join(f"{key if key != 'wrong' else 'WRONG':>6}" for key in OUTCOMES)
            text.append(f"{'phase':<15} {'process':<8} {'call':<18} {heads}")
            for (phase, part, call), counts in sorted(self._rows.items()):
                cells = " ".join(f"{counts[key] or '':>6}" for key in OUTCOMES)
                text.append(f"{phase:<15} {part:<8} {call:<18} {cells}".rstrip())
            total: Counter[str] = Counter()
            for counts in self._rows.values():
                total += counts
            text.append("all: " + ", ".join(f"{total[key]} {key}" for key in OUTCOMES))
        if self._figures or self._notes:
            text += ["", "survival: figures", ""]
        for (name, unit), values in sorted(self._figures.items()):
            ranked = sorted(values)
            middle = ranked[len(ranked) // 2]
            text.append(f"{name}: median {middle:.2f} {unit}, most {ranked[-1]:.2f} {unit} ({len(ranked)} times)")
        return [*text, *self._notes]


REPORT = Report()
