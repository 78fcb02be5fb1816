"""`-v`, `--mount` and `--tmpfs`: from their text to the mounts of a container's request.

A mount is {type: "bind", "tmpfs" or "volume", source, target, options}; a target is absolute and normalised. The source
of a volume is its name, "" for an anonymous one (it gets one when the container is made). That of a bind mount is
absolute (a relative one, which must start with `.`, is resolved against the working directory); whether it exists is
checked here, because that is the caller's mistake and not the container's, and again by the runtime.
"""

from __future__ import annotations

import os

from remora.frontend.errors import RemoraError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from remora.frontend.container.spec import Mount

_BIND_OPTIONS = frozenset(
    "ro rw rbind bind private rprivate shared rshared slave rslave unbindable runbindable "
    "exec noexec suid nosuid dev nodev atime noatime diratime nodiratime relatime norelatime "
    "strictatime nostrictatime sync async nosymfollow U".split()
)
_VOLUME_OPTIONS = _BIND_OPTIONS | {"copy", "nocopy"}
IMAGE_VOLUME_MODES = ("anonymous", "bind", "tmpfs", "ignore")
# Whose owner is not to be changed, whatever is asked for.
_SYSTEMS = frozenset(
    "/ /bin /boot /dev /etc /home /lib /lib64 /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr /var "
    "/var/lib /var/log".split()
)
_LABELS = frozenset(("z", "Z"))
_TMPFS_FLAGS = frozenset(
    "ro rw exec noexec suid nosuid dev nodev sync async atime noatime diratime nodiratime relatime norelatime "
    "strictatime nostrictatime tmpcopyup notmpcopyup private rprivate shared rshared slave rslave noswap".split()
)
_TMPFS_KEYS = ("size=", "mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "huge=", "mpol=")
_LATER = {
    "z": "SELinux labels",
    "Z": "SELinux labels",
    "O": "overlay volumes",
    "idmap": "id maps",
}


def volume(option: str, text: str) -> Mount:
    """`SOURCE:TARGET[:OPTION,…]`, a bind mount when the source is a path, else a volume; `TARGET`, an anonymous volume.

    Raises RemoraError when the text has another form, an option is unknown or the source does not exist.
    """
    parts = text.split(":")
    if len(parts) == 1 and text.startswith("/"):
        return _volume(option, text, "", text, [])
    if len(parts) not in (2, 3) or not parts[0] or not parts[1]:
        raise RemoraError(
            f'invalid volume "{text}" for {option}', hint="use HOST-PATH:CONTAINER-PATH[:OPTIONS] or a volume's name"
        )
    source, target = parts[0], parts[1]
    options = [word for word in parts[2].split(",") if word] if len(parts) == 3 else []
    if not source.startswith(("/", ".")):
        return _volume(option, text, source, target, options)
    return _bind(option, text, source, target, options)


def mount(option: str, text: str) -> Mount:
    """`[type=volume|bind|tmpfs,][source=…,]target=…[,KEY[=VALUE]…]` in the spelling of Docker and Podman."""
    kind, source, target = "volume", "", ""
    options: list[str] = []
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if key == "type":
            kind = value
        elif key in ("source", "src"):
            source = value
        elif key in ("target", "destination", "dst"):
            target = value
        elif key in ("readonly", "ro"):
            options.append("ro" if _truth(option, text, value, equals) else "rw")
        elif key == "bind-propagation":
            options.append(value)
        elif key == "bind-nonrecursive":
            options.append("bind" if _truth(option, text, value, equals) else "rbind")
        elif key == "volume-nocopy":
            options.append("nocopy" if _truth(option, text, value, equals) else "copy")
        elif key == "tmpfs-size":
            options.append("size=" + value)
        elif key == "tmpfs-mode":
            options.append("mode=" + value)
        elif key in ("tmpfs-uid", "tmpfs-gid"):
            options.append(f"{key[6:]}={value}")
        elif word:
            options.append(word)
    if kind not in ("bind", "tmpfs", "volume"):
        raise RemoraError(
            f'{option} {text}: mounts of type "{kind}" are not there yet', hint="use type=volume, bind or tmpfs"
        )
    if not target:
        raise RemoraError(f"{option} {text}: the target is missing", hint="add target=PATH")
    if kind == "tmpfs":
        if source:
            raise RemoraError(f"{option} {text}: a tmpfs has no source", hint=f"leave out source={source}")
        return _tmpfs(option, text, target, options)
    if kind == "volume":
        return _volume(option, text, source, target, options)
    if not source:
        raise RemoraError(f"{option} {text}: the source is missing", hint="add source=PATH")
    return _bind(option, text, source, target, options)


def tmpfs(option: str, text: str) -> Mount:
    """`TARGET[:OPTION,…]`, a tmpfs; options are those of mount(8), as `size=64m,mode=1777`."""
    target, _, rest = text.partition(":")
    return _tmpfs(option, text, target, [word for word in rest.split(",") if word])


def check_targets(mounts: list[Mount]) -> None:
    """Raise RemoraError when two mounts have the same target."""
    seen: set[str] = set()
    for item in mounts:
        if item["target"] in seen:
            raise RemoraError(f'two mounts have the target "{item["target"]}"', hint="leave out one of them")
        seen.add(item["target"])


def check_image_volume(mode: str | None) -> None:
    """Raise RemoraError when this is no mode of `--image-volume`."""
    if mode is not None and mode not in IMAGE_VOLUME_MODES:
        raise RemoraError(f'invalid value "{mode}" for --image-volume', hint="one of anonymous, tmpfs, ignore")


def add_image_volumes(mounts: list[Mount], config: Mapping[str, object], mode: str | None) -> None:
    """Add what the image's `Volumes` ask for, but where something is mounted already. mode: of `--image-volume`."""
    volumes = config.get("Volumes")
    if not isinstance(volumes, dict) or mode == "ignore":
        return
    taken = {item["target"] for item in mounts}
    for path in sorted(volumes):
        target = _target("the image's volume", path, "/" + path.lstrip("/"))
        if target in taken:
            continue
        taken.add(target)
        if mode == "tmpfs":
            mounts.append({"type": "tmpfs", "source": "tmpfs", "target": target, "options": []})
        else:
            mounts.append({"type": "volume", "source": "", "target": target, "options": []})


def _truth(option: str, text: str, value: str, equals: str) -> bool:
    if not equals or value in ("true", "1"):
        return True
    if value in ("false", "0"):
        return False
    raise RemoraError(f'{option} {text}: "{value}" is neither true nor false', hint="leave out the value or use true")


def _target(option: str, text: str, target: str) -> str:
    if not target.startswith("/") or "\0" in target:
        raise RemoraError(
            f'{option} {text}: the container path "{target}" is not absolute', hint="let it start with a slash"
        )
    normal = os.path.normpath(target)
    if normal.startswith("//"):
        normal = normal[1:]
    if normal == "/":
        raise RemoraError(f"{option} {text}: the container path can't be /", hint="mount at a path below /")
    return normal


def _checked(option: str, text: str, options: list[str], known: frozenset[str]) -> list[str]:
    if _LABELS.intersection(options) and not os.path.exists("/sys/fs/selinux/enforce"):
        options = [word for word in options if word not in _LABELS]  # nothing to label without SELinux
    for word in options:
        if word in _LATER:
            raise RemoraError(
                f'{option} {text}: option "{word}" ({_LATER[word]}) is not there yet', hint="leave it out"
            )
        if word not in known:
            raise RemoraError(f'{option} {text}: unknown option "{word}"', hint="options are ro, rw, noexec, rslave …")
    return options


def _volume(option: str, text: str, name: str, target: str, options: list[str]) -> Mount:
    target = _target(option, text, target)
    if name:
        from remora.frontend.container import names

        if not names.is_valid(name):
            raise RemoraError(
                f'{option} {text}: invalid volume name "{name}"',
                hint="names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*, paths start with / or .",
            )
    return {
        "type": "volume",
        "source": name,
        "target": target,
        "options": _checked(option, text, options, _VOLUME_OPTIONS),
    }


def _bind(option: str, text: str, source: str, target: str, options: list[str]) -> Mount:
    target = _target(option, text, target)
    options = _checked(option, text, options, _BIND_OPTIONS)
    path = os.path.abspath(source)
    if "U" in options and os.path.realpath(path) in _SYSTEMS:
        raise RemoraError(
            f"{option} {text}: the owner of {path} is the system's business", hint="leave out the option U"
        )
    try:
        os.stat(path)
    except OSError as error:
        raise RemoraError(
            f"{option} {text}: statfs {path}: {(error.strerror or str(error)).lower()}",
            hint="make the file or folder on the host first",
        ) from None
    return {"type": "bind", "source": path, "target": target, "options": options}


def _tmpfs(option: str, text: str, target: str, options: list[str]) -> Mount:
    target = _target(option, text, target)
    for word in options:
        if word not in _TMPFS_FLAGS and not word.startswith(_TMPFS_KEYS):
            raise RemoraError(
                f'{option} {text}: unknown option "{word}"', hint="options are size=, mode=, ro, noexec …"
            )
    return {"type": "tmpfs", "source": "tmpfs", "target": target, "options": options}
