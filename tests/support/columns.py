"""The same test for two monitors, conmon from Debian and remora-monitor, and a table with a column for each.

A `conftest.py` that takes over `monitor`, `pytest_configure`, `pytest_collection_modifyitems` from here and feeds a
`Table` gets every test that asks for `monitor` twice. `@pytest.mark.conmon_fails("why")` says what conmon is known to
do wrong: there, and only there, the test is expected to fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONMON = "conmon"
REMORA = "remora"


class Monitor:
    """One of the two programs.

    name: `conmon` or `remora`, the title of its column. path: the executable.
    """

    __slots__ = ("name", "path")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path

    @property
    def is_conmon(self) -> bool:
        return self.name == CONMON

    @property
    def patience(self) -> float:
        """Seconds to wait for what conmon is known never to do."""
        return 2.0 if self.is_conmon else 20.0


def find_monitor(name: str) -> Monitor:
    """The program `conmon` or `remora`; fails where it is not installed."""
    if name == REMORA:
        path = os.environ.get("REMORA_MONITOR") or str(Path(sys.executable).parent / "remora-monitor")
        assert os.access(path, os.X_OK), f"{path} is not there: install Remora, or set REMORA_MONITOR"
        return Monitor(name, path)
    found = shutil.which("conmon", path="/usr/bin:/usr/libexec/podman")
    assert found, "conmon is not installed (Debian: conmon)"
    return Monitor(name, found)


@pytest.fixture(scope="session", params=[CONMON, REMORA])
def monitor(request: pytest.FixtureRequest) -> Monitor:
    """Each of the two programs in turn."""
    name: str = request.param
    return find_monitor(name)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "conmon_fails(reason): what Debian's conmon is known to do wrong")
    config.addinivalue_line("markers", "only(name): a test for one of the two monitors")


def _column(item: pytest.Item) -> str:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return ""
    value: object = item.callspec.params.get("monitor", "")
    return str(value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect conmon's known failures, and drop what is for the other monitor alone."""
    unwanted = []
    for item in items:
        column = _column(item)
        only = item.get_closest_marker("only")
        if only and column and only.args[0] != column:
            unwanted.append(item)
        known = item.get_closest_marker("conmon_fails")
        if known and column == CONMON:
            item.add_marker(pytest.mark.xfail(reason=known.args[0], strict=False))
    items[:] = [item for item in items if item not in unwanted]


class Table:
    """Collects the outcome of each test by row and column.

    folder: only tests below it (`tests/podman`). title: first line when printed.
    """

    def __init__(self, folder: str, title: str) -> None:
        self._folder = folder
        self._title = title
        self._rows: dict[str, dict[str, str]] = {}
        self._reasons: dict[str, str] = {}

    def add(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        if self._folder + "/" not in report.nodeid:
            return
        name = report.nodeid.rpartition("::")[2]
        test, _, ids = name.partition("[")
        words = ids.removesuffix("]").split("-")
        column = next((word for word in words if word in (CONMON, REMORA)), "")
        if not column:
            return
        words.remove(column)
        row = test.removeprefix("test_").replace("_", " ") + (f" [{'-'.join(words)}]" if words else "")
        cells = self._rows.setdefault(row, {})
        if hasattr(report, "wasxfail"):
            cells[column] = "fails, known" if report.skipped else "ok (!)"
            self._reasons[row] = str(report.wasxfail).removeprefix("reason: ")
        elif report.failed:
            cells[column] = "FAILS"
        elif report.skipped:
            cells[column] = "skipped"
        elif report.when == "call":
            cells.setdefault(column, "ok")

    def write(self, reporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if not self._rows:
            return
        versions = subprocess.run(["conmon", "--version"], capture_output=True, text=True, check=False).stdout.split()
        reporter.section(f"{self._title}: conmon {versions[2] if len(versions) > 2 else '?'} and remora-monitor")
        width = max(len(row) for row in self._rows)
        reporter.write_line(f"{'':{width}}  {CONMON:12}  {REMORA:12}")
        for row, cells in self._rows.items():
            line = f"{row:{width}}  {cells.get(CONMON, '-'):12}  {cells.get(REMORA, '-'):12}"
            reporter.write_line(line + (f"  conmon: {self._reasons[row]}" if row in self._reasons else ""))
        worse = [
            row
            for row, cells in self._rows.items()
            if cells.get(REMORA) == "FAILS" and cells.get(CONMON) in ("ok", "ok (!)")
        ]
        good = ("ok", "ok (!)")
        counts = [sum(cells.get(column) in good for cells in self._rows.values()) for column in (CONMON, REMORA)]
        reporter.write_line(
            f"{len(self._rows)} rows; pass with conmon: {counts[0]}, with remora-monitor: {counts[1]}; "
            f"rows where remora-monitor is worse: {len(worse)}"
        )
