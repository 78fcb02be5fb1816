"""`inspect` of a container: Podman's and Docker's field names, filled from the request and the derived state."""

from __future__ import annotations

import os

from remora.frontend.container import logs
from remora.frontend.container import state as states
from remora.frontend.oci import capabilities, cgroups, namespaces
from remora.frontend.oci.security import SecurityOptions
from remora.frontend.output.template.values import Map
from remora.frontend.output.text import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.container.spec import Mount, Port, Spec
    from remora.frontend.container.state import ContainerState
    from remora.frontend.settings import Settings

READ_ONLY = "ro"


def container(settings: Settings, record: ContainerRecord, size: bool = False) -> dict[str, object]:
    """Everything about a container, ready for JSON or a template."""
    spec = record.spec
    state = states.derive(settings, record)
    told = _ask(record, state)
    image = spec["image"]
    made: dict[str, object] = {
        "Id": record.id,
        "Created": moment(spec["created_ns"]),
        "Path": spec["args"][0] if spec["args"] else "",
        "Args": spec["args"][1:],
        "State": _state(state, told),
        "Image": image["id"] if image else "",
        "ImageDigest": image["digest"] if image else "",
        "ImageName": image["name"] if image else "",
        "Rootfs": spec["rootfs"] or "",
        "Pod": "",
        "ResolvConfPath": record.data_dir + "/etc/resolv.conf",
        "HostnamePath": record.data_dir + "/etc/hostname",
        "HostsPath": record.data_dir + "/etc/hosts",
        "StaticDir": record.data_dir,
        "RunDir": record.run_dir,
        "OCIConfigPath": record.bundle + "/config.json",
        "OCIRuntime": _runtime(settings, spec),
        "ConmonPidFile": "",
        "PidFile": spec["pidfile"],
        "Name": record.name,
        "RestartCount": state.restarts,
        "Driver": "overlay",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": SecurityOptions(spec["security_opt"]).apparmor,
        **_capabilities(spec),
        "ExecIDs": _sessions(told),
        "GraphDriver": _graph(record),
        "Mounts": [_mount(settings, mount) for mount in spec["mounts"]],
        "Dependencies": [],
        "NetworkSettings": _network(settings, spec),
        "Namespace": "",
        "IsInfra": False,
        "LogPath": record.log_path,
        "Config": _config(spec),
        "HostConfig": _host_config(settings, record),
    }
    if size:
        from remora.frontend.commands import ps

        own = ps.written(record)
        made["SizeRw"] = own
        made["SizeRootFs"] = own + ps.image_size(settings, record)
    return made


def _ask(record: ContainerRecord, state: ContainerState) -> dict[str, object]:
    """What the monitor of a running container answers to `status`; nothing when there is none."""
    if not state.live or state.lost:
        return {}
    from remora import monitor

    try:
        with monitor.Connection.open(record.run_dir) as connection:
            return connection.request({"op": "status"})
    except (monitor.MonitorGone, monitor.RequestFailed, OSError):
        return {}


def _state(state: ContainerState, told: dict[str, object]) -> dict[str, object]:
    exit_record = state.record
    logged = logs.statistics(told.get("log") if exit_record is None else exit_record.get("log"))
    if exit_record is not None and "log" not in exit_record:
        logged["Written"] = states.number(exit_record, "log_bytes")
        logged["Dropped"] = states.number(exit_record, "log_dropped")
    unknown = state.status == states.EXITED and not state.known
    return {
        "OciVersion": "1.0.2",
        "Status": state.status,
        "Running": state.running,
        "Paused": state.paused,
        "Restarting": state.restarting,
        "OOMKilled": state.oom,
        "Dead": False,
        "Pid": state.pid,
        "ConmonPid": state.monitor_pid,
        "MonitorLost": state.lost,
        # null, not a number that could be taken for one, when nobody saw how it ended
        "ExitCode": None if unknown else state.exit_code or 0,
        "ExitCodeKnown": not unknown,
        "Error": state.error,
        "StartedAt": moment(state.started_ns),
        "FinishedAt": moment(state.finished_ns),
        "Signal": states.number(exit_record, "signal"),
        "CoreDumped": bool(exit_record and exit_record.get("core")),
        "Reason": states.text(exit_record, "why"),
        "CpuNano": states.number(exit_record, "cpu_ns"),
        "MemoryPeak": states.number(exit_record, "peak_bytes"),
        "LogBytes": logged["Written"],
        "LogDropped": logged["Dropped"],
        "LogStatistics": logged,
    }


