"""`remora rm`: remove containers.

A container's spec.json goes first, its folder last, so that an interrupted removal is finished by whoever meets it.
Exit status 1: there is no such container; 2: it runs and --force was not given (both as Podman's).
"""

from __future__ import annotations

import errno
import os
import time

from remora import monitor
from remora.frontend.commands import selection, stop
from remora.frontend.container import control, sweep
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.container.record import CorruptRecord
from remora.frontend.errors import NoSuchContainer, RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

EXAMPLE = "remora rm --force web"
ABSENT = 1
RUNS = 2
BUSY_TIME = 30.0
FULL_TRIES = 20
FULL_PAUSE = 0.05  # seconds


class Target:
    """A container to be removed. record: None when it can't be read; stopping: the stop that is under way."""

    __slots__ = ("id", "given", "record", "stopping")

    def __init__(self, container_id: str, given: str, record: ContainerRecord | None) -> None:
        self.id = container_id
        self.given = given
        self.record = record
        self.stopping: control.Stop | None = None


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--force", "-f", action="store_true", help="Stop containers that run, and remove them")
    parser.add_argument("--volumes", "-v", action="store_true", help="Also remove their anonymous volumes")
    stop.add_time(parser)
    selection.add_arguments(parser, "All containers", cidfile=True, ignore=True)


def run(arguments: Namespace, settings: Settings) -> int:
    """Stop all of them at once where that is asked for, then remove one after the other."""
    return remove(arguments, settings, selection.put)


def remove(arguments: Namespace, settings: Settings, tell: Callable[[str], None]) -> int:
    """The same; `tell` is called with what each was called by."""
    outcome = selection.Outcome()
    try:
        targets = _targets(arguments, settings)
    except NoSuchContainer as error:
        raise RemoraError(error.message, error.hint, ABSENT) from None
    ready = [target for target in targets if outcome.attempt(_begin, settings, target, arguments)]
    if settings.outside and ready:
        # A container whose monitor was lost can be killed from outside only, its files be removed inside only.
        ready = [target for target in ready if target.stopping is None or outcome.attempt(target.stopping.finish)]
        from remora.frontend.rootless import entering

        entering.enter(settings)
    for target in ready:
        if outcome.attempt(_finish, settings, target, arguments):
            tell(target.given)
    return outcome.status


def _targets(arguments: Namespace, settings: Settings) -> list[Target]:
    """What is to be removed; records that can't be read are among them."""
    if arguments.all:
        if arguments.containers:
            raise RemoraError("--all and names exclude each other", "name the containers, or use --all")
        sweep.sweep(settings)
        if arguments.filter:
            return [Target(one.record.id, one.given, one.record) for one in selection.select(arguments, settings)]
        corrupt: list[CorruptRecord] = []
        found = sorted(records.records(settings, corrupt), key=lambda record: record.spec["created_ns"])
        targets = [Target(record.id, record.id, record) for record in found]
        return targets + [Target(error.container_id, error.container_id, None) for error in corrupt]
    names = list(arguments.containers) + [selection.read_cidfile(path) for path in arguments.cidfile]
    if not names or arguments.latest or arguments.filter:
        return [Target(one.record.id, one.given, one.record) for one in selection.select(arguments, settings)]
    targets = []
    seen: set[str] = set()
    for name in names:
        try:
            record: ContainerRecord | None = records.find(settings, name)
            container_id = record.id if record is not None else ""
        except CorruptRecord as error:
            record, container_id = None, error.container_id
        except NoSuchContainer:
            _sweep_named(settings, name)
            if arguments.ignore or arguments.force:
                continue
            raise
        if container_id not in seen:
            seen.add(container_id)
            targets.append(Target(container_id, name, record))
    return targets


def _sweep_named(settings: Settings, name: str) -> None:
    """Finish the removal of a half-made or half-removed container that was called by its name or id."""
    try:
        sweep.sweep_if_stale(settings, records.find_id(settings, name))
    except RemoraError:
        pass


def _begin(settings: Settings, target: Target, arguments: Namespace) -> None:
    """Ask a container that runs to stop. Raises RemoraError when it may not be stopped."""
    if target.record is None:
        return
    state = states.derive(settings, target.record)
    if not state.live:
        return
    if not arguments.force:
        if not os.path.exists(target.record.spec_path):
            return
        raise RemoraError(
            f"cannot remove container {target.id} as it is {state.status} - running or paused containers cannot be "
            "removed without force: container state improper",
            f"`remora rm --force {target.record.name}` stops and removes it",
            RUNS,
        )
    if state.paused:
        try:
            control.pause(settings, target.record, False)
        except (RemoraError, monitor.RequestFailed, monitor.MonitorGone):
            pass
    stopping = control.Stop(settings, target.record, arguments.time)
    stopping.begin()
    target.stopping = stopping


def _finish(settings: Settings, target: Target, arguments: Namespace) -> None:
    if target.stopping is not None:
        target.stopping.finish()
    elif target.record is None:
        _stop_unknown(settings, target.id, arguments)
    lock = _lock(settings, target)
    if lock < 0:
        return
    try:
        if target.record is not None and not arguments.volumes and not target.record.spec["remove"]:
            _keep_volumes(settings, target.record)
        try:
            os.unlink(settings.data_dir(target.id) + "/spec.json")
        except FileNotFoundError:
            pass
        except IsADirectoryError:  # damaged on purpose
            monitor.remove_tree(settings.data_dir(target.id) + "/spec.json")
        sweep.remove_parts(settings, target.id, target.record.name if target.record is not None else "")
    finally:
        os.close(lock)


def _keep_volumes(settings: Settings, record: ContainerRecord) -> None:
    if any(item["type"] == "volume" for item in record.spec["mounts"]):
        from remora.frontend.volumes import using

        using.keep(settings, record)


def _stop_unknown(settings: Settings, container_id: str, arguments: Namespace) -> None:
    """Stop the container of a record that can't be read, if it runs."""
    try:
        connection = monitor.Connection.open(settings.run_dir(container_id))
    except monitor.MonitorGone:
        return
    with connection:
        if not arguments.force:
            raise RemoraError(
                f"cannot remove container {container_id} as it is running", "`remora rm --force` stops it", RUNS
            )
        try:
            timeout = {} if arguments.time is None else {"timeout": arguments.time}
            connection.request({"op": "stop", **timeout})
        except monitor.MonitorGone:
            pass
    monitor.wait_unlocked(settings.run_dir(container_id), BUSY_TIME)


def _lock(settings: Settings, target: Target) -> int:
    """The container's lock; -1 when the container went away by itself meanwhile (`--rm`, another `rm`)."""
    run_dir = settings.run_dir(target.id)
    for _ in range(8):
        if not os.path.lexists(settings.data_dir(target.id)) and not os.path.lexists(run_dir):
            return -1
        try:
            return _lock_with_patience(run_dir)
        except BlockingIOError:
            pass
        if not monitor.wait_unlocked(run_dir, BUSY_TIME):
            break
    raise RemoraError(
        f"removing container {target.given}: another command is at work on it", "try again when it has ended", RUNS
    )


def _lock_with_patience(run_dir: str) -> int:
    """As `monitor.lock`. On a full file system the folder of a run that has just ended still takes its place for some
    milliseconds: the kernel gives back later what had confined the monitor to it."""
    for _ in range(FULL_TRIES):
        try:
            return monitor.lock(run_dir)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        time.sleep(FULL_PAUSE)
    return monitor.lock(run_dir)
