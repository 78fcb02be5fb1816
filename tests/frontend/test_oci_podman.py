"""Our config.json beside the one that Podman writes for the same options and the same image.

Podman's `init` writes its bundle without starting anything. What must differ (names, paths, generated files, a tmpfs at
/dev/shm that the runtime mounts) is taken out on both sides; all the rest is compared whole.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remora.frontend.arguments import ArgumentParser
from remora.frontend.oci import config
from remora.frontend.options import request, table
from remora.frontend.settings import Settings

LIMITS = ("--ulimit", "nofile=1000:2000", "--ulimit", "nproc=1000:2000")
CAPABILITIES = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
GENERATED = (
    *("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group"),
    *("/run/.containerenv", "/dev/shm"),
)
RUNTIMES_OWN = ("console", "full", "null", "ptmx", "random", "tty", "urandom", "zero")

CASES = {
    "nothing": (),
    "terminal": ("-t",),
    "memory": ("-m", "64m"),
    "memory and swap": ("-m", "64m", "--memory-swap", "128m"),
    "cpu": ("--cpus", "0.5", "--cpuset-cpus", "0", "--cpu-shares", "100"),
    "processes": ("--pids-limit", "50"),
    "any number of processes": ("--pids-limit", "-1"),
    "user by name": ("--user", "user"),
    "user by number": ("--user", "1000"),
    "unknown number": ("--user", "4321"),
    "user and group": ("--user", "user:extra"),
    "numbers": ("--user", "4321:77"),
    "root by name": ("--user", "root"),
    "more capabilities": ("--cap-add", "NET_ADMIN", "--cap-add", "cap_net_raw", "--cap-drop", "CHOWN"),
    "no capabilities": ("--cap-drop", "all"),
    "all dropped but one": ("--cap-drop", "ALL", "--cap-add", "KILL"),
    "all capabilities": ("--cap-add", "all"),
    "user with a capability": ("--user", "1000", "--cap-add", "NET_ADMIN"),
    "privileged": ("--privileged",),
    "privileged user": ("--privileged", "--user", "1000"),
    "read-only": ("--read-only",),
    "read-only without tmpfs": ("--read-only", "--read-only-tmpfs=false"),
    "tmpfs": ("--tmpfs", "/tt:size=1m,mode=700"),
    "bind": ("-v", "/usr:/m"),
    "read-only bind": ("-v", "/usr:/m:ro"),
    "bind by --mount": ("--mount", "type=bind,source=/usr,target=/m,ro"),
    "nested binds": ("-v", "/usr:/m/a/b", "-v", "/usr:/m"),
    "no new privileges": ("--security-opt", "no-new-privileges"),
    "no seccomp": ("--security-opt", "seccomp=unconfined"),
    "the host's network": ("--network", "host"),
    "working folder": ("-w", "/tmp"),
    "stop signal": ("--stop-signal", "USR1"),
    "umask": ("--umask", "0077"),
    "entry point": ("--entrypoint", "/bin/echo"),
    "environment": ("-e", "A=B", "-e", "PATH=/x", "-e", "HOME=/y", "-e", "TERM=vt100"),
    "host name": ("--hostname", "somewhere"),
    "annotation": ("--annotation", "one=two"),
    "further groups": ("--user", "user", "--group-add", "4242", "--group-add", "extra"),
    "further groups of root": ("--group-add", "4242"),
    "users unknown, read-only": ("--user", "4321:77", "--read-only"),
    "device": ("--device", "/dev/fuse:/dev/other:r"),
    "folder of devices": ("--device", "/dev/net"),
    "device rules": ("--device-cgroup-rule", "c 10:* rm", "--device-cgroup-rule", "b 8:1 r"),
    "parameters": ("--sysctl", "net.core.somaxconn=5", "--sysctl", "kernel.shmmni=9"),
    "parameter with the host's network": ("--network", "host", "--sysctl", "kernel.shmmni=9"),
    "OOM score": ("--oom-score-adj", "100"),
    "masked": ("--security-opt", "mask=/etc:/home"),
    "unmasked": ("--security-opt", "unmask=/proc/kcore:/proc/s*"),
    "all unmasked": ("--security-opt", "unmask=ALL"),
    "masked although privileged": ("--privileged", "--security-opt", "mask=/etc"),
    "no labels": ("--security-opt", "label=disable"),
    "no AppArmor": ("--security-opt", "apparmor=unconfined"),
    "a profile": ("--security-opt", "seccomp=/usr/share/containers/seccomp.json"),
}


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    folder = tmp_path_factory.mktemp("rootfs")
    subprocess.run(["tar", "-C", folder, "-xf", busybox_tar], check=True)
    return folder


@pytest.fixture(scope="module")
def podman(
    tmp_path_factory: pytest.TempPathFactory, storage_conf: Path
) -> Iterator[Callable[[tuple[str, ...]], dict[str, Any]]]:
    """Podman's configuration for these options."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    folder = tmp_path_factory.mktemp("podman")
    names = ", ".join(f'"CAP_{name}"' for name in CAPABILITIES.split())
    (folder / "containers.conf").write_text(
        f"[containers]\ndefault_capabilities = [{names}]\n"
        'default_sysctls = ["net.ipv4.ping_group_range=0 0"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(storage_conf),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
    }
    base = ["podman", "--tmpdir", str(folder / "tmp")]

    def call(*words: str) -> str:
        done = subprocess.run(
            [*base, *words], env=environment, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.stdout.strip()

    made: list[str] = []

    def configuration(options: tuple[str, ...]) -> dict[str, Any]:
        network = () if "--network" in options else ("--network", "none")
        container = call("create", *network, *LIMITS, *options, "localhost/busybox", "/bin/true")
        made.append(container)
        call("init", container)
        path = call("inspect", "--format", "{{.OCIConfigPath}}", container)
        result: dict[str, Any] = json.loads(Path(path).read_text())
        call("rm", "-f", "-t", "0", container)
        made.remove(container)
        return result

    yield configuration
    for container in made:
        call("rm", "-f", "-t", "0", container)


def ours(options: tuple[str, ...], folder: Path, rootfs: Path) -> dict[str, Any]:
    parser = ArgumentParser("remora run", interspersed=False)
    table.add_arguments(parser, "run")
    arguments = parser.parse_args([*LIMITS, *options, "busybox", "/bin/true"])
    settings = Settings(str(folder / "data"), str(folder / "run"), cgroup_manager="cgroupfs")
    spec = request.read(arguments, settings, "run")
    spec["name"] = "test"
    request.apply_image(
        spec,
        arguments,
        settings,
        {"id": "0" * 64, "name": "localhost/busybox:latest", "given": "busybox", "digest": "", "lower": []},
        {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["/bin/sh"]},
    )
    own = folder / "root"  # users may be added to it
    shutil.copytree(rootfs, own, symlinks=True)
    root = os.open(own, os.O_PATH | os.O_DIRECTORY)
    try:
        built = config.build(settings, spec, root_fd=root, root=str(rootfs), folder=str(folder))
    finally:
        os.close(root)
    config.write(built.config, str(folder / "bundle"))
    result: dict[str, Any] = json.loads((folder / "bundle" / "config.json").read_text())
    return result


def comparable(found: dict[str, Any], peer: bool) -> dict[str, Any]:
    """The configuration in one order, without what is each program's own."""
    process, linux = found["process"], found["linux"]
    del found["ociVersion"], found["root"]["path"], linux["cgroupsPath"]
    own = [found.pop("hostname", None)]
    environment = dict(item.partition("=")[::2] for item in process["env"])
    if len(environment["HOSTNAME"]) == 12 and own[0] != "somewhere":
        environment["HOSTNAME"] = "SHORT ID"
    assert environment.pop("container") == ("podman" if peer else "remora")
    environment.setdefault("HOME", "/")  # left to the runtime by Podman
    process["env"] = environment
    if linux["resources"].get("pids") == {"limit": 0}:  # its way of saying "no limit"
        del linux["resources"]["pids"]
    for name in process.get("capabilities", {}):
        process["capabilities"][name] = sorted(process["capabilities"][name])
    process["capabilities"] = {name: value for name, value in process["capabilities"].items() if value}
    process["rlimits"] = sorted((item["type"], item["soft"], item["hard"]) for item in process["rlimits"])
    process["user"]["additionalGids"] = sorted(process["user"].get("additionalGids", []))
    generated = [item for item in found["mounts"] if item["destination"] in GENERATED]
    found["generated"] = {item["destination"]: sorted(set(item["options"]) & {"ro"}) for item in generated}
    found["mounts"] = {
        item["destination"]: (item["type"], item["source"], sorted({*item["options"], "rprivate"}))
        for item in found["mounts"]
        if item["destination"] not in GENERATED
    }
    annotations = {
        name: value
        for name, value in found["annotations"].items()
        if not name.startswith(("io.podman.", "io.kubernetes.", "io.container.manager"))
    }
    found["annotations"] = annotations
    # Podman names the nodes that every runtime makes, too.
    linux["devices"] = {
        item["path"]: (item["type"], item["major"], item["minor"])
        for item in linux.get("devices", [])
        if item["path"].removeprefix("/dev/") not in RUNTIMES_OWN
    }
    linux["namespaces"] = sorted(item["type"] for item in linux["namespaces"])
    for name in ("maskedPaths", "readonlyPaths"):
        linux[name] = sorted(linux.get(name, []))
    if "seccomp" in linux:
        rules = linux["seccomp"]["syscalls"]
        linux["seccomp"]["syscalls"] = sorted(json.dumps(rule, sort_keys=True) for rule in rules)
        # Podman's filter also knows x32, which Remora's default leaves out: what is not named is not allowed.
        architectures = linux["seccomp"].get("architectures", [])
        linux["seccomp"]["architectures"] = [name for name in architectures if name != "SCMP_ARCH_X32"]
    return found


def flatten(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf with its path, so that a failure names what differs."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{path}/{key}")
    else:
        yield path, value


@pytest.mark.parametrize("case", CASES)
def test_config_is_the_one_podman_writes(
    case: str, podman: Callable[[tuple[str, ...]], dict[str, Any]], rootfs: Path, tmp_path: Path
) -> None:
    options = CASES[case]
    theirs = comparable(podman(options), peer=True)
    mine = comparable(ours(options, tmp_path, rootfs), peer=False)
    assert dict(flatten(mine)) == dict(flatten(theirs))
