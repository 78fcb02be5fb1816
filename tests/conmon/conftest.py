"""Both monitors, called by hand; the table at the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conmon.caller import Caller
from tests.support.columns import Monitor, Table, monitor, pytest_collection_modifyitems, pytest_configure

__all__ = ["monitor", "pytest_collection_modifyitems", "pytest_configure"]

TABLE = Table("tests/conmon", "conmon's interface, called by hand")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    TABLE.add(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    TABLE.write(terminalreporter)


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """A root file system for all containers, read-only to them."""
    if os.geteuid() != 0:
        pytest.fail("containers need root: run the tests with `make test`")
    folder = tmp_path_factory.mktemp("rootfs")
    subprocess.run(["tar", "-C", folder, "-xf", busybox_tar], check=True)
    (folder / "shared").mkdir()
    return folder


@pytest.fixture
def caller(monitor: Monitor, tmp_path: Path, rootfs: Path) -> Iterator[Caller]:
    """A container to be made with this monitor."""
    made = Caller(monitor, tmp_path, rootfs)
    yield made
    made.close()
