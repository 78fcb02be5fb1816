"""`remora pull`: fetch images from registries."""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora pull --tls-verify=false 127.0.0.1:5000/base:1"


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman pull` has them."""
    parser.add_argument("names", nargs="+", metavar="IMAGE", help="Names of the images")
    parser.add_argument("--arch", default="", metavar="ARCH", help="Choose the image of another architecture")
    parser.add_argument("--authfile", default="", metavar="PATH", help="File with the registry logins")
    parser.add_argument("--cert-dir", default="", metavar="PATH", help="Folder with the registry's certificates")
    parser.add_argument("--creds", default="", metavar="USER[:PASSWORD]", help="Login for the registry")
    parser.add_argument("--os", default="", metavar="OS", help="Choose the image of another operating system")
    parser.add_argument("--platform", default="", metavar="OS/ARCH[/VARIANT]", help="The two and the variant in one")
    parser.add_argument(
        "--policy",
        default="always",
        metavar="POLICY",
        help="always, missing, never or newer",
        complete="always missing never newer",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="Show no progress")
    parser.add_argument("--tls-verify", action="store_true", help="false allows plain HTTP")
    parser.set_defaults(tls_verify=None)  # not given: registries.conf decides
    parser.add_argument("--variant", default="", metavar="VARIANT", help="Choose the image of another variant")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the id of each image; the first that fails ends it."""
    from remora.frontend.images import pull

    system, architecture, variant = arguments.os, arguments.arch, arguments.variant
    if arguments.platform:
        parts = arguments.platform.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise RemoraError(f'invalid platform "{arguments.platform}"', "OS/ARCH or OS/ARCH/VARIANT expected")
        system, architecture, variant = (*parts, "")[:3]
    options = pull.Options(
        arguments.tls_verify, arguments.creds, arguments.authfile, arguments.cert_dir, architecture, system, variant
    )
    for name in arguments.names:
        image = pull.pull(settings, name, quiet=arguments.quiet, policy=arguments.policy, options=options)
        os.write(1, image.id.encode() + b"\n")
    return 0
