"""From parsed options to a container's request (docs/spec.md).

Two steps, so that a mistake is told before anything is pulled: `read` checks every option and fills in all that does
not depend on the image, `apply_image` adds the image's configuration. Neither writes anything.
"""

from __future__ import annotations

import os
import sys
import time

from remora.frontend.container import logs, names
from remora.frontend.container import spec as specs
from remora.frontend.errors import RemoraError
from remora.frontend.options import defaults, environment, keys, mounts, namespaces, networks, security, values
from remora.frontend.options.defaults import pick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.arguments import Namespace
    from remora.frontend.container.spec import ImageReference, Log, Mount, Restart, Spec
    from remora.frontend.settings import Settings

SIGTERM = 15
STOP_TIMEOUT = 10
SHM_SIZE = 64 << 20
STREAMS = ("stdin", "stdout", "stderr")
WRITABLE = ("/run", "/tmp", "/var/tmp")


def read(arguments: Namespace, settings: Settings, command: str) -> Spec:
    """The request without its image. command: "run" or "create" (which never is detached).

    Raises RemoraError for the first option that makes no sense.
    """
    detach = command == "run" and bool(arguments.detach)
    if detach and arguments.attach:
        raise RemoraError("options -d and -a exclude each other", hint="leave out one of them")
    if arguments.name is not None:
        names.check(arguments.name)
    restart = _restart(arguments.restart)
    if arguments.rm and restart["policy"] != "no":
        raise RemoraError(
            f"options --rm and --restart {arguments.restart} exclude each other", hint="leave out one of them"
        )
    memory, memory_swap = _memory(arguments)
    container_id = os.urandom(32).hex()
    workdir = arguments.workdir or ""
    if workdir and not workdir.startswith("/"):
        raise RemoraError(f'--workdir "{workdir}" is not absolute', hint="let it start with a slash")
    where, detach_keys = pick(settings, "--detach-keys", arguments.detach_keys, "detach_keys", "engine")
    detach_keys = keys.DEFAULT if detach_keys is None else detach_keys
    keys.parse(detach_keys, where)
    log = _log(arguments, settings, command)
    user = arguments.user or ""
    modes = namespaces.read(settings, arguments)
    read_only = defaults.flag(settings, arguments.read_only, "read_only")
    spec: Spec = {
        **specs.defaults(),
        "version": 1,
        "id": container_id,
        "name": (arguments.name or "").removeprefix("/"),
        "created_ns": time.time_ns(),
        "create_command": list(sys.argv),
        "image": None,
        "rootfs": None,
        "entrypoint": None,
        "command": None,
        "args": [],
        "env": [],
        "workdir": os.path.normpath(workdir) if workdir else "/",
        "workdir_given": bool(workdir),
        "user": user,
        "hostname": values.hostname("--hostname", arguments.hostname) if arguments.hostname else "",
        "tty": arguments.tty,
        "stdin_open": arguments.interactive,
        "detach": detach,
        "remove": arguments.rm,
        "init": defaults.flag(settings, arguments.init, "init"),
        "read_only": read_only,
        "privileged": arguments.privileged,
        "sig_proxy": command == "create" or arguments.sig_proxy,
        # With passthrough the container has our streams themselves: there is nothing to relay.
        "attach": [] if log["drivers"][0]["driver"] == logs.PASSTHROUGH else _attach(arguments, detach),
        "labels": {},
        "annotations": {
            **defaults.common_annotations(settings),
            **dict(values.pair("--annotation", text) for text in arguments.annotation),
        },
        "mounts": _mounts(arguments, settings, read_only),
        "network": "none",
        "pid": modes.pid,
        "ipc": modes.ipc,
        "uts": modes.uts,
        "cgroupns": modes.cgroupns,
        "cap_add": [],
        "cap_drop": [],
        "ulimits": [],
        "memory": memory,
        "memory_swap": memory_swap,
        "pids_limit": _pids_limit(*pick(settings, "--pids-limit", arguments.pids_limit, "pids_limit", number=True)),
        "shm_size": _shm_size(*pick(settings, "--shm-size", arguments.shm_size, "shm_size")),
        "cpu_shares": values.integer("--cpu-shares", arguments.cpu_shares, 2, 262144) if arguments.cpu_shares else 0,
        "cpus": values.number("--cpus", arguments.cpus) if arguments.cpus else 0.0,
        "cpuset_cpus": _cpuset(arguments.cpuset_cpus),
        "restart": restart,
        "stop_signal": values.signal("--stop-signal", arguments.stop_signal) if arguments.stop_signal else 0,
        "stop_timeout": _stop_timeout(arguments, settings),
        "timeout": _seconds("--timeout", arguments.timeout, 0),
        "log": log,
        "detach_keys": detach_keys,
        "runtime": arguments.runtime or settings.runtime,
        "preserve_fds": _preserve_fds(arguments.preserve_fds) if command == "run" else 0,
        "pidfile": os.path.abspath(arguments.pidfile) if arguments.pidfile else "",
        "cidfile": _cidfile(arguments.cidfile),
        "umask": _umask(*pick(settings, "--umask", arguments.umask, "umask")),
        "timezone": _timezone(*pick(settings, "--tz", arguments.tz, "tz")),
        "security_opt": [],
    }
    networks.read(arguments, settings, spec)
    security.read(arguments, settings, spec)
    return spec


