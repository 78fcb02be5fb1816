"""Kills of the worker under full output of a terminal, which it gathers from many reads."""

from __future__ import annotations

import random
import time

from tests.support import host
from tests.support.box import Box
from tests.support.waiting import eventually
from tests.survival.numbered import CHUNK, LINE, Drain, Printer, logged
from tests.survival.parts import settled_descriptors
from tests.survival.phases import CODE, one_log, parts_of, verdict

TERMINAL_LINE = LINE + 1  # the terminal adds a CR


def test_a_worker_killed_again_and_again_under_full_output_of_a_terminal_loses_no_line_of_the_log(box: Box) -> None:
    count, kills = 150_000, 30
    chance = random.Random(3)
    printer = Printer(box)
    spawner = box.started(*printer.argv, tty=True, attach={"block": True}, log=one_log(box))
    drain = Drain(spawner)
    parts = parts_of(box)
    before = settled_descriptors(parts.keeper)
    printer.print(count)
    for done in range(kills):
        size = drain.size
        time.sleep(chance.uniform(0, 0.03))  # the moment is what is random
        dead = parts.worker
        host.send(dead, 9)
        parts.await_successor(dead)
        if drain.size + CHUNK * kills >= count * TERMINAL_LINE:
            kills = done + 1
            break
        drain.await_size(size + 1, timeout=10)  # it goes on
    eventually(lambda: drain.size + kills * CHUNK >= count * TERMINAL_LINE, "the output comes to its end")
    assert settled_descriptors(parts.keeper, before) == before
    printer.exit(CODE)
    record = drain.end()
    printer.close()
    assert verdict(box.record()) == "right"
    box.assert_gone()
    findings = logged(box.data / "log", count)
    assert findings.complete, f"after {kills} kills: {findings}"
    drain.findings(count).assert_within(CHUNK * kills)
    assert record is not None and verdict(record) == "right"
    spawner.close()
