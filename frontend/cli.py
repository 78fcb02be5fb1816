"""The command line: global options, the table of commands, and the one place where errors become exit statuses.

The table alone serves dispatch and help; the module of the chosen command is the only one imported, and only
its parser is built. A command module offers

    EXAMPLE: str                                              one line for --help
    add_arguments(parser: ArgumentParser) -> None             remora.frontend.arguments
    run(arguments: Namespace, settings: Settings) -> int      the exit status

or, with several commands in a module, `add_arguments_NAME`, `run_NAME` and `EXAMPLE_NAME`.
`INTERSPERSED = False` (or INTERSPERSED_NAME) leaves everything after the first argument alone (run, exec).
"""

from __future__ import annotations

import os
import sys

from remora.frontend.errors import RemoraError, error_line, os_error_text
from remora.frontend.settings import GlobalOptions, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings


class Command:
    """One command: the module that has it (below remora.frontend.commands) and a line of help."""

    __slots__ = ("module", "summary")

    def __init__(self, module: str, summary: str) -> None:
        self.module = module
        self.summary = summary


COMMANDS: dict[str, Command] = {
    "attach": Command("attach", "Attach to a running container"),
    "completion": Command("completion", "Print the script that completes command lines in a shell"),
    "cp": Command("cp", "Copy files between containers and here"),
    "create": Command("create", "Create a container without starting it"),
    "diff": Command("diff", "Show what a container has changed in the files of its image"),
    "exec": Command("exec", "Run a process in a running container"),
    "export": Command("export", "Write the file system of a container as a tarball"),
    "history": Command("history", "Show the steps that an image was made in"),
    "images": Command("images", "List the images of the local store"),
    "import": Command("import_", "Make an image from a tarball of a root file system"),
    "info": Command("info", "Show what Remora works with on this machine"),
    "inspect": Command("inspect", "Show everything about containers, images or volumes as JSON"),
    "kill": Command("kill", "Send a signal to containers"),
    "load": Command("load", "Load images from an archive"),
    "login": Command("login", "Check a login to a registry and keep it"),
    "logout": Command("login", "Forget the login to a registry"),
    "logs": Command("logs", "Show the output of containers"),
    "pause": Command("pause", "Freeze the processes of containers"),
    "port": Command("port", "List the published ports of containers"),
    "ps": Command("ps", "List containers"),
    "pull": Command("pull", "Fetch an image from a registry"),
    "push": Command("push", "Copy an image to a registry, an archive or a folder"),
    "rename": Command("rename", "Give a container another name"),
    "restart": Command("restart", "Stop and start containers"),
    "rm": Command("rm", "Remove containers"),
    "rmi": Command("rmi", "Remove images"),
    "run": Command("run", "Run a command in a new container"),
    "save": Command("save", "Save images to an archive"),
    "search": Command("search", "List the tags of an image in its registry"),
    "start": Command("start", "Start containers"),
    "stats": Command("stats", "Show what containers use of CPU, memory, network and disks"),
    "stop": Command("stop", "Stop containers"),
    "tag": Command("tag", "Give an image another name"),
    "top": Command("top", "Show the processes of a container"),
    "unpause": Command("pause", "Thaw the processes of containers"),
    "untag": Command("untag", "Take names from an image"),
    "version": Command("version", "Show the version of Remora"),
    "wait": Command("wait", "Wait until containers end and print their exit codes"),
}

# Not shown: used by the monitor, `__complete` by the scripts of `completion`.
HIDDEN: dict[str, Command] = {
    "__complete": Command("complete", "Complete a command line"),
    "_unshift": Command("unshift", "Remove shifted copies of images that nobody uses"),
    "_slirp": Command("slirp", "Start slirp4netns for a container"),
    "_uplink": Command("uplink", "See to slirp4netns of the user's bridge networks"),
    "_unguard": Command("unguard", "Let go of an image that nobody uses"),
    "_unvolume": Command("unvolume", "Remove the anonymous volumes of containers that are gone"),
}

