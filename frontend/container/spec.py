"""The types of spec.json, a container's resolved request (docs/spec.md). Types only: nothing here costs a start.

Import the names under TYPE_CHECKING. A spec is read with json and is a plain dict at run time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal, TypeAlias, TypedDict

    # What json writes; Sequence and Mapping, so that a list of texts is one too.
    Json: TypeAlias = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

    class ImageReference(TypedDict):
        id: str
        name: str
        given: str
        digest: str
        lower: list[str]

    class Mount(TypedDict):
        type: Literal["bind", "tmpfs"]
        source: str
        target: str
        options: list[str]

    class Ulimit(TypedDict):
        name: str
        soft: int
        hard: int

    class Restart(TypedDict):
        policy: str
        max: int

    class LogDriver(TypedDict):
        driver: str
        path: str
        max_size: int
        max_files: int

    class LogStream(TypedDict):
        policy: str
        rate: int

    class Log(TypedDict):
        drivers: list[LogDriver]
        tag: str
        labels: list[str]
        stdout: LogStream
        stderr: LogStream

    class Spec(TypedDict):
        version: int
        id: str
        name: str
        created_ns: int
        create_command: list[str]
        image: ImageReference | None
        rootfs: str | None
        entrypoint: list[str] | None
        command: list[str] | None
        args: list[str]
        env: list[str]
        workdir: str
        workdir_given: bool
        user: str
        hostname: str
        tty: bool
        stdin_open: bool
        detach: bool
        remove: bool
        init: bool
        read_only: bool
        privileged: bool
        sig_proxy: bool
        attach: list[str]
        labels: dict[str, str]
        annotations: dict[str, str]
        mounts: list[Mount]
        network: str
        cap_add: list[str]
        cap_drop: list[str]
        ulimits: list[Ulimit]
        memory: int
        memory_swap: int
        pids_limit: int
        cpu_shares: int
        cpus: float
        cpuset_cpus: str
        restart: Restart
        stop_signal: int
        stop_timeout: int
        timeout: int
        log: Log
        detach_keys: str
        runtime: str
        preserve_fds: int
        pidfile: str
        cidfile: str
        umask: str
        security_opt: list[str]
