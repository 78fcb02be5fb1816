"""What an ordinary user waits for: Remora and Podman as a user made for the purpose, and Remora as root beside them."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from pathlib import Path

from bench.engines import Engine, RemoraEngine, storage_conf
from bench.measure import CommandFailed
from tests.support.users import Users

NAME = "bench"
BESIDE_ROOT = 1.3  # how many times root's latency a user's may be


class AsUser:
    """The engines, all started through the same words before them, so that these count for all alike.

    engines: "Remora" and "Podman" of the user, "root" is Remora of root.
    """

    def __init__(self, users: Users, tar: Path, programs: Path, runtime: str) -> None:
        self.users = users
        uid = users.add(NAME)
        home = users.home(NAME)
        folder = users.folder / "root"
        _writable(folder, home)
        user = {"HOME": str(home), "XDG_RUNTIME_DIR": str(users.runtime(NAME))}
        remora = RemoraEngine(folder / "remora", storage_conf(folder / "images"), programs, runtime)
        remora.name = "root"
        remora.command = [*users.become(0), *remora.command]
        own = Engine(folder / "user", {**user, "REMORA_RUNTIME": runtime})
        own.name, own.monitor = "Remora", "remora-monitor"
        own.command = [*users.become(uid), str(programs / "remora")]
        conf = _podman_conf(home)
        podman = Engine(folder / "podman", {**user, "CONTAINERS_CONF": str(conf)})
        podman.name, podman.monitor = "Podman", "conmon"
        podman.command = [*users.become(uid), "podman", "--runtime", runtime]
        readable = str(shutil.copy(tar, folder / "busybox.tar"))
        for engine in (remora, own):
            engine.run("import", "-q", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", readable, "busybox")
        self.engines = [own, podman, remora]

    def close(self) -> None:
        """Remove the containers, and end the process that Podman leaves behind."""
        for engine in self.engines:
            try:
                engine.clear()
            except CommandFailed as error:
                print(f"bench: {error}")
        pause = self.users.runtime(NAME) / "libpod/tmp/pause.pid"
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)
            time.sleep(0.1)


def _writable(folder: Path, home: Path) -> None:
    folder.mkdir()
    conf = home / ".config/containers"
    conf.mkdir(parents=True)
    # The one setting that makes Podman use the same store.
    (conf / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
    owner = home.stat().st_uid
    for path in (conf / "storage.conf", conf, conf.parent):
        os.chown(path, owner, owner)


def _podman_conf(home: Path) -> Path:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)[1], min(resource.getrlimit(resource.RLIMIT_NPROC)[1], 32768)
    path = home / "containers.conf"
    path.write_text(
        f'[containers]\ndefault_ulimits = ["nofile={limits[0]}:{limits[0]}", "nproc={limits[1]}:{limits[1]}"]\n'
        'log_driver = "k8s-file"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    return path
