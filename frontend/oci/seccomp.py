"""`linux.seccomp` from a profile in the format of containers-common's seccomp.json.

A profile names rules with conditions (architecture, capabilities); the runtime wants those that apply to this
container. Converting the default profile is a pure function of the file, the capabilities and the architecture.
"""

from __future__ import annotations

import os
import stat

from remora.frontend import jsontext
from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from remora.frontend.container.spec import Json

PATHS = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
PACKAGE = "install the package containers-common or golang-github-containers-common, or use --security-opt seccomp=…"

LARGEST = 16 << 20  # bytes
_TOO_LARGE = "a profile has 16 MiB at most"

# uname's machine: (name in a profile's conditions, name in its archMap)
_ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "loongarch64": ("loong64", "SCMP_ARCH_LOONGARCH64"),
}
_ERRNO = {"EPERM": 1, "ENOENT": 2, "EIO": 5, "EACCES": 13, "EINVAL": 22, "ENOTTY": 25, "ENOSYS": 38, "EOPNOTSUPP": 95}


def profile_path() -> str:
    """The default profile. Raises RemoraError when there is none."""
    for path in PATHS:
        if os.path.exists(path):
            return path
    raise RemoraError(f"no seccomp profile: {PATHS[-1]} is missing", hint=PACKAGE)


def section(path: str, bounding: Sequence[str], machine: str) -> dict[str, Json]:
    """The converted profile. bounding: the container's bounding capability set; machine: as `uname -m` says.

    Raises RemoraError when the file can't be read or is no profile; with line and column where it is not.
    """
    text = read(path)
    try:
        profile = jsontext.loads(text)
        if not isinstance(profile, dict):
            raise ValueError("no JSON object")
        return convert(profile, frozenset(bounding), machine)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        from remora.frontend.oci import seccomp_check

        seccomp_check.check(path, text)
        raise RemoraError(f"seccomp profile {path} is not valid: {error}", hint="correct the file") from None


def read(path: str) -> bytes:
    """The text of a profile. Raises RemoraError when it is no readable plain file, or has more than 16 MiB."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise RemoraError(f"reading seccomp profile {path}: not a plain file", hint="name a JSON file")
            if status.st_size > LARGEST:
                raise RemoraError(f"reading seccomp profile {path}: it has {status.st_size} bytes", hint=_TOO_LARGE)
            pieces = []
            while piece := os.read(fd, 1 << 20):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(fd)
    except OSError as error:
        raise RemoraError(f"reading seccomp profile {path}: {error.strerror}", hint="name a readable file") from None


def default_section(bounding: Sequence[str], machine: str) -> dict[str, Json]:
    """The default profile as a container gets it that asks for none.

    Without the x32 ABI, which kernels are built without or boot with switched off: a call through it is not allowed
    then, and the runtime has a filter less to build, which is a quarter of its start-up time (13 of 49 ms, runc 1.1.5).
    """
    result = section(profile_path(), bounding, machine)
    architectures = result.get("architectures")
    if isinstance(architectures, list):
        result["architectures"] = [name for name in architectures if name != "SCMP_ARCH_X32"]
    return result


def convert(profile: Mapping[str, Any], capabilities: frozenset[str], machine: str) -> dict[str, Json]:
    """Convert a parsed profile; ValueError, KeyError or TypeError tell what is wrong with it."""
    arch, native = _ARCHITECTURES.get(machine, (machine, "SCMP_ARCH_" + machine.upper()))
    result: dict[str, Json] = {"defaultAction": profile["defaultAction"]}
    default_errno = _errno(profile.get("defaultErrno"), profile.get("defaultErrnoRet"))
    if default_errno is not None:
        result["defaultErrnoRet"] = default_errno
    if profile.get("architectures") and profile.get("archMap"):
        raise ValueError("both architectures and archMap are given, use one of them")
    architectures = list(profile.get("architectures") or ())
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            architectures = [native, *(entry.get("subArchitectures") or ())]
    if architectures:
        result["architectures"] = architectures
    for key in ("flags", "listenerPath", "listenerMetadata"):
        if profile.get(key):
            result[key] = profile[key]
    syscalls = []
    for rule in profile.get("syscalls") or ():
        if not _applies(rule.get("includes") or {}, rule.get("excludes") or {}, arch, capabilities):
            continue
        names = rule.get("names") or []
        if rule.get("name"):
            if names:
                raise ValueError("'name' and 'names' in one rule, use either of them")
            names = [rule["name"]]
        entry = {"names": names, "action": rule["action"]}
        errno = _errno(rule.get("errno"), rule.get("errnoRet"))
        if errno is not None:
            entry["errnoRet"] = errno
        if rule.get("args"):
            entry["args"] = [_argument(argument) for argument in rule["args"]]
        syscalls.append(entry)
    result["syscalls"] = syscalls
    return result


def _applies(includes: Mapping[str, Any], excludes: Mapping[str, Any], arch: str, have: frozenset[str]) -> bool:
    if arch in (excludes.get("arches") or ()) or not have.isdisjoint(excludes.get("caps") or ()):
        return False
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if includes.get("minKernel") and _release() < _version(includes["minKernel"]):
        return False
    return have.issuperset(includes.get("caps") or ())


def _release() -> tuple[int, int]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return int(major), int(minor or 0)


def _errno(name: str | None, number: int | None) -> int | None:
    if not name:
        return number
    if name not in _ERRNO:
        import errno

        value = getattr(errno, name, None)
        if not isinstance(value, int):
            raise ValueError(f"unknown errno {name}")
        return value
    return _ERRNO[name]


def _argument(argument: Mapping[str, Any]) -> dict[str, Json]:
    result: dict[str, Json] = {"index": argument["index"], "value": argument["value"], "op": argument["op"]}
    if argument.get("valueTwo"):
        result["valueTwo"] = argument["valueTwo"]
    return result
