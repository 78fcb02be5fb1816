"""`--security-opt` of `run` and `create`: each option checked, as it stands in a request (oci/security.py reads it)."""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.oci import security
from remora.frontend.options import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.containers_conf import Configuration

TABLE = "containers"  # of containers.conf
EXPECTED = (
    "seccomp=FILE|unconfined, apparmor=PROFILE|unconfined, label=disable, mask=PATHS, unmask=ALL|PATHS, "
    "proc-opts=OPTIONS or no-new-privileges"
)
KEYS = ("no-new-privileges", "seccomp", "apparmor", "label", "mask", "unmask", "proc-opts", "systempaths")
LABELS = ("user", "role", "type", "level", "filetype")
# proc(5), "Mount options", and those of mount(8) that any mount has
PROC_OPTIONS = ("hidepid=", "gid=", "subset=", "ro", "rw", "nosuid", "noexec", "nodev", "suid", "exec", "dev")
APPARMOR_PROFILES = "/sys/kernel/security/apparmor/profiles"


def read(given: Sequence[str], conf: Configuration) -> list[str]:
    """The options in effect: the defaults of containers.conf, then what is given.

    Raises RemoraError for the first that makes no sense here.
    """
    result = []
    keys = set()
    for text in given:
        key, value = security.split(text)
        keys.add(key)
        result.append(_checked(text, key, value))
    # The defaults of containers.conf come first: what is given counts.
    for name, key in (("seccomp_profile", "seccomp"), ("apparmor_profile", "apparmor")):
        value = conf.text(TABLE, name)
        if value and key not in keys:
            try:
                result.insert(0, _checked(f"{key}={value}", key, value))
            except RemoraError as error:
                raise RemoraError(f"{conf.where(TABLE, name)}: {error.message}", error.hint) from None
    if not conf.flag(TABLE, "label", True):
        result.insert(0, "label=disable")
    return result


def _checked(text: str, key: str, value: str) -> str:
    """One option, checked, as it stands in the request: `KEY=VALUE`, paths absolute."""
    if key == "no-new-privileges":
        return key if not value or values.boolean("--security-opt no-new-privileges", value) else f"{key}=false"
    if key not in KEYS:
        from difflib import get_close_matches

        near = get_close_matches(key, KEYS, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else EXPECTED
        raise RemoraError(f'unknown option "{text}" for --security-opt', hint=hint)
    if not value:
        raise RemoraError(f'--security-opt "{text}": the value is missing', hint=EXPECTED)
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
