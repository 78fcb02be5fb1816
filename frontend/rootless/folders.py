"""An ordinary user's folders: data below the home, what runs below XDG_RUNTIME_DIR; nobody else may look into them.

Without XDG_RUNTIME_DIR it is /run/user/UID where that is the user's, else /tmp/remora-UID, which must be a real folder
of the user's own with mode 0700: everybody can make names in /tmp.
"""

from __future__ import annotations

import os
import stat

from remora.frontend.errors import RemoraError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.settings import Settings

MOUNTS = "/proc/self/mountinfo"
# They know nothing of the ids of a user namespace, or nothing of the attributes that an overlay needs.
NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs afs coda ceph glusterfs 9p lustre beegfs fuse.sshfs fuse.glusterfs".split()
)


def data(environ: Mapping[str, str], uid: int) -> str:
    """The data folder: `$XDG_DATA_HOME/remora`, else `~/.local/share/remora`. RemoraError without a home."""
    return _below(environ, uid, "XDG_DATA_HOME", ".local/share") + "/remora"


def configuration(environ: Mapping[str, str], uid: int) -> str:
    """The folder of the containers tools' files: `$XDG_CONFIG_HOME/containers`, else `~/.config/containers`."""
    return _below(environ, uid, "XDG_CONFIG_HOME", ".config") + "/containers"


def shared_data(environ: Mapping[str, str], uid: int) -> str:
    """The folder whose `containers/storage` is the image store that the containers tools share."""
    return _below(environ, uid, "XDG_DATA_HOME", ".local/share")


def _below(environ: Mapping[str, str], uid: int, variable: str, usual: str) -> str:
    given = environ.get(variable, "")
    if given.startswith("/"):
        return given.rstrip("/")
    from remora.frontend.settings import home_folder

    home = home_folder(environ, uid)
    if not home:
        raise RemoraError(f"finding the folders of user {uid}: no home is known", "set HOME, or give --root")
    return f"{home.rstrip('/')}/{usual}"


def runtime(environ: Mapping[str, str], uid: int) -> str:
    """The folder for what a reboot empties, of which `remora` and the image store's run root are parts."""
    given = environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/"):
        return given.rstrip("/")
    usual = f"/run/user/{uid}"
    mine = os.geteuid()  # inside, the user is 0
    try:
        if os.stat(usual).st_uid == mine:
            return usual
    except OSError:
        pass
    last = f"/tmp/remora-{uid}"
    _check_own(
        last, uid, mine
    )  # also for who only reads: what is found there is believed, and its sockets are talked to
    return last


def _check_own(path: str, uid: int, mine: int) -> None:
    """Raise RemoraError when a folder below /tmp is there and is not the user's own."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != mine or status.st_mode & 0o077:
        raise RemoraError(
            f"using the run folder {path}: it is not a folder of user {uid} alone", "remove it, or set XDG_RUNTIME_DIR"
        )


def run(environ: Mapping[str, str], uid: int) -> str:
    """The run folder."""
    return runtime(environ, uid) + "/remora"


def prepare(settings: Settings) -> None:
    """Make the data and the run folder (0700) where needed, while we still are the user outside.

    Raises RemoraError when they can't be made or used, or lie on a network file system.
    """
    if _make(settings.data, settings.uid, "data folder", "HOME, XDG_DATA_HOME or --root names another place"):
        kind = filesystem(settings.data)
        if kind in NETWORK:
            os.rmdir(settings.data)
            raise RemoraError(
                f"making the data folder {settings.data}: containers can't live on a network file system ({kind})",
                "name a folder on a local disk with --root or REMORA_ROOT",
            )
    runtime_folder = f"/tmp/remora-{settings.uid}"
    if settings.run.startswith(runtime_folder + "/"):
        _make(runtime_folder, settings.uid, "run folder", "remove it, or set XDG_RUNTIME_DIR")
    _make(settings.run, settings.uid, "run folder", "XDG_RUNTIME_DIR must be a folder of yours, or be unset")


def _make(path: str, uid: int, what: str, remedy: str) -> bool:
    """Make a folder and its parents; True when it is new. One that is there must be the user's own."""
    try:
        try:
            os.mkdir(path, 0o700)
            return True
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            os.mkdir(path, 0o700)
            return True
        except FileExistsError:
            pass
        status = os.lstat(path)
    except OSError as error:
        raise RemoraError(f"making the {what}: {os_error_text(error)}", remedy) from None
    if stat.S_ISLNK(status.st_mode) and not path.startswith("/tmp/"):
        status = os.stat(path)  # the user's own choice of place
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
        raise RemoraError(f"using the {what} {path}: it is not a folder of user {uid}", remedy)
    if status.st_mode & 0o077:
        os.chmod(path, 0o700)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise RemoraError(f"using the {what} {path}: it can't be written", remedy)
    return False


def filesystem(path: str) -> str:
    """The type of the file system that a folder lies on, as mounted; "" when it is not known."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(MOUNTS, "rb", buffering=0) as file:
            lines = file.readall().decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        left, _, right = line.partition(" - ")
        if left.split()[2:3] == [wanted]:
            return right.split(" ", 1)[0]
    return ""
