"""What the tests of survival share: boxes, and figures and tables that are printed when the tests are over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.box import Box, boxes, make_root
from tests.survival.light import LightBox
from tests.survival.report import REPORT


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system for containers made without an image."""
    root = make_root(tmp_path_factory.mktemp("root"))
    (root / "shared").mkdir()  # for monitors in conmon's place, see tests/conmon/caller.py
    return root


BoxFactory = Callable[[], Box]


@pytest.fixture
def new_box(tmp_path: Path, busybox_root: Path) -> Iterator[BoxFactory]:
    """Makes containers with a monitor, a real runtime, and without a frontend."""
    with boxes(tmp_path, busybox_root) as made:

        def make() -> Box:
            made.append(Box(tmp_path, busybox_root))
            return made[-1]

        yield make


@pytest.fixture
def new_light_box(tmp_path: Path, busybox_root: Path) -> Iterator[BoxFactory]:
    """The same with a runtime that only starts processes."""
    with boxes(tmp_path, busybox_root) as made:

        def make() -> Box:
            made.append(LightBox(tmp_path, busybox_root))
            return made[-1]

        yield make


@pytest.fixture
def box(new_box: BoxFactory) -> Box:
    """One container."""
    return new_box()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured and counted."""
    for line in REPORT.lines():
        terminalreporter.write_line(line)
