"""Parts of the interpreter that are compiled in, reached without their Python packages.

`signal` imports `enum`, `hashlib` loads OpenSSL: each costs a millisecond or more at every start. The compiled parts
are the same code; where an interpreter has them elsewhere, the packages are used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    Handler: TypeAlias = Callable[[int, object], object] | int | None

# Numbers of the generic Linux architectures, as everywhere in Remora (options/values.py).
SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGUSR1, SIGUSR2, SIGPIPE, SIGTERM = 1, 2, 3, 9, 10, 12, 13, 15
SIGXFSZ, SIGWINCH = 25, 28
DEFAULT = 0  # SIG_DFL


def block_signals(numbers: Iterable[int]) -> set[int]:
    """Hold signals back in this thread; the mask as it was before, for `set_signal_mask`."""
    return _mask(True, numbers)


def set_signal_mask(numbers: Iterable[int]) -> None:
    """Make these the signals that are held back, and no others."""
    _mask(False, numbers)


def set_handler(number: int, handler: Handler) -> Handler:
    """Set what a signal does (DEFAULT, or a function of its number and a frame); what it did before."""
    before: Handler = _signal().signal(number, handler)
    return before


def _mask(block: bool, numbers: Iterable[int]) -> set[int]:
    signal = _signal()
    before = signal.pthread_sigmask(signal.SIG_BLOCK if block else signal.SIG_SETMASK, list(numbers))
    return {int(number) for number in before}


def _signal() -> Any:
    """The compiled part of the package `signal`."""
    try:
        import _signal as signal  # type: ignore[import-not-found]
    except ImportError:
        import signal
    return signal


def sha256(data: bytes) -> str:
    """SHA-256 of a few bytes, as hex digits."""
    try:
        from _sha256 import sha256 as make  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256 as make
    digest: str = make(data).hexdigest()
    return digest
