"""Clearing away containers that are half made or half removed.

A folder (or a name, an image reference, a run folder) whose container has no spec.json and whose lock is free
belongs to a command that was killed. Whoever meets it removes it: runtime state, names, image reference, run
folder, data folder. The lock is held meanwhile, so a `create` that is still at work is never disturbed.
"""

from __future__ import annotations

import os

from remora import monitor
from remora.frontend.container import names
from remora.frontend.container.record import ids, is_id
from remora.frontend.oci import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remora.frontend.settings import Settings


def is_half(settings: Settings, container_id: str) -> bool:
    """Whether the container has no spec.json (it is half made or half removed, or gone)."""
    return not os.path.lexists(settings.data_dir(container_id) + "/spec.json")


def sweep_if_stale(settings: Settings, container_id: str) -> bool:
    """Remove what is left of a container without spec.json.

    True: nothing of it is left. False: it is a container, or somebody is at work on it.
    """
    if not is_id(container_id) or not is_half(settings, container_id):
        return not is_id(container_id)
    if settings.outside:
        from remora.frontend.rootless import entering

        return entering.inside(settings, lambda: "swept" if sweep_if_stale(settings, container_id) else "") != ""
    try:
        lock = monitor.lock(settings.run_dir(container_id))
    except BlockingIOError:
        return False
    try:
        if not is_half(settings, container_id):
            return False
        remove_parts(settings, container_id, "")
    finally:
        os.close(lock)
    return True


def remove_parts(settings: Settings, container_id: str, name: str) -> None:
    """Remove everything of a container whose spec.json is gone; its lock must be held by the caller.

    name: its name, "" when it is not known (all names are looked through). The folder goes last, so that an
    interrupted removal is met, and finished, by the next command.
    """
    delete_runtime_state(settings, container_id)
    finish_cleanup(settings.run_dir(container_id))
    if name:
        names.release(settings, name, container_id)
    else:
        names.release_all(settings, container_id)
    for image_id in used_images(settings, container_id) + unused_images(settings):
        from remora.frontend.images import guard

        guard.release(settings, image_id, container_id)
    if os.path.isdir(settings.data + "/shifted"):
        from remora.frontend.userns import shifted

        shifted.release(settings, container_id)
    if os.path.isdir(settings.data + "/volumes"):
        from remora.frontend.volumes import store

        store.sweep(settings)
    monitor.remove_tree(settings.data_dir(container_id))
    monitor.remove_tree(settings.run_dir(container_id))


def has_cleanup(run_dir: str) -> bool:
    """Whether something is left that has to be undone (cleanup.py)."""
    return os.path.lexists(run_dir + "/cleanup")


def finish_cleanup(run_dir: str) -> None:
    """Undo it. The container's lock must be held, and none of its processes be left."""
    if has_cleanup(run_dir):
        from remora.frontend.container import cleanup

        cleanup.finish(run_dir)


def used_images(settings: Settings, container_id: str) -> list[str]:
    """The ids of the images that this container holds on to."""
    try:
        image_ids = os.listdir(settings.images)
    except FileNotFoundError:
        return []
    return [image for image in image_ids if os.path.lexists(f"{settings.images}/{image}/{container_id}")]


def delete_runtime_state(settings: Settings, container_id: str, program: str = "") -> None:
    """Have the OCI runtime kill and forget the container, if it knows it. program: the container's own runtime.

    Killed in the middle of a start, a runtime leaves cgroups, and perhaps a process in them, that it knows nothing of
    afterwards: they go as well.
    """
    if settings.outside:
        from remora.frontend.rootless import entering

        def delete() -> str:
            delete_runtime_state(settings, container_id, program)
            return ""

        entering.inside(settings, delete)
        return
    folder = f"{settings.runtime_root}/{container_id}"
    if os.path.isdir(folder):
        _runtime_delete(settings, container_id, program)
        monitor.remove_tree(folder)
    if cgroups.manager(settings) != "systemd":
        monitor.remove_cgroup(cgroups.path(settings, container_id), container_id)


def _runtime_delete(settings: Settings, container_id: str, program: str) -> None:
    from remora.frontend import process, runtime
    from remora.frontend.errors import RemoraError

    try:
        process.capture([*runtime.command(settings, program), "delete", "--force", container_id])
    except (RemoraError, FileNotFoundError):
        pass  # without a runtime, what is left of the container is killed in its cgroup


def sweep(settings: Settings) -> None:
    """Sweep every half-made or half-removed container, names that lead nowhere, images that nobody uses, and what is
    left of trying out a runtime."""
    from remora.frontend import runtime

    runtime.sweep_probes(settings)
    for container_id in ids(settings):
        if is_half(settings, container_id):
            sweep_if_stale(settings, container_id)
    try:
        entries = os.listdir(settings.names)
    except FileNotFoundError:
        return
    for name in entries:
        holder = names.owner(settings, name)
        if holder is not None and not os.path.lexists(settings.data_dir(holder)):
            sweep_if_stale(settings, holder)
    for image_id in unused_images(settings):
        from remora.frontend.images import guard

        guard.release_unused(settings, image_id)


def unused_images(settings: Settings) -> list[str]:
    """The images whose guard could not be dropped when their last container went: their folders are empty."""
    try:
        image_ids = os.listdir(settings.images)
    except FileNotFoundError:
        return []
    return [image_id for image_id in image_ids if is_id(image_id) and _is_empty(f"{settings.images}/{image_id}")]


def _is_empty(folder: str) -> bool:
    try:
        return not os.listdir(folder)
    except OSError:
        return False  # gone meanwhile
