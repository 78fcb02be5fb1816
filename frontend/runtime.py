"""Which OCI runtime to use: the one asked for, else the configured one, else crun if it works on this host, else runc.

Whether crun works is found out with a real throw-away container, once: the answer is kept in `<run>/runtime-choice`
(so until the next boot) for the program as it is now, by path, time of change and size. Commands that don't know it
yet wait for the first of them, by a lock on the run folder; what a killed one left is cleared by the next.
"""

from __future__ import annotations

import os

from remora.frontend import process
from remora.frontend.errors import RemoraError
from remora.frontend.oci import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Json
    from remora.frontend.settings import Settings

CANDIDATES = ("crun", "runc")
PROBE = "remora-probe-"  # and the pid: the id of a throw-away container
PACKAGES = "install the package crun or runc"


def command(settings: Settings, given: str = "") -> list[str]:
    """Program and global options: what a monitor puts before `run`, `exec`, `delete` …

    given: name or path from a container's request; "" takes the settings' and then chooses.
    Raises RemoraError when there is no such runtime, or none that works.
    """
    asked = given or settings.runtime or settings.conf.text("engine", "runtime")
    program = _named(settings, asked) if asked else _choose(settings)
    return _with_options(settings, program, settings.runtime_root)


def _with_options(settings: Settings, program: str, root: str) -> list[str]:
    words = [program, "--root", root]
    if cgroups.manager(settings) == "systemd":
        words.append("--systemd-cgroup")
    return words


def _named(settings: Settings, asked: str) -> str:
    """A path, a name that containers.conf has paths for, or one in PATH."""
    configured = [] if "/" in asked else settings.conf.texts("engine.runtimes", asked)
    program = next((path for path in configured if os.access(path, os.X_OK)), None) or process.which(asked)
    if program is None:
        what = "no such program" if "/" in asked else "not in PATH"
        raise RemoraError(f'OCI runtime "{asked}": {what}', hint=f"name another --runtime, or {PACKAGES}")
    return program


def _choose(settings: Settings) -> str:
    found = [program for program in (process.which(name) for name in CANDIDATES) if program]
    if not found:
        raise RemoraError("no OCI runtime: neither crun nor runc is installed", hint=PACKAGES)
    if len(found) == 1 and found[0].endswith("/runc"):
        return found[0]
    return _known(settings, found) or _find_out(settings, found)


def _known(settings: Settings, found: list[str]) -> str:
    """The program chosen before; "" when none was, or something has changed since."""
    lines = _remembered(settings.run + "/runtime-choice")
    if (
        len(lines) > 1
        and lines[0] == _boot()
        and lines[1] in found
        and lines[2:] == [_fact(program) for program in found]
    ):
        return lines[1]
    return ""


def _find_out(settings: Settings, found: list[str]) -> str:
    import fcntl  # only the first time after a boot

    os.makedirs(settings.run, mode=0o700, exist_ok=True)
    lock = os.open(settings.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _known(settings, found)
        if known:
            return known
        _remove_probes(settings)
        return _first_that_works(settings, found)
    finally:
        os.close(lock)


def _first_that_works(settings: Settings, found: list[str]) -> str:
    complaints = []
    for program in found:
        complaint = _probe(settings, program)
        if complaint is None:
            facts = [_fact(candidate) for candidate in found]
            _remember(settings.run + "/runtime-choice", [_boot(), program, *facts])
            return program
        complaints.append(f"{program}: {complaint}")
    raise RemoraError(
        "no OCI runtime works on this host: " + "; ".join(complaints), hint="name another one with --runtime"
    )


def _fact(program: str) -> str:
    status = os.stat(program)
    return f"{program} {status.st_mtime_ns} {status.st_size} {status.st_ino}"


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
        return file.read(64).decode().strip()


def _remembered(path: str) -> list[str]:
    """Boot id, the program chosen, and the facts of all candidates at that time, one a line."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(16384).decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []


def _remember(path: str, lines: list[str]) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    temporary = path + ".new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)
    os.rename(temporary, path)


def sweep_probes(settings: Settings) -> None:
    """Clear what killed commands left of their throw-away containers, unless one is at work."""
    if not _probes(settings):
        return
    import fcntl

    lock = os.open(settings.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_probes(settings)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


def _probes(settings: Settings) -> list[str]:
    try:
        return [name for name in os.listdir(settings.run) if name.startswith(PROBE)]
    except FileNotFoundError:
        return []


def _remove_probes(settings: Settings) -> None:
    """The lock is held: none of them is at work. A killed command's runtime may still be, and make its folder anew."""
    from remora import monitor

    for name in _probes(settings):
        monitor.remove_cgroup(cgroups.path(settings, name), name)
        monitor.remove_tree(f"{settings.run}/{name}")


def _probe(settings: Settings, program: str) -> str | None:
    """Run a tiny container with this runtime: None when that works, else what it said."""
    import json  # only the first time after a boot

    from remora import monitor

    container_id = f"{PROBE}{os.getpid()}"
    bundle = f"{settings.run}/{container_id}"
    os.makedirs(bundle + "/rootfs", mode=0o700, exist_ok=True)
    words = _with_options(settings, program, bundle + "/state")
    try:
        with open(bundle + "/config.json", "w", encoding="utf-8") as file:
            json.dump(_probe_config(settings, container_id), file)
        result = process.capture([*words, "run", "--bundle", bundle, container_id])
        if result.status == 0:
            return None
        text = result.stderr.decode("utf-8", "replace").strip()
        return text.splitlines()[-1] if text else f"it ended with {result.status}"
    except FileNotFoundError:
        return "no such program"
    finally:
        try:
            process.capture([*words, "delete", "--force", container_id])
        except OSError:
            pass  # what kept it from running is told
        monitor.remove_tree(bundle)


def _probe_config(settings: Settings, container_id: str) -> Json:
    """A container of the host's own programs, read-only, that runs `true`."""
    folders = [path for path in ("/bin", "/lib", "/lib32", "/lib64", "/usr", "/nix") if os.path.isdir(path)]
    mounts: list[Json] = [
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro", "nosuid", "nodev"]}
        for path in folders
    ]
    mounts.append({"destination": "/proc", "type": "proc", "source": "proc"})
    # crun makes its device nodes in it and wants it to be there.
    mounts.append({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]})
    path = cgroups.path(settings, container_id)
    linux: dict[str, Json] = {
        "namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", "network")],
        "resources": {} if settings.rootless else {"pids": {"limit": 16}},
    }
    if path:
        linux["cgroupsPath"] = path
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [process.which("true") or "/bin/true"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "linux": linux,
    }
