"""The security options of `run` and `create`: capabilities, users, devices, kernel parameters.

Everything is checked when the container is made, so that a mistake is told before anything is pulled or written: names
(with the nearest one), files (with line and column), what this host has. `--security-opt` is in security_opt.py.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError
from remora.frontend.oci import capabilities
from remora.frontend.options import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.arguments import Namespace
    from remora.frontend.container.spec import Device, Spec, Ulimit
    from remora.frontend.containers_conf import Configuration
    from remora.frontend.settings import Settings

TABLE = "containers"  # of containers.conf
HOST = "host"
OOM_SCORES = (-1000, 1000)
KEEP_GROUPS = "keep-groups"


def read(arguments: Namespace, settings: Settings, spec: Spec) -> None:
    """Fill in the keys of a request. Its namespaces (`network` …) must be there already.

    Raises RemoraError for the first option that makes no sense here.
    """
    spec["cap_add"] = capabilities.parse("--cap-add", arguments.cap_add)
    spec["cap_drop"] = capabilities.parse("--cap-drop", arguments.cap_drop)
    if spec["cap_add"] and spec["cap_drop"]:
        capabilities.check(spec["cap_add"], spec["cap_drop"])
    conf = settings.conf
    default = conf.texts(TABLE, "default_capabilities")
    if default:
        spec["capabilities"] = capabilities.parse(conf.where(TABLE, "default_capabilities"), default)
    spec["ulimits"] = _ulimits(arguments.ulimit, conf)
    spec["group_add"] = _groups(arguments.group_add)
    spec["sysctls"] = _sysctls(arguments, settings, spec)
    spec["devices"] = _devices(arguments.device, conf)
    if arguments.device_cgroup_rule:
        spec["device_cgroup_rules"] = _device_rules(arguments.device_cgroup_rule, settings)
    if arguments.oom_score_adj is not None:
        spec["oom_score_adj"] = values.integer("--oom-score-adj", arguments.oom_score_adj, *OOM_SCORES)
    elif conf.has(TABLE, "oom_score_adj"):
        spec["oom_score_adj"] = conf.integer(TABLE, "oom_score_adj", 0, *OOM_SCORES)
    _accounts(arguments, spec)
    if arguments.security_opt or any(conf.has(TABLE, key) for key in ("seccomp_profile", "apparmor_profile", "label")):
        from remora.frontend.options import security_opt

        spec["security_opt"] = security_opt.read(arguments.security_opt, conf)


def _ulimits(given: Sequence[str], conf: Configuration) -> list[Ulimit]:
    found: dict[str, Ulimit] = {}
    defaults = conf.texts(TABLE, "default_ulimits")
    for option, texts in ((conf.where(TABLE, "default_ulimits"), defaults), ("--ulimit", given)):
        for text in texts:
            if text == HOST:
                from remora.frontend.oci import rlimits

                found = {item["name"]: item for item in rlimits.of_host()}
                continue
            name, soft, hard = values.ulimit(option, text)
            found[name] = {"name": name, "soft": soft, "hard": hard}
    return list(found.values())


def _groups(given: Sequence[str]) -> list[str]:
    for name in given:
        if not name or ":" in name or "," in name or "\n" in name:
            raise RemoraError(f'invalid group "{name}" for --group-add', hint="name one group, or use its number")
    if KEEP_GROUPS in given and len(set(given)) > 1:
        raise RemoraError(f"--group-add {KEEP_GROUPS} stands alone", hint="leave out the other groups")
    return list(dict.fromkeys(given))


def _sysctls(arguments: Namespace, settings: Settings, spec: Spec) -> dict[str, str]:
    given, conf = arguments.sysctl, settings.conf
    foreign = {kind: mode for kind in ("network", "ipc", "uts") if (mode := _foreign(spec, kind))}
    result = {} if "network" in foreign else spec["sysctls"]  # the built-in one is of the network
    if not given and not conf.has(TABLE, "default_sysctls"):
        return result
    from remora.frontend.oci import sysctls

    if conf.has(TABLE, "default_sysctls"):
        defaults = conf.texts(TABLE, "default_sysctls")
        result = sysctls.defaults(conf.where(TABLE, "default_sysctls"), defaults, foreign)
    maps = arguments.uidmap or arguments.gidmap or arguments.subuidname or arguments.subgidname
    userns = settings.rootless or bool(maps) or arguments.userns not in (None, "", HOST)
    return {**result, **sysctls.parse("--sysctl", given, foreign, userns)}


def _foreign(spec: Spec, kind: str) -> str:
    """The mode of a namespace that is not the container's own; "" for its own."""
    mode = spec.get(kind)
    return mode if isinstance(mode, str) and (mode == HOST or mode.startswith(("container:", "ns:"))) else ""


def _devices(given: Sequence[str], conf: Configuration) -> list[Device]:
    defaults = conf.texts(TABLE, "devices")
    if not given and not defaults:
        return []
    from remora.frontend.oci import devices

    found = [devices.parse(conf.where(TABLE, "devices"), text) for text in defaults]
    found += [devices.parse("--device", text) for text in given]
    return list({item["target"]: item for item in found}.values())


def _device_rules(given: Sequence[str], settings: Settings) -> list[str]:
    from remora.frontend.oci import devices

    if settings.rootless:
        raise RemoraError(
            f"--device-cgroup-rule {given[0]}: an ordinary user has no device cgroup",
            hint="leave it out: what may be opened is decided by the device's owner and mode",
        )
    return [devices.rule("--device-cgroup-rule", text) for text in given]


def _accounts(arguments: Namespace, spec: Spec) -> None:
    spec["passwd"] = arguments.passwd
    if not arguments.passwd_entry and not arguments.group_entry and not arguments.hostuser:
        return
    from remora.frontend.oci import accounts

    if not arguments.passwd:
        raise RemoraError("--passwd=false excludes --hostuser, --passwd-entry and --group-entry", hint="leave it out")
    if arguments.passwd_entry:
        spec["passwd_entry"] = accounts.check_entry("--passwd-entry", arguments.passwd_entry, 7)
    if arguments.group_entry:
        spec["group_entry"] = accounts.check_entry("--group-entry", arguments.group_entry, 4)
    spec["hostusers"] = [accounts.check_host_user("--hostuser", name) for name in dict.fromkeys(arguments.hostuser)]
