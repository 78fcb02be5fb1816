"""A connection to a monitor: requests, replies, events, and relaying an attached session.

The protocol is in docs/architecture.md ("Control protocol"). A connection owns its descriptor. Packets that arrive
while a reply is awaited are kept in order and come from `Connection.receive`, or go out through `Connection.relay`.

A monitor is more than one process, and the one that talks may be killed and replaced: the connections stay, but one may
be lost, and with it a reply. So a connection that ends while the container's lock is still held is made anew, and what
was asked is asked again (`Connection.request`, `Connection.answer`, `Connection.relay`).
"""

from __future__ import annotations

import os
from time import monotonic

from . import core
from .errors import MonitorGone, RequestFailed
from .records import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

_GONE = (ConnectionResetError, BrokenPipeError)
_NOBODY = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, ConnectionResetError)
RENEWAL_TIME = 2.0  # seconds in which a monitor must be there again
_STEP = 0.01


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
    """End of a relay: `end` is one of `RelayEnd`, `exit` the exit record with EXITED, else None; `lost` bytes of the
    session's output are known not to have come here."""

    __slots__ = ("end", "exit", "lost")

    def __init__(self, end: int, exit: dict[str, object] | None, lost: int = 0) -> None:
        self.end = end
        self.exit = exit
        self.lost = lost

    def __repr__(self) -> str:
        return f"RelayResult({self.end}, {self.exit!r})"


class Connection:
    """A connection to the monitor of one container; also a context manager.

    renewed: how often it was made anew, so that a request may have been made twice.
    """

    __slots__ = ("_buffer", "_deadline", "_fd", "_lost_at", "_run_dir", "_waiting", "renewed")

    def __init__(self, fd: int, run_dir: str = "") -> None:
        """Take over the descriptor of a connected control socket; `run_dir` as for `open`, "" = can't be made anew."""
        self._fd = fd
        self._run_dir = run_dir
        self._buffer: object = None
        self._waiting: list[Packet] = []
        self._lost_at = float("-inf")
        self._deadline = 0.0
        self.renewed = 0

    @classmethod
    def open(cls, run_dir: str) -> Connection:
        """Connect to the monitor of a run folder.

        Raises:
            MonitorGone: there is none.
            OSError: anything else (no permission, …).
        """
        try:
            return cls(core.connect(run_dir), run_dir)
        except _NOBODY as error:
            raise MonitorGone(f"no monitor listens in {run_dir}") from error

    def renew(self) -> bool:
        """After an unexpected end: connect anew, if the container still has a monitor (its lock is held).

        False: it has none any more, or can't be reached within `RENEWAL_TIME` of the first loss.
        """
        now = monotonic()
        if now - self._lost_at > RENEWAL_TIME:  # else it follows at once on the one before
            self._deadline = now + RENEWAL_TIME
        self._lost_at = now
        while self._run_dir and core.lock_held(self._run_dir):
            if core.wait_unlocked(self._run_dir, _STEP if self.renewed else 0.0) or monotonic() > self._deadline:
                return False
            try:
                fd = core.connect(self._run_dir)
            except _NOBODY:
                core.wait_unlocked(self._run_dir, _STEP)
                continue
            self.close()
            self._fd = fd
            self.renewed += 1
            return True
        return False

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
            MonitorGone: the monitor ended before the reply.
        """
        try:
            self.send(request, fds)
        except MonitorGone:
            pass  # the wait for the reply meets it
        return self.answer(request, fds)

    def answer(
        self, request: Mapping[str, object], fds: Sequence[int] = (), timeout: float | None = None
    ) -> dict[str, object]:
        """Wait for the reply to a request that was sent; ask again where the connection is lost. As `reply`."""
        while True:
            try:
                return self.reply(str(request["op"]), timeout)
            except MonitorGone:
                if not self.renew():
                    raise
            try:
                self.send(request, fds)
            except MonitorGone:
                pass

    def reply(self, op: str, timeout: float | None = None) -> dict[str, object]:
        """Wait for the reply to an earlier request `op`, on this connection. Raises as `request`, and TimeoutError."""
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
        block: bool = False,
        owner: bool = False,
        positions: tuple[int, int] = (-1, -1),
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
            block, owner: as it was attached, for an attachment in its place.
            positions: bytes of stdout and stderr that the session had written before it was attached, -1: not known.

        Raises:
            OSError: a descriptor of this side fails (not: is closed by its reader).
        """
        out, err = positions
        lost = 0
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            if packet.kind == core.STDOUT:
                self._write(stdout, packet.payload)
                out += len(packet.payload) if out >= 0 else 0
            elif packet.kind == core.STDERR:
                self._write(stderr, packet.payload)
                err += len(packet.payload) if err >= 0 else 0
            elif packet.kind == core.EXIT:
                return RelayResult(RelayEnd.EXITED, packet.message(), lost)
            else:
                lost += _lost_bytes(packet)
        end, payload, more_lost, fd = core.relay(
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
            block=block,
            owner=owner,
            positions=(out, err),
        )
        if fd >= 0:
            self.close()
            self._fd = fd
        lost += more_lost
        if end == RelayEnd.LOST:
            record = self.how_it_ended(session)
            if record is not None:
                return RelayResult(RelayEnd.EXITED, record, lost)
        return RelayResult(end, unpack(payload) if payload else None, lost)

    def how_it_ended(self, session: str) -> dict[str, object] | None:
        """The exit record of a session that the lost connection was attached to; None when there is nobody to ask."""
        try:
            if not self.renew():
                return None
            if not session:
                record = self.request({"op": "wait", "condition": "exited"}).get("record")
                return record if isinstance(record, dict) else None
            execs = self.request({"op": "status"}).get("execs")
        except (MonitorGone, RequestFailed):
            return None
        for one in execs if isinstance(execs, list) else []:
            if isinstance(one, dict) and one.get("session") == session and not one.get("running"):
                return one
        return None

    @staticmethod
    def _write(fd: int, payload: bytes) -> None:
        while fd >= 0 and payload:
            payload = payload[os.write(fd, payload) :]


def _lost_bytes(packet: Packet) -> int:
    """Of the event `lost`: output that could not be sent to this client; 0 for any other packet."""
    try:
        message = packet.message()
    except ValueError:
        return 0
    size = message.get("bytes")
    return size if message.get("event") == "lost" and isinstance(size, int) else 0
