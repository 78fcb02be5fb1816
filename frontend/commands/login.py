"""`remora login` and `remora logout`: keep and forget logins to registries."""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE_login = "remora login -u me --password-stdin registry.example.com <password-file"
EXAMPLE_logout = "remora logout registry.example.com"


def add_arguments_login(parser: ArgumentParser) -> None:
    """Options as `podman login` has them."""
    _common(parser)
    parser.add_argument("--cert-dir", default="", metavar="PATH", help="Folder with the registry's certificates")
    parser.add_argument("--get-login", action="store_true", help="Show the user name that is kept for the registry")
    parser.add_argument("-p", "--password", default="", metavar="TEXT", help="Password; others see it: use stdin")
    parser.add_argument("--password-stdin", action="store_true", help="Read the password from stdin")
    parser.add_argument("-u", "--username", default="", metavar="NAME", help="User name")
    parser.add_argument("-v", "--verbose", action="store_true", help="Accepted: there is no more to tell")


def add_arguments_logout(parser: ArgumentParser) -> None:
    """Options as `podman logout` has them."""
    _common(parser)
    parser.add_argument("-a", "--all", action="store_true", help="Forget the logins of all registries")


def _common(parser: ArgumentParser) -> None:
    parser.add_argument("registry", nargs="?", default="", metavar="REGISTRY", help="Host of the registry")
    parser.add_argument("--authfile", default="", metavar="PATH", help="File with the registry logins")
    parser.add_argument("--tls-verify", action="store_true", help="false allows plain HTTP and any certificate")
    parser.set_defaults(tls_verify=None)  # not given: registries.conf decides


def run_login(arguments: Namespace, settings: Settings) -> int:
    """Print that it succeeded, or with --get-login the user name."""
    from remora.frontend.images import login

    access = login.Access(arguments.authfile, arguments.cert_dir, arguments.tls_verify)
    registry = login.registry_of(settings, arguments.registry)
    if arguments.get_login:
        user = login.user_of(settings, registry, access)
        if not user:
            raise RemoraError(f"looking up the login for {registry}: not logged in", f"`remora login {registry}`")
        os.write(1, f"{user}\n".encode(errors="surrogateescape"))
        return 0
    user, password = arguments.username, arguments.password
    if arguments.password_stdin:
        if password:
            raise RemoraError("--password and --password-stdin exclude each other", "leave --password out")
        if not user:
            raise RemoraError("--password-stdin needs the user name too", "give --username")
        password = login.password_from_stdin()
    elif password:
        os.write(2, b"Warning: a password on the command line can be seen by others: use --password-stdin\n")
    elif not user:
        user = login.user_of(settings, registry, access)
        if user and login.still_good(settings, registry, access):
            os.write(1, f"Already logged in to {registry} as {user}\n".encode(errors="surrogateescape"))
            return 0
        user = ""
    if password and not user:
        raise RemoraError("--password needs the user name too", "give --username")
    if not password:
        user, password = login.ask(user)
    login.login(settings, registry, user, password, access)
    os.write(1, b"Login Succeeded!\n")
    return 0


def run_logout(arguments: Namespace, settings: Settings) -> int:
    """Print what was forgotten."""
    from remora.frontend.images import login

    if arguments.all and arguments.registry:
        raise RemoraError("--all takes no registry", "leave one of the two out")
    access = login.Access(arguments.authfile)
    registry = "" if arguments.all else login.registry_of(settings, arguments.registry)
    os.write(1, login.logout(settings, registry, access).encode(errors="surrogateescape"))
    return 0
