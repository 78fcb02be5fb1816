"""The environment of a container's process: defaults, then the request's, then what depends on the user and host name.

A variable that is given replaces a default of the same name at its place. Order as documented for Podman:
PATH, TERM, container, the image's and the user's, HOME, HOSTNAME.
"""

from __future__ import annotations

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# linux/binfmts.h: MAX_ARG_STRLEN, 32 pages; fs/exec.c: at most 3/4 of 8 MiB, and a quarter of the stack limit.
STRING_MAX = 131072
TOTAL_MAX = 6 << 20
STACK_DEFAULT = 8 << 20


def build(given: Iterable[str], home: str, hostname: str) -> list[str]:
    """`NAME=VALUE` of the container's first process. hostname: "" when it is not known."""
    result = {"PATH": PATH, "TERM": "xterm", "container": "remora"}
    for item in given:
        name, _, value = item.partition("=")
        result[name] = value
    result.setdefault("HOME", home)
    if hostname:
        result.setdefault("HOSTNAME", hostname)
    return [f"{name}={value}" for name, value in result.items()]


def stack_needed(args: Sequence[str], environment: Sequence[str]) -> int:
    """The soft stack limit (bytes) that executing with these needs, 0 when the usual 8 MiB will do.

    Raises RemoraError when the kernel takes no such argument or environment at all.
    """
    total = 0
    for item in environment:
        if len(item) * 4 >= STRING_MAX and (size := len(item.encode("utf-8", "surrogateescape"))) >= STRING_MAX:
            raise RemoraError(
                f"environment variable {item.partition('=')[0][:80]} has {size} bytes, the kernel takes less than "
                f"{STRING_MAX}",
                hint="hand it over in a file: -v FILE:PATH",
            )
        total += len(item) + 9
    for item in args:
        if len(item) * 4 >= STRING_MAX and (size := len(item.encode("utf-8", "surrogateescape"))) >= STRING_MAX:
            raise RemoraError(
                f"an argument of the command has {size} bytes, the kernel takes less than {STRING_MAX}",
                hint="hand it over in a file: -v FILE:PATH",
            )
        total += len(item) + 9
    if total + 8192 >= TOTAL_MAX:
        raise RemoraError(
            f"arguments and environment have {total} bytes together, the kernel takes at most {TOTAL_MAX}",
            hint="hand over large values in a file: -v FILE:PATH",
        )
    return (total + 65536) * 4 if (total + 65536) * 4 > STACK_DEFAULT else 0
