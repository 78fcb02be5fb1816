"""What an option of `run` and `create` is when it was not given: containers.conf (docs/settings.md).

A value that is wrong is told with file, table and key in place of the option's name.
"""

from __future__ import annotations

from remora.frontend.container import logs
from remora.frontend.errors import RemoraError
from remora.frontend.options import mounts, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.spec import Mount
    from remora.frontend.settings import Settings

CONTAINERS, ENGINE = "containers", "engine"
LOG_SIZE_LEAST = 8192  # containers.conf(5), log_size_max
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
PROXIES = (*_PROXIES, *(name.upper() for name in _PROXIES))


def pick(
    settings: Settings, option: str, given: str | None, key: str, table: str = CONTAINERS, number: bool = False
) -> tuple[str, str | None]:
    """The name for messages and the text: as given, else as configured (number: a whole number there), else None."""
    conf = settings.conf
    if given is not None or not conf.has(table, key):
        return option, given
    return conf.where(table, key), str(conf.integer(table, key)) if number else conf.text(table, key)


def flag(settings: Settings, given: bool | None, key: str, default: bool = False) -> bool:
    """A flag that is None when it was not given."""
    return settings.conf.flag(CONTAINERS, key, default) if given is None else given


def common_annotations(settings: Settings) -> dict[str, str]:
    """`annotations`, a list of `KEY=VALUE`."""
    where = settings.conf.where(CONTAINERS, "annotations")
    return dict(values.pair(where, text) for text in settings.conf.texts(CONTAINERS, "annotations"))


def volumes(settings: Settings, given: Sequence[Mount]) -> list[Mount]:
    """`volumes` and `mounts`, but for those whose target is among the given ones."""
    conf = settings.conf
    found = [mounts.volume(conf.where(CONTAINERS, "volumes"), text) for text in conf.texts(CONTAINERS, "volumes")]
    found += [mounts.mount(conf.where(CONTAINERS, "mounts"), text) for text in conf.texts(CONTAINERS, "mounts")]
    taken = {item["target"] for item in given}
    return [item for item in found if item["target"] not in taken]


def environment(settings: Settings, env_host: bool | None, http_proxy: bool | None) -> list[str]:
    """What stands before the image's variables: the caller's (all, or those of proxies), then `env`."""
    environ = settings.environ
    if flag(settings, env_host, "env_host"):
        found = [f"{name}={value}" for name, value in environ.items()]
    elif flag(settings, http_proxy, "http_proxy", True):
        found = [f"{name}={environ[name]}" for name in PROXIES if name in environ]
    else:
        found = []
    for text in settings.conf.texts(CONTAINERS, "env"):
        name, equals, _ = text.partition("=")
        if not name or "\0" in text:
            raise RemoraError(
                f'wrong variable "{text[:80]}" for {settings.conf.where(CONTAINERS, "env")}', "use NAME=VALUE or NAME"
            )
        if equals:
            found.append(text)
        elif name in environ:
            found.append(f"{name}={environ[name]}")
    return found


def log(settings: Settings, drivers: Sequence[str], options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Log drivers and options in effect: `log_driver`, `log_size_max` and `log_tag` where nothing else was said."""
    conf = settings.conf
    found = list(drivers)
    if not found and (configured := conf.choice(CONTAINERS, "log_driver", logs.DRIVERS)):
        found.append(configured)
    used = found or [logs.K8S_FILE]
    more: list[str] = []
    size = conf.integer(CONTAINERS, "log_size_max", -1)
    if size > 0:
        if size < LOG_SIZE_LEAST:
            raise conf.wrong(CONTAINERS, "log_size_max", f"the least is {LOG_SIZE_LEAST}, -1 is no limit")
        if set(used) & set(logs.FILES) and not _said(options, "max-size"):
            more.append(f"max-size={size}")
    tag = conf.text(CONTAINERS, "log_tag")
    if tag and {logs.JSON_FILE, logs.JOURNALD} & set(used) and not _said(options, "tag"):
        more.append(f"tag={tag}")
    return found, [*more, *options]


def _said(options: Sequence[str], key: str) -> bool:
    return any(part.startswith(key + "=") for option in options for part in option.split(","))