# Only with their noun.
GROUPED: dict[str, Command] = {
    "container_exists": Command("exists", "Tell by the exit status whether a container is there"),
    "container_prune": Command("prune", "Remove containers that do not run"),
    "image_exists": Command("exists", "Tell by the exit status whether an image is there"),
    "image_prune": Command("prune", "Remove images that nothing needs"),
    "monitor_ls": Command("monitors", "List the monitors of running containers"),
    "monitor_reopen_logs": Command("monitors", "Go on in new log files, after the old ones were renamed"),
    "monitor_status": Command("monitors", "Show what monitors are made of and what they have logged"),
    "monitor_upgrade": Command("monitors", "Have running monitors go on as the program that is installed now"),
    "network_connect": Command("network_live", "Connect a container to a network"),
    "network_create": Command("networks", "Make a network"),
    "network_disconnect": Command("network_live", "Disconnect a container from a network"),
    "network_exists": Command("networks", "Tell by the exit status whether a network is there"),
    "network_inspect": Command("networks", "Show everything about networks as JSON"),
    "network_ls": Command("networks", "List networks"),
    "network_prune": Command("networks", "Remove networks that no container uses"),
    "network_reload": Command("network_live", "Make the interfaces and firewall rules of containers anew"),
    "network_rm": Command("networks", "Remove networks"),
    "volume_create": Command("volumes", "Make a volume"),
    "volume_exists": Command("volumes", "Tell by the exit status whether a volume is there"),
    "volume_export": Command("volume_archives", "Write the files of a volume as a tar archive"),
    "volume_import": Command("volume_archives", "Put the files of a tar archive into a volume"),
    "volume_inspect": Command("volumes", "Show everything about volumes as JSON"),
    "volume_ls": Command("volumes", "List volumes"),
    "volume_prune": Command("volumes", "Remove volumes that no container uses"),
    "volume_rm": Command("volumes", "Remove volumes"),
}

# `remora container ls`, `remora image rm`: the spelling with a noun.
NOUNS: dict[str, dict[str, str]] = {
    "container": {
        **{
            name: name
            for name in (
                "attach cp create diff exec export inspect kill logs pause port ps rename restart rm run start stop "
                "unpause wait"
            ).split()
        },
        "exists": "container_exists",
        "list": "ps",
        "ls": "ps",
        "prune": "container_prune",
        "stats": "stats",
        "top": "top",
    },
    "image": {
        **{name: name for name in "history import inspect load pull push rm save search tag untag".split()},
        "exists": "image_exists",
        "list": "images",
        "ls": "images",
        "prune": "image_prune",
        "rm": "rmi",
    },
    "monitor": {
        "list": "monitor_ls",
        "ls": "monitor_ls",
        "reopen-logs": "monitor_reopen_logs",
        "status": "monitor_status",
        "upgrade": "monitor_upgrade",
    },
    "network": {
        **{name: f"network_{name}" for name in "connect create disconnect exists inspect ls prune reload rm".split()},
        "list": "network_ls",
        "remove": "network_rm",
    },
    "volume": {
        **{name: f"volume_{name}" for name in "create exists export import inspect ls prune rm".split()},
        "list": "volume_ls",
        "remove": "volume_rm",
    },
}
NOUN_SUMMARIES = {
    "container": "The commands on containers: remora container ls",
    "image": "The commands on images: remora image ls",
    "monitor": "Look at the monitors of running containers, upgrade them",
    "network": "The commands on networks: remora network ls",
    "volume": "The commands on volumes: remora volume ls",
}

GLOBAL_VALUES = {
    "--root": "root",
    "--runroot": "runroot",
    "--runtime": "runtime",
    "--cgroup-manager": "cgroup_manager",
    "--entered": "entered",  # not shown: given by the monitor
}
GLOBAL_HELP = (
    ("    --cgroup-manager NAME", "Who makes cgroups: cgroupfs or systemd"),
    ("-D, --debug", "Tell more about what is done"),
    ("    --help", "Show this help"),
    ("    --root PATH", "Folder of the containers (default /var/lib/remora; ~/.local/share/remora)"),
    ("    --runroot PATH", "Folder of what runs (default /run/remora; $XDG_RUNTIME_DIR/remora)"),
    ("    --runtime NAME", "OCI runtime: a name or a path"),
    ("    --version", "Show the version"),
)
INTERRUPTED = 130
# What an ordinary user can do only in a namespace of their own: giving files to other ids. `create`, `exec`, `restart`,
# `rm`, `run` and `start` enter one by themselves, the others only read, or talk to monitors.
ENTERING = frozenset(
    (
        "diff",
        "image_prune",
        "import",
        "load",
        "network_connect",
        "network_disconnect",
        "network_reload",
        "pull",
        "push",
        "rmi",
        "save",
        "volume_export",
        "volume_import",
    )
)


