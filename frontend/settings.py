"""Where things are: folders, runtime and the other settings that every command shares.

Order of precedence: global option, environment (REMORA_ROOT, REMORA_RUNROOT, REMORA_RUNTIME), containers.conf
(`Settings.conf`, docs/settings.md), default.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.containers_conf import Configuration

DATA = "/var/lib/remora"
RUN = "/run/remora"


class GlobalOptions:
    """The options that stand before the command; "" is "not given"."""

    __slots__ = ("root", "runroot", "runtime", "cgroup_manager", "debug")

    def __init__(
        self, root: str = "", runroot: str = "", runtime: str = "", cgroup_manager: str = "", debug: bool = False
    ) -> None:
        self.root = root
        self.runroot = runroot
        self.runtime = runtime
        self.cgroup_manager = cgroup_manager
        self.debug = debug


class Settings:
    """Folders and choices for one command.

    data: what outlives a reboot; run: what does not. Both absolute.
    runtime: name or path as asked for, "" = choose (crun where it works, else runc).
    cgroup_manager: `cgroupfs` or `systemd`, "" = default (cgroupfs).
    environ: the environment of the command (CONTAINERS_STORAGE_CONF, REGISTRY_AUTH_FILE ... are read from it).
    """

    __slots__ = ("data", "run", "runtime", "cgroup_manager", "debug", "environ", "_conf")

    def __init__(
        self,
        data: str = DATA,
        run: str = RUN,
        runtime: str = "",
        cgroup_manager: str = "",
        debug: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.data = os.path.abspath(data)
        self.run = os.path.abspath(run)
        self.runtime = runtime
        self.cgroup_manager = cgroup_manager
        self.debug = debug
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self._conf: Configuration | None = None

    @property
    def conf(self) -> Configuration:
        """containers.conf, read when it is first asked for. Raises RemoraError for a file that can't be used."""
        if self._conf is None:
            from remora.frontend import containers_conf

            self._conf = containers_conf.load(self.environ)
        return self._conf

    @property
    def containers(self) -> str:
        return self.data + "/containers"

    @property
    def names(self) -> str:
        return self.data + "/names"

    @property
    def images(self) -> str:
        return self.data + "/images"

    @property
    def ended(self) -> str:
        """Exit records of `--rm` containers, kept for late waiters."""
        return self.run + "/ended"

    @property
    def runtime_root(self) -> str:
        """State folder of the OCI runtime (its `--root`)."""
        return self.run + "/runtime"

    def data_dir(self, container_id: str) -> str:
        return f"{self.data}/containers/{container_id}"

    def run_dir(self, container_id: str) -> str:
        return f"{self.run}/{container_id}"


def load(options: GlobalOptions, environ: Mapping[str, str]) -> Settings:
    """Settings from the global options, then the environment, then the defaults."""
    return Settings(
        data=options.root or environ.get("REMORA_ROOT", "") or DATA,
        run=options.runroot or environ.get("REMORA_RUNROOT", "") or RUN,
        runtime=options.runtime or environ.get("REMORA_RUNTIME", ""),
        cgroup_manager=options.cgroup_manager,
        debug=options.debug or bool(environ.get("REMORA_DEBUG")),
        environ=environ,
    )
