"""`remora attach`: get the terminal, or the output, of a running container back."""

from __future__ import annotations

from remora import monitor
from remora.frontend.commands import selection
from remora.frontend.container import control, logs, terminal
from remora.frontend.container import state as states
from remora.frontend.errors import RemoraError
from remora.frontend.options import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.settings import Settings

EXAMPLE = "remora attach web"


def add_arguments(parser: ArgumentParser) -> None:
    text = "Keys that let go of the container (default: as it was run, ctrl-p,ctrl-q)"
    parser.add_argument("--detach-keys", metavar="KEYS", help=text)
    parser.add_argument("--latest", "-l", action="store_true", help="The container created last")
    parser.add_argument("--no-stdin", action="store_true", help="Only watch")
    parser.add_argument(
        "--sig-proxy", action="store_true", default=True, help="Pass signals on to the container (default true)"
    )
    parser.add_argument("container", nargs="?", metavar="CONTAINER", complete="@running")


def run(arguments: Namespace, settings: Settings) -> int:
    """Relay until the container ends (its exit code), or the detach keys are typed (0)."""
    return attach(
        settings,
        selection.one(arguments, settings),
        stdin=not arguments.no_stdin,
        detach_keys=arguments.detach_keys,
        sig_proxy=arguments.sig_proxy,
    )


def attach(
    settings: Settings, record: ContainerRecord, *, stdin: bool, detach_keys: str | None, sig_proxy: bool
) -> int:
    """Attach to a container that runs. detach_keys: None = the container's own. Raises RemoraError when it does not."""
    sequence = keys.parse(record.spec["detach_keys"] if detach_keys is None else detach_keys)
    spec = record.spec
    if logs.is_passthrough(spec):
        raise RemoraError(
            f"attaching to container {record.name}: with the log driver passthrough nobody but itself has its streams",
            logs.whereabouts(logs.PASSTHROUGH),
        )
    connection = control.connect(settings, record)
    if connection is None:
        state = states.derive(settings, record)
        if state.lost:
            raise RemoraError(
                f"attaching to container {record.name}: its monitor was lost, nobody holds its terminal any more",
                f"`remora restart {record.name}` gives it a new one",
            )
        raise _not_running(record, state.status)
    with connection, terminal.signals_held(sig_proxy and not spec["tty"]):
        # Input without --interactive is only for a terminal: the keys typed there are the container's.
        with_input = stdin and (spec["stdin_open"] or spec["tty"])
        rows, columns = terminal.window() if spec["tty"] else (0, 0)
        try:
            reply = connection.request(
                {
                    "op": "attach",
                    "session": "",
                    "stdin": with_input,
                    "stdout": True,
                    "stderr": True,
                    "block": False,
                    "owner": False,
                    "rows": rows,
                    "cols": columns,
                }
            )
        except (monitor.RequestFailed, monitor.MonitorGone):
            raise _not_running(record, states.EXITED) from None  # it ended a moment ago
        tty = reply.get("tty") is True
        result = connection.relay(
            run_dir=record.run_dir,
            stdin=0 if with_input else -1,
            stdout=1,
            stderr=-1 if tty else 2,
            raw=tty,
            proxy_signals=sig_proxy,
            detach_keys=terminal.active_keys(sequence, tty),
            positions=(_position(reply, "stdout_bytes"), _position(reply, "stderr_bytes")),
        )
    return terminal.container_status(settings, record, result)


def _position(reply: dict[str, object], key: str) -> int:
    """How much of a stream the monitor had read when we were attached; -1 when it does not say."""
    value = reply.get(key)
    return value if isinstance(value, int) else -1


def _not_running(record: ContainerRecord, status: str) -> RemoraError:
    return RemoraError(
        f"you can only attach to running containers: {record.name} is {status}",
        f"`remora start --attach {record.name}` starts it",
    )