def entry() -> NoReturn:
    """The command: run it and end at once. An interpreter that takes itself apart costs 3 ms of each command's time."""
    status = main()
    try:
        sys.stderr.flush()
    except OSError:
        pass  # nobody is left to be told
    os._exit(status)


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the command line and return its exit status; no exception leaves it."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    env = os.environ if environ is None else environ
    status = _guarded(argv, env)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _mute(1)
    except OSError as error:
        _say(f"writing the output: {os_error_text(error)}")
        _mute(1)
        status = status or 125
    return status


def _guarded(argv: list[str], env: Mapping[str, str]) -> int:
    """The one place where an exception becomes a line on stderr and an exit status."""
    try:
        return _dispatch(argv, env)
    except RemoraError as error:
        _say(str(error))
        return error.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _mute(1)
        return 0
    except Exception as error:
        if env.get("REMORA_DEBUG"):
            raise
        return _unexpected(argv, error)


def _unexpected(argv: list[str], error: Exception) -> int:
    doing = " ".join(["remora", *[word for word in argv if word in COMMANDS][:1]])
    if isinstance(error, OSError):
        _say(f"{doing}: {os_error_text(error)}{_remedy(error)}")
        return 125
    if type(error).__name__ == "MonitorGone":
        _say(f"{doing}: the container's monitor is gone (`remora ps -a` shows what became of the container)")
        return 125
    if type(error).__name__ == "RequestFailed":
        status = getattr(error, "status", 125)
        _say(request_failed_text(error))
        return status if isinstance(status, int) and status else 125
    _say(f"{doing}: internal error: {type(error).__name__}: {error} (REMORA_DEBUG=1 shows where)")
    return 125


def request_failed_text(error: Exception) -> str:
    """The one line for a reply that says no: phase, object, what went wrong."""
    parts = [str(getattr(error, name, "") or "") for name in ("phase", "object", "error")]
    return ": ".join(part for part in (" ".join(parts[:2]).strip(), parts[2]) if part) or str(error)


def _remedy(error: OSError) -> str:
    import errno

    remedies = {
        errno.ENOSPC: "free some space, `remora rm` removes containers that are no longer wanted",
        errno.EDQUOT: "free some space or raise the quota",
        errno.EROFS: "the folder must be writable: choose others with --root and --runroot",
        errno.EACCES: "it must be yours: HOME, XDG_RUNTIME_DIR, --root and --runroot say where things are",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
        errno.ENFILE: "the machine has no more open files to give",
    }
    return f" ({remedies[error.errno]})" if error.errno in remedies else ""


def _say(text: str) -> None:
    """One line on stderr, whatever it holds and whether or not somebody reads it."""
    try:
        sys.stdout.flush()
    except OSError:
        pass
    try:
        os.write(2, error_line(text))
    except OSError:
        pass


def _mute(fd: int) -> None:
    """Send a descriptor to /dev/null, so that the interpreter's last flush has nothing to complain about."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, fd)
    os.close(null)


def _dispatch(argv: list[str], env: Mapping[str, str]) -> int:
    options = GlobalOptions()
    at = _global_options(argv, options)
    if at is None:
        return 0
    rest = argv[at:]
    if not rest:
        sys.stderr.write(help_text())
        return 125
    name, prog, rest = find_command(rest)
    command = COMMANDS.get(name) or GROUPED.get(name) or HIDDEN.get(name)
    if command is None:
        return 0
    return _run(name, prog, command, rest, options, env)


def _global_options(argv: list[str], options: GlobalOptions) -> int | None:
    """Read the options before the command; the index of the command, None when all is done (help, version)."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        flag, equals, value = argv[at].partition("=")
        at += 1
        if flag in ("--help", "-h"):
            sys.stdout.write(help_text())
            return None
        if flag in ("--version", "-v"):
            from remora.frontend.version import VERSION

            sys.stdout.write(f"remora version {VERSION}\n")
            return None
        if flag in ("--debug", "-D"):
            options.debug = not equals or value not in ("false", "0")
            continue
        attribute = GLOBAL_VALUES.get(flag)
        if attribute is None:
            raise RemoraError(
                f"unknown flag: {flag}", _suggestion(flag, [*list(GLOBAL_VALUES)[:-1], "--debug", "--version"])
            )
        if not equals:
            if at == len(argv):
                raise RemoraError(f"flag needs an argument: {flag}", "see `remora --help`")
            value = argv[at]
            at += 1
        if flag == "--entered" and not all(number.isdecimal() for number in value.split(":", 1)):
            raise RemoraError(f'invalid argument "{value}" for "{flag}"', "UID:GID expected")
        if flag == "--cgroup-manager" and value not in ("cgroupfs", "systemd"):
            raise RemoraError(f'invalid argument "{value}" for "{flag}"', "cgroupfs or systemd expected")
        setattr(options, attribute, value)
    return at


