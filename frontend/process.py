"""Run other programs: posix_spawn and pipes, without the import cost of `subprocess` (12 ms).

The child gets stdin, stdout and stderr and nothing else: every descriptor Python opens is close-on-exec.
Signals that Python ignores (SIGPIPE, SIGXFSZ) are set back to their defaults in the child.
"""

from __future__ import annotations

import os
import select

from remora.frontend.builtin import SIGPIPE, SIGXFSZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULTED = (SIGPIPE, SIGXFSZ)


class Result:
    """How a program ended: status (exit code, or 128 + signal), and what it wrote."""

    __slots__ = ("status", "stdout", "stderr")

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


def which(program: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Absolute path of an executable, looked for in PATH and then in the sbin folders; None when it is not there."""
    if "/" in program:
        return os.path.abspath(program) if os.access(program, os.X_OK) and os.path.isfile(program) else None
    path = (os.environ if environ is None else environ).get("PATH", "")
    for folder in [*path.split(":"), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]:
        candidate = f"{folder}/{program}"
        if folder.startswith("/") and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    return None


def exit_status(wait_status: int) -> int:
    """Exit code as a shell gives it: the code, or 128 + the signal."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def _spawn(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: str | None,
    actions: list[tuple[int, int, int]],
) -> int:
    """Start argv[0] (a path, or looked for in PATH); FileNotFoundError when it is not there."""
    program = which(argv[0], env)
    if program is None:
        raise FileNotFoundError(2, "No such program", argv[0])
    arguments = list(argv)
    if cwd is not None:  # posix_spawn has no chdir action in Python; env(1) has
        arguments = ["env", f"--chdir={cwd}", program, *argv[1:]]
        program = which("env", env) or "/usr/bin/env"
    environment = dict(os.environ if env is None else env)
    return os.posix_spawn(program, arguments, environment, file_actions=actions, setsigdef=DEFAULTED)


def start(
    argv: Sequence[str], *, stdin: int, stdout: int, stderr: int, env: Mapping[str, str] | None = None, hold: int = -1
) -> int:
    """Start a program on these descriptors (`hold` becomes its 3) and return its pid, which has to be waited for.

    Raises FileNotFoundError when it is not there.
    """
    return _spawn(
        argv,
        env,
        None,
        [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in ((stdin, 0), (stdout, 1), (stderr, 2), (hold, 3)) if fd >= 0],
    )


def _wait(pid: int) -> int:
    return exit_status(os.waitpid(pid, 0)[1])


def capture(
    argv: Sequence[str],
    *,
    input: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stderr_fd: int | None = None,
) -> Result:
    """Run a program to its end, feeding `input` and collecting what it writes.

    env: its whole environment (None = ours). cwd: its folder. stderr_fd: where stderr goes instead of being
    collected (2 = straight to the user). Raises FileNotFoundError when the program is not there.
    """
    pipes: list[int] = []
    try:
        in_read, in_write = os.pipe()
        pipes += [in_read, in_write]
        out_read, out_write = os.pipe()
        pipes += [out_read, out_write]
        err_read, err_write = os.pipe()
        pipes += [err_read, err_write]
        pid = _spawn(
            argv,
            env,
            cwd,
            [
                (os.POSIX_SPAWN_DUP2, in_read, 0),
                (os.POSIX_SPAWN_DUP2, out_write, 1),
                (os.POSIX_SPAWN_DUP2, err_write if stderr_fd is None else stderr_fd, 2),
            ],
        )
        for fd in (in_read, out_write, err_write):
            pipes.remove(fd)
            os.close(fd)
        collected: dict[int, list[bytes]] = {out_read: [], err_read: []}
        poll = select.poll()
        for fd in collected:
            poll.register(fd, select.POLLIN)
        left = memoryview(input)
        if left:
            os.set_blocking(in_write, False)
            poll.register(in_write, select.POLLOUT)
        else:
            pipes.remove(in_write)
            os.close(in_write)
        open_ends = 2
        while open_ends:
            for fd, _ in poll.poll():
                if fd == in_write:
                    try:
                        left = left[os.write(fd, left[:65536]) :]
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        poll.unregister(fd)
                        pipes.remove(fd)
                        os.close(fd)
                    continue
                data = os.read(fd, 65536)
                if data:
                    collected[fd].append(data)
                else:
                    poll.unregister(fd)
                    open_ends -= 1
        return Result(_wait(pid), b"".join(collected[out_read]), b"".join(collected[err_read]))
    finally:
        for fd in pipes:
            os.close(fd)


def spawn_wait(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
) -> int:
    """Run a program on our own stdio (or the descriptors given) and return its exit status."""
    pairs = ((stdin, 0), (stdout, 1), (stderr, 2))
    return _wait(_spawn(argv, env, cwd, [(os.POSIX_SPAWN_DUP2, fd, to) for fd, to in pairs]))
