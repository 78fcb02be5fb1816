"""Processes killed at bad moments, folders emptied: the next command tells the truth and clears up."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from tests.conftest import PROGRAM, Remora
from tests.support import host
from tests.support.waiting import eventually


def life_of_run(remora: Remora) -> float:
    """Seconds that a detached start takes here and now."""
    remora("run", "-d", "--name", "measure", "busybox", "sleep", "1000")
    remora("rm", "-f", "-t", "0", "measure")
    begin = time.monotonic()
    remora("run", "-d", "--name", "measure", "busybox", "sleep", "1000")
    took = time.monotonic() - begin
    remora("rm", "-f", "-t", "0", "measure")
    return took


def start_and_kill(remora: Remora, delay: float, *options: str) -> bool:
    """`run -d` in a session of its own, killed after so many seconds; whether it was still there to be killed."""
    process = remora.popen(
        "run", "-d", *options, "busybox", "sleep", "1000", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    timer = threading.Event()
    timer.wait(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait(timeout=60) == -signal.SIGKILL


def is_settled(remora: Remora) -> bool:
    """Whether no command's or monitor's start is under way any more."""
    return "starting" not in remora("ps", "-a", "--format", "{{.State}}").split()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_frontend_killed_at_twenty_random_moments_leaves_nothing_that_rm_does_not_clear(
    remora: Remora, seed: int
) -> None:
    """Named containers, each cleared by `rm -f NAME` (or, killed before it had its name, by `ps`); half with --rm."""
    span = life_of_run(remora) * 1.1
    chance = random.Random(seed)
    ids: set[str] = set()
    killed = 0
    for number in range(20):
        options = ["--name", f"victim{number}", *(["--rm"] if number % 2 else [])]
        killed += start_and_kill(remora, chance.uniform(0, span), *options)
        ids |= host.known_ids(remora)
        remora.run("rm", "-f", "-t", "0", f"victim{number}")
        ids |= host.known_ids(remora)
    assert killed >= 5, f"only {killed} of 20 were killed while they ran"
    assert remora("ps", "-aq") == ""
    host.assert_nothing_left(remora, ids)


def test_what_killed_frontends_leave_is_cleared_by_the_next_commands(remora: Remora) -> None:
    """Unnamed containers: nobody knows what to name to `rm`; `ps` clears what is half made, `rm --all` the rest."""
    span = life_of_run(remora) * 1.1
    chance = random.Random(3)
    ids: set[str] = set()
    for _ in range(20):
        start_and_kill(remora, chance.uniform(0, span))
        ids |= host.known_ids(remora)
    eventually(lambda: is_settled(remora), "every start that went on has come to its end")
    whole = {entry["Id"] for entry in json.loads(remora("ps", "-a", "--no-trunc", "--format", "json"))}
    assert set(host.below(remora.root / "containers")) == whole, "half-made containers are swept by ps"
    assert {os.readlink(remora.root / "names" / name)[-64:] for name in host.below(remora.root / "names")} == whole
    remora("rm", "-f", "-t", "0", "--all")
    host.assert_nothing_left(remora, ids)


def test_a_name_held_by_a_killed_start_can_be_taken_again(remora: Remora) -> None:
    span = life_of_run(remora)
    chance = random.Random(4)
    ids: set[str] = set()
    for _ in range(20):
        start_and_kill(remora, chance.uniform(0, span), "--name", "wanted")
        ids |= host.known_ids(remora)
        eventually(lambda: is_settled(remora), "the start has come to its end")
        if "wanted" in remora("ps", "-a", "--format", "{{.Names}}").split():
            remora("rm", "-f", "-t", "0", "wanted")
        ids.add(remora("run", "-d", "--name", "wanted", "busybox", "sleep", "1000"))
        remora("rm", "-f", "-t", "0", "wanted")
    host.assert_nothing_left(remora, ids)


def monitor_of(name: str, deadline: float) -> int:
    """Pid of the monitor of a container by its name; 0 when there is none in time."""
    while time.monotonic() < deadline:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                argv = host.command_line(int(entry))
                if argv[:1] == ["remora-monitor"] and argv[2:] == [name]:
                    return int(entry)
    return 0


def kill_monitor(name: str) -> bool:
    """Whether the container's monitor was killed. The first process found may be the one that only forks it."""
    for _ in range(5):
        monitor = monitor_of(name, time.monotonic() + 1)
        try:
            host.kill_monitor(monitor or -1)
            return True
        except OSError:
            continue
    return False