def apply_rootfs(spec: Spec, arguments: Namespace, settings: Settings) -> None:
    """Fill in the request of `--rootfs FOLDER`: no image, only the options count."""
    path = os.path.abspath(arguments.image)
    if not os.path.isdir(path):
        raise RemoraError(f'--rootfs "{path}" is no folder', hint="name the root folder of an unpacked system")
    spec["rootfs"] = path
    _resolve(spec, arguments, settings, {})


def apply_image(
    spec: Spec, arguments: Namespace, settings: Settings, reference: ImageReference, config: Mapping[str, object]
) -> None:
    """Fill in what comes from the image. config: the `config` object of its OCI configuration.

    Raises RemoraError when there is nothing to execute.
    """
    spec["image"] = reference
    _resolve(spec, arguments, settings, config)


def _resolve(spec: Spec, arguments: Namespace, settings: Settings, config: Mapping[str, object]) -> None:
    entrypoint = _texts(config, "Entrypoint")
    image_command = _texts(config, "Cmd")
    if arguments.entrypoint is not None:
        entrypoint = _entrypoint(arguments.entrypoint)
        image_command = None
    command = list(arguments.command) or image_command
    spec["entrypoint"] = entrypoint
    spec["command"] = command
    spec["args"] = (entrypoint or []) + (command or [])
    if not spec["args"]:
        raise RemoraError(
            "no command or entrypoint provided, and no CMD or ENTRYPOINT from image",
            hint=f"add a command: … {arguments.image} COMMAND",
        )
    before = defaults.environment(settings, arguments.env_host, arguments.http_proxy)
    spec["env"] = environment.environment(
        [*before, *(_texts(config, "Env") or ())], arguments.env_file, arguments.env, settings.environ
    )
    if not spec["workdir_given"]:
        workdir = _text(config, "WorkingDir") or "/"
        spec["workdir"] = os.path.normpath("/" + workdir.lstrip("/"))
    spec["user"] = spec["user"] or _text(config, "User")
    labels = config.get("Labels")
    image_labels = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}
    spec["labels"] = environment.labels(image_labels, arguments.label_file, arguments.label)
    networks.apply_image(spec, config)
    mounts.add_image_volumes(spec["mounts"], config, arguments.image_volume)
    if not spec["stop_signal"]:
        text = _text(config, "StopSignal")
        spec["stop_signal"] = values.signal("the image's stop signal", text) if text else SIGTERM


def _texts(config: Mapping[str, object], key: str) -> list[str] | None:
    value = config.get(key)
    return [str(item) for item in value] if isinstance(value, list) and value else None


