"""`remora push`: copy an image to a registry, an archive or a folder."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "remora push --digestfile digest busybox registry.example.com/me/busybox:1"


def add_arguments(parser: ArgumentParser) -> None:
    """Options as `podman push` has them."""
    parser.add_argument("image", metavar="IMAGE", help="Name or id of the image")
    parser.add_argument(
        "destination", nargs="?", default="", metavar="DESTINATION", help="Name in a registry, or dir:, oci-archive:, …"
    )
    parser.add_argument("--authfile", default="", metavar="PATH", help="File with the registry logins")
    parser.add_argument("--cert-dir", default="", metavar="PATH", help="Folder with the registry's certificates")
    parser.add_argument("--compress", action="store_true", help="Compress layers also for dir:")
    parser.add_argument("--compression-format", default="", metavar="FORMAT", help="Of layers: gzip or zstd")
    parser.add_argument("--compression-level", default="", metavar="N", help="How hard to compress layers")
    parser.add_argument("--creds", default="", metavar="USER[:PASSWORD]", help="Login for the registry")
    parser.add_argument("--digestfile", default="", metavar="PATH", help="Write the manifest's digest to a file")
    parser.add_argument(
        "--disable-content-trust", action="store_true", help="Accepted: only --sign-by makes signatures"
    )
    parser.add_argument("-f", "--format", default="", metavar="FORMAT", help="Of the manifest: oci, v2s1 or v2s2")
    parser.add_argument("-q", "--quiet", action="store_true", help="Show no progress")
    parser.add_argument("--remove-signatures", action="store_true", help="Leave the image's signatures out")
    parser.add_argument("--sign-by", default="", metavar="KEY", help="Sign with this GPG key")
    parser.add_argument("--tls-verify", action="store_true", help="false allows plain HTTP and any certificate")
    parser.set_defaults(tls_verify=None)  # not given: registries.conf decides


def run(arguments: Namespace, settings: Settings) -> int:
    """Prints nothing on stdout."""
    from remora.frontend.images import pull, push

    push.push(
        settings,
        arguments.image,
        arguments.destination,
        quiet=arguments.quiet,
        options=pull.Options(arguments.tls_verify, arguments.creds, arguments.authfile, arguments.cert_dir),
        manner=push.Manner(
            arguments.format,
            arguments.digestfile,
            arguments.compression_format,
            arguments.compression_level,
            arguments.compress,
            arguments.remove_signatures,
            arguments.sign_by,
        ),
    )
    return 0
