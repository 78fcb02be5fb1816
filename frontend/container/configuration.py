"""What a monitor is told at its start (docs/architecture.md, "Configuration handed to a monitor")."""

from __future__ import annotations

from remora.frontend import runtime
from remora.frontend.container import logs
from remora.frontend.oci import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.container.plan import Plan
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

MONITOR_ENVIRONMENT = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "LLVM_PROFILE_FILE")
# What a runtime, and the command that drops an image's guard, may need of the caller's environment.
RUNTIME_ENVIRONMENT = frozenset(
    "PATH HOME TMPDIR XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS DBUS_SYSTEM_BUS_ADDRESS PYTHONPATH PYTHONHOME "
    "VIRTUAL_ENV CONTAINERS_STORAGE_CONF CONTAINERS_REGISTRIES_CONF STORAGE_DRIVER STORAGE_OPTS".split()
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def configuration(
    settings: Settings,
    record: ContainerRecord,
    uid: int,
    gid: int,
    attach: dict[str, object] | None,
    rows: int,
    columns: int,
    n_preserved: int,
    plan: Plan | None = None,
) -> dict[str, object]:
    """The map. uid, gid: of the process; attach: as lifecycle.attachment, or None; rows, columns: of a tty."""
    spec = record.spec
    systemd = cgroups.manager(settings) == "systemd"
    result: dict[str, object] = {
        "version": 1,
        "id": spec["id"],
        "name": spec["name"],
        "data_dir": record.data_dir,
        "run_dir": record.run_dir,
        "runtime": runtime.command(settings, spec["runtime"]),
        "env": _runtime_environment(settings.environ),
        "cgroup": "" if systemd else cgroups.path(settings, spec["id"]),
        "tty": spec["tty"],
        "stdin": spec["stdin_open"],
        "stdin_once": spec["stdin_open"] and "stdin" in spec["attach"],
        "uid": uid,
        "gid": gid,
        "rows": rows,
        "cols": columns,
        "log": _log(record),
        "passthrough": logs.is_passthrough(spec),
        "shared_pids": spec["pid"] != "private",
        "restart": dict(spec["restart"]),
        "stop_signal": spec["stop_signal"],
        "stop_timeout": spec["stop_timeout"],
        "timeout": spec["timeout"],
        "preserve_fds": n_preserved,
        "pidfile": spec["pidfile"],
        "rootfs": f"{record.data_dir}/merged" if spec["image"] is not None else "",
        "umask": spec["umask"],
        "attach": attach,
        "remove": _removal(settings, record) if spec["remove"] else [],
    }
    if plan is not None:
        result["held_fds"] = len(plan.held)
        result["namespaces"] = plan.handed_over
        result["helpers"] = plan.helpers
        result["cleanup"] = plan.undone_by_monitor
        if plan.space is not None:
            result.update(plan.space.configured(record, uid, gid))
            if spec["remove"]:
                result["remove"] = [*plan.space.removal(record), *_removal(settings, record)]
    return result


def _log(record: ContainerRecord) -> dict[str, object]:
    log = record.spec["log"]
    return {
        "drivers": [{**sink, "path": logs.path_of(record, sink)} for sink in log["drivers"]],
        "tag": _tag(record),
        "labels": _labels(record),
        "stdout": log["stdout"],
        "stderr": log["stderr"],
    }


def _labels(record: ContainerRecord) -> list[str]:
    """The labels that go into the log: a bare name stands for the container's own label, if it has it."""
    own = record.spec["labels"]
    found = []
    for label in record.spec["log"]["labels"]:
        if "=" in label:
            found.append(label)
        elif label in own:
            found.append(f"{label}={own[label]}")
    return found


def _tag(record: ContainerRecord) -> str:
    text = record.spec["log"]["tag"]
    if "{{" not in text:
        return text
    from remora.frontend.options.logs import tag

    image = record.spec["image"]
    image_id, image_name = (image["id"], image["name"]) if image is not None else ("", record.spec["rootfs"] or "")
    return tag(
        text,
        {
            "ID": record.id[:12],
            "FullID": record.id,
            "Name": record.name,
            "ImageID": image_id[:12],
            "ImageFullID": image_id,
            "ImageName": image_name,
        },
    )


def _removal(settings: Settings, record: ContainerRecord) -> list[list[str]]:
    """The steps that remove a `--rm` container: its record first, its folder last."""
    image = record.spec["image"]
    steps = [["unlink", record.spec_path], ["name", settings.names]]
    if image is not None:
        folder = f"{settings.images}/{image['id']}"
        steps.append(["unlink", f"{folder}/{record.id}"])
        steps.append(["last_use", folder, *settings.own_command(), "_unguard", image["id"]])
    if any(item["type"] == "volume" for item in record.spec["mounts"]):
        from remora.frontend.volumes import using

        steps += using.removal(settings, record)
    steps.append(["tree", record.data_dir])
    return steps


def _runtime_environment(environ: Mapping[str, str]) -> list[str]:
    result = [f"{name}={environ[name]}" for name in sorted(RUNTIME_ENVIRONMENT) if name in environ]
    if "PATH" not in environ:
        result.append("PATH=" + DEFAULT_PATH)
    return result


def monitor_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the monitor program itself: next to nothing."""
    return {name: environ[name] for name in MONITOR_ENVIRONMENT if name in environ}
