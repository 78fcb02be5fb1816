"""Capability sets of a container's process.

The default is Podman's set of eleven; `default_capabilities` of containers.conf names another, say Docker's fourteen.
What this process itself may not give (its bounding set) is left out, because a runtime refuses or warns about it. A
process that is not root gets only what was added by name (ambient, so that it keeps it across exec); root gets the set
as effective and permitted, with nothing inheritable.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from remora.frontend.container.spec import Spec

# By number (linux/capability.h).
NAMES = tuple(
    "CAP_" + name
    for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
        "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
        "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
        "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
        "PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)

DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)

ALL = "ALL"
SYS_RESOURCE = 1 << NAMES.index("CAP_SYS_RESOURCE")


def parse(option: str, given: Iterable[str]) -> list[str]:
    """Names as typed (any case, with or without `CAP_`, comma-separated) as `CAP_…` or `ALL`.

    Raises RemoraError for a name the kernel's header does not have.
    """
    result: list[str] = []
    for text in given:
        for word in text.split(","):
            name = word.strip().upper()
            if name != ALL:
                name = name if name.startswith("CAP_") else "CAP_" + name
                if name not in NAMES:
                    raise RemoraError(f'unknown capability "{word.strip()}" for {option}', hint=_nearest(name))
            if name not in result:
                result.append(name)
    return result


def _nearest(name: str) -> str:
    """What may have been meant."""
    from difflib import get_close_matches

    near = get_close_matches(name[4:], [known[4:] for known in NAMES], 1, 0.5)
    return f"did you mean {near[0]}? capabilities(7) lists them" if near else "a name of capabilities(7), or ALL"


def check(add: Sequence[str], drop: Sequence[str]) -> None:
    """Raise RemoraError for what is to be added and dropped at once (`drop ALL` and some by name go together)."""
    if ALL in add and ALL in drop:
        raise RemoraError("--cap-add ALL and --cap-drop ALL exclude each other", hint="leave out one of them")
    both = [name for name in add if name in drop]
    if both:
        raise RemoraError(f"{both[0]} is to be added and dropped", hint="name it in --cap-add or in --cap-drop")


def own() -> tuple[int, int]:
    """This process's bounding and effective sets as bit masks, from /proc/self/status."""
    bounding = effective = 0
    with open("/proc/self/status", "rb", buffering=0) as file:
        for line in file.read().split(b"\n"):
            if line.startswith(b"CapBnd:"):
                bounding = int(line[7:], 16)
            elif line.startswith(b"CapEff:"):
                effective = int(line[7:], 16)
    return bounding, effective


def bounding_set(
    add: Sequence[str], drop: Sequence[str], privileged: bool, possible: int, default: Sequence[str] | None = None
) -> list[str]:
    """The container's bounding set, sorted. possible: mask of what may be given (`own()[0]`); default: None = DEFAULT.

    Dropping wins over the default set, adding by name wins over `drop ALL`.
    """
    available = {name for number, name in enumerate(NAMES) if possible >> number & 1}
    if privileged:
        chosen = set(available)
    elif ALL in add:
        chosen = available - set(drop)
    else:
        chosen = (set() if ALL in drop else set(DEFAULT if default is None else default)) - set(drop)
        chosen |= set(add)
    return sorted(chosen & available)


def of_spec(spec: Spec, possible: int, privileged: bool = False) -> list[str]:
    """The bounding set of a container, or of an exec in it that is privileged."""
    return bounding_set(
        spec["cap_add"], spec["cap_drop"], privileged or spec["privileged"], possible, spec["capabilities"]
    )


def withheld(spec: Spec, bounding: Sequence[str]) -> str:
    """A warning about capabilities asked for by name that this process can't give; "" when it gives all."""
    missing = [name for name in spec["cap_add"] if name != ALL and name not in bounding]
    return f"--cap-add {','.join(missing)} left out: this process may not give it" if missing else ""


def process_sets(bounding: list[str], add: Sequence[str], uid: int) -> dict[str, list[str]]:
    """The `capabilities` object of a process with this user."""
    if uid == 0:
        return {"bounding": bounding, "effective": bounding, "permitted": bounding}
    kept = list(bounding) if ALL in add else [name for name in bounding if name in add]
    sets = {"bounding": bounding}
    if kept:
        sets.update(effective=kept, inheritable=kept, permitted=kept, ambient=kept)
    return sets
