"""A monitor and its clients, over the bare protocol: whatever a client does, the container goes on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from remora.monitor import Connection, MonitorGone, RequestFailed, core, pack, sealed_memory
from tests.support import host
from tests.support.box import DEADLINE, Box, received
from tests.support.waiting import eventually

SLEEP = ("sleep", "1000")
OPERATIONS = "attach wait signal exec resize close_output status nonsense".split()
VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    -(2**63),
    1.5,
    "",
    "x" * 1000,
    "\0",
    b"\xff",
    [],
    [1, [2]],
    {},
    {"a": {}},
)


def raw(box: Box) -> socket.socket:
    """A connection without the library: any packet can be sent."""
    connection = box.connect()
    return socket.socket(fileno=os.dup(connection.fileno()))


def answers(box: Box) -> bool:
    return box.status()["status"] == "running"


def quiet(box: Box, pid: int, before: int) -> bool:
    return host.descriptors(pid) <= before and answers(box)


# ---- malformed packets ----


@pytest.mark.parametrize(
    "packet",
    [
        b"\x06",
        b"\xff" * 100,
        b"\x00",
        b"\x00\x80\x80",
        b"\x00\x93\x01\x02\x03",
        b"\x00\x81\xa2op",
        b"\x00\xdf\xff\xff\xff\xff",
        b"\x00" + b"\x81\xa1k" * 2000,
        b"\x00" + b"\x91" * 60000,
        b"\x00" + pack({"op": "status"}) + b"x",
        b"\x00\x81\xa2op\xdb\xff\xff\xff\xff",
        b"\x02output from a client",
        b"\x05\x80",
        b"\x00" + b"\0" * core.PAYLOAD_MAX,
        b"\x00" + b"\0" * (core.PAYLOAD_MAX + 1),
        b"\x01" + b"x" * 200000,
    ],
)
def test_a_packet_that_is_not_of_the_protocol_ends_its_connection_only(box: Box, packet: bytes) -> None:
    spawner = box.started(*SLEEP)
    with raw(box) as client:
        client.settimeout(DEADLINE)
        client.send(packet)
        assert client.recv(100) == b"", "the monitor closes the connection"
    assert answers(box)
    spawner.send({"op": "status"})
    assert spawner.reply("status", DEADLINE)["ok"] is True


@pytest.mark.parametrize(
    "packet", [b"\x01", b"\x01stray input", b"\x04", b"\x04\x92\x01", b"\x04\x92\xa1x\xc0", b"\x04\xc1"]
)
def test_input_and_sizes_of_a_client_that_is_not_attached_are_passed_over(box: Box, packet: bytes) -> None:
    box.started(*SLEEP)
    with box.connect() as client:
        core.send(client.fileno(), packet[0], packet[1:])
        client.send({"op": "status"})
        assert client.reply("status", DEADLINE)["ok"] is True


def test_any_bytes_at_all_do_no_harm(box: Box) -> None:
    box.started("cat", stdin=True)
    pid = box.monitor_pid()
    before = host.descriptors(pid)
    chance = random.Random(5)
    for _ in range(400):
        with raw(box) as client:
            for _ in range(chance.randrange(1, 4)):
                kind = bytes([chance.choice([0, 0, 0, 1, 2, 3, 4, 5, 6, 255])])
                body = pack({"op": chance.choice(OPERATIONS)}) if chance.random() < 0.3 else chance.randbytes(20)
                try:
                    client.send(kind + body[: chance.randrange(0, 21)])
                except (BrokenPipeError, ConnectionResetError):
                    break
    eventually(lambda: quiet(box, pid, before), "no descriptor is left over")


def test_an_unknown_request_is_answered_and_the_connection_stays(box: Box) -> None:
    box.started(*SLEEP)
    with box.connect() as client:
        for request in ({"op": "frobnicate"}, {"op": ""}, {"op": 5}, {}, {"op": "x" * 5000}):
            core.send(client.fileno(), core.CONTROL, pack(request))
            reply = client.receive(DEADLINE).message()
            assert reply["ok"] is False and "no such request" in str(reply["error"])
        client.send({"op": "status"})
        assert client.reply("status", DEADLINE)["ok"] is True


FIELDS = "session signal timeout condition stdin stdout block owner rows cols tty detach uid preserve_fds".split()


@pytest.mark.parametrize("op", OPERATIONS)
def test_fields_of_any_type_get_some_answer(box: Box, op: str) -> None:
    box.started(*SLEEP)
    chance = random.Random(op)
    for _ in range(60):
        request = {"op": op, **{key: chance.choice(VALUES) for key in chance.sample(FIELDS, 4)}}
        if op == "wait":
            request["condition"] = chance.choice(["running", 5, "x", None, "removed\0"])
        if op == "signal":
            request["signal"] = chance.choice([0, -1, 65, 2**40, "TERM", None, 18])
        with box.connect() as client:
            try:
                client.send(request)
                if op != "wait" or request["condition"] in ("running", "x"):  # any other counts as none: the end
                    client.receive(DEADLINE)
            except MonitorGone:
                pass
    assert answers(box)


def test_descriptors_that_nobody_asked_for_are_closed(box: Box) -> None:
    box.started(*SLEEP)
    pid = box.monitor_pid()
    before = host.descriptors(pid)
    read, write = os.pipe()
    for op in ("status", "exec", "wait", "nonsense"):
        with box.connect() as client:
            client.send({"op": op, "condition": "running"}, [write] * 30)
            client.receive(DEADLINE)
    os.close(write)
    os.set_blocking(read, True)
    eventually(lambda: quiet(box, pid, before), "all are closed")
    assert os.read(read, 1) == b"", "the pipe has no writer left"
    os.close(read)


# ---- clients that vanish ----


def some_requests(chance: random.Random, box: Box, client: Connection) -> None:
    for _ in range(chance.randrange(0, 6)):
        op = chance.choice("attach attach wait signal exec status resize input end".split())
        if op == "input":
            client.send_packet(core.STDIN, b"x" * chance.choice([1, 1000, core.PAYLOAD_MAX]))
        elif op == "end":
            client.send_packet(core.STDIN, b"")
        elif op == "exec":
            memory = sealed_memory("exec", json.dumps(box.process("echo", "hello")).encode())
            client.send({"op": "exec", "session": chance.randbytes(8).hex(), "stdin": True, "block": True}, [memory])
            os.close(memory)
        elif op == "attach":
            client.send({"op": op, "stdin": True, "block": chance.random() < 0.5, "owner": chance.random() < 0.5})
        elif op == "signal":
            client.send({"op": op, "signal": 18})
        else:
            client.send({"op": op, "rows": 5, "cols": 5})
        if chance.random() < 0.3:
            with contextlib.suppress(TimeoutError):
                client.receive(0.05)


@pytest.mark.parametrize("tty", [False, True])
def test_clients_that_vanish_at_any_point_leave_nothing_in_the_monitor(box: Box, tty: bool) -> None:
    box.started("sh", "-c", "while :; do echo tick; sleep 0.01; done", tty=tty, stdin=True)
    pid = box.monitor_pid()
    before = host.descriptors(pid)
    chance = random.Random(11 + tty)
    for _ in range(120):
        with box.connect() as client:
            try:
                some_requests(chance, box, client)
            except MonitorGone:
                pass
    # Some may stay for the sake of input that the process does not take (client.c).
    eventually(lambda: quiet(box, pid, before + 16), "no client and no exec is left over")


# ---- readers, slow and fast ----


def test_a_hundred_clients_half_of_which_do_not_read_stall_nobody(box: Box) -> None:
    """The readers (which may hold the container back) get every byte, the others are cut off with a notice."""
    spawner = box.started("sh", "-c", "read line; seq 1 500000; exit 9", stdin=True)
    pid = box.monitor_pid()
    readers = [box.connect() for _ in range(50)]
    sleepers = [box.connect() for _ in range(50)]
    for client in readers:
        assert client.request({"op": "attach", "block": True})["ok"] is True
    for client in sleepers:
        assert client.request({"op": "attach"})["ok"] is True
    expected = b"".join(b"%d\n" % number for number in range(1, 500001))
    results: list[tuple[bytes, dict[str, object] | None, list[str]]] = []
    threads = [threading.Thread(target=lambda c=client: results.append(received(c))) for client in readers]
    for thread in threads:
        thread.start()
    with box.connect() as starter:
        starter.request({"op": "attach", "stdin": True, "stdout": False})
        starter.send_packet(core.STDIN, b"go\n")
        spawner.send({"op": "wait"})
        record = spawner.reply("wait", 60)["record"]
    assert isinstance(record, dict) and record["code"] == 9 and record["stdout_bytes"] == len(expected)
    assert host.own_memory_kb(pid) < 100 * 1024
    for thread in threads:
        thread.join(60)
    assert len(results) == 50
    for output, end, events in results:
        assert output == expected and end is not None and end["code"] == 9 and "lagging" not in events
    for client in sleepers:
        output, end, events = received(client)
        assert events == ["lagging"] and end is None
        assert expected.startswith(output) and len(output) < len(expected)
        client.close()


@pytest.mark.parametrize("block", [False, True])
def test_a_client_that_asks_for_ever_and_never_reads_is_not_kept_answers_for(box: Box, block: bool) -> None:
    box.started(*SLEEP)
    pid = box.monitor_pid()
    packet = b"\0" + pack({"op": "status"})
    with box.connect() as client, socket.socket(fileno=os.dup(client.fileno())) as sender:
        client.request({"op": "attach", "block": block})
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(40000):
                if not select.select([], [sender], [], 0.5)[1]:
                    break  # it reads no more of us
                sender.send(packet, socket.MSG_NOSIGNAL)
        assert answers(box)
        assert host.own_memory_kb(pid) < 4 * 1024


def test_without_descriptors_for_new_clients_the_monitor_neither_spins_nor_forgets_the_container(box: Box) -> None:
    spawner = box.started("sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done")
    pid = spawner.request({"op": "status"})["worker_pid"]
    assert isinstance(pid, int)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(1000)) - taken), limits[1]))
    waiting = [box.connect() for _ in range(5)]
    before = cpu_ticks(pid)
    for client in waiting:
        client.send({"op": "status"})
    with pytest.raises(TimeoutError):
        waiting[0].receive(1.5)
    assert cpu_ticks(pid) - before < 20, "it waits for better times"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    for client in waiting:
        assert client.reply("status", DEADLINE)["ok"] is True
        client.close()
    reply = spawner.request({"op": "stop", "timeout": 10})
    assert isinstance(reply["record"], dict) and reply["record"]["code"] == 5


def cpu_ticks(pid: int) -> int:
    """Hundredths of a second that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# ---- exec ----