def test_a_monitor_killed_at_twenty_random_moments_of_its_start_leaves_nothing_that_rm_does_not_clear(
    remora: Remora,
) -> None:
    """The runtime may be half way through: what it made is found all the same. No command hangs meanwhile."""
    chance = random.Random(5)
    ids: set[str] = set()
    killed = 0
    for number in range(20):
        name = f"struck{number}-{os.getpid()}"
        start = remora.popen("run", "-d", "--name", name, "busybox", "sleep", "1000")
        monitor_of(name, time.monotonic() + 10)
        threading.Event().wait(chance.uniform(0, 0.05))
        killed += kill_monitor(name)
        _, errors = start.communicate(timeout=30)
        assert start.returncode in (0, 125), errors
        ids |= host.known_ids(remora)
        remora("ps", "-a")
        remora("rm", "-f", "-t", "0", name)
    assert killed >= 10
    host.assert_nothing_left(remora, ids)


def test_a_removal_killed_at_twenty_random_moments_is_finished_by_the_next(remora: Remora) -> None:
    chance = random.Random(6)
    ids: set[str] = set()
    for number in range(20):
        name = f"half{number}"
        ids.add(remora("run", "-d", "--name", name, "busybox", "sleep", "1000"))
        removal = remora.popen("rm", "-f", "-t", "0", name)
        threading.Event().wait(chance.uniform(0, 0.15))
        removal.send_signal(signal.SIGKILL)
        removal.communicate(timeout=30)
        remora.run("rm", "-f", "-t", "0", name, status=None)
    assert remora("ps", "-aq") == ""
    host.assert_nothing_left(remora, ids)


def test_foreground_clients_killed_with_their_containers_leave_nothing(remora: Remora) -> None:
    """`run --rm -i` killed at random moments: its end of input ends the container, which removes itself."""
    chance = random.Random(7)
    ids: set[str] = set()
    for number in range(20):
        client = remora.popen("run", "--rm", "-i", "--name", f"fore{number}", "busybox", "cat", stdin=subprocess.PIPE)
        threading.Event().wait(chance.uniform(0, 0.12))
        client.send_signal(signal.SIGKILL)
        client.communicate(timeout=30)
        ids |= host.known_ids(remora)
    # Killed before it was started, a container is there as `create` would have made it: not a running one.
    begun = ("ps", "-aq", "--filter", "status=running", "--filter", "status=exited")
    eventually(lambda: remora(*begun) == "", "all that were started have removed themselves")
    remora("rm", "-f", "--all")
    host.assert_nothing_left(remora, ids)


def test_after_its_monitor_was_killed_ps_shows_the_container_running_as_long_as_it_does(remora: Remora) -> None:
    container = remora("run", "-d", "--name", "orphan", "busybox", "sleep", "1000")
    monitor = int(remora("inspect", "-f", "{{.State.ConmonPid}}", "orphan"))
    init = int(remora("inspect", "-f", "{{.State.Pid}}", "orphan"))
    host.kill_monitor(monitor)
    eventually(lambda: not host.alive(monitor), "the monitor is dead")
    assert host.alive(init)
    assert remora("ps", "--format", "{{.Names}} {{.State}}") == "orphan running"
    assert remora("inspect", "-f", "{{.State.Pid}}", "orphan") == str(init)

    host.send(init, signal.SIGKILL)
    eventually(lambda: not host.alive(init), "the container's process is dead")
    eventually(lambda: remora("inspect", "-f", "{{.State.Status}}", "orphan") == "exited", "the container has exited")
    line = remora("ps", "-a", "--filter", "name=orphan", "--format", "{{.Status}}")
    assert line.startswith("Exited") and "unknown" in line
    result = remora.run("wait", "orphan", status=125)
    assert "unknown" in result.stderr
    remora("rm", "-f", "orphan")
    host.assert_nothing_left(remora, {container})


def test_a_running_container_without_monitor_is_removed_with_everything(remora: Remora) -> None:
    container = remora("run", "-d", "--name", "orphan", "busybox", "sleep", "1000")
    init = int(remora("inspect", "-f", "{{.State.Pid}}", "orphan"))
    host.kill_monitor(int(remora("inspect", "-f", "{{.State.ConmonPid}}", "orphan")))
    remora("rm", "-f", "-t", "0", "orphan")
    assert not host.alive(init)
    host.assert_nothing_left(remora, {container})


