"""The journald driver, seen by a socket in the place of systemd-journald's (in a private mount namespace)."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conmon.caller import Caller

ENTER = """
set -e
mkdir -p /run/systemd
mount -t tmpfs journal-test /run/systemd
mkdir -p /run/systemd/journal
mount --bind "$1" /run/systemd/journal
shift
exec "$@"
"""


class Journal:
    """A datagram socket that takes entries; fields in the order of the wire."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "socket"))
        self._socket.settimeout(10)

    def entry(self) -> list[tuple[str, bytes]]:
        """The next entry, sent whole or as a sealed memfd."""
        data, ancillary, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for _, _, fds in ancillary:
            fd = array.array("i", fds)[0]
            assert not data
            size = os.fstat(fd).st_size
            data = os.pread(fd, size, 0)
            os.close(fd)
        fields = []
        while data:
            line, _, rest = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                size = struct.unpack_from("<Q", rest)[0]
                value, end, data = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
                assert end == b"\n"
            else:
                data = rest
            fields.append((name.decode(), value))
        return fields

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journal(caller: Caller) -> Iterator[Journal]:
    made = Journal(caller.folder / "journal")
    caller.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", ENTER, "sh", str(made.folder)]
    yield made
    made.close()


def start(caller: Caller, script: str, *options: str, log: tuple[str, ...] = ("journald",)) -> None:
    caller.configure(["sh", "-c", script])
    caller.created(caller.spawn(caller.options(*options, log=log)))
    caller.begin()


def test_an_entry_has_these_fields_in_this_order(caller: Caller, journal: Journal) -> None:
    start(caller, "echo hello")
    fields = [field for field in journal.entry() if not field[0].startswith("CODE_")]
    assert fields == [
        ("MESSAGE", b"hello\n"),
        ("CONTAINER_ID_FULL", caller.id.encode()),
        ("PRIORITY", b"6"),
        ("CONTAINER_ID", caller.id[:12].encode()),
        ("CONTAINER_NAME", b"named"),
        ("SYSLOG_IDENTIFIER", b"named"),
    ]


def test_a_tag_comes_before_the_name_and_is_the_identifier(caller: Caller, journal: Journal) -> None:
    start(caller, "echo hello >&2", "--log-tag", "mine")
    names = [field for field in journal.entry() if not field[0].startswith("CODE_")]
    assert names[2:] == [
        ("PRIORITY", b"3"),
        ("CONTAINER_ID", caller.id[:12].encode()),
        ("CONTAINER_TAG", b"mine"),
        ("CONTAINER_NAME", b"named"),
        ("SYSLOG_IDENTIFIER", b"mine"),
    ]


def test_without_a_name_the_short_id_is_the_identifier(caller: Caller, journal: Journal) -> None:
    caller.configure(["echo", "x"])
    words = caller.options(log=["journald"])
    at = words.index("-n")
    del words[at : at + 2]
    caller.created(caller.spawn(words))
    caller.begin()
    fields = dict(journal.entry())
    assert "CONTAINER_NAME" not in fields
    assert fields["SYSLOG_IDENTIFIER"] == caller.id[:12].encode()


def test_an_empty_line_is_an_entry(caller: Caller, journal: Journal) -> None:
    start(caller, "echo; echo x")
    assert [dict(journal.entry())["MESSAGE"] for _ in range(2)] == [b"\n", b"x\n"]


def test_a_line_in_pieces_is_one_entry(caller: Caller, journal: Journal) -> None:
    start(caller, "printf par; sleep 0.1; echo tial")
    fields = dict(journal.entry())
    assert fields["MESSAGE"] == b"partial\n"
    assert "CONTAINER_PARTIAL_MESSAGE" not in fields


def test_an_unterminated_end_is_flagged_partial(caller: Caller, journal: Journal) -> None:
    start(caller, "printf end")
    fields = dict(journal.entry())
    assert (fields["MESSAGE"], fields["CONTAINER_PARTIAL_MESSAGE"]) == (b"end", b"true")


def test_a_long_line_comes_whole(caller: Caller, journal: Journal) -> None:
    start(caller, "head -c 9000 /dev/zero | tr '\\0' x > /tmp/x; echo >> /tmp/x; cat /tmp/x")
    message = b""
    while not message.endswith(b"\n"):
        fields = dict(journal.entry())
        message += fields["MESSAGE"]
        assert ("CONTAINER_PARTIAL_MESSAGE" in fields) == (not message.endswith(b"\n"))
    assert message == b"x" * 9000 + b"\n"


def test_streams_are_buffered_apart(caller: Caller, journal: Journal) -> None:
    start(caller, "printf o; printf e >&2; sleep 0.1; echo ut; echo rr >&2")
    found = {(fields["PRIORITY"], fields["MESSAGE"]) for fields in (dict(journal.entry()) for _ in range(2))}
    assert found == {(b"6", b"out\n"), (b"3", b"err\n")}


def test_a_file_and_the_journal_together(caller: Caller, journal: Journal) -> None:
    start(caller, "echo both", log=(f"k8s-file:{caller.log}", "journald"))
    assert dict(journal.entry())["MESSAGE"] == b"both\n"
    caller.code()
    assert caller.records() == [("stdout", "F", "both")]


def test_none_beside_the_journal_takes_nothing_away(caller: Caller, journal: Journal) -> None:
    start(caller, "echo x", log=("journald", "none"))
    assert dict(journal.entry())["MESSAGE"] == b"x\n"


def test_a_thousand_lines_arrive_in_order(caller: Caller, journal: Journal) -> None:
    start(caller, "seq 1 1000")
    assert [dict(journal.entry())["MESSAGE"] for _ in range(1000)] == [b"%d\n" % n for n in range(1, 1001)]
    assert caller.code() == "0"


def test_without_a_journal_the_container_runs_all_the_same(caller: Caller) -> None:
    empty = caller.folder / "empty"
    empty.mkdir()
    caller.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", ENTER, "sh", str(empty)]
    start(caller, "echo x; exit 4")
    assert caller.code() == "4"


@pytest.mark.only("remora")
@pytest.mark.parametrize(
    ("said", "priority", "message"), [("<3>bad", b"3", b"bad\n"), ("<8>x", b"6", b"<8>x\n"), ("<x>y", b"6", b"<x>y\n")]
)
def test_a_priority_prefix_is_taken(
    caller: Caller, journal: Journal, said: str, priority: bytes, message: bytes
) -> None:
    start(caller, f"echo '{said}'")
    fields = dict(journal.entry())
    assert (fields["PRIORITY"], fields["MESSAGE"]) == (priority, message)


@pytest.mark.only("remora")
def test_labels_become_fields(caller: Caller, journal: Journal) -> None:
    start(caller, "echo x", "--log-label", "ONE=1", "--log-label", "TWO_2=b c")
    fields = journal.entry()
    assert ("ONE", b"1") in fields
    assert ("TWO_2", b"b c") in fields


@pytest.mark.only("remora")
def test_partial_marks_can_be_left_out(caller: Caller, journal: Journal) -> None:
    start(caller, "printf end", "--no-container-partial-message")
    fields = dict(journal.entry())
    assert fields["MESSAGE"] == b"end"
    assert "CONTAINER_PARTIAL_MESSAGE" not in fields