def _text(config: Mapping[str, object], key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _entrypoint(text: str) -> list[str] | None:
    """A JSON list of texts where it is one, else one word; "" is none."""
    if text.startswith("["):
        import json

        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value or None
    return [text] if text else None


def _attach(arguments: Namespace, detach: bool) -> list[str]:
    if detach:
        return []
    if not arguments.attach:
        return ["stdin", "stdout", "stderr"] if arguments.interactive else ["stdout", "stderr"]
    given = {values.choice("--attach", text.lower(), STREAMS) for text in arguments.attach}
    return [stream for stream in STREAMS if stream in given]


def _mounts(arguments: Namespace, settings: Settings, read_only: bool) -> list[Mount]:
    mounts.check_image_volume(arguments.image_volume)
    found = [mounts.volume("--volume", text) for text in arguments.volume]
    found += [mounts.mount("--mount", text) for text in arguments.mount]
    found += [mounts.tmpfs("--tmpfs", text) for text in arguments.tmpfs]
    mounts.check_targets(found)
    if arguments.volumes_from:
        from remora.frontend.options import volumes_from

        found += volumes_from.read(settings, arguments.volumes_from, found)
    found = defaults.volumes(settings, found) + found
    mounts.check_targets(found)
    if read_only and arguments.read_only_tmpfs:
        taken = {item["target"] for item in found}
        for path in WRITABLE:
            if path not in taken:
                found.append({"type": "tmpfs", "source": "tmpfs", "target": path, "options": []})
    return found


def _restart(text: str | None) -> Restart:
    policy, colon, count = (text or "no").partition(":")
    if policy not in ("no", "on-failure", "always", "unless-stopped"):
        raise RemoraError(
            f'invalid value "{text}" for --restart', hint="one of no, on-failure[:N], always, unless-stopped"
        )
    if colon and policy != "on-failure":
        raise RemoraError(f'invalid value "{text}" for --restart', hint="only on-failure takes a count")
    return {"policy": policy, "max": values.integer("--restart on-failure", count, 0) if colon else 0}


def _memory(arguments: Namespace) -> tuple[int, int]:
    memory = values.size("--memory", arguments.memory) if arguments.memory else 0
    swap = values.size("--memory-swap", arguments.memory_swap) if arguments.memory_swap else 0
    if memory == -1:
        memory = 0
    if swap and not memory:
        raise RemoraError("--memory-swap needs a memory limit", hint="add --memory BYTES")
    if 0 < swap < memory:
        raise RemoraError(
            f"--memory-swap {arguments.memory_swap} is below --memory {arguments.memory}",
            hint="it is the limit of memory and swap together",
        )
    return memory, swap


def _pids_limit(option: str, text: str | None) -> int:
    if text is None:
        return 0
    return values.integer(option, text, -1) or -1


def _shm_size(option: str, text: str | None) -> int:
    size = values.size(option, text) if text else SHM_SIZE
    if size < 0:
        raise RemoraError(f'invalid size "{text}" for {option}', hint="a number of bytes, 0 is no limit")
    return size


def _umask(option: str, text: str | None) -> str:
    return values.octal(option, text) if text else "0022"


def _timezone(option: str, text: str | None) -> str:
    """`local`, a name of the zone database, or "" for the image's own."""
    if not text or text == "local":
        return text or ""
    from remora.frontend.oci.files import ZONES

    parts = text.split("/")
    if ".." in parts or "" in parts or not os.path.isfile(f"{ZONES}/{text}"):
        raise RemoraError(f'unknown time zone "{text}" for {option}', hint=f"local, or a file below {ZONES}")
    return text


def _cpuset(text: str | None) -> str:
    if text and not all(part.replace("-", "", 1).isdecimal() for part in text.split(",")):
        raise RemoraError(f'invalid value "{text}" for --cpuset-cpus', hint="a list such as 0-1,3")
    return text or ""


def _seconds(option: str, text: str | None, default: int) -> int:
    return default if text is None else values.duration(option, text)


def _stop_timeout(arguments: Namespace, settings: Settings) -> int:
    given = arguments.stop_timeout
    return _seconds(*pick(settings, "--stop-timeout", given, "stop_timeout", "engine", number=True), STOP_TIMEOUT)


def _log(arguments: Namespace, settings: Settings, command: str) -> Log:
    drivers, given = defaults.log(settings, arguments.log_driver, arguments.log_opt)
    if not drivers and not given:
        return logs.usual()
    from remora.frontend.options import logs as options

    log = options.read(drivers, given, arguments.tty)
    if log["drivers"][0]["driver"] == logs.PASSTHROUGH:
        if arguments.attach:
            hint = "leave out one of them"
            raise RemoraError("options --attach and --log-driver passthrough exclude each other", hint)
        if command == "run":
            logs.check_stdio()
    return log


def _preserve_fds(text: str | None) -> int:
    count = values.integer("--preserve-fds", text, 0, 50) if text else 0
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            raise RemoraError(
                f"--preserve-fds {count}: descriptor {fd} is not open",
                hint=f"descriptors 3 to {2 + count} must be open",
            ) from None
    return count


def _cidfile(path: str | None) -> str:
    if not path:
        return ""
    path = os.path.abspath(path)
    if os.path.lexists(path):
        raise RemoraError(f"container ID file {path} is there already", hint="remove it or name another --cidfile")
    return path
