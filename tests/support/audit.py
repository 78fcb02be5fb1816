"""The kernel's audit, through its netlink socket: a watch on a file, and the records that it makes.

What `auditctl -e 1`, `auditctl -w FILE -p wa -k KEY` and a reader of auditd's log do, without a daemon that would go on
logging: records come by multicast (linux/audit.h: AUDIT_NLGRP_READLOG). Rule and switch are put back at the end.
"""

from __future__ import annotations

import contextlib
import errno
import re
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

NETLINK_AUDIT = 9
READLOG_GROUP = 1
GET, SET, ADD_RULE, DELETE_RULE = 1000, 1001, 1011, 1012
SYSCALL = 1300  # the record that has auid, uid and key
REQUEST, ACK, ERROR = 1, 4, 2
STATUS_ENABLED = 1
FILTER_EXIT, ALWAYS, WRITE_OR_ATTRIBUTES = 4, 2, 2 | 8
FIELD_WATCH, FIELD_PERM, FIELD_KEY = 105, 106, 210
EQUAL = 0x40000000
FIELDS_MAX = 64
HEADER = struct.Struct("=LHHLL")
STATUS = struct.Struct("=LLLLLLLL")


class NoAudit(Exception):
    """This machine's kernel has no audit, or does not let us have it."""


class Watch:
    """A watched file. records: what was seen so far of calls that changed it, as maps of their fields."""

    def __init__(self, path: Path, key: str) -> None:
        self.key = key
        self._rule = _rule(str(path), key)
        self._reader = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_AUDIT)
        self.records: list[dict[str, str]] = []

    def listen(self) -> None:
        self._reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._reader.bind((0, READLOG_GROUP))
        self._reader.setblocking(False)
        ask(ADD_RULE, self._rule)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            ask(DELETE_RULE, self._rule)
        self._reader.close()

    def login_uids(self, timeout: float = 10.0) -> list[str]:
        """Wait for a record; the auid of each that has come, in order. They are forgotten then."""
        while not self._read() and select.select([self._reader], [], [], timeout)[0]:
            pass
        found = [record["auid"] for record in self.records]
        self.records.clear()
        return found

    def _read(self) -> bool:
        while True:
            try:
                data = self._reader.recv(1 << 16)
            except BlockingIOError:
                return bool(self.records)
            _, kind, _, _, _ = HEADER.unpack_from(data)
            text = data[HEADER.size :].decode(errors="replace")
            fields = dict(re.findall(r"(\w+)=(\S+)", text))
            if kind == SYSCALL and fields.get("key", "").strip('"\0') == self.key:
                self.records.append(fields)


@contextlib.contextmanager
def watched(path: Path, key: str) -> Iterator[Watch]:
    """Watch changes of a file while the block runs. Raises NoAudit."""
    try:
        before = is_enabled()
        watch = Watch(path, key)
    except OSError as error:
        raise NoAudit(str(error)) from None
    try:
        try:
            set_enabled(True)
            watch.listen()
        except OSError as error:
            raise NoAudit(str(error)) from None
        yield watch
    finally:
        watch.close()
        with contextlib.suppress(OSError):
            set_enabled(before)


def is_enabled() -> bool:
    """Whether the kernel audits at all."""
    return bool(STATUS.unpack_from(ask(GET, b""))[1])


def set_enabled(wanted: bool) -> None:
    ask(SET, STATUS.pack(STATUS_ENABLED, wanted, 0, 0, 0, 0, 0, 0))


def ask(kind: int, payload: bytes) -> bytes:
    """One request; what came back before the kernel said yes. Raises OSError when it said no."""
    answer = b""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_AUDIT) as channel:
        channel.settimeout(10)
        channel.bind((0, 0))
        channel.send(HEADER.pack(HEADER.size + len(payload), kind, REQUEST | ACK, 1, 0) + payload)
        acknowledged = False
        while not acknowledged or (kind == GET and not answer):
            data = channel.recv(1 << 16)
            _, found, _, _, _ = HEADER.unpack_from(data)
            if found == ERROR:
                (number,) = struct.unpack_from("=i", data, HEADER.size)
                if number:
                    raise OSError(-number, errno.errorcode.get(-number, "?"))
                acknowledged = True
            elif found == GET:
                answer = data[HEADER.size :]
    return answer


def _rule(path: str, key: str) -> bytes:
    """`struct audit_rule_data` of `-w PATH -p wa -k KEY`."""
    texts = path.encode(), key.encode()
    fields = [FIELD_WATCH, FIELD_PERM, FIELD_KEY]
    numbers = [len(texts[0]), WRITE_OR_ATTRIBUTES, len(texts[1])]
    rest = [0] * (FIELDS_MAX - len(fields))
    return (
        struct.pack("=LLL", FILTER_EXIT, ALWAYS, len(fields))
        + struct.pack("=64L", *[0xFFFFFFFF] * 64)
        + struct.pack("=64L", *fields, *rest)
        + struct.pack("=64L", *numbers, *rest)
        + struct.pack("=64L", *[EQUAL] * len(fields), *rest)
        + struct.pack("=L", sum(map(len, texts)))
        + b"".join(texts)
    )
