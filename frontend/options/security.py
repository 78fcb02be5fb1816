"""The security options of `run` and `create`: capabilities, users, devices, kernel parameters, `--security-opt`.

Everything is checked when the container is made, so that a mistake is told before anything is pulled or written: names
(with the nearest one), files (with line and column), what this host has.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.oci import capabilities, security
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
SECURITY = (
    "seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, label=disable, mask=PATHS, unmask=ALL|PATHS, "
    "proc-opts=OPTIONS or no-new-privileges"
)
SECURITY_KEYS = ("no-new-privileges", "seccomp", "apparmor", "label", "mask", "unmask", "proc-opts", "systempaths")
LABELS = ("user", "role", "type", "level", "filetype")
# proc(5), "Mount options", and those of mount(8) that any mount has
PROC_OPTIONS = ("hidepid=", "gid=", "subset=", "ro", "rw", "nosuid", "noexec", "nodev", "suid", "exec", "dev")
APPARMOR_PROFILES = "/sys/kernel/security/apparmor/profiles"


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
    spec["sysctls"] = _sysctls(arguments.sysctl, settings, spec)
    spec["devices"] = _devices(arguments.device, conf)
    if arguments.device_cgroup_rule:
        spec["device_cgroup_rules"] = _device_rules(arguments.device_cgroup_rule, settings)
    if arguments.oom_score_adj is not None:
        spec["oom_score_adj"] = values.integer("--oom-score-adj", arguments.oom_score_adj, *OOM_SCORES)
    elif conf.has(TABLE, "oom_score_adj"):
        spec["oom_score_adj"] = conf.integer(TABLE, "oom_score_adj", 0, *OOM_SCORES)
    _accounts(arguments, spec)
    spec["security_opt"] = _security_options(arguments.security_opt, settings)


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


def _sysctls(given: Sequence[str], settings: Settings, spec: Spec) -> dict[str, str]:
    conf = settings.conf
    foreign = {kind: mode for kind in ("network", "ipc", "uts") if (mode := _foreign(spec, kind))}
    result = {} if "network" in foreign else spec["sysctls"]  # the built-in one is of the network
    if not given and not conf.has(TABLE, "default_sysctls"):
        return result
    from remora.frontend.oci import sysctls

    if conf.has(TABLE, "default_sysctls"):
        defaults = conf.texts(TABLE, "default_sysctls")
        result = sysctls.defaults(conf.where(TABLE, "default_sysctls"), defaults, foreign)
    return {**result, **sysctls.parse("--sysctl", given, foreign, settings.rootless)}


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


# ---- --security-opt ---------------------------------------------------------------------------


def _security_options(given: Sequence[str], settings: Settings) -> list[str]:
    result = []
    keys = set()
    for text in given:
        key, value = security.split(text)
        keys.add(key)
        result.append(_security_option(text, key, value))
    # The defaults of containers.conf come first: what is given counts.
    for name, key in (("seccomp_profile", "seccomp"), ("apparmor_profile", "apparmor")):
        value = settings.conf.text(TABLE, name)
        if value and key not in keys:
            try:
                result.insert(0, _security_option(f"{key}={value}", key, value))
            except RemoraError as error:
                raise RemoraError(f"{settings.conf.where(TABLE, name)}: {error.message}", error.hint) from None
    if not settings.conf.flag(TABLE, "label", True):
        result.insert(0, "label=disable")
    return result


def _security_option(text: str, key: str, value: str) -> str:
    """One option, checked, as it stands in the request: `KEY=VALUE`, paths absolute."""
    if key == "no-new-privileges":
        return key if not value or values.boolean("--security-opt no-new-privileges", value) else f"{key}=false"
    if key not in SECURITY_KEYS:
        from difflib import get_close_matches

        near = get_close_matches(key, SECURITY_KEYS, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else SECURITY
        raise RemoraError(f'unknown option "{text}" for --security-opt', hint=hint)
    if not value:
        raise RemoraError(f'--security-opt "{text}": the value is missing', hint=SECURITY)
    if key == "seccomp":
        return f"seccomp={_seccomp(value)}"
    if key == "apparmor":
        return f"apparmor={_apparmor(value)}"
    if key == "label":
        _label(value)
    elif key in ("mask", "unmask"):
        _paths(key, value)
    elif key == "proc-opts":
        _proc_options(value)
    elif value != security.UNCONFINED:
        raise RemoraError(f'--security-opt "{text}": systempaths is unconfined or nothing', hint="or use unmask=PATHS")
    return f"{key}={value}"


def _seccomp(value: str) -> str:
    """`unconfined`, or the absolute path of a profile that was read and understood."""
    if value == security.UNCONFINED:
        return value
    from remora.frontend.oci import seccomp, seccomp_check

    path = os.path.abspath(value)
    seccomp_check.check(path, seccomp.read(path))
    return path


def _apparmor(value: str) -> str:
    """The name of a profile that the kernel has."""
    if value == security.UNCONFINED:
        return value
    if not security.apparmor_is_on():
        raise RemoraError(
            f"apparmor={value}: AppArmor is not enabled on this host",
            hint="leave it out, or boot with apparmor=1 security=apparmor",
        )
    try:
        with open(APPARMOR_PROFILES, encoding="utf-8", errors="replace") as file:
            names = [line.rpartition(" (")[0] for line in file]
    except OSError:
        return value  # not ours to read: the runtime will tell
    if value not in names:
        from difflib import get_close_matches

        near = get_close_matches(value, names, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else "load it with apparmor_parser"
        raise RemoraError(f"apparmor={value}: the kernel has no such profile", hint=hint)
    return value


def _label(value: str) -> None:
    if value != "disable" and os.path.exists("/sys/fs/selinux/enforce"):
        raise RemoraError(f"--security-opt label={value}: SELinux labels are not there yet", hint="use label=disable")
    kind, colon, name = value.partition(":")
    if value not in ("disable", "nested") and not (colon and name and kind in LABELS):
        raise RemoraError(
            f'unknown value "{value}" for --security-opt label', hint="disable, nested, or user:, role:, type:, level:"
        )


def _paths(key: str, value: str) -> None:
    for path in value.split(":"):
        if not path.startswith("/") and not (key == "unmask" and path in ("ALL", "all")):
            raise RemoraError(
                f'--security-opt {key}={value}: "{path}" is not absolute', hint="absolute paths, separated by colons"
            )


def _proc_options(value: str) -> None:
    for word in value.split(","):
        if not any(word == known or (known[-1] == "=" and word.startswith(known)) for known in PROC_OPTIONS):
            raise RemoraError(
                f'--security-opt proc-opts={value}: unknown option "{word}"', hint="hidepid=, gid=, subset=pid, ro …"
            )
