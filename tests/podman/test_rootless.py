"""Podman of a user who is not root: the monitor runs in that user's namespace, without any right on the host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.podman.engine import World
from tests.support.columns import Monitor
from tests.support.waiting import eventually

UID = 4242
USER = "remora-test"
# The user exists in the private mount namespace alone.
ACCOUNT = {
    "passwd": f"{USER}:x:{UID}:{UID}::/:/bin/sh\n",
    "group": f"{USER}:x:{UID}:\n",
    "subuid": f"{USER}:700000:65536\n",
    "subgid": f"{USER}:700000:65536\n",
}


class Rootless:
    """`podman` as that user, with this monitor and a store in a folder of the user's."""

    def __init__(self, folder: Path, world: World, monitor: Monitor) -> None:
        self.folder = folder
        program = folder / "monitor"
        shutil.copy(monitor.path, program)
        program.chmod(0o755)
        (folder / "run").mkdir(mode=0o700)
        (folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\nnetns = "none"\n'
            'log_driver = "k8s-file"\n[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        (folder / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
        for path in (folder, *folder.iterdir()):
            os.chown(path, UID, UID)
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        self._words = [
            *(*world.enter, "env", "-i", "-C", str(folder), *(f"{name}={value}" for name, value in variables.items())),
            *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"),
            *("podman", "--log-level", "error", "--conmon", str(program), "--events-backend", "file"),
        ]

    def run(self, *arguments: str, status: int = 0, input: bytes = b"") -> bytes:
        """`podman ARGUMENTS`; both streams, stdout first."""
        done = subprocess.run([*self._words, *arguments], input=input, capture_output=True, timeout=60, check=False)
        assert done.returncode == status, f"{done.returncode} {done.stdout!r} {done.stderr!r}"
        return done.stdout + done.stderr

    def close(self) -> None:
        """Remove the containers and end the process that keeps the user's namespace."""
        subprocess.run([*self._words, "rm", "-f", "-t", "0", "-a"], capture_output=True, timeout=60, check=False)
        # The store's files belong to ids of the user's namespace; only there is the overlay unmounted.
        subprocess.run([*self._words, "unshare", "rm", "-rf", ".local"], capture_output=True, timeout=60, check=False)
        pause = self.folder / "run" / "libpod" / "tmp" / "pause.pid"
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)


@pytest.fixture(scope="session")
def account(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the user exist in the private mount namespace."""
    folder = tmp_path_factory.mktemp("account")
    script = 'cp -a /etc "$1/etc" && mount --bind "$1/etc" /etc'
    subprocess.run([*world.enter, "sh", "-c", script, "sh", str(folder)], check=True)
    for name, line in ACCOUNT.items():
        with open(folder / "etc" / name, "a") as file:
            file.write(line)


@pytest.fixture(scope="module")
def rootless(account: None, monitor: Monitor, world: World, busybox_tar: Path) -> Iterator[Rootless]:
    # Not below pytest's folder, which is root's alone.
    folder = Path(tempfile.mkdtemp(prefix="remora-rootless-"))
    made = Rootless(folder, world, monitor)
    options = ("-c", 'CMD ["/bin/sh"]', "-c", "ENV PATH=/bin")
    try:
        made.run("import", *options, "-", "busybox", input=busybox_tar.read_bytes())
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_rootless_run_gives_output_log_and_code(rootless: Rootless) -> None:
    words = ("run", "--name", "one", "busybox", "sh", "-c", "id -u; echo err >&2; exit 5")
    assert rootless.run(*words, status=5) == b"0\nerr\n"
    assert rootless.run("logs", "one") == b"0\nerr\n"


def test_rootless_input_goes_in_and_out(rootless: Rootless) -> None:
    data = os.urandom(500000)
    assert rootless.run("run", "--rm", "-i", "busybox", "cat", input=data) == data


def test_rootless_exec_kill_and_wait(rootless: Rootless) -> None:
    rootless.run("run", "-d", "--name", "two", "busybox", "sleep", "1000")
    monitor = int(rootless.run("inspect", "-f", "{{.State.ConmonPid}}", "two"))
    assert os.stat(f"/proc/{monitor}").st_uid == UID
    rootless.run("exec", "two", "sh", "-c", "exit 3", status=3)
    rootless.run("kill", "two")
    assert rootless.run("wait", "two") == b"137\n"
    eventually(lambda: not os.path.exists(f"/proc/{monitor}"), "the monitor ends")
