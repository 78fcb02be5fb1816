"""Output that proves itself: numbered lines on demand, and a look at a log or a client's bytes for what is missing or
doubled."""

from __future__ import annotations

import os
import re
import threading
import time
from pathlib import Path

from remora.monitor import Connection, MonitorGone, core
from tests.support.box import Box
from tests.support.waiting import eventually
from tests.survival.light import LightBox

CHUNK = 65536  # bytes that a monitor reads at once
PAD = "x" * 40
LINE = 8 + 1 + len(PAD) + 1  # bytes of one line

# Each line of input is a number of lines to write, or `x CODE`: end with this code. At the input's end: 7.
PRINTER = (
    "busybox",
    "awk",
    "BEGIN { code = 7 } /^x/ { code = $2; exit } END { exit code } "
    '{ for (i = 0; i < $1; i++) printf "%08d ' + PAD + '\\n", n++; fflush() }',
)
# So many at once, then the end with a code.
BURST = 'busybox awk "BEGIN {{ for (i = 0; i < {count}; i++) printf \\"%08d ' + PAD + '\\n\\", i }}"; exit {code}'

_NUMBER = re.compile(rb"^(\d{8}) x{40}\r?$")
_GAP = re.compile(rb"(\d+) bytes")


class Printer:
    """A printer that is told by a fifo how many lines to write, so that its orders don't pass through the monitor."""

    def __init__(self, box: Box) -> None:
        folder = box.folder / "orders"
        folder.mkdir()
        os.mkfifo(folder / "orders")
        self._fd = os.open(folder / "orders", os.O_RDWR | os.O_CLOEXEC)
        box.binds["orders"] = folder
        where = folder if isinstance(box, LightBox) else Path("/tmp/orders")
        self.argv = (*PRINTER, str(where / "orders"))
        self.count = 0

    def print(self, count: int) -> None:
        """Have it write so many further lines."""
        self.count += count
        os.write(self._fd, b"%d\n" % count)

    def exit(self, code: int) -> None:
        """Have it end."""
        os.write(self._fd, b"x %d\n" % code)

    def close(self) -> None:
        """Close the fifo; the printer sees the end of its input."""
        os.close(self._fd)


def numbered(count: int, start: int = 0) -> bytes:
    """The bytes that so many lines have."""
    return b"".join(b"%08d %s\n" % (number, PAD.encode()) for number in range(start, start + count))


