"""tools/setup says what is missing in one message and does nothing by halves.

The script runs in a copy of its own, with stand-ins for the programs that tell it what the machine is like.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "tools" / "setup"
PACKAGES = (
    "runc",
    "crun",
    "skopeo",
    "catatonit",
    "busybox-static",
    "libmsgpack-dev",
    "musl-tools",
    "golang-github-containers-common",
)


class Machine:
    """A folder with a copy of the script and a PATH whose first entry holds the stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.programs = folder / "bin"
        self.calls = folder / "calls"
        (self.tree / "tools").mkdir(parents=True)
        self.programs.mkdir()
        shutil.copy(SETUP, self.tree / "tools" / "setup")

    def program(self, name: str, body: str) -> None:
        """A stand-in that notes its call and then runs `body` (shell)."""
        path = self.programs / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls}\n{body}\n')
        path.chmod(0o755)

    def setup(self, *groups: str, os_release: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script; `os_release` replaces /etc/os-release in a mount namespace of its own."""
        argv = [str(self.tree / "tools" / "setup"), *groups]
        if os_release:
            fake = self.programs.parent / "os-release"
            fake.write_text(os_release)
            argv = ["unshare", "-m", "sh", "-c", f'mount --bind {fake} /etc/os-release && exec "$@"', "sh", *argv]
        return subprocess.run(
            argv,
            env={**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def called(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""

    def untouched(self) -> bool:
        """Nothing lies in the tree but the script."""
        return sorted(path.name for path in self.tree.rglob("*")) == ["setup", "tools"]


DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_another_distribution_is_told_every_package_by_name(machine: Machine) -> None:
    machine.program("apt-get", "exit 0")
    result = machine.setup("test", os_release='PRETTY_NAME="Fedora Linux 40"\nID=fedora\nVERSION_ID=40\n')
    assert result.returncode == 1
    assert "Fedora Linux 40" in result.stderr
    for package in (*PACKAGES, "docker-registry", "debootstrap"):
        assert package in result.stderr
    assert "apt-get" not in machine.called()
    assert machine.untouched()


def test_missing_packages_without_a_way_to_root_are_named(machine: Machine) -> None:
    machine.program("id", "echo 1000")
    machine.program("sudo", "exit 1")  # wants a password
    machine.program("dpkg-query", "printf 'gcc=installed runc=installed crun=not-installed '")
    machine.program("apt-get", "exit 0")
    result = machine.setup(os_release=DEBIAN)
    assert result.returncode == 1
    assert "no terminal" in result.stderr
    command = next(line for line in result.stderr.splitlines() if "apt-get install" in line)
    assert " crun " in command
    assert " runc " not in command, "runc is there already"
    assert "apt-get" not in machine.called()
    assert machine.untouched()


def test_without_a_network_the_packages_are_named_and_nothing_is_made(machine: Machine) -> None:
    machine.program("id", "echo 0")
    machine.program("dpkg-query", "exit 1")
    machine.program("apt-get", "echo 'Could not resolve the name of the mirror' >&2; exit 100")
    result = machine.setup(os_release=DEBIAN)
    assert result.returncode == 1
    assert "Could not resolve" in result.stderr
    assert "network" in result.stderr
    for package in PACKAGES:
        assert package in result.stderr
    assert machine.untouched()


def test_a_python_that_is_too_old_is_refused_by_name(machine: Machine) -> None:
    machine.program("python3.9", "exit 1")
    result = machine.setup(os_release=DEBIAN, PYTHON="python3.9")
    assert result.returncode == 1
    assert "PYTHON=python3.9" in result.stderr
    assert "3.11" in result.stderr
    assert machine.untouched()


def test_an_unknown_word_is_refused(machine: Machine) -> None:
    result = machine.setup("tests")
    assert result.returncode == 1
    assert "'tests'" in result.stderr
    assert machine.untouched()
