"""Messages and records: msgpack in and out, exit records and state files.

``msgpack`` is imported when it is first used: it costs some milliseconds, and a command such as ``ps`` without
running containers needs none of it.
"""

from __future__ import annotations

from . import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

STATE_MAX = 65536  # bytes of a state file


def pack(message: Mapping[str, object]) -> bytes:
    """One map as msgpack. Text that came from the system undecodable (surrogates) goes back as the same bytes."""
    from msgpack import packb

    packed: bytes = packb(message, unicode_errors="surrogateescape")
    return packed


def unpack(data: bytes) -> dict[str, object]:
    """One map from msgpack.

    Raises:
        ValueError: the bytes are no map with text keys.
    """
    from msgpack import unpackb

    try:
        value: object = unpackb(data, unicode_errors="surrogateescape")
    except Exception as error:
        # The library raises exceptions of half a dozen unrelated classes for bad input.
        raise ValueError(f"not a msgpack map: {error or type(error).__name__}") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("not a msgpack map with text keys")
    return value


def read_record(data_dir: str | os.PathLike[str]) -> dict[str, object] | None:
    """The exit record of a container's data folder, None while it has no valid one.

    Raises:
        FileNotFoundError: the container was never started.
        ValueError: the record's checksum is right but its payload is no map.
    """
    data = core.record_read(f"{data_dir}/exit")
    return unpack(data) if data else None


def read_ended(path: str | os.PathLike[str]) -> dict[str, object] | None:
    """The exit record in a file of ``<run>/ended``, kept for late waiters on a container that is removed.

    The file holds the bare map: it is written before the container's folder goes, so nobody meets it half written.

    Raises:
        FileNotFoundError: there is none (any more).
        ValueError: the file holds no map (the run folder was full).
    """
    data = core.read_file(path, core.RECORD_MAX)
    return unpack(data) if data else None


def read_state(run_dir: str | os.PathLike[str]) -> dict[str, object] | None:
    """The state file of a run folder, None when there is none.

    Raises:
        ValueError: the file is there and is no msgpack map.
    """
    path = f"{run_dir}/state"
    try:
        return unpack(core.read_file(path, STATE_MAX))
    except (FileNotFoundError, NotADirectoryError):
        return None
