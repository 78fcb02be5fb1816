"""What a container is, derived from lock, state file and exit record: the table of docs/architecture.md, whole."""

from __future__ import annotations

import pytest

from remora.frontend.commands.ps import status
from remora.frontend.container.state import ContainerState, decide, exit_code_of

START = 1_000_000_000
NOW = 61_000_000_000
RUNNING: dict[str, object] = {
    "version": 1,
    "status": "running",
    "pid": 42,
    "pid_start": 777,
    "monitor_pid": 41,
    "started_ns": START,
    "restarts": 2,
}
EXITED: dict[str, object] = {
    "version": 1,
    "known": True,
    "code": 3,
    "signal": 0,
    "why": "exited",
    "started_ns": START,
    "finished_ns": 31_000_000_000,
    "restarts": 1,
}
FAILED: dict[str, object] = {**EXITED, "code": 0, "why": "runtime-failed", "status": 127, "error": "no such program"}
UNKNOWN: dict[str, object] = {**EXITED, "known": False, "why": "unknown"}


def decided(
    held: bool,
    state: dict[str, object] | None = None,
    exit_file: bool = False,
    record: dict[str, object] | None = None,
    alive: bool = False,
) -> ContainerState:
    return decide(held, state, exit_file or record is not None, record, alive)


@pytest.mark.parametrize("name", ["running", "paused", "restarting"])
def test_with_the_lock_held_the_state_file_says_what_it_is(name: str) -> None:
    found = decided(True, {**RUNNING, "status": name})
    assert found.status == name
    assert (found.pid, found.pid_start, found.monitor_pid, found.restarts) == (42, 777, 41, 2)
    assert found.live
    assert found.running == (name != "restarting")
    assert not found.lost


@pytest.mark.parametrize("record", [None, EXITED])
def test_with_the_lock_held_and_no_state_file_it_is_starting(record: dict[str, object] | None) -> None:
    found = decided(True, None, record=record)
    assert found.status == "starting"
    assert found.live
    assert found.pid == 0


@pytest.mark.parametrize("name", ["running", "paused", "restarting"])
def test_a_lost_monitor_leaves_a_running_container(name: str) -> None:
    found = decided(False, {**RUNNING, "status": name}, exit_file=True, alive=True)
    assert found.status == ("paused" if name == "paused" else "running")
    assert found.lost
    assert found.monitor_pid == 0
    assert found.pid == 42


def test_a_lost_monitor_and_a_lost_process_leave_an_unknown_exit_code() -> None:
    found = decided(False, RUNNING, exit_file=True)
    assert found.status == "exited"
    assert found.exit_code is None
    assert not found.known
    assert not found.live
    assert "unknown" in found.error


def test_a_monitor_lost_after_it_wrote_the_record_has_told_the_code() -> None:
    assert decided(False, RUNNING, record=EXITED).exit_code == 3
    earlier_run = {**EXITED, "started_ns": START - 5}
    assert decided(False, RUNNING, record=earlier_run).exit_code is None


def test_with_a_record_it_has_exited() -> None:
    found = decided(False, record=EXITED)
    assert (found.status, found.exit_code, found.known, found.restarts) == ("exited", 3, True, 1)
    assert (found.started_ns, found.finished_ns) == (START, 31_000_000_000)


def test_a_record_of_a_failed_start_is_still_created() -> None:
    found = decided(False, record=FAILED)
    assert (found.status, found.exit_code, found.error) == ("created", 127, "no such program")


def test_an_exit_file_without_a_record_means_that_the_machine_went_down() -> None:
    found = decided(False, exit_file=True)
    assert (found.status, found.exit_code, found.known) == ("exited", None, False)


def test_without_any_file_it_is_created() -> None:
    found = decided(False)
    assert (found.status, found.live, found.known) == ("created", False, True)


@pytest.mark.parametrize(
    ("record", "code"),
    [(EXITED, 3), (FAILED, 127), (UNKNOWN, None), ({**FAILED, "status": 0}, 125), ({}, None), ({"known": True}, 0)],
)
def test_exit_code_of_a_record_is_never_made_up(record: dict[str, object], code: int | None) -> None:
    assert exit_code_of(record) == code


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (decided(True, RUNNING), "Up About a minute"),
        (decided(True, {**RUNNING, "status": "paused"}), "Up About a minute (Paused)"),
        (decided(False, RUNNING, alive=True), "Up About a minute (monitor lost)"),
        (decided(True, {**RUNNING, "status": "restarting", "exit_code": 3}), "Restarting (3)"),
        (decided(True), "Starting"),
        (decided(False), "Created"),
        (decided(False, record=FAILED), "Created"),
        (decided(False, record=EXITED), "Exited (3) 30 seconds ago"),
        (decided(False, exit_file=True), "Exited (unknown)"),
    ],
)
def test_ps_words_every_state(state: ContainerState, expected: str) -> None:
    assert status(state, NOW) == expected


def test_with_the_lock_still_held_after_its_end_it_has_exited_and_is_ending() -> None:
    ended: dict[str, object] = {**RUNNING, "status": "exited", "pid": 0, "exit_code": 3}
    for record in (EXITED, None):
        found = decided(True, ended, record=record)
        assert (found.status, found.exit_code, found.live, found.ending) == ("exited", 3, False, True)
    assert decided(True, ended, record=FAILED).status == "created"
    assert not decided(False, record=EXITED).ending


def test_damaged_values_of_other_types_are_taken_for_absent() -> None:
    found = decided(True, {"status": 7, "pid": "x", "restarts": None, "started_ns": []})
    assert (found.status, found.pid, found.restarts, found.started_ns) == ("running", 0, 0, 0)
