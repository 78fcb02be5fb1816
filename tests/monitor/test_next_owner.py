"""A run folder whose lock somebody else has taken meanwhile is left alone by the monitor that ends."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from remora import monitor
from tests.support import host
from tests.support.box import Box
from tests.support.waiting import eventually


def is_traced(pid: int) -> bool:
    found = re.search(r"^TracerPid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and found[1] != "0"


def test_who_takes_the_lock_before_the_folder_is_removed_keeps_both(box: Box, tmp_path: Path) -> None:
    box.started("sleep", "1000").close()
    keeper, worker = host.monitor_processes(box.monitor_pid())
    pid = box.status()["pid"]
    assert isinstance(pid, int)
    words = ["strace", "-qq", "-p", str(worker), "-o", str(tmp_path / "calls"), "-e", "trace=rmdir,unlinkat"]
    slow = ["-e", "inject=rmdir:delay_enter=1000000"]  # microseconds
    with subprocess.Popen([*words, *slow]) as tracer:
        eventually(lambda: is_traced(worker), "the worker is traced")
        host.send(pid, 9)
        eventually(lambda: not (box.run / "lock").exists(), "the lock's file is gone")
        lock = monitor.lock(str(box.run))
        try:
            tracer.wait(20)
            assert not host.alive(worker)
            assert (box.run / "lock").exists()
            assert monitor.lock_held(str(box.run))
        finally:
            os.close(lock)
    monitor.remove_tree(str(box.run))
    eventually(lambda: not host.alive(keeper), "the monitor has ended")
