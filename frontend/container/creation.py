"""Making a container: its folder, name, image reference and record.

Safe against being killed at any moment: everything is claimed under the container's lock and spec.json is written last,
so that what is there without it is half made and swept by the next command (sweep.py).
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container import names, sweep
from remora.frontend.container.record import ContainerRecord
from remora.frontend.errors import RemoraError, os_error_text
from remora.frontend.images import guard
from remora.frontend.options.names import random_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.container.spec import Spec
    from remora.frontend.settings import Settings

NAME_TRIES = 20


class Created:
    """A container that has just been made. lock: the descriptor that holds its lock; for `start`, or to be closed."""

    __slots__ = ("record", "lock")

    def __init__(self, record: ContainerRecord, lock: int) -> None:
        self.record = record
        self.lock = lock


def create(settings: Settings, spec: Spec, *, durable: bool = True) -> Created:
    """Make a container from its request; an empty name is replaced by a random one that is free.

    durable: the record is on disk on return; False leaves that to `start`, which has time while the runtime works.
    Raises RemoraError (name taken, image gone, no space …); nothing is left behind then.
    """
    record, lock = _begin(settings, spec)
    held: list[int] = []
    try:
        _claim_name(settings, spec)
        if spec["image"] is not None:
            guard.acquire(settings, spec["image"]["id"], record.id)
        _write_cidfile(spec)
        if any(item["type"] == "volume" for item in spec["mounts"]):
            from remora.frontend.volumes import using

            held = using.claim(settings, spec)
        if spec["userns"]["mode"] == "auto":
            from remora.frontend.userns import automatic

            automatic.save(settings, record, durable=durable and not spec["remove"])
        else:
            record.save(durable=durable and not spec["remove"])
        _close(held)
        return Created(record, lock)
    except BaseException as error:
        _close(held)
        try:
            _discard(settings, record)
        finally:
            os.close(lock)
        if isinstance(error, OSError):
            raise _create_error(record, error) from None
        raise


def _close(held: list[int]) -> None:
    """Let go of volumes, which the record keeps from now on."""
    while held:
        os.close(held.pop())


def _create_error(record: ContainerRecord, error: OSError) -> RemoraError:
    return RemoraError(f"creating container {record.id[:12]}: {os_error_text(error)}", remedy(error))


def _begin(settings: Settings, spec: Spec) -> tuple[ContainerRecord, int]:
    """The container's folder, and its lock.

    The folder comes first, so that whoever meets it without a record (this process may be killed at any moment) clears
    it and the run folder away. If somebody does so right now, another id is taken.
    """
    while True:
        record = ContainerRecord(settings, spec)
        try:
            os.makedirs(record.data_dir, mode=0o700)
            lock = monitor.lock(record.run_dir)
        except BlockingIOError:
            pass
        except OSError as error:
            for folder in (record.run_dir, record.data_dir):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
            raise _create_error(record, error) from None
        else:
            if os.path.isdir(record.data_dir):
                return record, lock
            monitor.remove_tree(record.run_dir)
            os.close(lock)
        spec["id"] = os.urandom(32).hex()


def remove_unstarted(settings: Settings, record: ContainerRecord) -> None:
    """Remove a `--rm` container that could not be started, unless its monitor has done so already."""
    if not os.path.lexists(record.data_dir):
        return
    try:
        lock = monitor.lock(record.run_dir)
    except BlockingIOError:
        return  # somebody else is at work on it
    try:
        _discard(settings, record)
    finally:
        os.close(lock)


def _discard(settings: Settings, record: ContainerRecord) -> None:
    try:
        os.unlink(record.spec_path)
    except FileNotFoundError:
        pass
    sweep.remove_parts(settings, record.id, record.name)
    cidfile = record.spec["cidfile"]
    if cidfile and _read_text(cidfile) == record.id:
        os.unlink(cidfile)


def _claim_name(settings: Settings, spec: Spec) -> None:
    if spec["name"]:
        names.claim(settings, spec["name"], spec["id"])
        return
    for _ in range(NAME_TRIES):
        spec["name"] = random_name()
        if names.owner(settings, spec["name"]) is not None:
            continue
        try:
            names.claim(settings, spec["name"], spec["id"])
            return
        except RemoraError:
            continue  # somebody was faster
    spec["name"] = f"{random_name()}_{spec['id'][:8]}"
    names.claim(settings, spec["name"], spec["id"])


def _write_cidfile(spec: Spec) -> None:
    if not spec["cidfile"]:
        return
    try:
        fd = os.open(spec["cidfile"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, spec["id"].encode())
        finally:
            os.close(fd)
    except OSError as error:
        path, spec["cidfile"] = spec["cidfile"], ""  # it is not ours to remove
        raise RemoraError(f"--cidfile {path}: {error.strerror}", hint="name a file that can be made") from None


def _read_text(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4096).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def remedy(error: OSError) -> str:
    """What to do about a failure that has nothing to do with the container."""
    import errno

    if error.errno == errno.ENOSPC:
        return "make room, then try again"
    if error.errno == errno.EROFS:
        return "name a writable folder with --root"
    if error.errno == errno.EMFILE:
        return "raise the limit of open files (ulimit -n)"
    return ""
