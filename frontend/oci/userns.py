"""What a user namespace of its own changes in a container's configuration.

Ids in it stay the container's; what is on disk outside (the generated files, folders that are made, bind mounts with
the option `U`) gets the ids that they are there.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError
from remora.frontend.oci.user import KEEP_GROUPS
from remora.frontend.userns import maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Json, Spec
    from remora.frontend.oci.accounts import Accounts
    from remora.frontend.oci.user import User
    from remora.frontend.settings import Settings

# crun leaves the groups of its caller alone then.
KEEP_ANNOTATION = "run.oci.keep_original_groups"


def outside(spec: Spec, uid: int, gid: int) -> tuple[int, int]:
    """What a user and a group of the container are outside. Raises RemoraError when they are nobody there."""
    found = []
    for what, number, key in (("user", uid, "uid_map"), ("group", gid, "gid_map")):
        rows: list[list[int]] = spec["userns"][key]  # type: ignore[literal-required]
        at = maps.outside(rows, number)
        if at is None:
            hint = "choose another --user, or map more ids"
            if spec["userns"]["mode"] == "auto":
                hint = f"create it with --userns auto:size={number + 1}, or choose another --user"
            raise RemoraError(f"{what} {number} of the container has no id in its user namespace", hint)
        found.append(at)
    return found[0], found[1]


def adapt(settings: Settings, spec: Spec, config: dict[str, Json], generated: Sequence[tuple[str, str]]) -> None:
    """Change a configuration into one for the container's user namespace, and give it its generated files.

    Raises RemoraError for a user that has no id in it, and for groups that this runtime can't keep.
    """
    linux, process = config["linux"], config["process"]
    assert isinstance(linux, dict) and isinstance(process, dict)
    user = process["user"]
    assert isinstance(user, dict)
    if KEEP_GROUPS in spec["group_add"]:
        _keep_groups(settings, spec, config, user)
    mapping = spec["userns"]
    if not mapping["uid_map"]:
        return
    outside(spec, int(str(user["uid"])), int(str(user["gid"])))
    root = outside(spec, 0, 0)
    for _, path in generated:
        os.chown(path, *root)
    groups = user.get("additionalGids")
    if isinstance(groups, list):
        user["additionalGids"] = [group for group in groups if _has_group(spec, int(str(group)))]
    namespaces = linux["namespaces"]
    assert isinstance(namespaces, list)
    if not any(isinstance(item, dict) and item["type"] == "user" for item in namespaces):
        namespaces.append({"type": "user"})
    linux["uidMappings"] = _rows(mapping["uid_map"])
    linux["gidMappings"] = _rows(mapping["gid_map"])
    _fit_mounts(spec, config, any(isinstance(item, dict) and item["type"] == "network" for item in namespaces))


def _rows(mapping: Sequence[Sequence[int]]) -> list[Json]:
    return [{"containerID": first, "hostID": at, "size": count} for first, at, count in mapping]


def _has_group(spec: Spec, gid: int) -> bool:
    return maps.outside(spec["userns"]["gid_map"], gid) is not None


def _fit_mounts(spec: Spec, config: dict[str, Json], network: bool) -> None:
    """A terminal can't belong to the group tty where that has no id; sysfs can't be mounted without a network namespace
    of the container, for it shows the host's: then the host's own is bound."""
    mounts = config["mounts"]
    assert isinstance(mounts, list)
    for item in mounts:
        assert isinstance(item, dict)
        if item["type"] == "devpts" and not _has_group(spec, 5):
            options = item["options"]
            assert isinstance(options, list)
            item["options"] = [word for word in options if word != "gid=5"]
        elif item["type"] == "sysfs" and not network:
            item.update(type="bind", source="/sys", options=["rbind", "rslave", "nosuid", "noexec", "nodev", "ro"])


def _keep_groups(settings: Settings, spec: Spec, config: dict[str, Json], user: dict[str, Json]) -> None:
    """The process is to stay in the groups of whoever runs Remora."""
    from remora.frontend import runtime

    program = runtime.command(settings, spec["runtime"])[0].rpartition("/")[2]
    with open("/proc/self/setgroups", "rb", buffering=0) as file:
        denied = file.read(8).strip() == b"deny"  # then nobody can drop them
    if program != "crun" and not denied:
        raise RemoraError(f"--group-add {KEEP_GROUPS}: the runtime {program} can't keep groups", "use --runtime crun")
    user.pop("additionalGids", None)
    annotations = config["annotations"]
    assert isinstance(annotations, dict)
    annotations[KEEP_ANNOTATION] = "1"


def add_caller(settings: Settings, spec: Spec, accounts: Accounts, user: User) -> None:
    """keep-id: the user that runs Remora is known in the container by name, with its home where that is mounted."""
    import pwd

    uid, gid = (next((first for first, at, _ in spec["userns"][key] if at == 0), 0) for key in ("uid_map", "gid_map"))
    try:
        found = pwd.getpwuid(settings.uid)
    except KeyError:
        return
    accounts.add_caller(spec, found.pw_name, uid, gid, found.pw_gecos, found.pw_dir)
    if user.uid == uid and user.home == "/":  # the image has no home for it
        user.home = accounts.home(spec, found.pw_dir)


# ---- `U`: a bind mount's owner becomes the container's user


def take_over(spec: Spec, uid: int, gid: int) -> None:
    """Give the sources of the bind mounts with the option `U` to this user of the container, with all below them.

    Symlinks are changed themselves, not followed. Raises OSError naming what can't be changed.
    """
    owner = outside(spec, uid, gid) if spec["userns"]["uid_map"] else (uid, gid)
    for item in spec["mounts"]:
        if item["type"] == "bind" and "U" in item["options"]:
            _change(os.path.realpath(item["source"]), owner)  # what is mounted is where a symlink leads


def _change(source: str, owner: tuple[int, int]) -> None:
    _change_one(source, owner, None)
    if not os.path.isdir(source):
        return
    for _, folders, files, fd in os.fwalk(source, follow_symlinks=False):
        for name in [*folders, *files]:
            try:
                _change_one(name, owner, fd)
            except FileNotFoundError:
                pass  # somebody removes things meanwhile


def _change_one(name: str, owner: tuple[int, int], folder: int | None) -> None:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if (status.st_uid, status.st_gid) != owner:
        os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