def find_command(rest: list[str]) -> tuple[str, str, list[str]]:
    """Name of the command, how help calls it, and its arguments; nouns and `help` resolved."""
    name = rest[0]
    if name == "help":
        if len(rest) == 1:
            sys.stdout.write(help_text())
            return "", "", []
        return find_command([*rest[1:], "--help"])
    noun = NOUNS.get(name)
    if noun is None:
        if name not in COMMANDS and name not in HIDDEN:
            raise RemoraError(f'unknown command "{name}" for "remora"', _suggestion(name, list(COMMANDS)))
        return name, f"remora {name}", rest[1:]
    if len(rest) == 1 or rest[1] in ("--help", "-h"):
        table = {**COMMANDS, **GROUPED}
        lines = [f"  {verb:<12} {table[noun[verb]].summary}" for verb in sorted(noun)]
        sys.stdout.write(f"Usage: remora {name} COMMAND\n\nCommands:\n" + "\n".join(lines) + "\n")
        return "", "", []
    verb = rest[1]
    if verb not in noun:
        raise RemoraError(f'unknown command "{verb}" for "remora {name}"', _suggestion(verb, list(noun)))
    kind = ["--type", name] if noun[verb] == "inspect" else []
    return noun[verb], f"remora {name} {verb}", [*kind, *rest[2:]]


def _suggestion(wrong: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(wrong, known, 1, 0.6)
    return f"did you mean {near[0]}? See `remora --help`" if near else "see `remora --help`"


def command_parser(
    name: str, prog: str, command: Command
) -> tuple[ArgumentParser, Callable[[Namespace, Settings], object]]:
    """The parser of one command, and what runs it. prog: how help calls the command."""
    from importlib import import_module

    from remora.frontend.arguments import ArgumentParser

    module = import_module(f"remora.frontend.commands.{command.module}")

    def part(what: str) -> object:
        """`run_NAME` where the module has several commands, else `run`."""
        return getattr(module, f"{what}_{name}", getattr(module, what, None))

    parser = ArgumentParser(
        prog,
        description=command.summary,
        example=str(part("EXAMPLE") or ""),
        interspersed=part("INTERSPERSED") is not False,
    )
    add_arguments, run = part("add_arguments"), part("run")
    assert callable(add_arguments) and callable(run)
    add_arguments(parser)
    return parser, run


def _run(
    name: str, prog: str, command: Command, words: list[str], options: GlobalOptions, env: Mapping[str, str]
) -> int:
    from remora.frontend.arguments import HelpAsked

    parser, run = command_parser(name, prog, command)
    try:
        arguments = parser.parse_args(words)
    except HelpAsked:
        sys.stdout.write(parser.format_help())
        return 0
    settings = load(options, env)
    if settings.outside and name in ENTERING:
        from remora.frontend.rootless import entering

        entering.enter(settings)
    status = run(arguments, settings)
    assert isinstance(status, int)
    return status


def help_text() -> str:
    """The help of `remora` itself, from the table alone."""
    width = max(len(name) for name in [*COMMANDS, *NOUNS])
    lines = ["Run and manage containers without a daemon", "", "Usage: remora [options] COMMAND", "", "Commands:"]
    lines += [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "Groups of commands:", *(f"  {name:<{width}}  {text}" for name, text in NOUN_SUMMARIES.items())]
    lines += [
        "",
        "Options:",
        *(f"  {names:<22} {text}" for names, text in GLOBAL_HELP),
        "",
        "`remora COMMAND --help` tells more about a command.",
    ]
    return "\n".join(lines) + "\n"
