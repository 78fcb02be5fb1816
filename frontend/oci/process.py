"""The OCI `process` object: of a container's first process, and of one that is executed in it later."""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.oci import capabilities, environment, namespaces, rlimits, security
from remora.frontend.oci import user as users
from remora.frontend.oci.mounts import INIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Json, Spec
    from remora.frontend.oci.user import User
    from remora.frontend.settings import Settings

CATATONIT = (
    "/usr/libexec/podman/catatonit",
    "/usr/libexec/catatonit/catatonit",
    "/usr/local/bin/catatonit",
    "/usr/bin/catatonit",
)


def init_program(settings: Settings) -> str:
    """The host path of catatonit, or what containers.conf has in its place. Raises RemoraError when it is not there."""
    configured = settings.conf.text("containers", "init_path")
    if configured and not os.access(configured, os.X_OK):
        raise settings.conf.wrong("containers", "init_path", "name a program that is there")
    for path in (configured,) if configured else CATATONIT:
        if os.access(path, os.X_OK):
            return path
    raise RemoraError("--init: container-init binary not found on the host", hint="install the package catatonit")


def first_process(
    spec: Spec,
    user: User,
    hostname: str,
    bounding: list[str],
    effective: int,
    rows: int,
    columns: int,
    warnings: list[str],
) -> dict[str, Json]:
    """The container's `process`. rows, columns: window size, 0 = unknown; effective: own capability mask."""
    args = [INIT, "--", *spec["args"]] if spec["init"] else spec["args"]
    env = environment.build(spec["env"], user.home, hostname)
    process = _process(spec, user, args, env, spec["workdir"], spec["tty"], rows, columns)
    process["capabilities"] = capabilities.process_sets(bounding, spec["cap_add"], user.uid)
    if spec["oom_score_adj"] is not None:
        process["oomScoreAdj"] = rlimits.oom_score(spec["oom_score_adj"], effective, warnings)
    process["rlimits"] = rlimits.build(spec["ulimits"], environment.stack_needed(args, env), effective, warnings)
    return process


def exec_process(
    settings: Settings,
    spec: Spec,
    root_fd: int,
    *,
    args: Sequence[str],
    env: Sequence[str] = (),
    user: str | None = None,
    workdir: str = "",
    tty: bool = False,
    privileged: bool = False,
    rows: int = 0,
    columns: int = 0,
) -> dict[str, Json]:
    """The `process` of an exec session.

    root_fd: folder descriptor of the running container's root (`/proc/<pid>/root`); names are looked up below it, so
    that the runtime gets numbers only. env: additional `NAME=VALUE`. user: None or "" is the container's own.
    workdir: "" is the container's own. Raises RemoraError for an unknown user or group.
    """
    # As in Podman, the groups of --group-add are the container's own user's.
    groups = [name for name in spec["group_add"] if name != users.KEEP_GROUPS] if not user else []
    who = users.resolve(root_fd, user or spec["user"], groups)
    variables = environment.build([*spec["env"], *env], who.home, namespaces.hostname(settings, spec))
    stack = environment.stack_needed(args, variables)
    process = _process(spec, who, args, variables, workdir or spec["workdir"], tty, rows, columns)
    possible, effective = capabilities.own()
    if stack:  # else the runtime takes the container's own limits
        process["rlimits"] = rlimits.build(spec["ulimits"], stack, effective, [])
    bounding = capabilities.of_spec(spec, possible, privileged)
    process["capabilities"] = capabilities.process_sets(
        bounding, [capabilities.ALL] if privileged else spec["cap_add"], who.uid
    )
    return process


def _process(
    spec: Spec,
    user: User,
    args: Sequence[str],
    env: Sequence[str],
    workdir: str,
    tty: bool,
    rows: int,
    columns: int,
) -> dict[str, Json]:
    who: dict[str, Json] = {"uid": user.uid, "gid": user.gid, "umask": int(spec["umask"], 8)}
    if user.groups:
        who["additionalGids"] = user.groups
    process: dict[str, Json] = {"user": who, "args": list(args), "env": list(env), "cwd": workdir}
    if tty:
        process["terminal"] = True
        if rows > 0 and columns > 0:
            process["consoleSize"] = {"height": rows, "width": columns}
    if spec["security_opt"]:
        options = security.SecurityOptions(spec["security_opt"])
        if options.no_new_privileges:
            process["noNewPrivileges"] = True
        if options.apparmor and (options.apparmor != security.UNCONFINED or security.apparmor_is_on()):
            process["apparmorProfile"] = options.apparmor
    return process
