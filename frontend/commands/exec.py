"""`remora exec`: run another process in a running container, inside the container's own monitor."""

from __future__ import annotations

import errno
import os

from remora import monitor
from remora.frontend import jsontext
from remora.frontend.commands import selection
from remora.frontend.container import control, terminal
from remora.frontend.container import record as records
from remora.frontend.container import state as states
from remora.frontend.errors import NoSuchContainer, RemoraError
from remora.frontend.oci.process import exec_process
from remora.frontend.options import environment, keys, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Json
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings
    from remora.monitor import Connection

EXAMPLE = "remora exec -it web sh"
INTERSPERSED = False
PRESERVED_MOST = 50


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--detach", "-d", action="store_true", help="Leave it running and print its session's ID")
    parser.add_argument("--detach-keys", metavar="KEYS", help="Keys that let go of it (default ctrl-p,ctrl-q)")
    parser.add_argument("--env", "-e", action="append", metavar="NAME=VALUE", help="Set an environment variable")
    parser.add_argument("--env-file", action="append", metavar="FILE", help="Set those that a file lists")
    parser.add_argument("--interactive", "-i", action="store_true", help="Give it our standard input")
    parser.add_argument("--latest", "-l", action="store_true", help="In the container created last")
    parser.add_argument("--preserve-fds", default="0", metavar="N", help="Hand on N descriptors from 3 on")
    parser.add_argument("--privileged", action="store_true", help="Give it all capabilities")
    parser.add_argument("--tty", "-t", action="store_true", help="Give it a terminal")
    parser.add_argument("--user", "-u", metavar="USER[:GROUP]", help="User to run as, names or numbers")
    parser.add_argument("--workdir", "-w", default="", metavar="PATH", help="Working directory", complete="")
    parser.add_argument("words", nargs="...", metavar="CONTAINER COMMAND", complete="@running")


def run(arguments: Namespace, settings: Settings) -> int:
    """Run the command; its exit code, or 126 / 127 when it can't be executed / is not there."""
    words = list(arguments.words)
    if arguments.latest:
        record = selection.latest(settings)
    elif words:
        record = records.find(settings, words.pop(0))
    else:
        raise RemoraError("exec requires the name or ID of a container", f"for example `{EXAMPLE}`")
    if not words:
        raise RemoraError("must provide a non-empty command to start an exec session", f"for example `{EXAMPLE}`")
    sequence = keys.parse(record.spec["detach_keys"] if arguments.detach_keys is None else arguments.detach_keys)
    preserved = _preserved(arguments.preserve_fds)
    rows, columns = terminal.window() if arguments.tty and not arguments.detach else (0, 0)
    state = states.derive(settings, record)
    if state.status != states.RUNNING and state.status != states.STARTING:
        raise _improper(record, state)
    connection = control.connect(settings, record)
    if connection is None:
        raise _improper(record, states.derive(settings, record))
    if state.status == states.STARTING:
        connection.request({"op": "wait", "condition": "running"})
        state = states.derive(settings, record)
    if settings.outside:
        from remora.frontend.rootless import entering

        entering.join(settings, state.monitor_pid)  # its files are to be seen as the container's own users see them
    session = os.urandom(32).hex()
    process = _process(arguments, settings, record, state, words, rows, columns)
    memory = monitor.sealed_memory("exec", jsontext.dumps(process).encode())
    interactive = arguments.interactive and not arguments.detach
    user = process["user"]
    assert isinstance(user, dict)
    uid, gid = user["uid"], user["gid"]
    if record.spec["userns"]["uid_map"]:
        from remora.frontend.oci import userns

        uid, gid = userns.outside(record.spec, int(str(uid)), int(str(gid)))
    request: dict[str, object] = {
        "op": "exec",
        "session": session,
        "tty": arguments.tty,
        "stdin": interactive,
        "stdout": not arguments.detach,
        "stderr": not arguments.detach,
        "detach": arguments.detach,
        "block": True,
        "rows": rows,
        "cols": columns,
        "uid": uid,
        "gid": gid,
        "preserve_fds": len(preserved),
    }
    what = f"exec in container {record.name}"
    with connection:
        try:
            ended = _ask(connection, request, [memory, *preserved])
        except monitor.MonitorGone:
            raise RemoraError(f"{what}: the container ended meanwhile") from None
        except monitor.RequestFailed as failed:
            raise RemoraError(f"{what}: {failed.error}", _remedy(failed, words[0]), failed.status) from None
        finally:
            os.close(memory)
        if arguments.detach:
            selection.put(session)
            return 0
        if ended is not None:
            return terminal.record_status(ended, what)
        result = connection.relay(
            run_dir=record.run_dir,
            session=session,
            stdin=0 if interactive else -1,
            stdout=1,
            stderr=-1 if arguments.tty else 2,
            raw=arguments.tty,
            proxy_signals=False,
            detach_keys=sequence if arguments.tty else b"",
            handle_output_closed=True,
            block=True,
            positions=(0, 0),
        )
    return terminal.status(result, what)


