"""config.json: the whole bundle configuration of a container, with Podman's defaults.

Pure but for what it must look at: the container's passwd and group files and working folder (through a descriptor of
its root, so that no link leads out), and this process's own rights, which bound what can be given.
"""

from __future__ import annotations

import os
import stat

from remora import monitor
from remora.frontend import jsontext
from remora.frontend.errors import RemoraError
from remora.frontend.oci import (
    capabilities,
    cgroups,
    files,
    mounts,
    process,
    resources,
    rlimits,
    seccomp,
    security,
)
from remora.frontend.oci import namespaces as modes
from remora.frontend.oci import user as users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.container.spec import Json, Spec
    from remora.frontend.oci.devices import Devices
    from remora.frontend.oci.security import SecurityOptions
    from remora.frontend.oci.user import User
    from remora.frontend.settings import Settings

OCI_VERSION = "1.0.2"
NO_DEVICES: list[Json] = [{"allow": False, "access": "rwm"}]  # but those that the runtime adds


class Built:
    """A configuration and what came up on the way.

    user: who the process runs as; warnings: lines for stderr; once: a line that is not to be repeated at each start.
    """

    __slots__ = ("config", "user", "warnings", "once")

    def __init__(self, config: dict[str, Json], user: User, warnings: list[str], once: str) -> None:
        self.config = config
        self.user = user
        self.warnings = warnings
        self.once = once


def build(
    settings: Settings,
    spec: Spec,
    *,
    root_fd: int,
    root: str,
    folder: str,
    rows: int = 0,
    columns: int = 0,
    namespaces: Mapping[str, str] | None = None,
    texts: tuple[str, str | None] | None = None,
    shm: str = "",
) -> Built:
    """Build the configuration.

    root_fd: folder descriptor of the mounted root; root: where the runtime finds it; folder: the container's data
    folder (generated files go to `etc` in it); rows, columns: window size of a tty, 0 = unknown; namespaces: kind and
    path of those that are there already, as the monitor sees them; texts: of /etc/hosts and resolv.conf, where a
    network decides.
    Raises RemoraError for an unknown user, a missing working folder, a missing profile or program.
    """
    warnings: list[str] = []
    user, accounts = _user(settings, spec, root_fd, folder + "/etc")
    _check_workdir(spec, root_fd, user)
    possible, effective = capabilities.own()
    if settings.rootless:
        effective &= ~capabilities.SYS_RESOURCE  # of the user's namespace: it raises no limit of the host
    bounding = capabilities.of_spec(spec, possible)
    missing = capabilities.withheld(spec, bounding)
    if missing:
        warnings.append(missing)
    if any("U" in item["options"] for item in spec["mounts"]):
        from remora.frontend.oci import userns

        userns.take_over(spec, user.uid, user.gid)
    init = process.init_program(settings) if spec["init"] else ""
    hostname = modes.hostname(settings, spec)
    generated = files.write(folder + "/etc", spec, hostname, texts) + accounts
    options = security.SecurityOptions(spec["security_opt"])
    given = _devices(spec)
    first = process.first_process(spec, user, hostname, bounding, effective, rows, columns, warnings)
    config: dict[str, Json] = {
        "ociVersion": OCI_VERSION,
        "process": first,
        "root": {"path": root, "readonly": True} if spec["read_only"] else {"path": root},
        **({"hostname": hostname} if modes.is_own(spec, "uts") else {}),
        "mounts": mounts.build(settings, spec, generated, init, options, shm) + (given.binds if given else []),
        "annotations": {
            "io.container.manager": "remora",
            "org.opencontainers.image.stopSignal": str(spec["stop_signal"]),
            **spec["annotations"],
        },
        "linux": _linux(settings, spec, bounding, options, given, warnings, namespaces or {}),
    }
    if spec["userns"]["uid_map"] or users.KEEP_GROUPS in spec["group_add"]:
        from remora.frontend.oci import userns

        userns.adapt(settings, spec, config, generated)
    if settings.rootless:
        from remora.frontend.oci import rootless

        rootless.adapt(settings, spec, config, not os.path.exists(f"{folder}/bundle/config.json"), warnings)
        return Built(config, user, warnings, "")
    return Built(config, user, warnings, rlimits.lowered_defaults(spec["ulimits"], effective))


