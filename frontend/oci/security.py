"""`--security-opt`: what its options say, as they stand in a container's request.

Options are told apart by their first word; the last one of a kind counts, `mask`, `unmask` and `label` add up.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from remora.frontend.container.spec import Spec

UNCONFINED = "unconfined"
MASKED = (
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/dev/block",
)
READ_ONLY = ("/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
CGROUP = "/sys/fs/cgroup"
APPARMOR = "/sys/module/apparmor/parameters/enabled"
FALSE = ("false", "f", "0")


class SecurityOptions:
    """seccomp: path of a profile, `unconfined`, or "" = the default one; apparmor likewise, a profile's name.

    mask, unmask: paths, in `unmask` also patterns and `ALL`; proc_options: of the mount at /proc, empty = the usual;
    labels: `disable`, `user:USER`, …
    """

    __slots__ = ("seccomp", "apparmor", "no_new_privileges", "mask", "unmask", "proc_options", "labels")

    def __init__(self, given: Iterable[str]) -> None:
        self.seccomp = ""
        self.apparmor = ""
        self.no_new_privileges = False
        self.mask: list[str] = []
        self.unmask: list[str] = []
        self.proc_options: list[str] = []
        self.labels: list[str] = []
        for text in given:
            self._take(*split(text))

    def _take(self, key: str, value: str) -> None:
        if key == "no-new-privileges":
            self.no_new_privileges = value.lower() not in FALSE
        elif key == "seccomp":
            self.seccomp = value
        elif key == "apparmor":
            self.apparmor = value
        elif key == "mask":
            self.mask += value.split(":")
        elif key == "unmask":
            self.unmask += value.split(":")
        elif key == "systempaths" and value == UNCONFINED:
            self.unmask.append("ALL")
        elif key == "proc-opts":
            self.proc_options = value.split(",")
        elif key == "label":
            self.labels.append(value)

    def is_unmasked(self, path: str) -> bool:
        """Whether `unmask` names this path, by a pattern too (`*` stands for no slash)."""
        for pattern in self.unmask:
            if pattern in ("ALL", "all", path):
                return True
            if ("*" in pattern or "?" in pattern or "[" in pattern) and _matches(pattern, path):
                return True
        return False


def split(text: str) -> tuple[str, str]:
    """`seccomp=FILE` or, as Docker once had it, `seccomp:FILE` in two; an option without a value gives ""."""
    equals, colon = text.find("="), text.find(":")
    at = colon if equals < 0 or 0 <= colon < equals else equals
    return (text, "") if at < 0 else (text[:at], text[at + 1 :])


def paths(spec: Spec, options: SecurityOptions) -> tuple[list[str], list[str]]:
    """(masked, read-only) paths of a container. A privileged one has only those that it asks for."""
    if spec["privileged"]:
        return options.mask, []
    if not options.unmask:
        return [*MASKED, *options.mask], list(READ_ONLY)
    masked = [path for path in MASKED if not options.is_unmasked(path)]
    return masked + options.mask, [path for path in READ_ONLY if not options.is_unmasked(path)]


def apparmor_is_on() -> bool:
    """Whether the kernel confines by AppArmor."""
    try:
        with open(APPARMOR, "rb", buffering=0) as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def _matches(pattern: str, path: str) -> bool:
    from fnmatch import fnmatchcase

    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
