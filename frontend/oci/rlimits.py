"""Resource limits of a container's processes.

Without CAP_SYS_RESOURCE nobody can raise a hard limit above their own, and a runtime that is asked to fails late and
without saying which. So every limit is lowered to what this process may set: one that was asked for with a warning each
time, the defaults with a line that the caller shows once.
"""

from __future__ import annotations

import resource

from remora.frontend.oci import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Json, Ulimit

DEFAULT = 1048576
INFINITY = (1 << 64) - 1
NUMBERS = {
    "as": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "fsize": resource.RLIMIT_FSIZE,
    "locks": 10,
    "memlock": resource.RLIMIT_MEMLOCK,
    "msgqueue": resource.RLIMIT_MSGQUEUE,
    "nice": resource.RLIMIT_NICE,
    "nofile": resource.RLIMIT_NOFILE,
    "nproc": resource.RLIMIT_NPROC,
    "rss": resource.RLIMIT_RSS,
    "rtprio": resource.RLIMIT_RTPRIO,
    "rttime": resource.RLIMIT_RTTIME,
    "sigpending": resource.RLIMIT_SIGPENDING,
    "stack": resource.RLIMIT_STACK,
}


def build(ulimits: Sequence[Ulimit], stack: int, effective: int, warnings: list[str]) -> list[Json]:
    """The `rlimits` list. stack: least soft stack limit in bytes, 0 = leave; effective: own capability mask.

    A line is appended to `warnings` for what was asked for and can't be had.
    """
    wanted = {"nofile": (DEFAULT, DEFAULT), "nproc": (DEFAULT, DEFAULT)}
    asked = {item["name"]: (_unsigned(item["soft"]), _unsigned(item["hard"])) for item in ulimits}
    wanted.update(asked)
    if stack and "stack" not in asked:
        wanted["stack"] = (stack, _unsigned(resource.getrlimit(resource.RLIMIT_STACK)[1]))
    result: list[Json] = []
    lowered = []
    for name, (soft, hard) in wanted.items():
        most = _most(name, effective)
        if hard > most or soft > most:
            hard, soft = min(hard, most), min(soft, most)
            if name in asked:
                lowered.append(f"{name} to {_text(soft)}:{_text(hard)}")
        result.append({"type": "RLIMIT_" + name.upper(), "soft": soft, "hard": hard})
    if lowered:
        warnings.append(
            "--ulimit lowered: " + ", ".join(lowered) + " (this process may set no more: raise its hard limits)"
        )
    return result


def lowered_defaults(ulimits: Sequence[Ulimit], effective: int) -> str:
    """What to tell about defaults that can't be had in full; "" when they can. effective: own capability mask."""
    asked = {item["name"] for item in ulimits}
    lowered = {name: _most(name, effective) for name in ("nofile", "nproc") if name not in asked}
    texts = [f"{name} to {most}" for name, most in lowered.items() if most < DEFAULT]
    if not texts:
        return ""
    return (
        f"default limits lowered: {', '.join(texts)} (this process may set no more: raise its hard limits, or give "
        "--ulimit; said once)"
    )


def of_host() -> list[Ulimit]:
    """`--ulimit host`: all limits as this process has them."""
    result: list[Ulimit] = []
    for name, number in NUMBERS.items():
        soft, hard = resource.getrlimit(number)
        result.append({"name": name, "soft": soft, "hard": hard})
    return result


def oom_score(wanted: int, effective: int, warnings: list[str]) -> int:
    """`--oom-score-adj` as far as this process may go: below its own value only with CAP_SYS_RESOURCE."""
    if not effective & capabilities.SYS_RESOURCE or in_user_namespace():
        with open("/proc/self/oom_score_adj", "rb", buffering=0) as file:
            own = int(file.read(16))
        if wanted < own:
            warnings.append(f"--oom-score-adj {wanted} raised to {own}: this process may set no less")
            return own
    return wanted


def in_user_namespace() -> bool:
    """Whether this process is in a user namespace: its capabilities count there only."""
    with open("/proc/self/uid_map", "rb", buffering=0) as file:
        return file.read(64).split() != [b"0", b"0", b"4294967295"]


def _most(name: str, effective: int) -> int:
    """The largest value this process may set."""
    if not effective & capabilities.SYS_RESOURCE:
        return _unsigned(resource.getrlimit(NUMBERS[name])[1])
    if name == "nofile":  # the kernel refuses more even to the privileged
        with open("/proc/sys/fs/nr_open", "rb", buffering=0) as file:
            return int(file.read(32))
    return INFINITY


def _unsigned(value: int) -> int:
    return INFINITY if value < 0 else value


def _text(value: int) -> str:
    return "unlimited" if value == INFINITY else str(value)
