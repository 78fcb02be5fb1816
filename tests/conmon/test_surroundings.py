"""Odd surroundings of a caller: umask, closed descriptors, relative paths, missing folders, special files."""

from __future__ import annotations

import os
import resource
import shlex
import stat
import subprocess

import pytest

from tests.conmon.caller import Caller
from tests.support.waiting import eventually


def start(caller: Caller, before: str, words: list[str]) -> int:
    """Start the monitor from a shell after the commands `before`, without any pipe; the shell's status."""
    argv = " ".join(shlex.quote(word) for word in [caller.monitor.path, *words])
    done = subprocess.run(
        ["bash", "-c", f"{before}\nexec {argv}"],
        cwd=caller.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    eventually(lambda: '"created"' in caller.runc("state", caller.id, check=False), f"created: {done.stderr!r}")
    return done.returncode


@pytest.mark.conmon_fails("files get the caller's umask")
@pytest.mark.parametrize("umask", ["077", "000"])
def test_the_callers_umask_changes_no_mode(caller: Caller, umask: str) -> None:
    caller.configure(["sh", "-c", "exit 3"])
    assert start(caller, f"umask {umask}", caller.options()) == 0
    caller.begin()
    assert caller.code() == "3"
    caller.monitor_ended()
    assert stat.S_IMODE(caller.exit_file().stat().st_mode) == 0o644
    assert stat.S_IMODE(caller.monitor_pidfile.stat().st_mode) == 0o644
    assert stat.S_IMODE((caller.bundle / "ctl").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "closed",
    [
        "<&-",
        ">&-",
        "2>&-",
        pytest.param("<&- >&- 2>&-", marks=pytest.mark.conmon_fails("the log takes a place among them")),
    ],
)
def test_closed_standard_descriptors_are_no_obstacle(caller: Caller, closed: str) -> None:
    caller.configure(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert start(caller, f"exec {closed}", caller.options()) == 0
    caller.begin()
    assert caller.code() == "3"
    assert sorted(caller.records()) == [("stderr", "F", "err"), ("stdout", "F", "out")]


def test_relative_paths_are_the_callers(caller: Caller) -> None:
    caller.cwd = caller.folder
    caller.configure(["sh", "-c", "echo out; exit 3"])
    words = [
        word.removeprefix(f"k8s-file:{caller.folder}/").removeprefix(f"{caller.folder}/") for word in caller.options()
    ]
    assert start(caller, "", words) == 0
    caller.begin()
    assert caller.code() == "3"
    assert caller.records() == [("stdout", "F", "out")]
    assert (caller.persist / "exit").read_text() == "3"


def test_a_missing_exit_folder_loses_the_file_alone(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 3"])
    words = caller.options("--sync")
    words[words.index("--exit-dir") + 1] = str(caller.folder / "missing")
    spawned = caller.spawn(words)
    assert int(str(spawned.report()["data"])) > 0
    caller.begin()
    spawned.status()
    assert (caller.persist / "exit").read_text() == "3"


def test_a_log_may_be_a_link(caller: Caller) -> None:
    target = caller.folder / "target"
    target.touch()
    caller.log.symlink_to(target)
    caller.run("echo", "x")
    caller.code()
    assert caller.records(target) == [("stdout", "F", "x")]
    assert caller.log.is_symlink()


def test_a_log_may_be_a_device(caller: Caller) -> None:
    node = caller.folder / "null"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    caller.configure(["sh", "-c", "seq 1 100; exit 3"])
    caller.created(caller.spawn(caller.options(log=[f"k8s-file:{node}"])))
    caller.begin()
    assert caller.code() == "3"
    assert stat.S_ISCHR(node.stat().st_mode)


@pytest.mark.conmon_fails("it renames a file over the device")
def test_a_limit_leaves_a_device_alone(caller: Caller) -> None:
    node = caller.folder / "null"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    caller.configure(["sh", "-c", "seq 1 100; exit 3"])
    caller.created(caller.spawn(caller.options("--log-size-max", "500", log=[f"k8s-file:{node}"])))
    caller.begin()
    assert caller.code() == "3"
    assert stat.S_ISCHR(node.stat().st_mode)


def test_few_descriptors_are_enough(caller: Caller) -> None:
    caller.configure(["sh", "-c", "echo out; exit 3"])
    assert start(caller, "ulimit -n 64", caller.options()) == 0
    caller.begin()
    assert caller.code() == "3"
    assert caller.records() == [("stdout", "F", "out")]


def test_an_environment_without_anything_is_enough(caller: Caller) -> None:
    caller.configure(["sh", "-c", "exit 3"])
    caller.created(caller.spawn(caller.options(), env={"PATH": "", "HOME": ""}))
    caller.begin()
    assert caller.code() == "3"


def test_the_containers_limits_are_not_the_monitors(caller: Caller) -> None:
    """A monitor that lowers its own limits must not hand them on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    caller.run("sh", "-c", "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; umask; grep -c . /proc/self/status")
    caller.code()
    out = [content for _, _, content in caller.records()]
    assert out[:2] == [str(soft), str(hard)]
    with open("/proc/self/oom_score_adj") as file:
        assert out[2] == file.read().strip()
    assert out[3] == "0022"


def test_the_container_starts_with_no_signal_blocked_or_ignored(caller: Caller) -> None:
    caller.run("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    caller.code()
    # Two numbers belong to the C library, which refuses to give them back their default.
    own = 1 << (32 - 1) | 1 << (33 - 1)
    assert [int(content.split()[1], 16) & ~own for _, _, content in caller.records()] == [0, 0]


def test_the_container_has_no_other_filter_than_its_own(caller: Caller) -> None:
    """Whatever the monitor gives up for itself, the container's process keeps."""
    caller.run("grep", "-E", "^(Seccomp|NoNewPrivs|CapBnd):", "/proc/self/status")
    caller.code()
    found = dict(content.split(":\t") for _, _, content in caller.records())
    assert found == {"NoNewPrivs": "0", "Seccomp": "0", "CapBnd": "0000000000000020"}  # CAP_KILL, as configured
