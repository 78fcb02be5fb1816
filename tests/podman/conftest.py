"""Podman as the real caller: its own store for each monitor, a journal of their own, the table at the end.

Everything runs in one private mount namespace: there systemd-journald is started by hand, so that neither the journal
of the machine is needed nor written to. The store, its state folder and the events file are private too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.podman.engine import Podman, World
from tests.support.columns import Monitor, Table, monitor, pytest_collection_modifyitems, pytest_configure

__all__ = ["monitor", "pytest_collection_modifyitems", "pytest_configure"]

TABLE = Table("tests/podman", "Podman with its monitors")
HELPER = Path(__file__).with_name("helper.c")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    TABLE.add(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    TABLE.write(terminalreporter)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The private mount namespace with its journal."""
    if os.geteuid() != 0:
        pytest.fail("containers need root: run the tests with `make test`")
    with World(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="session")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the static program `helper`, to be mounted into containers."""
    folder = tmp_path_factory.mktemp("helper")
    subprocess.run(["cc", "-O1", "-static", "-o", folder / "helper", HELPER], check=True)
    return folder


@pytest.fixture(scope="session")
def engine(monitor: Monitor, world: World, busybox_tar: Path) -> Iterator[Podman]:
    """Podman with a store that holds `localhost/busybox`, and this monitor."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [f"nofile={files}:{files}", "nproc=4096:4096"]
    # Podman takes no run folder of more than 50 characters, so it is not one of pytest's.
    with tempfile.TemporaryDirectory(prefix="p", ignore_cleanup_errors=True) as folder:
        made = Podman(Path(folder), world, monitor, limits)
        made("import", "-c", 'CMD ["/bin/sh"]', "-c", "ENV PATH=/bin:/usr/bin", str(busybox_tar), "busybox")
        yield made
        made.close()


@pytest.fixture
def podman(engine: Podman) -> Iterator[Podman]:
    """The same for one test: its containers are removed, and then nothing of them may be left."""
    yield engine
    engine.clear()
    engine.assert_nothing_left()