def write(config: dict[str, Json], bundle: str) -> None:
    """Write config.json into the bundle folder, which is made where needed."""
    os.makedirs(bundle, mode=0o700, exist_ok=True)
    text = jsontext.dumps(config).encode()
    fd = os.open(bundle + "/config.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(text)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _user(settings: Settings, spec: Spec, root_fd: int, folder: str) -> tuple[User, list[tuple[str, str]]]:
    """Who the process runs as, and copies of passwd and group that are to be bound over the image's (target, path)."""
    groups = [name for name in spec["group_add"] if name != users.KEEP_GROUPS]
    if not spec["hostusers"] and (not spec["user"] or not spec["passwd"]) and not groups:
        return users.resolve(root_fd, spec["user"]), []
    from remora.frontend.oci.accounts import Accounts

    accounts = Accounts(spec, root_fd)
    try:
        user = users.resolve(accounts.sources, spec["user"], groups)
        if spec["userns"]["mode"] == "keep-id":
            from remora.frontend.oci import userns

            userns.add_caller(settings, spec, accounts, user)
        accounts.add_missing(spec, user)
        return user, accounts.write(folder, spec["rootfs"] is None and not spec["read_only"])
    finally:
        accounts.close()


def _devices(spec: Spec) -> Devices | None:
    """The devices asked for; None: only those that the runtime makes by itself."""
    if not spec["devices"] and not spec["device_cgroup_rules"] and not spec["privileged"]:
        return None
    from remora.frontend.oci import devices

    return devices.build(spec, bool(spec["userns"]["uid_map"]) or rlimits.in_user_namespace())


def _linux(
    settings: Settings,
    spec: Spec,
    bounding: list[str],
    options: SecurityOptions,
    given: Devices | None,
    warnings: list[str],
    joined: Mapping[str, str],
) -> dict[str, Json]:
    v2 = cgroups.is_v2()
    linux: dict[str, Json] = {
        "cgroupsPath": cgroups.path(settings, spec["id"]),
        "namespaces": modes.build(spec, joined),
        "resources": resources.build(spec, given.rules if given else NO_DEVICES, v2, warnings),
    }
    own_network = modes.is_own(spec, "network")
    sysctls = {name: value for name, value in spec["sysctls"].items() if own_network or name[:4] != "net."}
    if sysctls:
        linux["sysctl"] = sysctls
    propagation = {word for item in spec["mounts"] for word in item["options"]}
    if propagation & {"shared", "rshared"}:
        linux["rootfsPropagation"] = "shared"
    elif propagation & {"slave", "rslave"}:
        linux["rootfsPropagation"] = "rslave"
    if given and given.nodes:
        linux["devices"] = given.nodes
    masked, read_only = security.paths(spec, options)
    if masked:
        linux["maskedPaths"] = masked
    if read_only:
        linux["readonlyPaths"] = read_only
    if options.seccomp == security.UNCONFINED or (spec["privileged"] and not options.seccomp):
        return linux
    machine = os.uname().machine
    if options.seccomp:
        linux["seccomp"] = seccomp.section(options.seccomp, bounding, machine)
    else:
        linux["seccomp"] = seccomp.default_section(bounding, machine)
    return linux


def _check_workdir(spec: Spec, root_fd: int, user: User) -> None:
    """See to the working folder: one from the image is made where missing, one the user named must be there.

    What lies below a mount of the request is left to the runtime, for nobody has mounted it yet.
    """
    workdir = spec["workdir"]
    if workdir == "/":
        return
    for item in spec["mounts"]:
        if workdir == item["target"] or workdir.startswith(item["target"] + "/"):
            return
    if workdir.startswith(("/proc/", "/sys/", "/dev/")) or workdir in ("/proc", "/sys", "/dev"):
        return
    try:
        fd = monitor.open_in_root(root_fd, workdir, os.O_PATH)
    except FileNotFoundError:
        if spec["workdir_given"]:
            raise RemoraError(
                f'workdir "{workdir}" does not exist on container {spec["id"]}',
                hint="name a folder of the image, or mount one there with -v",
                status=126,
            ) from None
        monitor.make_folders_in_root(root_fd, workdir, 0o755, *user.outside(spec))
        return
    except OSError as error:
        raise RemoraError(f'workdir "{workdir}": {error.strerror}', hint="name a folder", status=126) from None
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise RemoraError(f'workdir "{workdir}" is no folder', hint="name a folder of the image", status=126)
    finally:
        os.close(fd)