def _runtime(settings: Settings, spec: Spec) -> str:
    """The runtime's name; "" when none can be found (which must not keep anybody from looking)."""
    from remora.frontend import runtime
    from remora.frontend.errors import RemoraError

    try:
        return os.path.basename(runtime.command(settings, spec["runtime"])[0])
    except (RemoraError, OSError):
        return spec["runtime"]


def _cgroup_manager(settings: Settings) -> str:
    """Who makes cgroups; "" when the setting is wrong (which must not keep anybody from looking)."""
    from remora.frontend.errors import RemoraError

    try:
        return cgroups.manager(settings)
    except RemoraError:
        return ""


def _capabilities(spec: Spec) -> dict[str, object]:
    bounding = capabilities.of_spec(spec, capabilities.own()[0])
    root = spec["user"].partition(":")[0] in ("", "0", "root")
    sets = capabilities.process_sets(bounding, spec["cap_add"], 0 if root else 1)
    return {"EffectiveCaps": sorted(sets.get("effective", [])), "BoundingCaps": sorted(bounding)}


def _sessions(told: dict[str, object]) -> list[str]:
    """The ids of the exec sessions that its monitor knows."""
    sessions = told.get("execs")
    found = sessions if isinstance(sessions, list) else []
    return [str(session.get("session", "")) for session in found if isinstance(session, dict)]


def _graph(record: ContainerRecord) -> dict[str, object]:
    image = record.spec["image"]
    if image is None:
        return {"Name": "overlay", "Data": None}
    return {
        "Name": "overlay",
        "Data": {
            "LowerDir": ":".join(image["lower"]),
            "MergedDir": record.data_dir + "/merged",
            "UpperDir": record.data_dir + "/upper",
            "WorkDir": record.data_dir + "/work",
        },
    }


def _mount(settings: Settings, mount: Mount) -> dict[str, object]:
    propagation = [option for option in mount["options"] if option.lstrip("r") in ("shared", "slave", "private")]
    volume = mount["type"] == "volume"
    return {
        "Type": mount["type"],
        **({"Name": mount["source"]} if volume else {}),
        "Source": f"{settings.data}/volumes/{mount['source']}/_data" if volume else mount["source"],
        "Destination": mount["target"],
        "Driver": "local" if volume else "",
        "Mode": "",
        "Options": mount["options"],
        "RW": READ_ONLY not in mount["options"],
        "Propagation": propagation[-1] if propagation else "" if mount["type"] == "tmpfs" else "rprivate",
    }


def _network(settings: Settings, spec: Spec) -> dict[str, object]:
    found: dict[str, object] = {
        "Bridge": "",
        "SandboxID": "",
        "Ports": Map(),
        "SandboxKey": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "",
        "Networks": Map(),
    }
    if spec["network"] in ("none", "host"):
        return found
    from remora.frontend.networks import inspection

    return inspection.settings_of(settings, spec, found)


def _bindings(ports: Sequence[Port]) -> dict[str, object]:
    if not ports:
        return {}
    from remora.frontend.networks import inspection

    return inspection.bindings(ports)


def _config(spec: Spec) -> dict[str, object]:
    image = spec["image"]
    return {
        "Hostname": spec["hostname"] or spec["id"][:12],
        "Domainname": "",
        "User": spec["user"],
        "AttachStdin": "stdin" in spec["attach"],
        "AttachStdout": "stdout" in spec["attach"],
        "AttachStderr": "stderr" in spec["attach"],
        "Tty": spec["tty"],
        "OpenStdin": spec["stdin_open"],
        "StdinOnce": spec["stdin_open"] and "stdin" in spec["attach"],
        "Env": spec["env"],
        "Cmd": spec["command"],
        "Image": image["name"] if image else "",
        "Volumes": None,
        "WorkingDir": spec["workdir"],
        "Entrypoint": " ".join(spec["entrypoint"] or []),
        "OnBuild": None,
        "Labels": Map(spec["labels"]),
        "Annotations": Map(spec["annotations"]),
        "StopSignal": spec["stop_signal"],
        "CreateCommand": spec["create_command"],
        "Umask": spec["umask"],
        "Timeout": spec["timeout"],
        "StopTimeout": spec["stop_timeout"],
        "Passwd": spec["passwd"],
    }


