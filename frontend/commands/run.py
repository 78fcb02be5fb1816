"""`remora run`: make a container from an image, start it, and in the foreground stay with it until its end."""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend import builtin
from remora.frontend.commands import create
from remora.frontend.container import lifecycle
from remora.frontend.options import keys, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.spec import Spec
    from remora.frontend.settings import Settings

INTERSPERSED = False
EXAMPLE = "remora run -it --rm debian bash"
# Held back from the moment a monitor may exist until the relay passes them on, so that none is lost.
PROXIED = (builtin.SIGINT, builtin.SIGTERM, builtin.SIGHUP, builtin.SIGUSR1, builtin.SIGUSR2, builtin.SIGWINCH)


def add_arguments(parser: ArgumentParser) -> None:
    table.add_arguments(parser, "run")


def run(arguments: Namespace, settings: Settings) -> int:
    """Make the container and start it; print its id (-d) or become its foreground."""
    spec = create.resolve(arguments, settings, "run")
    created = lifecycle.create(settings, spec)
    record = created.record
    rows, columns = _window(spec)
    attach = None if spec["detach"] else lifecycle.attachment(spec["attach"], rows=rows, columns=columns)
    proxied = () if spec["detach"] or not spec["sig_proxy"] else PROXIED
    saved = builtin.block_signals(proxied)
    try:
        try:
            started = lifecycle.start(
                settings,
                record,
                lock=created.lock,
                attach=attach,
                rows=rows,
                columns=columns,
                preserved=range(3, 3 + spec["preserve_fds"]),
            )
        except BaseException:
            if spec["remove"]:
                lifecycle.remove_unstarted(settings, record)
            raise
        if spec["detach"]:
            started.connection.close()
            os.write(1, f"{record.id}\n".encode())
            return 0
        return lifecycle.follow(
            settings,
            record,
            started.connection,
            spec["attach"],
            detach_keys=keys.parse(spec["detach_keys"]),
            proxy_signals=spec["sig_proxy"],
        )
    finally:
        builtin.set_signal_mask(saved)


def _window(spec: Spec) -> tuple[int, int]:
    """Rows and columns of our terminal for a container with a tty, (0, 0) without one."""
    if not spec["tty"] or spec["detach"]:
        return 0, 0
    for fd in (0, 1, 2):
        size = monitor.window_size(fd)
        if size:
            return size
    return 0, 0
