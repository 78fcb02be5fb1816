"""The two engines under comparison, each in folders of its own, with the same runtime and the same image store."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path

from bench.measure import CommandFailed, Timer, processes_of

IMAGE = "localhost/busybox:latest"


class Engine:
    """One engine: how its commands are spelt and where its monitors and logs are.

    name: as printed; monitor: file name of its monitor program; command: argv before the subcommand; timer: runs
    programs in the engine's environment.
    """

    name = ""
    monitor = ""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.command: list[str] = []
        self.timer = Timer({**os.environ, **environment}, folder / "stderr")

    def argv(self, *words: str) -> list[str]:
        """A whole command line."""
        return [*self.command, *words]

    def time(self, *words: str) -> float:
        """Seconds that `ENGINE WORDS` takes."""
        return self.timer.time(self.argv(*words))

    def run(self, *words: str) -> str:
        """Output of `ENGINE WORDS`."""
        return self.timer.output(self.argv(*words))

    def pid(self, container: str) -> int:
        """Process id of the container's first process."""
        return int(self.run("inspect", "-f", "{{.State.Pid}}", container))

    def identity(self, container: str) -> str:
        """The container's full id."""
        return self.run("inspect", "-f", "{{.Id}}", container)

    def monitors(self, container: str) -> list[int]:
        """Every process that exists because of the container and is none of its own. Raises CommandFailed if none."""
        found = processes_of(self.monitor, self.identity(container)[:12])
        if not found:
            raise CommandFailed(f"container {container} has no process of {self.monitor}")
        return found

    def log_path(self, container: str) -> Path:
        """The file that the container's log is written to."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove every container."""
        self.run("rm", "-f", "-t", "0", "--all")


class RemoraEngine(Engine):
    """Remora as installed in the environment that runs the benchmark."""

    name = "Remora"
    monitor = "remora-monitor"

    def __init__(self, folder: Path, storage: Path, programs: Path, runtime: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        conf = folder / "containers.conf"
        conf.write_text('[containers]\nnetns = "none"\n')  # the machine's own networks are not touched
        super().__init__(
            folder,
            {
                "CONTAINERS_CONF": str(conf),
                "REMORA_ROOT": str(folder / "data"),
                "REMORA_RUNROOT": str(folder / "run"),
                "REMORA_RUNTIME": runtime,
                "CONTAINERS_STORAGE_CONF": str(storage),
            },
        )
        self.command = [str(programs / "remora")]

    def log_path(self, container: str) -> Path:
        return Path(self.run("inspect", "-f", "{{.LogPath}}", container))

    def run_dir(self, container: str) -> Path:
        """The container's run folder, where its control socket is."""
        return self.folder / "run" / self.identity(container)

    def process(self, container: str) -> dict[str, object]:
        """The OCI process object that the container was started with."""
        bundle = self.folder / "data" / "containers" / self.identity(container) / "bundle"
        process = json.loads((bundle / "config.json").read_text())["process"]
        assert isinstance(process, dict)
        return process


class PodmanEngine(Engine):
    """Podman with conmon, both from the distribution, on the same storage; or with `conmon` in conmon's place.

    One folder may have an engine of either kind, for Podman has one database: the names must differ then."""

    name = "Podman"
    monitor = "conmon"

    def __init__(self, folder: Path, storage: Path, runtime: str, conmon: Path | None = None) -> None:
        # Podman's built-in limits are above what a machine without CAP_SYS_RESOURCE may set; and its processes limit,
        # once lowered by Podman itself on the way, cannot be raised to the machine's again.
        nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        nproc = min(resource.getrlimit(resource.RLIMIT_NPROC)[1], 32768)
        folder.mkdir(parents=True, exist_ok=True)
        conf = folder / "containers.conf"
        conf.write_text(
            "[containers]\n"
            f'default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]\n'
            'log_driver = "k8s-file"\n'
            "[engine]\n"
            'cgroup_manager = "cgroupfs"\n'
            'events_logger = "file"\n'
            f'tmp_dir = "{folder}/tmp"\n'
            f'volume_path = "{folder}/volumes"\n'
            "[network]\n"
            'network_backend = "netavark"\n'
        )
        super().__init__(folder, {"CONTAINERS_CONF": str(conf), "CONTAINERS_STORAGE_CONF": str(storage)})
        self.command = ["podman", "--runtime", runtime]
        if conmon is not None:
            self.name = "drop-in"
            self.monitor = conmon.name
            self.command += ["--conmon", str(conmon)]

    def log_path(self, container: str) -> Path:
        return Path(self.run("inspect", "-f", "{{.HostConfig.LogConfig.Path}}", container))


def storage_conf(folder: Path) -> Path:
    """A private image store below the folder, and the file that leads to it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "storage.conf"
    path.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/storage-run"\n'
    )
    return path


def unpack_bundle(folder: Path, tar: Path, runtime: str) -> Path:
    """A bundle for the bare runtime: the image's files and the runtime's own default configuration, running `true`."""
    root = folder / "rootfs"
    root.mkdir(parents=True)
    subprocess.run(["tar", "-C", root, "-xf", tar], check=True)
    subprocess.run([runtime, "spec"], cwd=folder, check=True)
    config = folder / "config.json"
    text = config.read_text()
    text = text.replace('"terminal": true', '"terminal": false').replace('"sh"\n', '"true"\n')
    config.write_text(text)
    return folder
