"""`remora rename`: give a container another name, whether it runs or not."""

from __future__ import annotations

import fcntl
import os

from remora.frontend.container import control, names
from remora.frontend.container import record as records
from remora.frontend.errors import NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora rename web old-web"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("name", metavar="NAME")


def run(arguments: Namespace, settings: Settings) -> int:
    """Claim the new name, write the record, give the old name up: the container always has a name."""
    new = arguments.name.removeprefix("/")
    names.check(new)
    found = records.find(settings, arguments.container)
    # A second rename of the same container waits here. The container's own lock is its monitor's while it runs.
    folder = os.open(found.data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            record = records.load(settings, found.id)
        except NoSuchContainer:
            raise NoSuchContainer(arguments.container) from None
        old = record.name
        if old == new:
            return 0
        names.claim(settings, new, record.id)
        try:
            record.spec["name"] = new
            record.save()
        except BaseException:
            names.release(settings, new, record.id)
            raise
        names.release(settings, old, record.id)
        control.rename(settings, record)
    finally:
        os.close(folder)
    return 0
