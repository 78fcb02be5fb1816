"""A live upgrade of a monitor that has helpers, namespaces that were handed over, and something to be undone."""

from __future__ import annotations

import os

from remora.frontend.container import cleanup
from tests.support import host
from tests.support.box import DEADLINE, Box
from tests.support.helper import SCRIPT as HELPER
from tests.support.helper import Helper
from tests.support.namespaces import Holder, identity, of_process
from tests.support.waiting import eventually
from tests.survival.parts import settled_descriptors
from tests.survival.phases import parts_of
from tests.survival.test_upgrade import Versions, ask_for_upgrade, upgrade, versions

__all__ = ["versions"]
SLEEP = ("sh", "-c", "while :; do sleep 0.1; done")


def helper_told(box: Box) -> dict[str, object]:
    with box.connect() as connection:
        helpers = connection.request({"op": "status"})["helpers"]
    assert isinstance(helpers, list) and isinstance(helpers[0], dict)
    return helpers[0]


def stop(box: Box) -> None:
    with box.connect() as connection:
        connection.request({"op": "stop", "timeout": 0})


def test_helpers_namespaces_and_steps_are_the_new_programs(box: Box, versions: Versions) -> None:
    helper, lease = Helper(box), box.folder / "lease"
    lease.touch()
    with Holder("network") as holder:
        box.namespaces = {"network": holder.open("network")}
        wanted = identity(box.namespaces["network"])
        steps = [["execute", "in", "/bin/sh", "-c", f'cat >"{box.folder}/out"'], ["unlink", str(lease)]]
        box.started(*SLEEP, helpers=[helper.configuration], cleanup=steps).close()
        os.close(box.namespaces["network"])
    parts = parts_of(box)
    pid = helper.pid
    upgrade(box, versions)
    before = settled_descriptors(parts.keeper)
    upgrade(box, versions)
    assert helper_told(box) == {"name": "helper", "pid": pid, "restarts": 0, "error": ""}
    assert settled_descriptors(parts.keeper, before) == before
    host.send(pid, 9)
    eventually(lambda: helper_told(box)["restarts"] == 1, "the new program starts another helper", timeout=DEADLINE)
    upgrade(box, versions)
    assert helper_told(box)["restarts"] == 1 and helper_told(box)["pid"] == helper.pid
    assert identity(f"/proc/{parts.keeper}/root{box.namespace_path('network')}") == wanted
    init = box.status()["pid"]
    assert isinstance(init, int) and of_process(init, "network") == wanted
    assert parts.zombies() == []
    stop(box)
    box.assert_gone()
    assert (box.folder / "out").read_text() == "in" and not lease.exists()


def test_a_helper_that_is_just_being_started_becomes_ready_under_the_new_program(box: Box, versions: Versions) -> None:
    os.mkfifo(box.folder / "go")
    os.mkfifo(box.folder / "arrived")
    helper = Helper(box, script=f'echo >"{box.folder}/arrived"; read line <"{box.folder}/go"; {HELPER}')
    connection = box.start(*SLEEP, helpers=[helper.configuration])
    (box.folder / "arrived").read_bytes()
    versions.install()
    ask_for_upgrade(box)
    (box.folder / "go").write_text("\n")
    connection.started(DEADLINE)
    connection.close()
    assert helper_told(box)["pid"] == helper.pid and helper.starts == 1
    stop(box)
    box.assert_gone()


def test_an_upgrade_while_something_is_undone_has_the_rest_undone(box: Box, versions: Versions) -> None:
    gate, journal, helper = box.folder / "gate", box.folder / "journal", Helper(box)
    note = ["execute", "x", "/bin/sh", "-c", f'cat >>"{journal}"']
    wait = ["execute", "", "/bin/sh", "-c", f'until [ -e "{gate}" ]; do sleep 0.02; done']
    steps = [note, wait, note, ["unlink", cleanup.path(str(box.run))]]
    box.started(*SLEEP, helpers=[helper.configuration], cleanup=steps).close()
    parts = parts_of(box)
    stop(box)
    eventually(lambda: journal.exists() and journal.read_text() == "x", "the first step is taken", timeout=DEADLINE)
    versions.install()
    ask_for_upgrade(box)
    assert parts_of(box).keeper == parts.keeper
    gate.touch()
    box.assert_gone()
    assert journal.read_text() == "xx"
