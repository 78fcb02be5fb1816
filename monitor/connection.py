"""A connection to a monitor: requests, replies, events, and relaying an attached session.

The protocol is in docs/architecture.md ("Control protocol"). A connection owns its descriptor. Packets that arrive
while a reply is awaited are kept in order and come from `Connection.receive`, or go out through `Connection.relay`.
"""

from __future__ import annotations

import os

from . import core
from .errors import MonitorGone, RequestFailed
from .records import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

_GONE = (ConnectionResetError, BrokenPipeError)


class Packet:
    """One packet: `kind` is one of the constants of `core` (CONTROL, STDOUT, …), `payload` its bytes."""

    __slots__ = ("kind", "payload")

    def __init__(self, kind: int, payload: bytes) -> None:
        self.kind = kind
        self.payload = payload

    def message(self) -> dict[str, object]:
        """The payload of a CONTROL or EXIT packet as a map; ValueError when it is none."""
        return unpack(self.payload)

    def __repr__(self) -> str:
        return f"Packet({self.kind}, {self.payload!r})"


class RelayEnd:
    """How a relay ended."""

    EXITED = 0  # the session is over, its exit record is in RelayResult.exit
    DETACHED = 1  # the detach keys were typed
    LOST = 2  # the connection ended without a record: the monitor is gone
    LAGGED = 3  # cut off by the monitor, since this side did not read
    OUTPUT_CLOSED = 4  # the reader of our own output went away


class RelayResult:
    """End of a relay: `end` is one of `RelayEnd`, `exit` the exit record with EXITED, else None."""

    __slots__ = ("end", "exit")

    def __init__(self, end: int, exit: dict[str, object] | None) -> None:
        self.end = end
        self.exit = exit

    def __repr__(self) -> str:
        return f"RelayResult({self.end}, {self.exit!r})"


class Connection:
    """A connection to the monitor of one container; also a context manager."""

    __slots__ = ("_buffer", "_fd", "_waiting")

    def __init__(self, fd: int) -> None:
        """Take over the descriptor of a connected control socket."""
        self._fd = fd
        self._buffer: object = None
        self._waiting: list[Packet] = []

    @classmethod
    def open(cls, run_dir: str) -> Connection:
        """Connect to the monitor of a run folder.

        Raises:
            MonitorGone: there is none.
            OSError: anything else (no permission, …).
        """
        try:
            return cls(core.connect(run_dir))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, ConnectionResetError) as error:
            raise MonitorGone(f"no monitor listens in {run_dir}") from error

    def fileno(self) -> int:
        """The descriptor; -1 when closed."""
        return self._fd

    def close(self) -> None:
        """End the connection; harmless when it is closed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def send(self, request: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        """Send one request (a map with `op`), with descriptors (borrowed). Raises MonitorGone."""
        self.send_packet(core.CONTROL, pack(request), fds)

    def send_packet(self, kind: int, payload: bytes, fds: Sequence[int] = ()) -> None:
        """Send one packet of any type. Raises MonitorGone."""
        try:
            core.send(self._fd, kind, payload, fds)
        except _GONE as error:
            raise MonitorGone("the monitor ended the connection") from error

    def _receive(self, timeout: float | None) -> Packet:
        if self._buffer is None:
            self._buffer = core.new_buffer()
        try:
            return Packet(*core.receive(self._fd, self._buffer, timeout))
        except _GONE as error:
            raise MonitorGone("the monitor ended the connection") from error

    def receive(self, timeout: float | None = None) -> Packet:
        """The next packet, within `timeout` seconds (None: wait for ever). Raises MonitorGone, TimeoutError."""
        if self._waiting:
            return self._waiting.pop(0)
        return self._receive(timeout)

    def request(self, request: Mapping[str, object], fds: Sequence[int] = ()) -> dict[str, object]:
        """Send a request and wait for the reply to it.

        Raises:
            RequestFailed: the reply says so.
            MonitorGone: the connection ended before the reply.
        """
        self.send(request, fds)
        return self.reply(str(request["op"]))

    def reply(self, op: str, timeout: float | None = None) -> dict[str, object]:
        """Wait for the reply to an earlier request `op`. Raises as `request`, and TimeoutError."""
        while True:
            packet = self._receive(timeout)
            if packet.kind == core.CONTROL:
                message = packet.message()
                if message.get("op") == op:
                    if message.get("ok") is not True:
                        raise RequestFailed.from_message(message)
                    return message
            self._waiting.append(packet)

    def started(self, timeout: float | None = None) -> int:
        """For the spawner: wait until the container's process runs, and return its pid.

        Raises:
            RequestFailed: the container could not be started.
            MonitorGone: the monitor ended without a word.
            TimeoutError: neither within `timeout` seconds.
        """
        while True:
            packet = self._receive(timeout)
            if packet.kind == core.CONTROL:
                message = packet.message()
                event = message.get("event")
                if event == "failed":
                    raise RequestFailed.from_message(message)
                if event == "started":
                    pid = message.get("pid")
                    return pid if isinstance(pid, int) else 0
            self._waiting.append(packet)

    def relay(
        self,
        *,
        run_dir: str,
        session: str = "",
        stdin: int = -1,
        stdout: int = -1,
        stderr: int = -1,
        raw: bool = False,
        proxy_signals: bool = False,
        detach_keys: bytes = b"",
        handle_output_closed: bool = False,
    ) -> RelayResult:
        """Copy between descriptors (borrowed) and this attached connection until the session ends or is let go.

        Args:
            run_dir: of the container, for a second connection when a signal or a size must overtake stdin.
            session: "" for the container, else the exec session's id.
            stdin, stdout, stderr: this side's descriptors, -1 for none.
            raw: the session has a tty; stdin, if it is a terminal, is in raw mode meanwhile.
            proxy_signals: INT, TERM, HUP … go to the container instead of ending this process.
            detach_keys: bytes that end the relay when typed, b"" for none.
            handle_output_closed: when stdout's reader goes away, let the container see it.

        Raises:
            OSError: a descriptor of this side fails (not: is closed by its reader).
        """
        for packet in self._waiting:
            if packet.kind in (core.STDOUT, core.STDERR):
                self._write(stderr if packet.kind == core.STDERR else stdout, packet.payload)
            elif packet.kind == core.EXIT:
                self._waiting.clear()
                return RelayResult(RelayEnd.EXITED, packet.message())
        self._waiting.clear()
        end, payload = core.relay(
            self._fd,
            run_dir=run_dir,
            session=session,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            raw=raw,
            proxy_signals=proxy_signals,
            detach_keys=detach_keys,
            handle_output_closed=handle_output_closed,
        )
        return RelayResult(end, unpack(payload) if payload else None)

    @staticmethod
    def _write(fd: int, payload: bytes) -> None:
        while fd >= 0 and payload:
            payload = payload[os.write(fd, payload) :]
