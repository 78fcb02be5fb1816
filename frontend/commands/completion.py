"""`remora completion`: the scripts that complete command lines in bash, zsh and fish."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.arguments import ArgumentParser, Namespace
    from remora.frontend.settings import Settings

EXAMPLE = "source <(remora completion bash)"
SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="bash|zsh|fish")


def run(arguments: Namespace, settings: Settings) -> int:
    """Print the script; README.md tells where each shell looks for it."""
    from remora.frontend import completion

    path = f"{os.path.dirname(completion.__file__)}/remora.{arguments.shell}"
    with open(path, encoding="utf-8") as file:
        sys.stdout.write(file.read())
    return 0