def _host_config(settings: Settings, record: ContainerRecord) -> dict[str, object]:
    spec = record.spec
    return {
        "Binds": [_bind(mount) for mount in spec["mounts"] if mount["type"] != "tmpfs"],
        "CgroupManager": _cgroup_manager(settings),
        "CgroupMode": namespaces.mode(spec, "cgroupns"),
        "ContainerIDFile": spec["cidfile"],
        "LogConfig": _log_config(record),
        "NetworkMode": spec["network"],
        "PortBindings": Map(_bindings(spec["ports"])),
        "RestartPolicy": {"Name": spec["restart"]["policy"], "MaximumRetryCount": spec["restart"]["max"]},
        "AutoRemove": spec["remove"],
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": spec["cap_add"],
        "CapDrop": spec["cap_drop"],
        "Dns": spec["dns"],
        "DnsOptions": spec["dns_options"],
        "DnsSearch": spec["dns_search"],
        "ExtraHosts": spec["add_hosts"],
        "GroupAdd": spec["group_add"],
        "IpcMode": spec["ipc"],
        "Cgroup": "",
        "Cgroups": "default",
        "Links": None,
        "OomScoreAdj": spec["oom_score_adj"] or 0,
        "PidMode": spec["pid"],
        "Privileged": spec["privileged"],
        "PublishAllPorts": spec["publish_all"],
        "ReadonlyRootfs": spec["read_only"],
        "SecurityOpt": spec["security_opt"],
        "Tmpfs": Map({item["target"]: ",".join(item["options"]) for item in spec["mounts"] if item["type"] == "tmpfs"}),
        "UTSMode": spec["uts"],
        **_user_namespace(spec),
        "ShmSize": spec["shm_size"],
        "Runtime": "oci",
        "Init": spec["init"],
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "CpuShares": spec["cpu_shares"],
        "Memory": max(spec["memory"], 0),
        "NanoCpus": int(spec["cpus"] * 1_000_000_000),
        "CgroupParent": "",
        "CpusetCpus": spec["cpuset_cpus"],
        "CpusetMems": "",
        "Devices": [
            {
                "PathOnHost": device["source"],
                "PathInContainer": device["target"],
                "CgroupPermissions": device["access"],
            }
            for device in spec["devices"]
        ],
        "DeviceCgroupRules": spec["device_cgroup_rules"],
        "Sysctls": Map(spec["sysctls"]),
        "MemorySwap": spec["memory_swap"],
        "PidsLimit": spec["pids_limit"],
        "Ulimits": [
            {"Name": "RLIMIT_" + limit["name"].upper(), "Soft": limit["soft"], "Hard": limit["hard"]}
            for limit in spec["ulimits"]
        ],
    }


def _user_namespace(spec: Spec) -> dict[str, object]:
    """As Podman tells it: with a map `private`, and the map; another container's namespace by that one's id."""
    mapping = spec["userns"]
    if not mapping["uid_map"]:
        return {"UsernsMode": "", "IDMappings": None}
    from remora.frontend.userns import maps

    mode = f"{mapping['mode']}:{mapping['target']}" if mapping["target"] else "private"
    both = {"UidMap": maps.text(mapping["uid_map"]), "GidMap": maps.text(mapping["gid_map"])}
    return {"UsernsMode": mode, "IDMappings": Map(both)}


def _log_config(record: ContainerRecord) -> dict[str, object]:
    """The first driver as Podman tells it; all that was asked for under `Config`, by Docker's names of the options."""
    log = record.spec["log"]
    first = log["drivers"][0]
    asked: dict[str, object] = {}
    if len(log["drivers"]) > 1:
        asked["drivers"] = ",".join(sink["driver"] for sink in log["drivers"])
    if first["max_size"]:
        asked["max-size"] = str(first["max_size"])
        asked["max-file"] = str(first["max_files"])
    if log["tag"]:
        asked["tag"] = log["tag"]
    if log["labels"]:
        asked["labels"] = ",".join(log["labels"])
    for stream, policy in (("stdout", log["stdout"]), ("stderr", log["stderr"])):
        if policy["policy"] != "block":
            asked[f"{stream}-mode"] = policy["policy"]
        if policy["rate"]:
            asked["rate"] = str(policy["rate"])
    return {
        "Type": first["driver"],
        "Config": Map(asked) if asked else None,
        "Path": record.log_path,
        "Tag": log["tag"],
        "Size": f"{first['max_size']}B",
    }


def _bind(mount: Mount) -> str:
    options = ",".join(mount["options"])
    return f"{mount['source']}:{mount['target']}" + (f":{options}" if options else "")
