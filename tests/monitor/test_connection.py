"""Connections, requests, records and the thin functions of the core, as Python sees them."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from remora import monitor
from remora.monitor import MonitorGone, RequestFailed, core, pack, unpack
from tests.monitor.conftest import FakeMonitor


def test_a_reply_is_told_from_what_comes_before_it(fake: FakeMonitor) -> None:
    fake.send(core.CONTROL, pack({"event": "started", "pid": 5}))
    fake.send(core.STDOUT, b"early")
    fake.send(core.CONTROL, pack({"op": "status", "ok": True, "state": {"pid": 5}}))
    assert fake.connection.request({"op": "status"})["state"] == {"pid": 5}
    assert unpack(fake.receive().payload) == {"op": "status"}
    assert fake.connection.receive().message() == {"event": "started", "pid": 5}
    packet = fake.connection.receive()
    assert (packet.kind, packet.payload) == (core.STDOUT, b"early")


def test_a_failed_reply_carries_all_that_the_monitor_said(fake: FakeMonitor) -> None:
    reply = {"op": "exec", "ok": False, "phase": "exec", "object": "sh", "error": "no such file", "errno": 2}
    fake.send(core.CONTROL, pack({**reply, "status": 127}))
    with pytest.raises(RequestFailed) as caught:
        fake.connection.request({"op": "exec"})
    error = caught.value
    assert (error.phase, error.object, error.error, error.errno, error.status) == ("exec", "sh", "no such file", 2, 127)


def test_a_failed_reply_without_detail_still_is_one(fake: FakeMonitor) -> None:
    fake.send(core.CONTROL, pack({"op": "stop", "ok": False, "errno": "none"}))
    with pytest.raises(RequestFailed) as caught:
        fake.connection.request({"op": "stop"})
    assert (caught.value.errno, caught.value.status) == (0, 125)


def test_the_spawner_learns_the_pid_or_the_failure(fake: FakeMonitor) -> None:
    fake.send(core.CONTROL, pack({"event": "started", "pid": 77}))
    assert fake.connection.started(1) == 77
    fake.send(core.CONTROL, pack({"event": "failed", "phase": "start", "object": "x", "error": "bad", "status": 126}))
    with pytest.raises(RequestFailed, match="start: x: bad"):
        fake.connection.started(1)


def test_descriptors_go_along(fake: FakeMonitor, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    with path.open() as file:
        fake.connection.send({"op": "exec"}, [file.fileno(), file.fileno()])
    data, fds, _, _ = socket.recv_fds(fake.socket, 1000, 4)
    assert unpack(data[1:]) == {"op": "exec"}
    assert [os.pread(fd, 100, 0) for fd in fds] == [b"content"] * 2
    for fd in fds:
        os.close(fd)


def test_no_monitor_is_one_error_however_it_shows(fake: FakeMonitor, tmp_path: Path) -> None:
    with pytest.raises(MonitorGone):
        monitor.Connection.open(str(tmp_path / "nothing"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(MonitorGone):
        monitor.Connection.open(str(tmp_path / "folder"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(f"{tmp_path}/folder/ctl")
    with pytest.raises(MonitorGone):
        monitor.Connection.open(str(tmp_path / "folder"))
    fake.socket.close()
    with pytest.raises(MonitorGone):
        fake.connection.receive()
    with pytest.raises(MonitorGone):
        fake.connection.send({"op": "status"})


def test_a_run_folder_with_a_long_path_can_be_connected_to(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200) / ("y" * 200)
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        fd = os.open(folder, os.O_PATH)
        listener.bind(f"/proc/self/fd/{fd}/ctl")
        os.close(fd)
        listener.listen()
        with monitor.Connection.open(str(folder)) as connection:
            connection.send({"op": "status"})
            peer, _ = listener.accept()
            assert unpack(peer.recv(1000)[1:]) == {"op": "status"}
            peer.close()


def test_waiting_for_a_packet_ends_at_the_timeout(fake: FakeMonitor) -> None:
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        fake.connection.receive(0.05)
    assert time.monotonic() - begin >= 0.05


def test_a_signal_handler_runs_while_waiting(fake: FakeMonitor) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            fake.connection.receive()
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_a_harmless_signal_does_not_end_the_wait(fake: FakeMonitor) -> None:
    previous = signal.signal(signal.SIGALRM, lambda number, frame: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        timer = threading.Timer(0.1, lambda: fake.send(core.STDOUT, b"x"))
        timer.start()
        assert fake.connection.receive(5).payload == b"x"
        timer.join()
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_closing_twice_is_harmless_and_leaves_no_descriptor(fake: FakeMonitor) -> None:
    fd = fake.connection.fileno()
    fake.connection.close()
    fake.connection.close()
    assert fake.connection.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_undecodable_text_survives_packing() -> None:
    name = os.fsdecode(b"bad\xff\xfe")
    assert unpack(pack({"path": name})) == {"path": name}


@pytest.mark.parametrize("data", [b"", b"\x93\x01\x02\x03", b"\x81\x01\x02", b"\xc1", b"\x81\xa1a", b"\x80\x80"])
def test_what_is_no_map_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a msgpack map"):
        unpack(data)


def test_a_state_file_is_read_or_absent_or_named_as_broken(tmp_path: Path) -> None:
    assert monitor.read_state(str(tmp_path)) is None
    assert monitor.read_state(str(tmp_path / "no" / "folder")) is None
    (tmp_path / "state").write_bytes(pack({"version": 1, "pid": 3}))
    assert monitor.read_state(str(tmp_path)) == {"version": 1, "pid": 3}
    (tmp_path / "state").write_bytes(b"\xc1garbage")
    with pytest.raises(ValueError, match="msgpack"):
        monitor.read_state(str(tmp_path))
    (tmp_path / "state").unlink()
    os.mkfifo(tmp_path / "state")
    with pytest.raises(OSError, match="Invalid argument"):
        monitor.read_state(str(tmp_path))


def test_an_exit_file_without_a_valid_record_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        monitor.read_record(str(tmp_path))
    (tmp_path / "exit").write_bytes(bytes(4096))
    assert monitor.read_record(str(tmp_path)) is None


def test_the_lock_is_held_by_one_and_waited_for(tmp_path: Path) -> None:
    run_dir = str(tmp_path / "a" / "b")
    fd = monitor.lock(run_dir)
    assert monitor.lock_held(run_dir)
    with pytest.raises(BlockingIOError):
        monitor.lock(run_dir)
    assert not monitor.wait_unlocked(run_dir, 0.02)
    timer = threading.Timer(0.05, os.close, [fd])
    timer.start()
    assert monitor.wait_unlocked(run_dir, 10)
    timer.join()
    os.close(monitor.lock(run_dir, wait=True))
    assert not monitor.lock_held(run_dir)


def test_process_start_is_the_kernels(tmp_path: Path) -> None:
    stat = Path("/proc/self/stat").read_text()
    assert monitor.process_start(os.getpid()) == int(stat.rpartition(")")[2].split()[19])
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert monitor.process_start(pid) is None


def test_sealed_memory_can_not_be_changed() -> None:
    fd = monitor.sealed_memory("test", b"content")
    assert os.read(fd, 100) == b"content"
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_an_error_names_the_path(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    with pytest.raises(FileNotFoundError) as caught:
        monitor.open_in_root(fd, "etc/passwd", os.O_RDONLY)
    os.close(fd)
    assert caught.value.filename == "etc/passwd"


def test_a_program_that_is_not_there_is_a_file_not_found_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMORA_MONITOR", str(tmp_path / "monitor"))
    fd = monitor.lock(str(tmp_path / "run"))
    with pytest.raises(FileNotFoundError):
        monitor.spawn({"id": "0" * 64, "name": "n"}, lock_fd=fd, rootfs_fd=-1, environment={})
    os.close(fd)