def test_a_container_without_monitor_can_be_stopped_and_started_again(remora: Remora) -> None:
    remora("run", "-d", "--name", "orphan", "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    host.kill_monitor(int(remora("inspect", "-f", "{{.State.ConmonPid}}", "orphan")))
    remora("stop", "orphan")
    assert remora("inspect", "-f", "{{.State.Status}}", "orphan") == "exited"
    remora("start", "orphan")
    assert remora("ps", "--format", "{{.Names}}") == "orphan"
    remora("stop", "-t", "0", "orphan")
    assert remora("wait", "orphan") in ("0", "137")


def test_an_attached_client_is_told_that_the_monitor_was_lost(remora: Remora) -> None:
    client = remora.popen("run", "--name", "orphan", "busybox", "sh", "-c", "echo up; sleep 1000")
    assert client.stdout is not None
    assert client.stdout.readline() == b"up\n"
    host.kill_monitor(int(remora("inspect", "-f", "{{.State.ConmonPid}}", "orphan")))
    _, errors = client.communicate(timeout=30)
    assert client.returncode == 125
    assert b"orphan" in errors and b"unknown" in errors and errors.count(b"\n") == 1


def test_emptying_the_run_folder_shows_containers_as_exited_and_start_works(remora: Remora) -> None:
    """What a reboot does: every process is gone, and so is what the run folder held."""
    ran = remora("run", "-d", "--name", "ran", "busybox", "sh", "-c", "echo boot >> /boots; exec sleep 1000")
    remora("run", "--name", "over", "busybox", "true")
    remora("create", "--name", "fresh", "busybox", "sh", "-c", "exit 6")
    eventually(lambda: "sleep" in " ".join(host.command_line(pid_of(remora, "ran"))), "the container is under way")
    init = pid_of(remora, "ran")
    host.kill_monitor(int(remora("inspect", "-f", "{{.State.ConmonPid}}", "ran")))
    host.send(init, signal.SIGKILL)
    eventually(lambda: not host.alive(init), "every process of the container is gone")
    eventually(lambda: host.processes_of(remora, {ran}) == [], "nothing of it is left")
    shutil.rmtree(remora.runroot)
    for folder in host.cgroups_of({ran}):
        os.rmdir(folder)

    states = dict(line.split(" ", 1) for line in remora("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines())
    assert states["ran"].startswith("Exited") and "unknown" in states["ran"]
    assert states["over"].startswith("Exited (0)")
    assert states["fresh"] == "Created"
    assert remora("inspect", "-f", "{{.State.Status}} {{.State.Running}}", "ran") == "exited false"

    remora("start", "ran", "fresh")
    assert remora("ps", "--filter", "name=ran", "--format", "{{.State}}") == "running"
    assert remora("wait", "fresh") == "6"
    eventually(lambda: remora("exec", "ran", "cat", "/boots") == "boot\nboot", "its files outlived the reboot")
    remora("rm", "-f", "-t", "0", "--all")
    host.assert_nothing_left(remora, {ran})


def pid_of(remora: Remora, name: str) -> int:
    return int(remora("inspect", "-f", "{{.State.Pid}}", name))


def test_a_corrupt_record_is_named_skipped_and_removable(remora: Remora) -> None:
    broken = remora("create", "--name", "broken", "busybox", "true")
    remora("create", "--name", "sound", "busybox", "true")
    (remora.root / "containers" / broken / "spec.json").write_text('{"id": ')
    result = remora.run("ps", "-a", "--format", "{{.Names}}", status=None)
    assert result.stdout == "sound\n"
    assert broken[:12] in result.stderr and result.stderr.count("\n") == 1
    remora.run("rm", "-f", broken)
    assert remora("ps", "-a", "--format", "{{.Names}}") == "sound"
    assert not (remora.root / "containers" / broken).exists()
    assert host.below(remora.root / "names") == ["sound"]


def test_the_monitor_s_descriptors_and_the_frontend_s_are_not_shared(remora: Remora) -> None:
    """What the caller had open is closed in the monitor: a pipe of the caller ends when the caller does."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    process = subprocess.Popen(
        [PROGRAM, "run", "-d", "--name", "closed", "busybox", "sleep", "1000"],
        env=remora.environment,
        stdout=subprocess.DEVNULL,
        pass_fds=[write],
    )
    os.close(write)
    assert process.wait(60) == 0
    assert os.read(read, 1) == b"", "nobody holds the other end"
    os.close(read)
