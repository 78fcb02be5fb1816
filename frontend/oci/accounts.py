"""/etc/passwd and /etc/group of a container with the users that it lacks.

An entry is added for the number given with `--user` that the image has no user for, for each `--hostuser`, and for the
caller where the container runs as that one (keep-id). As in Podman they go into the container's own layer; where its
root is read-only, or a folder of the user's (`--rootfs`), a copy with the additions is bound over the file instead,
which is made once. The formats are passwd(5) and group(5); which entries there are is as documented for Podman
(`--passwd`, `--hostuser`).
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.errors import RemoraError
from remora.frontend.oci import user as users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from remora.frontend.container.spec import Mount, Spec
    from remora.frontend.oci.user import User

FILES = ("/etc/passwd", "/etc/group")
SHELL = "/bin/sh"


class Accounts:
    """Where a container's users are looked up, and what is added to its files.

    passwd, group: lines to be added; mounted: those of FILES that a mount of the request covers.
    """

    __slots__ = ("sources", "passwd", "group", "mounted", "_descriptors")

    def __init__(self, spec: Spec, root_fd: int) -> None:
        """Raises RemoraError when a host user of the request is not there (any more)."""
        self._descriptors: list[int] = []
        self.passwd: list[str] = []
        self.group: list[str] = []
        files = {}
        for path in FILES:
            found = self._mounted(spec["mounts"], path)
            if found is not None:
                files[path] = found
        self.mounted = frozenset(files)
        self.sources = users.Sources(root_fd, files)
        if spec["hostusers"] and spec["passwd"] and "/etc/passwd" not in self.mounted:
            names = {line.partition(":")[0] for line in self.sources.passwd()}
            self.passwd = [line for line in _host_lines(spec) if line.partition(":")[0] not in names]
            self.sources.added = self.passwd

    def _mounted(self, mounts: list[Mount], path: str) -> tuple[int, str] | None:
        """Where the file that will be at `path` is, if a mount of the request brings it."""
        for item in sorted(mounts, key=lambda item: -len(item["target"])):  # the nearest one counts
            target = item["target"]
            if path != target and not path.startswith(target + "/"):
                continue
            if item["type"] != "bind":
                return -1, path  # an empty folder
            source, below = os.path.realpath(item["source"]), path[len(target) :]
            if not below:
                source, _, below = source.rpartition("/")
            try:
                fd = os.open(source or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                return -1, path
            self._descriptors.append(fd)
            return fd, below
        return None

    def close(self) -> None:
        """Let go of the descriptors."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def add_missing(self, spec: Spec, user: User) -> None:
        """Add the user and the group that were given as numbers, where the files have none for them."""
        if not spec["passwd"] or not spec["user"]:
            return
        name, _, group = spec["user"].partition(":")
        uid, gid = users.number(name, "user") if name else None, users.number(group, "group") if group else None
        if uid and "/etc/passwd" not in self.mounted and not _has([*self.sources.passwd(), *self.passwd], name):
            line = f"{uid}:*:{uid}:{user.gid}:container user:{spec['workdir']}:{SHELL}"
            if spec["passwd_entry"]:
                line = entry(
                    spec["passwd_entry"],
                    {
                        "USERNAME": name,
                        "UID": name,
                        "GID": str(user.gid),
                        "NAME": "container user",
                        "HOME": spec["workdir"],
                    },
                )
            self.passwd.append(line)
        if gid and "/etc/group" not in self.mounted and not _has([*self.sources.group(), *self.group], group):
            line = f"{gid}:x:{gid}:{name}"
            if spec["group_entry"]:
                line = entry(spec["group_entry"], {"GROUPNAME": group, "GID": group, "USERLIST": name})
            self.group.append(line)

    def add_caller(self, spec: Spec, name: str, uid: int, gid: int, real_name: str, home: str) -> None:
        """Add the user that runs Remora, for a container that runs as that one, unless the image has the number."""
        if not spec["passwd"]:
            return
        if uid and "/etc/passwd" not in self.mounted and not _has(self.sources.passwd(), str(uid)):
            self.passwd.append(f"{name}:*:{uid}:{gid}:{real_name}:{self.home(spec, home)}:{SHELL}")
        if gid and "/etc/group" not in self.mounted and not _has(self.sources.group(), str(gid)):
            self.group.append(f"{name}:x:{gid}:{name}")

    def home(self, spec: Spec, home: str) -> str:
        """A home folder of the host in the container: itself where it is mounted, else the working folder."""
        there = any(home == item["target"] or home.startswith(item["target"] + "/") for item in spec["mounts"])
        return home if there else spec["workdir"]

    def write(self, folder: str, in_place: bool) -> list[tuple[str, str]]:
        """Add the lines: to the files themselves, else to copies in `folder` that are to be bound over them.

        Returns (target in the container, path here) of the copies. A copy that is there already is taken as it is.
        """
        result = []
        for target, name, lines, added in (
            ("/etc/passwd", "passwd", self.sources.passwd, self.passwd),
            ("/etc/group", "group", self.sources.group, self.group),
        ):
            if not added or (in_place and _append(self.sources.root_fd, target, added)):
                continue
            path = f"{folder}/{name}"
            if not os.path.lexists(path):
                have = [line for line in lines() if line]
                text = "\n".join([*have, *(line for line in added if line not in have)]) + "\n"
                os.makedirs(folder, mode=0o700, exist_ok=True)
                _write(path, text)
            result.append((target, path))
        return result


