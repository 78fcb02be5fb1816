"""What one start needs beside the container's record: namespaces that were made for it, helpers that have to live as
long as it does, and what is to be undone at its end.

The monitor takes over all of it (docs/architecture.md, "Namespaces, helpers, clean-up"). What is to be undone is
written to the run folder before anything is made, so that whoever meets the rest of a start that was killed can undo it
(cleanup.py).
"""

from __future__ import annotations

import os

from remora.frontend.container import cleanup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from remora.frontend.container.cleanup import Step
    from remora.frontend.container.record import ContainerRecord
    from remora.frontend.networks.attach import Attach
    from remora.frontend.userns.space import Space


class Plan:
    """One start's. Its namespaces' descriptors are its own until `close`.

    space: the container's own user namespace, None = it has that of its monitor. A network namespace for the container
    has to belong to it: `monitor.make_namespaces(["network"], plan.user_fd)`.
    """

    __slots__ = (
        "run_dir",
        "data_dir",
        "id",
        "helpers",
        "steps",
        "held",
        "texts",
        "attach",
        "space",
        "_namespaces",
        "_further",
        "_mounts",
    )

    def __init__(self, record: ContainerRecord) -> None:
        self.run_dir = record.run_dir
        self.data_dir = record.data_dir
        self.id = record.id
        self.helpers: list[dict[str, object]] = []
        self.steps: list[Step] = []
        self.held: list[int] = []  # descriptors that the monitor keeps until the end; their makers'
        self.texts: tuple[str, str | None] | None = None  # of /etc/hosts and resolv.conf, where a network decides
        self.attach: Attach | None = None
        self.space: Space | None = None
        self._namespaces: dict[str, int] = {}
        self._further: dict[str, tuple[str, int]] = {}
        self._mounts: dict[str, int] = {}

    @property
    def user_fd(self) -> int:
        """The user namespace that the container's other namespaces belong to; -1: the one we are in."""
        return -1 if self.space is None else self.space.fd

    def add_namespace(self, kind: str, fd: int) -> str:
        """The container's namespace of this kind (`network`, `ipc`, `uts`, `pid`, `cgroup`, `user`) is the one that
        `fd` refers to, which is taken. The path at which the monitor, its helpers and the runtime will find it.

        For others it is /proc/<keeper>/root<path>, see `path_for_others`.
        """
        if kind in self._namespaces:
            os.close(self._namespaces[kind])
        self._namespaces[kind] = fd
        return namespace_path(self.data_dir, kind)

    def hold_namespace(self, name: str, kind: str, fd: int) -> str:
        """A namespace that is not the container's, but has to live as long; `fd` is taken. The path at which it is."""
        self._further[name] = kind, fd
        return namespace_path(self.data_dir, name)

    def add_mount(self, name: str, fd: int) -> str:
        """A detached mount, which is taken, to be attached in the monitor's mount namespace; the path at which."""
        self._mounts[name] = fd
        return namespace_path(self.data_dir, name)

    @property
    def mounts(self) -> dict[str, str]:
        """Name and path of each mount."""
        return {name: namespace_path(self.data_dir, name) for name in self._mounts}

    @property
    def handed_over(self) -> list[dict[str, str]]:
        """The configuration's `namespaces`, in the order of `descriptors`."""
        mounts = [{"type": "mount", "path": path} for path in self.mounts.values()]
        further = [
            {"type": kind, "path": namespace_path(self.data_dir, name)} for name, (kind, _) in self._further.items()
        ]
        return [{"type": kind, "path": path} for kind, path in self.namespaces.items()] + further + mounts

    @property
    def namespaces(self) -> dict[str, str]:
        """Kind and path of each namespace."""
        return {kind: namespace_path(self.data_dir, kind) for kind in self._namespaces}

    @property
    def descriptors(self) -> list[int]:
        return [*self._namespaces.values(), *(fd for _, fd in self._further.values()), *self._mounts.values()]

    def pidfile(self, name: str) -> str:
        """Where the helper of this name has to leave its pid."""
        return f"{self.run_dir}/{name}.pid"

    def add_helper(self, name: str, argv: Sequence[str], shared: bool = False) -> None:
        """A program that has to run as long as the container does.

        It is executed before the container is started, after those that were added before. It must end with 0 once all
        is ready, having left a process in the background whose pid is in `pidfile(name)`. A word of that process's own
        command line must be, or contain, a path of the run folder: by that it is known as the container's.
        shared: the process is several containers' (it may have been there before): it is not ended with this one.
        """
        helper: dict[str, object] = {"name": name, "argv": list(argv), "pidfile": self.pidfile(name)}
        self.helpers.append({**helper, "shared": True} if shared else helper)

    def add_unlink(self, path: str) -> None:
        """At the end: remove a file."""
        self.steps.append(["unlink", path])

    def add_execute(self, argv: Sequence[str], text: str = "") -> None:
        """At the end: execute a program with this text as its input; it has ten seconds.

        A step may be taken twice, and also when what it undoes was never done, or in a mount namespace in which the
        container's namespaces are not bound: after the monitor was killed.
        """
        self.steps.append(["execute", text, *argv])

    @property
    def undone_by_monitor(self) -> list[Step]:
        """The steps as the monitor gets them: the last one forgets them."""
        return [*self.steps, ["unlink", cleanup.path(self.run_dir)]] if self.steps else []

    def save(self) -> None:
        """Write down what is to be undone. To be called before anything is made, with the container's lock held; again
        when there is more."""
        if self.steps or self.helpers:
            own = [str(helper["pidfile"]) for helper in self.helpers if "shared" not in helper]
            cleanup.write(self.run_dir, self.steps, own)

    def await_all(self) -> None:
        """Wait for what was started and goes on beside us. Raises RemoraError when it failed."""
        if self.attach is not None:
            self.attach.finish()

    def close(self) -> None:
        """Close the namespaces' descriptors: the monitor has them, or nobody needs them."""
        if self.attach is not None:
            self.attach.close()
        for fd in self.descriptors:
            os.close(fd)
        self._namespaces.clear()
        if self.space is not None:
            self.space.close()
        self._further.clear()
        self._mounts.clear()


def namespace_path(data_dir: str, kind: str) -> str:
    """Where a container's namespace is bound in the mount namespace of its monitor."""
    return f"{data_dir}/ns/{kind}"


def path_for_others(data_dir: str, kind: str, keeper: int) -> str:
    """The same for a process of another mount namespace; keeper: the monitor's pid (`monitor_pid` of its state)."""
    return f"/proc/{keeper}/root{namespace_path(data_dir, kind)}"
