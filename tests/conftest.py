"""Fixtures for tests on the installed program: private folders, a private image store, one busybox image.

A `Remora` runs the command with environment variables that point at its own folders, so that nothing of the
machine's real containers and images is seen or changed. Everything that it left running is removed at its end.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

TREE = Path(__file__).parent.parent
PROGRAM = Path(sys.executable).parent / "remora"
DEADLINE = 60.0


def pytest_configure() -> None:
    """Run by a shell in the background, the tests ignore these two, and so would every program that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


class Remora:
    """The command `remora` with folders of its own.

    root, runroot: its data and run folder. environment: what it is run with. configuration: its containers.conf.
    """

    def __init__(self, folder: Path, storage_conf: Path) -> None:
        self.folder = folder
        self.prefix: list[str] = []  # words before the command: they lead to another place
        self.root = folder / "data"
        self.runroot = folder / "run"
        # Where hard limits can't be raised, the first start says so once: not what a test looks at.
        self.runroot.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.runroot / "limits-told").touch(mode=0o600)
        # Not the machine's own settings, and no network that would have to be set up, unless a test asks for it.
        self.configuration = folder / "containers.conf"
        self.configuration.write_text('[containers]\nnetns = "none"\n')
        self.environment: dict[str, str] = {
            **{key: value for key, value in os.environ.items() if not key.startswith("REMORA_")},
            **{key: os.environ[key] for key in ("REMORA_MONITOR",) if key in os.environ},
            "PATH": f"{PROGRAM.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "REMORA_ROOT": str(self.root),
            "REMORA_RUNROOT": str(self.runroot),
            "CONTAINERS_STORAGE_CONF": str(storage_conf),
            "CONTAINERS_CONF": str(self.configuration),
        }

    def run(
        self,
        *arguments: str,
        status: int | None = 0,
        input: bytes | str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
    ) -> subprocess.CompletedProcess[str]:
        """Run `remora ARGUMENTS` to its end and check its exit status (`status=None`: any will do)."""
        data = input.decode() if isinstance(input, bytes) else input
        result = subprocess.run(
            [*self.prefix, PROGRAM, *arguments],
            env={**self.environment, **(env or {})},
            input=data if data is not None else None,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        if status is not None:
            assert result.returncode == status, (
                f"remora {' '.join(arguments)} ended with {result.returncode}, not {status}\n"
                f"stdout: {result.stdout}\nstderr: {result.stderr}"
            )
        return result

    def __call__(self, *arguments: str) -> str:
        """Standard output of a command that must succeed, without the newline at its end."""
        return self.run(*arguments).stdout.removesuffix("\n")

    def popen(
        self,
        *arguments: str,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = subprocess.PIPE,
        preexec: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Start `remora ARGUMENTS` (behind the words of `preexec`, say `setsid`) and return at once."""
        return subprocess.Popen(
            [*self.prefix, *preexec, str(PROGRAM), *arguments],
            env=self.environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )

    def clear(self) -> None:
        """Remove every container."""
        self.run("rm", "-f", "-t", "0", "--all", status=None)


def _storage_conf(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "storage.conf"
    path.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/storage-run"\n'
    )
    return path


def _unmount(conf: Path) -> None:
    """skopeo leaves the store's overlay folder as a mount point of its own, which pytest could not remove later."""
    subprocess.run(["umount", "--quiet", conf.parent / "storage" / "overlay"], check=False, timeout=DEADLINE)


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of Debian's busybox-static as a tarball."""
    path = tmp_path_factory.mktemp("busybox") / "busybox.tar"
    subprocess.run([TREE / "tools" / "busybox-tar", path], check=True, timeout=DEADLINE)
    return path


@pytest.fixture(scope="session")
def storage_conf(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Iterator[Path]:
    """A private image store that holds `localhost/busybox:latest`, made by `remora import`."""
    if os.geteuid() != 0:
        pytest.fail("the tests need root, also those on users: run them with `make test`")
    folder = tmp_path_factory.mktemp("images")
    conf = _storage_conf(folder)
    Remora(folder / "import", conf).run(
        "import", "-c", 'CMD ["/bin/sh"]', "-c", "ENV PATH=/bin:/usr/bin", str(busybox_tar), "busybox"
    )
    yield conf
    _unmount(conf)


@pytest.fixture
def remora(tmp_path: Path, storage_conf: Path) -> Iterator[Remora]:
    """The command with a data and run folder of this test alone, and the shared private image store."""
    program = Remora(tmp_path / "remora", storage_conf)
    yield program
    program.clear()


@pytest.fixture
def empty_remora(tmp_path: Path) -> Iterator[Remora]:
    """The same with an image store of its own that is empty."""
    program = Remora(tmp_path / "remora", _storage_conf(tmp_path / "images"))
    yield program
    program.clear()
    _unmount(tmp_path / "images" / "storage.conf")
    shutil.rmtree(tmp_path / "images", ignore_errors=True)