def entry(template: str, values: dict[str, str]) -> str:
    """A line from `--passwd-entry` or `--group-entry`: `$UID` and its like replaced."""
    for name in sorted(values, key=len, reverse=True):  # $NAME is no part of $USERNAME, but $GID could be of another
        template = template.replace("$" + name, values[name])
    return template


def check_entry(option: str, text: str, fields: int) -> str:
    """A template of one line with that many fields. Raises RemoraError for another form."""
    if "\n" in text or "\0" in text or text.count(":") != fields - 1:
        example = {7: "$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh", 4: "$GROUPNAME:x:$GID:$USERLIST"}[fields]
        raise RemoraError(f'invalid value "{text}" for {option}', hint=f"{fields} fields, as {example}")
    return text


def check_host_user(option: str, given: str) -> str:
    """A user of the host, by name or number. Raises RemoraError when there is none."""
    _host_user(option, given)
    return given


def _host_user(option: str, given: str) -> tuple[str, int, int, str, str]:
    """(name, uid, gid, real name, home)."""
    import pwd

    try:
        found = pwd.getpwuid(int(given)) if given.isascii() and given.isdecimal() else pwd.getpwnam(given)
    except (KeyError, OverflowError, ValueError):
        raise RemoraError(f"{option} {given}: this host has no such user", hint="name a user of the host") from None
    return found.pw_name, found.pw_uid, found.pw_gid, found.pw_gecos, found.pw_dir


def _host_lines(spec: Spec) -> Iterator[str]:
    for given in spec["hostusers"]:
        name, uid, gid, real_name, home = _host_user("--hostuser", given)
        there = any(home == item["target"] or home.startswith(item["target"] + "/") for item in spec["mounts"])
        yield f"{name}:*:{uid}:{gid}:{real_name}:{home if there else spec['workdir']}:{SHELL}"


def _has(lines: list[str], number: str) -> bool:
    """Whether one of the lines has this id (third field), or this name."""
    return any(number in line.split(":", 3)[0:3:2] for line in lines)


def _open(root_fd: int, path: str) -> int:
    try:
        return users.open_regular(root_fd, path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return monitor.open_in_root(root_fd, path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)


def _append(root_fd: int, path: str, lines: list[str]) -> bool:
    """Append to a file of the container; False when there is no folder for it, or it is something else."""
    try:
        fd = _open(root_fd, path)
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        broken = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        text = "\n" * broken + "".join(line + "\n" for line in lines)
        os.write(fd, text.encode("utf-8", "surrogateescape"))
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    """Beside, then renamed: one that is there is whole."""
    temporary = path + ".new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        view = memoryview(text.encode("utf-8", "surrogateescape"))
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    os.rename(temporary, path)
