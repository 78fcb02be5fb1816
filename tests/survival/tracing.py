"""Interrupting a monitor at one exact place: SIGKILL at its Nth system call (ptrace), or a call that fails (strace).

`Kill` stops its victim at each system call, before the call or right after it, and can go on by single instructions
from there, so that a process can be killed between a call and the line that remembers what the call did.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

# linux/ptrace.h
PTRACE_SINGLESTEP = 9
PTRACE_DETACH = 17
PTRACE_SYSCALL = 24
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_GET_SYSCALL_INFO = 0x420E
O_TRACESYSGOOD = 1
WALL = 0x40000000
SYSCALL_STOP = signal.SIGTRAP | 0x80
STOP_ENTRY, STOP_EXIT = 1, 2

DEADLINE = 20.0
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result = int(_libc.ptrace(request, pid, address, data))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request:#x} of {pid}: {os.strerror(number)}")
    return result


class Kill:
    """SIGKILL for a process at its Nth system call from now on; a `with` block.

    pid: the victim. nth: counted from 1. after: once the call has been made, else before it is. steps: so many
    instructions later. It is attached when the constructor returns. `struck` tells whether the victim was killed.
    """

    def __init__(self, pid: int, nth: int, *, after: bool = False, steps: int = 0) -> None:
        self._pid, self._nth, self._steps = pid, nth, steps
        self._stop = STOP_EXIT if after else STOP_ENTRY
        self.struck = False
        self.at = 0.0  # monotonic time of the kill
        self.call = -1  # number of the system call
        self.calls: list[int] = []  # those that were seen
        self._cancelled = False
        self._attached = threading.Event()
        self.over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._attached.wait(DEADLINE), "ptrace does not attach"
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            _ptrace(PTRACE_SEIZE, self._pid, 0, O_TRACESYSGOOD)
            _ptrace(PTRACE_INTERRUPT, self._pid)
            os.waitpid(self._pid, WALL)
            _ptrace(PTRACE_SYSCALL, self._pid)
            self._attached.set()
            self._follow()
        except (OSError, ChildProcessError) as error:
            self._error = error
        finally:
            self._attached.set()
            self.over.set()

    def _follow(self) -> None:
        seen = 0
        while True:
            _, status = os.waitpid(self._pid, WALL)
            if not os.WIFSTOPPED(status):
                return
            number = os.WSTOPSIG(status)
            if number == signal.SIGSTOP:  # from `end`
                _ptrace(PTRACE_DETACH, self._pid)
                return
            if number == SYSCALL_STOP and not self._cancelled:
                stop, call = self._info()
                if stop == STOP_ENTRY:
                    self.calls.append(call)
                seen += stop == self._stop
                if seen == self._nth:
                    self.call = self.calls[-1] if self.calls else -1
                    self._strike()
                    return
                number = 0
            elif number in (signal.SIGTRAP, SYSCALL_STOP):
                number = 0
            _ptrace(PTRACE_SYSCALL, self._pid, 0, number)

    def _strike(self) -> None:
        for _ in range(self._steps):
            _ptrace(PTRACE_SINGLESTEP, self._pid)
            _, status = os.waitpid(self._pid, WALL)
            if not os.WIFSTOPPED(status):
                return
        self.at = time.monotonic()
        self.struck = True
        os.kill(self._pid, signal.SIGKILL)  # stopped by us, so that its pid can't be another's
        os.waitpid(self._pid, WALL)

    def _info(self) -> tuple[int, int]:
        buffer = ctypes.create_string_buffer(88)
        _ptrace(PTRACE_GET_SYSCALL_INFO, self._pid, len(buffer), ctypes.addressof(buffer))
        stop = buffer.raw[0]
        return stop, struct.unpack_from("<q", buffer.raw, 24)[0] if stop == STOP_ENTRY else -1

    def end(self) -> bool:
        """Let go of the victim if it was not killed by now; whether it was."""
        if not self._cancelled and not self.over.is_set():
            self._cancelled = True
            try:
                os.kill(self._pid, signal.SIGSTOP)  # only to wake the tracer, which keeps it from taking effect
            except ProcessLookupError:
                pass
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the tracer does not let go"
        return self.struck

    def __enter__(self) -> Kill:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()


class Strace:
    """strace on one process, without its children; a `with` block. `lines()` are the calls that were written down."""

    def __init__(self, pid: int, *options: str, follow: bool = False) -> None:
        file, name = tempfile.mkstemp(prefix="strace-")
        os.close(file)
        self._output = Path(name)
        words = ["strace", "-qqq", *(["-f"] if follow else []), "-o", name, *options, "-p", str(pid)]
        self._strace = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + DEADLINE
        while not _is_traced(pid):
            if self._strace.poll() is not None or time.monotonic() > deadline:
                stderr = self._strace.stderr
                raise AssertionError(f"strace is not attached: {stderr.read().decode() if stderr else ''}")
            time.sleep(0.001)

    def end(self) -> None:
        """Detach."""
        if self._strace.poll() is None:
            self._strace.send_signal(signal.SIGINT)
        self._strace.communicate(timeout=DEADLINE)

    def lines(self) -> list[str]:
        """What it wrote, once it has ended."""
        return self._output.read_text(errors="replace").splitlines() if self._output.exists() else []

    def __enter__(self) -> Strace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()
        self.kept = self.lines()
        self._output.unlink(missing_ok=True)


def _is_traced(pid: int) -> bool:
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True  # gone already: nothing to wait for


class Fault(Strace):
    """One call of a kind that fails: the `nth` call `call` of a process returns `error`. `hit` tells whether it did."""

    def __init__(self, pid: int, call: str, error: str, nth: int, *, follow: bool = False) -> None:
        inject = f"inject={call}:error={error}:when={nth}"
        super().__init__(pid, "-e", f"trace={call}", "-e", inject, follow=follow)

    @property
    def hit(self) -> bool:
        """Whether the process came to that call; to be asked after the block."""
        return any("(INJECTED)" in line for line in self.kept)