class Findings:
    """What a look at numbered lines found.

    missing, doubled: numbers. torn: lines that are none of the printer's. told: bytes that gap records own up to.
    """

    def __init__(self, lines: list[bytes], count: int) -> None:
        seen = [0] * count
        self.torn: list[bytes] = []
        self.notes: list[bytes] = []
        self.told = 0
        self.ordered = True
        last = -1
        for line in lines:
            match = _NUMBER.match(line)
            if match is None or int(match[1]) >= count:
                if line.startswith(b"remora"):
                    self.notes.append(line)
                    gap = _GAP.search(line)
                    self.told += int(gap[1]) if gap else 0
                else:
                    self.torn.append(line)
                continue
            number = int(match[1])
            seen[number] += 1
            self.ordered = self.ordered and number > last
            last = number
        self.missing = [number for number, times in enumerate(seen) if times == 0]
        self.doubled = [number for number, times in enumerate(seen) if times > 1]

    @property
    def complete(self) -> bool:
        """Each line once, in order, and nothing else."""
        return not (self.missing or self.doubled or self.torn or self.notes) and self.ordered

    @property
    def explained(self) -> bool:
        """Nothing doubled or out of order, and what is missing is told by gap records."""
        missing = len(self.missing) * LINE
        cut = 2 * len(self.notes)  # lines that lost one end
        return not self.doubled and self.ordered and missing <= self.told + cut * LINE and len(self.torn) <= cut

    def assert_within(self, slack: int) -> None:
        """No more than so many bytes are missing or doubled."""
        assert (len(self.missing) + len(self.doubled)) * LINE <= slack, self
        assert len(self.torn) <= 2 * -(-slack // CHUNK), self
        assert self.ordered or slack > 0, self

    def __repr__(self) -> str:
        return (
            f"{len(self.missing)} missing {self.missing[:5]}, {len(self.doubled)} doubled {self.doubled[:5]}, "
            f"torn {self.torn[:3]}, told {self.told} bytes {self.notes[:3]}, ordered {self.ordered}"
        )


def log_files(path: Path) -> list[Path]:
    """A log and its rotated files, oldest first."""
    numbers = sorted(
        (int(file.suffix[1:]) for file in path.parent.glob(path.name + ".*") if file.suffix[1:].isdigit()), reverse=True
    )
    return [*(path.with_name(f"{path.name}.{number}") for number in numbers), path]


def cri_lines(path: Path, stream: str = "stdout") -> list[bytes]:
    """The lines in a log in CRI form, rotated files first, partial records joined. A record that is no record fails."""
    lines: list[bytes] = []
    part = b""
    for file in log_files(path):
        data = file.read_bytes()
        assert not data or data.endswith(b"\n"), f"{file} ends in the middle of a record: {data[-80:]!r}"
        for record in data.split(b"\n")[:-1]:
            words = record.split(b" ", 3)
            assert len(words) == 4 and words[1] in (b"stdout", b"stderr") and words[2] in (b"F", b"P"), record
            note = words[1] == b"stderr" and words[3].startswith(b"remora")
            if note:
                lines.append(words[3])
            elif words[1].decode() == stream:
                part += words[3]
                if words[2] == b"F":
                    lines.append(part)
                    part = b""
    return [*lines, part] if part else lines


def logged(path: Path, count: int) -> Findings:
    """A look at a log of so many numbered lines."""
    return Findings(cri_lines(path), count)


def has_logged(path: Path, count: int) -> bool:
    """Whether the last of so many lines is in the log, or a gap record; asked while it is being written."""
    try:
        findings = logged(path, count)
    except (AssertionError, FileNotFoundError):
        return False  # in the middle of a record, of a rotation
    return count - 1 not in findings.missing or findings.told > 0


class Drain:
    """Reads a connection to its end in a thread: stdout's bytes, the exit record, the events."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pieces: list[bytes] = []
        self.size = 0
        self.record: dict[str, object] | None = None
        self.events: list[str] = []
        self.replies: list[dict[str, object]] = []
        self.at = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                packet = self._connection.receive(None)
            except (MonitorGone, OSError, ValueError):
                return
            self.at = time.monotonic()
            if packet.kind in (core.STDOUT, core.STDERR):
                self._pieces.append(packet.payload)
                self.size += len(packet.payload)
            elif packet.kind == core.EXIT:
                self.record = packet.message()
            elif packet.kind == core.CONTROL:
                message = packet.message()
                if "event" in message:
                    self.events.append(str(message["event"]))
                else:
                    self.replies.append(message)

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return not self._thread.is_alive()

    @property
    def output(self) -> bytes:
        """All bytes up to now."""
        return b"".join(self._pieces)

    def findings(self, count: int) -> Findings:
        """A look at the bytes as so many numbered lines."""
        return Findings(self.output.split(b"\n")[:-1], count)

    def await_size(self, size: int, timeout: float = 30.0) -> None:
        """Wait until so many bytes have come."""
        eventually(lambda: self.size >= size, f"{size} bytes came", timeout)

    def await_text(self, text: bytes, timeout: float = 10.0) -> None:
        """Wait until these bytes have come."""
        eventually(lambda: text in self.output, f"{text!r} came", timeout)

    def end(self, timeout: float = 30.0) -> dict[str, object] | None:
        """Wait for the connection's end; the exit record."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"the connection does not end; {self.size} bytes came, {self.events}"
        return self.record
