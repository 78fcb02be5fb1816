"""Helpers and clean-up steps bear the login uid of who started the container, like all that a monitor executes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.box import Box
from tests.support.waiting import eventually

ALICE = 61001


def test_the_clean_up_bears_the_login_uid_of_who_started_the_container(box: Box, tmp_path: Path) -> None:
    told = tmp_path / "told"
    steps = [["execute", "", "/bin/sh", "-c", f"cat /proc/self/loginuid > {told}.new && mv {told}.new {told}"]]
    pid = os.fork()
    if pid == 0:
        try:
            Path("/proc/self/loginuid").write_text(str(ALICE))
            box.started("true", cleanup=steps).close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    eventually(told.exists, "the clean-up is done")
    assert told.read_text() == str(ALICE)
    box.assert_gone()
