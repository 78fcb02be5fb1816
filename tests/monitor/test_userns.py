"""User namespaces through the package: each in a child, for a process has no way back."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from remora import monitor
from tests.support.people import ALICE, as_user

RANGE = [(0, 700000, 65536)]
PR_SET_DUMPABLE = 4


def own_again() -> None:
    """After a change of user, what execve(2) does: /proc/self belongs to the user."""
    assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1) == 0


def test_a_user_without_ranges_is_root_in_a_namespace_of_its_own() -> None:
    def enter() -> str:
        own_again()
        monitor.enter_user_namespace([(0, ALICE, 1)], [(0, ALICE, 1)])
        return f"{os.geteuid()} {os.getegid()} {Path('/proc/self/setgroups').read_text().strip()}"

    assert as_user(ALICE, enter) == "0 0 deny"


def test_a_map_that_is_not_ones_own_is_refused_by_step() -> None:
    def enter() -> str:
        own_again()
        try:
            monitor.enter_user_namespace([(0, 0, 1)], [(0, ALICE, 1)])
        except monitor.UserNamespaceError as error:
            return f"{error.step} {error.strerror} [{error.words}]"
        return "entered"

    assert as_user(ALICE, enter) == "uids Operation not permitted []"


def test_a_namespace_that_was_made_can_be_joined_and_read() -> None:
    fd = monitor.make_user_namespace(RANGE, RANGE)
    try:
        assert not os.get_inheritable(fd)
        assert monitor.user_namespace_map(fd) == RANGE
        assert monitor.user_namespace_map(fd, groups=True) == RANGE
        inside = os.stat(fd).st_ino

        def join() -> str:
            monitor.join_user_namespace(fd)
            return str(os.stat("/proc/self/ns/user").st_ino)

        assert as_user(0, join) == str(inside)
    finally:
        os.close(fd)


def test_namespaces_are_made_for_a_user_namespace() -> None:
    user = monitor.make_user_namespace(RANGE, RANGE)
    network, uts = monitor.make_namespaces(["network", "uts"], user)
    try:
        assert os.stat(network).st_ino != os.stat("/proc/self/ns/net").st_ino
        assert os.stat(uts).st_ino != os.stat("/proc/self/ns/uts").st_ino
    finally:
        for fd in (user, network, uts):
            os.close(fd)


@pytest.mark.parametrize("kinds", [[], ["user"], ["network", "time"]])
def test_other_kinds_of_namespaces_are_refused(kinds: list[str]) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        monitor.make_namespaces(kinds)


def test_a_copy_has_the_owners_of_the_map(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("text")
    os.chown(tmp_path / "source/file", 5, 6)
    fd = os.open(tmp_path / "source", os.O_PATH)
    try:
        monitor.copy_shifted(fd, tmp_path / "target", [(0, 100, 10)], [(0, 200, 6)], 1, 2)
        with pytest.raises(FileExistsError):
            monitor.copy_shifted(fd, tmp_path / "target", RANGE, RANGE, 1, 2)
    finally:
        os.close(fd)
    status = (tmp_path / "target/file").stat()
    assert (tmp_path / "target/file").read_text() == "text"
    assert (status.st_uid, status.st_gid) == (105, 2)
