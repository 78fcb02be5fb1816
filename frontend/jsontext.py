"""JSON by the interpreter's own C code, without the package `json`, whose import (it brings `re` and `enum`) takes
longer than reading the records of a hundred containers.

The C scanner and encoder are the ones that `json` itself uses; where they can't be had, `json` does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SPACE = " \t\r\n"


class _Context:
    """What `json.JSONDecoder` would hand to the scanner."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> float:
        """NaN and the infinities, which are no JSON."""
        raise ValueError(f"{name} is no JSON")


def _make() -> tuple[Callable[[str, int], tuple[object, int]], Callable[[object, int], tuple[str, ...]]] | None:
    try:
        import _json

        scan = _json.make_scanner(_Context())  # type: ignore[arg-type]
        encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, False)
    except (ImportError, AttributeError, TypeError):
        return None
    return scan, encode


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


_BOTH = _make()


def loads(text: str | bytes) -> object:
    """The value of a JSON text (bytes: UTF-8). Raises ValueError, RecursionError."""
    if isinstance(text, bytes):
        text = text.decode()
    if _BOTH is None:
        import json

        return json.loads(text)
    start = len(text) - len(text.lstrip(SPACE))
    try:
        value, end = _BOTH[0](text, start)
    except StopIteration:
        raise ValueError("not JSON: a value is missing") from None
    except SystemError:
        # The scanner takes its exception from json.decoder where that is imported, and else has none to raise.
        import json

        return json.loads(text)
    if text[end:].strip(SPACE):
        raise ValueError(f"not JSON: something follows the value at {end}")
    return value


def dumps(value: object) -> str:
    """A value as compact JSON in ASCII. Raises TypeError for what JSON has no form of, ValueError for NaN."""
    if _BOTH is None:
        import json

        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return "".join(_BOTH[1](value, 0))
