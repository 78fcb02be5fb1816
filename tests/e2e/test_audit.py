"""The kernel's audit trail names the person: the login uid of who acted, all along the chain to the container."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Remora
from tests.support import audit, host
from tests.support.commands import state
from tests.support.waiting import eventually

ALICE, BOB = 61001, 61002


def as_logged_in(remora: Remora, uid: int, *arguments: str, status: int = 0) -> str:
    """What `remora ARGUMENTS` prints, from a shell with that login uid (as pam_loginuid sets it)."""
    result = subprocess.run(
        ["sh", "-c", f'echo {uid} > /proc/self/loginuid && exec remora "$@"', "sh", *arguments],
        env=remora.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == status, result.stderr
    return result.stdout


def login_uid(pid: int) -> int:
    return int(Path(f"/proc/{pid}/loginuid").read_text())


def chain(remora: Remora, name: str) -> dict[str, int]:
    """The login uids of keeper, worker and the container's first process."""
    keeper, worker = host.monitor_processes(int(state(remora, name, "ConmonPid")))
    pids = {"keeper": keeper, "worker": worker, "container": int(state(remora, name, "Pid"))}
    return {part: login_uid(pid) for part, pid in pids.items()}


def all_of(uid: int) -> dict[str, int]:
    return dict.fromkeys(("keeper", "worker", "container"), uid)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """runc, with a note of each call and the login uid that it was made with."""
    program = tmp_path / "runtime"
    program.write_text(
        f'#!/bin/sh\nfor word; do case $word in run|exec|delete) echo "$word $(cat /proc/self/loginuid)" '
        f'>> {tmp_path}/calls; break; esac; done\nexec runc "$@"\n'
    )
    program.chmod(0o755)
    return program


def test_the_login_uid_is_the_callers_all_along_the_chain(remora: Remora, runtime: Path) -> None:
    as_logged_in(
        remora, ALICE, "run", "-d", "--name", "kept", "--runtime", str(runtime), "--restart", "always", "busybox", "sh",
        "-c", "cat /proc/self/loginuid; echo; exec sleep 1000",
    )  # fmt: skip
    assert chain(remora, "kept") == all_of(ALICE)
    # An exec is the monitor's child, but acts for whoever asks.
    assert as_logged_in(remora, BOB, "exec", "kept", "cat", "/proc/self/loginuid") == str(BOB)
    assert as_logged_in(remora, ALICE, "exec", "kept", "cat", "/proc/self/loginuid") == str(ALICE)
    assert remora("exec", "kept", "cat", "/proc/self/loginuid") == Path("/proc/self/loginuid").read_text()
    # A worker that follows a killed one, and a container that the monitor starts again.
    keeper, worker = host.monitor_processes(int(state(remora, "kept", "ConmonPid")))
    host.send(worker, 9)
    eventually(lambda: host.monitor_processes(keeper)[1:] not in ([], [worker]), "there is another worker")
    first = int(state(remora, "kept", "Pid"))
    host.send(first, 9)
    eventually(lambda: state(remora, "kept", "Pid") not in ("0", str(first)), "it was started again")
    assert chain(remora, "kept") == all_of(ALICE)
    assert remora("logs", "kept").split() == [str(ALICE)] * 2
    # Started anew by somebody else, it is that one's.
    as_logged_in(remora, BOB, "restart", "-t", "0", "kept")
    assert chain(remora, "kept") == all_of(BOB)
    remora("rm", "-f", "-t", "0", "kept")
    calls = (runtime.parent / "calls").read_text().splitlines()
    assert [call for call in calls if call.startswith(("run", "exec"))] == [
        f"run {ALICE}", f"exec {BOB}", f"exec {ALICE}", f"exec {login_uid(os.getpid())}", f"run {ALICE}", f"run {BOB}"
    ]  # fmt: skip
    # What is done at the end of a run is done for who began it.
    assert set(calls) >= {f"delete {ALICE}", f"delete {BOB}"}


def test_the_audit_records_a_change_through_a_bind_mount_with_the_persons_login_uid(
    remora: Remora, tmp_path: Path
) -> None:
    path = tmp_path / "watched"
    path.write_text("")
    change = "echo changed >> /watched"
    volume = ["-v", f"{path}:/watched"]
    key = f"remora-{secrets.token_hex(4)}"
    try:
        with audit.watched(path, key) as watch:
            as_logged_in(remora, ALICE, "run", "--rm", *volume, "busybox", "sh", "-c", change)
            assert set(watch.login_uids()) == {str(ALICE)}
            words = ["busybox", "sh", "-c", f"{change}; exec sleep 1000"]
            as_logged_in(remora, BOB, "run", "-d", "--name", "kept", "--restart", "always", *volume, *words)
            assert set(watch.login_uids()) == {str(BOB)}
            as_logged_in(remora, ALICE, "exec", "kept", "sh", "-c", change)
            assert set(watch.login_uids()) == {str(ALICE)}
            host.send(int(state(remora, "kept", "Pid")), 9)
            assert set(watch.login_uids()) == {str(BOB)}
            as_logged_in(remora, ALICE, "restart", "-t", "0", "kept")
            assert set(watch.login_uids()) == {str(ALICE)}
    except audit.NoAudit as error:
        pytest.skip(f"the kernel's audit can't be used here ({error}); the chain of login uids is tested nevertheless")