def _ask(connection: Connection, request: dict[str, object], fds: list[int]) -> dict[str, object] | None:
    """Make the request; where the connection was lost and it came to be made twice, join what the first one began.

    The record of a session that has ended by then, else None.
    """
    try:
        connection.request(request, fds)
    except monitor.RequestFailed as failed:
        if not connection.renewed or failed.errno != errno.EINVAL:
            raise
        if not request["detach"]:
            try:
                connection.request({**request, "op": "attach"})
            except monitor.RequestFailed:
                return connection.how_it_ended(str(request["session"])) or {}
    return None


def _remedy(failed: monitor.RequestFailed, command: str) -> str:
    """What helps against an exec that failed; "" where the cause says enough."""
    cause = failed.error.lower()
    if "chdir" in cause:
        return "name a folder of the container with --workdir"
    if failed.status == 127:
        return f'the container has no program "{command}"'
    if failed.status == 126 and "permission denied" in cause:
        return f'"{command}" must be a file that may be executed'
    return ""


def _improper(record: ContainerRecord, state: ContainerState) -> RemoraError:
    if state.lost:
        return RemoraError(
            f"exec in container {record.name}: its monitor was lost",
            f"`remora restart {record.name}` gives it a new one",
        )
    if not os.path.lexists(record.spec_path):
        return NoSuchContainer(record.name)
    hint = f"`remora unpause {record.name}`" if state.paused else f"`remora start {record.name}`"
    return RemoraError(
        f"can only create exec sessions on running containers: {record.name} is {state.status}: "
        "container state improper",
        hint,
    )


def _preserved(text: str) -> list[int]:
    """The descriptors that are handed on."""
    count = values.integer("--preserve-fds", text, 0, PRESERVED_MOST)
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            raise RemoraError(
                f"--preserve-fds {count}: descriptor {fd} is not open", f"descriptors 3 to {2 + count} must be open"
            ) from None
    return list(range(3, 3 + count))


def _process(
    arguments: Namespace,
    settings: Settings,
    record: ContainerRecord,
    state: ContainerState,
    words: list[str],
    rows: int,
    columns: int,
) -> dict[str, Json]:
    """The OCI process object. Users are looked up in the container's own root."""
    try:
        root = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise _improper(record, states.derive(settings, record)) from None
    try:
        if monitor.process_start(state.pid) != state.pid_start:  # checked after opening: it was that process's root
            raise _improper(record, states.derive(settings, record))
        return exec_process(
            settings,
            record.spec,
            root,
            args=words,
            env=environment.given_names(arguments.env_file, arguments.env, settings.environ),
            user=arguments.user,
            workdir=arguments.workdir,
            tty=arguments.tty,
            privileged=arguments.privileged,
            rows=rows,
            columns=columns,
        )
    finally:
        os.close(root)
