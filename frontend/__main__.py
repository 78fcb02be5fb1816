"""The command `remora`; `python -m remora.frontend` is the same."""

from __future__ import annotations

import gc
import os
import sys

# Nothing that a command makes lives long or goes in circles: collecting would cost a millisecond and more.
gc.disable()

from remora.frontend.cli import main  # noqa: E402


def run() -> None:
    """Run the command line and end the process, without taking the interpreter apart first (5 ms)."""
    status = main()
    try:
        sys.stderr.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    run()
