"""The monitor, seen from Python: start one, talk to it, read what it wrote, relay a terminal.

Names are loaded when they are first used, so that importing this package costs next to nothing; the submodules are
``core`` (the C library, function by function), ``connection``, ``records``, ``program`` and ``errors``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .connection import Connection, Packet, RelayEnd, RelayResult
    from .core import (
        clone_mount,
        copy_shifted,
        enter_user_namespace,
        join_user_namespace,
        lock,
        lock_held,
        make_folders_in_root,
        make_namespaces,
        make_user_namespace,
        mount_overlay,
        open_in_root,
        print_log,
        process_start,
        remove_cgroup,
        remove_tree,
        sealed_memory,
        take_mount,
        user_namespace_map,
        version,
        wait_unlocked,
        window_size,
    )
    from .errors import MonitorGone, RequestFailed, UserNamespaceError
    from .program import monitor_program, spawn
    from .records import pack, read_ended, read_record, read_state, unpack

__all__ = [
    "Connection",
    "MonitorGone",
    "Packet",
    "RelayEnd",
    "RelayResult",
    "RequestFailed",
    "UserNamespaceError",
    "clone_mount",
    "copy_shifted",
    "enter_user_namespace",
    "join_user_namespace",
    "lock",
    "lock_held",
    "make_folders_in_root",
    "make_namespaces",
    "make_user_namespace",
    "monitor_program",
    "mount_overlay",
    "open_in_root",
    "pack",
    "print_log",
    "process_start",
    "read_ended",
    "read_record",
    "read_state",
    "remove_cgroup",
    "remove_tree",
    "sealed_memory",
    "spawn",
    "take_mount",
    "unpack",
    "user_namespace_map",
    "version",
    "wait_unlocked",
    "window_size",
]

_HOMES = {
    "Connection": "connection",
    "MonitorGone": "errors",
    "Packet": "connection",
    "RelayEnd": "connection",
    "RelayResult": "connection",
    "RequestFailed": "errors",
    "UserNamespaceError": "errors",
    "monitor_program": "program",
    "pack": "records",
    "read_ended": "records",
    "read_record": "records",
    "read_state": "records",
    "spawn": "program",
    "unpack": "records",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_HOMES.get(name, 'core')}", fromlist=[name])
    value: object = getattr(module, name)
    globals()[name] = value
    return value
