"""A real pseudo-terminal with a program on it, driven as a person would: type, look, resize."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

DEADLINE = 30.0


class Terminal:
    """A program that has a pty as its controlling terminal.

    screen: all bytes it has written so far. Descriptors: `master` is ours, the program's end is closed here.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], rows: int = 24, columns: int = 80) -> None:
        self.master, slave = os.openpty()
        self.settings = termios.tcgetattr(slave)
        self.resize(rows, columns)
        self.screen = b""
        self._seen = 0
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv], env=env, stdin=slave, stdout=slave, stderr=slave
        )
        self._slave = slave

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def resize(self, rows: int, columns: int) -> None:
        """Change the window size; the kernel sends SIGWINCH to the foreground."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def is_raw(self) -> bool:
        """Whether the terminal hands on each key as it is typed."""
        return not termios.tcgetattr(self._slave)[3] & termios.ICANON

    def is_restored(self) -> bool:
        """Whether the settings are those of the beginning."""
        return termios.tcgetattr(self._slave) == self.settings

    def type(self, text: bytes | str) -> None:
        """Write to the terminal as the keyboard does; reads meanwhile, so that a large paste can't block."""
        rest = memoryview(text.encode() if isinstance(text, str) else text)
        os.set_blocking(self.master, False)
        deadline = time.monotonic() + DEADLINE
        while rest:
            assert time.monotonic() < deadline, f"{len(rest)} bytes can't be typed; the screen: {self.screen[-500:]!r}"
            readable, writable, _ = select.select([self.master], [self.master], [], 1.0)
            if readable:
                self._read()
            if writable:
                try:
                    rest = rest[os.write(self.master, rest) :]
                except BlockingIOError:
                    pass

    def unread(self) -> int:
        """How many bytes have been typed that nobody has read yet."""
        buffer = fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4)
        return int.from_bytes(buffer, "little")

    def expect(self, text: bytes | str, timeout: float = DEADLINE) -> bytes:
        """Read until `text` appears after what was expected before; what stood in front of it."""
        wanted = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + timeout
        while (at := self.screen.find(wanted, self._seen)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"never shown: {wanted!r}; after it was expected: {self.screen[self._seen :][-2000:]!r}"
            if select.select([self.master], [], [], left)[0]:
                assert self._read(), f"ended before {wanted!r}: {self.screen[self._seen :][-2000:]!r}"
        before = self.screen[self._seen : at]
        self._seen = at + len(wanted)
        return before

    def read_for(self, size: int, timeout: float = DEADLINE) -> bytes:
        """So many bytes after what was expected before."""
        deadline = time.monotonic() + timeout
        while len(self.screen) - self._seen < size:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(self.screen) - self._seen} of {size} bytes came"
            if select.select([self.master], [], [], left)[0]:
                assert self._read(), f"ended after {len(self.screen) - self._seen} of {size} bytes"
        piece = self.screen[self._seen : self._seen + size]
        self._seen += size
        return piece

    def wait(self, timeout: float = DEADLINE) -> int:
        """The program's exit status; what it still writes is read."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"does not end; the screen: {self.screen[-2000:]!r}"
            if select.select([self.master], [], [], 0.01)[0]:
                self._read()
        while select.select([self.master], [], [], 0)[0] and self._read():
            pass
        return self.process.returncode

    def hang_up(self) -> None:
        """Take the terminal away, as closing its window does."""
        if self.master >= 0:
            os.close(self._slave)
            os.close(self.master)
        self.master = -1

    def close(self) -> None:
        """Hang up, and make sure that the program is gone."""
        self.hang_up()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _read(self) -> bool:
        try:
            piece = os.read(self.master, 65536)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody holds the other end
            return False
        self.screen += piece
        return bool(piece)
