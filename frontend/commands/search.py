"""`remora search --list-tags`: what tags a repository has in its registry."""

from __future__ import annotations

import sys

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora search --list-tags --limit 5 docker.io/library/busybox"
COLUMNS = "table {{.Name}}\t{{.Tag}}"
LIMIT = 25


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman search --list-tags` has them."""
    parser.add_argument("term", metavar="NAME", help="Name of the repository")
    parser.add_argument("--authfile", default="", metavar="PATH", help="File with the registry logins")
    parser.add_argument("--cert-dir", default="", metavar="PATH", help="Folder with the registry's certificates")
    parser.add_argument("--creds", default="", metavar="USER[:PASSWORD]", help="Login for the registry")
    parser.add_argument("--format", default="", metavar="FORMAT", help="json, table COLUMNS or a Go template")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"At most so many tags (default {LIMIT})")
    parser.add_argument("--list-tags", action="store_true", help="List the tags of a repository: needed for now")
    parser.add_argument("--no-trunc", action="store_true", help="Accepted: nothing is cut")
    parser.add_argument("--tls-verify", action="store_true", help="false allows plain HTTP and any certificate")
    parser.set_defaults(tls_verify=None)  # not given: registries.conf decides


def run(arguments: Namespace, settings: Settings) -> int:
    """Print a table, JSON, or what a template makes of each tag."""
    from remora.frontend.images import pull, tags

    if not arguments.list_tags:
        raise RemoraError(
            f"searching for {arguments.term}: only the tags of a repository can be listed",
            f"`remora search --list-tags {arguments.term}`",
        )
    if arguments.limit < 1:
        raise RemoraError(f'invalid argument "{arguments.limit}" for "--limit"', "1 or more expected")
    options = pull.Options(arguments.tls_verify, arguments.creds, arguments.authfile, arguments.cert_dir)
    name, found = tags.tags(settings, arguments.term, options)
    found = found[: arguments.limit]
    if arguments.format == "json":
        from json import dumps

        value = [{"Name": name, "Tags": found}]
        sys.stdout.write(dumps(value, indent=4, ensure_ascii=False) + "\n")
        return 0
    from remora.frontend.output.rows import render

    form = COLUMNS if arguments.format in ("", "table") else arguments.format
    headings = {"Name": "NAME", "Tag": "TAG"}
    sys.stdout.write(render(form, [{"Name": name, "Tag": tag} for tag in found], headings))
    return 0
