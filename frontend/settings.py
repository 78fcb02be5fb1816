"""Where things are: folders, runtime and the other settings that every command shares.

Order of precedence: global option, environment (REMORA_ROOT, REMORA_RUNROOT, REMORA_RUNTIME), containers.conf
(`Settings.conf`, docs/settings.md), default.

A command of an ordinary user enters a user namespace and is uid 0 from then on (frontend/rootless): who the user is, is
decided here, before that.
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
    """The options that stand before the command; "" is "not given".

    entered: `UID:GID` of the user in whose user namespace the command is started (hidden: the monitor gives it).
    """

    __slots__ = ("root", "runroot", "runtime", "cgroup_manager", "entered", "debug")

    def __init__(
        self,
        root: str = "",
        runroot: str = "",
        runtime: str = "",
        cgroup_manager: str = "",
        debug: bool = False,
        entered: str = "",
    ) -> None:
        self.root = root
        self.runroot = runroot
        self.runtime = runtime
        self.cgroup_manager = cgroup_manager
        self.debug = debug
        self.entered = entered


class Settings:
    """Folders and choices for one command.

    data: what outlives a reboot; run: what does not. Both absolute.
    runtime: name or path as asked for, "" = choose (crun where it works, else runc).
    cgroup_manager: `cgroupfs` or `systemd`, "" = default (cgroupfs).
    environ: the environment of the command (CONTAINERS_STORAGE_CONF, REGISTRY_AUTH_FILE ... are read from it).
    rootless: it is the command of an ordinary user. uid, gid: the caller's own, whatever os.geteuid() says once the
    user's namespace was entered (then `entered`). home: absolute, "" = unknown.
    """

    __slots__ = (
        "data",
        "run",
        "runtime",
        "cgroup_manager",
        "debug",
        "environ",
        "rootless",
        "uid",
        "gid",
        "home",
        "entered",
        "joining",
        "_conf",
    )

    def __init__(
        self,
        data: str = DATA,
        run: str = RUN,
        runtime: str = "",
        cgroup_manager: str = "",
        debug: bool = False,
        environ: Mapping[str, str] | None = None,
        rootless: bool = False,
        uid: int = 0,
        gid: int = 0,
        entered: bool = False,
    ) -> None:
        self.data = os.path.abspath(data)
        self.run = os.path.abspath(run)
        self.runtime = runtime
        self.cgroup_manager = cgroup_manager
        self.debug = debug
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.rootless = rootless
        self.uid = uid
        self.gid = gid
        self.home = home_folder(self.environ, uid)
        self.entered = entered
        self.joining = -1  # networks/rootless_bridge.py: held while a container joins the user's bridges
        self._conf: Configuration | None = None

    @property
    def conf(self) -> Configuration:
        """containers.conf, read when it is first asked for. Raises RemoraError for a file that can't be used."""
        if self._conf is None:
            from remora.frontend import containers_conf

            self._conf = containers_conf.load(self.environ)
        return self._conf

    @property
    def outside(self) -> bool:
        """Whether the user's namespace is still to be entered: files of other ids are out of reach, nothing mounts."""
        return self.rootless and not self.entered

    @property
    def tool_environ(self) -> Mapping[str, str]:
        """The environment of the containers tools: inside they are to know that they needn't enter a namespace again.

        (containers/storage, pkg/unshare: an overlay then has `user.` attributes.)
        """
        if not self.entered:
            return self.environ
        return {
            **self.environ,
            "_CONTAINERS_USERNS_CONFIGURED": "done",
            "_CONTAINERS_ROOTLESS_UID": str(self.uid),
            "_CONTAINERS_ROOTLESS_GID": str(self.gid),
        }

    def own_command(self) -> list[str]:
        """The words before a command that somebody in the same place (a monitor) is to run with these settings."""
        import sys

        entered = ["--entered", f"{self.uid}:{self.gid}"] if self.rootless else []
        return [sys.executable, "-m", "remora.frontend", *entered, "--root", self.data, "--runroot", self.run]

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


def home_folder(environ: Mapping[str, str], uid: int) -> str:
    """HOME, else what the user database says for an ordinary user; "" when neither knows."""
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return home
    if not uid:
        return "/root"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return ""


def load(options: GlobalOptions, environ: Mapping[str, str]) -> Settings:
    """Settings from the global options, then the environment, then the defaults."""
    uid, gid = os.geteuid(), os.getegid()
    if options.entered:
        uid, gid = (int(number) for number in options.entered.split(":"))
    data = options.root or environ.get("REMORA_ROOT", "")
    run = options.runroot or environ.get("REMORA_RUNROOT", "")
    if uid:
        from remora.frontend.rootless import folders

        data = data or folders.data(environ, uid)
        run = run or folders.run(environ, uid)
    return Settings(
        data=data or DATA,
        run=run or RUN,
        runtime=options.runtime or environ.get("REMORA_RUNTIME", ""),
        cgroup_manager=options.cgroup_manager,
        debug=options.debug or bool(environ.get("REMORA_DEBUG")),
        environ=environ,
        rootless=uid != 0,
        uid=uid,
        gid=gid,
        entered=bool(options.entered),
    )