def exec_request(box: Box, client: Connection, *args: str, **fields: object) -> str:
    session = os.urandom(8).hex()
    memory = sealed_memory("exec", json.dumps(box.process(*args)).encode())
    client.send({"op": "exec", "session": session, **fields}, [memory])
    os.close(memory)
    return session


def test_fifty_execs_at_once_have_their_own_codes_and_outputs(box: Box) -> None:
    box.started(*SLEEP)
    pid = box.monitor_pid()
    before = host.descriptors(pid)
    clients = [box.connect() for _ in range(50)]
    for number, client in enumerate(clients):
        exec_request(box, client, "sh", "-c", f"echo out {number}; echo err {number} >&2; exit {number}")
    for number, client in enumerate(clients):
        assert isinstance(client.reply("exec", 60)["pid"], int)
        output, record, _ = b"", None, None
        while record is None:
            packet = client.receive(DEADLINE)
            if packet.kind == core.EXIT:
                record = packet.message()
            else:
                output += packet.payload
        assert sorted(output.split(b"\n")) == [b"", b"err %d" % number, b"out %d" % number]
        assert record["code"] == number and record["known"] is True
        client.close()
    eventually(lambda: quiet(box, pid, before), "nothing of the execs is left")


@pytest.mark.parametrize(
    ("fields", "n_fds"),
    [
        ({"session": ""}, 1),
        ({"session": "../x"}, 1),
        ({"session": "a" * 65}, 1),
        ({"session": "ab"}, 0),
        ({"session": "cd"}, 1),
    ],
)
def test_an_exec_that_cannot_be_is_refused(box: Box, fields: Mapping[str, object], n_fds: int) -> None:
    box.started(*SLEEP)
    null = os.open("/dev/null", os.O_RDONLY)
    with box.connect() as client, pytest.raises(RequestFailed) as caught:
        client.request({"op": "exec", **fields}, [null] * n_fds)
    os.close(null)
    assert caught.value.status in (125, 126, 127)
    assert answers(box)


