"""`remora run`: make a container from an image, start it, and in the foreground stay with it until its end."""

from __future__ import annotations

import os

from remora.frontend.commands import create
from remora.frontend.container import creation, lifecycle, terminal
from remora.frontend.options import keys, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.creation import Created
    from remora.frontend.container.lifecycle import Started
    from remora.frontend.settings import Settings

INTERSPERSED = False
EXAMPLE = "remora run -it --rm debian bash"


def add_arguments(parser: ArgumentParser) -> None:
    table.add_arguments(parser, "run")


def run(arguments: Namespace, settings: Settings) -> int:
    """Make the container and start it; print its id (-d) or become its foreground."""
    spec = create.resolve(arguments, settings, "run")
    created = creation.create(settings, spec, durable=False)
    record = created.record
    if spec["detach"]:
        _start(settings, created, None, 0, 0).connection.close()
        if settings.rootless:
            from remora.frontend.rootless import lingering

            lingering.warn(settings)
        os.write(1, f"{record.id}\n".encode())
        return 0
    rows, columns = terminal.window() if spec["tty"] else (0, 0)
    attach = lifecycle.attachment(spec["attach"], rows=rows, columns=columns)
    # From the moment a monitor may exist until the relay passes them on.
    with terminal.signals_held(spec["sig_proxy"]):
        started = _start(settings, created, attach, rows, columns)
        return lifecycle.follow(
            settings,
            record,
            started.connection,
            spec["attach"],
            detach_keys=keys.parse(spec["detach_keys"]),
            proxy_signals=spec["sig_proxy"],
        )


def _start(settings: Settings, created: Created, attach: dict[str, object] | None, rows: int, columns: int) -> Started:
    """Start it; a `--rm` container that can't be started is removed."""
    spec = created.record.spec
    try:
        return lifecycle.start(
            settings,
            created.record,
            lock=created.lock,
            attach=attach,
            rows=rows,
            columns=columns,
            preserved=range(3, 3 + spec["preserve_fds"]),
        )
    except BaseException:
        if spec["remove"]:
            creation.remove_unstarted(settings, created.record)
        raise
