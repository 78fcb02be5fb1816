"""The types of spec.json, a container's resolved request (docs/spec.md), and the values of its later keys.

Import the types under TYPE_CHECKING. A spec is read with json and is a plain dict at run time.

A new key goes into `Later` and gets a value in DEFAULTS: a request starts from these values, and a record that an older
version wrote gets those that it lacks, so that nobody has to ask whether a key is there.
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
        type: Literal["bind", "tmpfs", "volume"]  # source of a volume: its name
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

    class Device(TypedDict):
        source: str
        target: str
        access: str

    class NetworkUse(TypedDict):
        name: str
        aliases: list[str]
        ip: str
        ip6: str
        mac: str
        interface: str

    class Port(TypedDict):
        host_ip: str
        host_port: int
        container_port: int
        range: int
        protocol: str

    class UserNamespace(TypedDict):
        mode: str
        target: str
        size: int
        uid_map: list[list[int]]
        gid_map: list[list[int]]

    class Later(TypedDict):
        """Keys that the first version did not write. One block for each owner."""

        # security options
        capabilities: list[str] | None
        group_add: list[str]
        sysctls: dict[str, str]
        devices: list[Device]
        device_cgroup_rules: list[str]
        oom_score_adj: int | None
        passwd: bool
        passwd_entry: str
        group_entry: str
        hostusers: list[str]
        # namespaces and surroundings
        pid: str
        ipc: str
        uts: str
        cgroupns: str
        shm_size: int
        timezone: str
        # user namespace
        userns: UserNamespace
        # networks
        networks: list[NetworkUse]
        network_options: list[str]
        ports: list[Port]
        exposed: list[str]
        publish_all: bool
        dns: list[str]
        dns_search: list[str]
        dns_options: list[str]
        add_hosts: list[str]
        no_hosts: bool

    class Spec(Later):
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


DEFAULTS: Later = {
    # security options
    "capabilities": None,
    "group_add": [],
    "sysctls": {"net.ipv4.ping_group_range": "0 0"},
    "devices": [],
    "device_cgroup_rules": [],
    "oom_score_adj": None,
    "passwd": True,
    "passwd_entry": "",
    "group_entry": "",
    "hostusers": [],
    # namespaces and surroundings
    "pid": "private",
    "ipc": "shareable",
    "uts": "private",
    "cgroupns": "",
    "shm_size": 64 << 20,
    "timezone": "",
    # user namespace
    "userns": {"mode": "host", "target": "", "size": 0, "uid_map": [], "gid_map": []},
    # networks
    "networks": [],
    "network_options": [],
    "ports": [],
    "exposed": [],
    "publish_all": False,
    "dns": [],
    "dns_search": [],
    "dns_options": [],
    "add_hosts": [],
    "no_hosts": False,
}


def defaults() -> Later:
    """DEFAULTS as a copy that may be changed."""
    return {key: _copy(value) for key, value in DEFAULTS.items()}  # type: ignore[return-value]


def complete(spec: Spec) -> None:
    """Give a spec the later keys that it lacks."""
    for key, value in DEFAULTS.items():
        if key not in spec:
            spec[key] = _copy(value)  # type: ignore[literal-required]


def _copy(value: object) -> object:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