def test_the_container_s_end_ends_its_execs(box: Box) -> None:
    spawner = box.started(*SLEEP)
    client = box.connect()
    exec_request(box, client, "sleep", "1000")
    client.reply("exec", DEADLINE)
    spawner.send({"op": "stop", "timeout": 0})
    _, record, _ = received(client)
    assert record is not None and record["code"] == 137
    client.close()
    spawner.close()
    box.assert_gone()


# ---- waiting ----


def test_each_condition_is_told_when_it_holds(new_box: Callable[[], Box]) -> None:
    box = new_box()
    spawner = box.started("sh", "-c", "read line; exit 6", stdin=True, attach={"stdin": True})
    with box.connect() as client:
        assert client.request({"op": "wait", "condition": "running"})["ok"] is True
    waiters = {condition: box.connect() for condition in ("exited", "removed")}
    for condition, client in waiters.items():
        client.send({"op": "wait", "condition": condition})
    assert answers(box)
    spawner.send_packet(core.STDIN, b"\n")
    for condition, client in waiters.items():
        record = client.reply("wait", DEADLINE)["record"]
        assert isinstance(record, dict) and record["code"] == 6, condition
        client.close()
    spawner.close()
    box.assert_gone()
    assert box.record()["code"] == 6


def test_who_waits_for_the_start_of_what_never_starts_is_told(box: Box) -> None:
    spawner = box.start("/no/such/program")
    with pytest.raises(RequestFailed) as caught:
        spawner.started(DEADLINE)
    assert caught.value.status == 127
    spawner.close()
    box.assert_gone()
    record = box.record()
    assert (record["why"], record["code"]) == ("runtime-failed", 127)
