"""A host of one's own: network and mount namespaces in which all of Remora runs, with a "world" behind its only link.

    world 192.0.2.1, 2001:db8:1::1  ── w0 ─ up0 ──  host 192.0.2.2, 2001:db8:1::2, with default routes to the world

In it are users who have ranges of ids, a /dev/net/tun that they may open, and a name server of the world in
resolv.conf. The machine's own interfaces, rules, users and device nodes are not touched; everything goes with the
processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.users import reachable

DEADLINE = 60.0
HOST, WORLD = "192.0.2.2", "192.0.2.1"
HOST6, WORLD6 = "2001:db8:1::2", "2001:db8:1::1"
# Names: (uid, first of the 65536 subordinate ids).
USERS = {"alice": (61001, 20_000_000), "bob": (61002, 20_100_000)}

SETUP = """
set -eu
mount -t tmpfs -o mode=755 tmpfs /run/netns 2>/dev/null || { mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; }
ip netns add world
ip link set lo up
ip link add up0 type veth peer name w0 netns world
ip addr add 192.0.2.2/24 dev up0
ip addr add 2001:db8:1::2/64 dev up0 nodad
ip link set up0 up
ip -n world link set lo up
ip -n world addr add 192.0.2.1/24 dev w0
ip -n world addr add 2001:db8:1::1/64 dev w0 nodad
ip -n world link set w0 up
ip route add default via 192.0.2.1
ip -6 route add default via 2001:db8:1::1
mount -t tmpfs -o mode=755 tmpfs /dev/net
mknod -m 666 /dev/net/tun c 10 200
mkdir -p "$1/etc" "$1/run"
for name in passwd group shadow gshadow subuid subgid; do
    cp "/etc/$name" "$1/etc/$name" 2>/dev/null || : > "$1/etc/$name"
done
printf 'nameserver 192.0.2.1\\n' > "$1/etc/resolv.conf"
mkdir -p /run/user
mount -t tmpfs -o mode=755 tmpfs /run/user
"""
USER_SETUP = """
printf '%s:x:%d:%d::%s:/bin/sh\\n' {name} {uid} {uid} {home} >> "$1/etc/passwd"
printf '%s:x:%d:\\n' {name} {uid} >> "$1/etc/group"
printf '%s:%d:65536\\n' {name} {ids} >> "$1/etc/subuid"
printf '%s:%d:65536\\n' {name} {ids} >> "$1/etc/subgid"
install -d -m 700 -o {uid} -g {uid} {home} /run/user/{uid}
"""
LAST = """
for name in passwd group shadow gshadow subuid subgid resolv.conf; do
    mount --bind "$1/etc/$name" "$(readlink -f /etc/$name)"
done
echo ready
exec sleep infinity
"""


class PrivateHost:
    """The namespaces, by the process that holds them."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder = folder
        self.pid = pid

    def home(self, user: str) -> Path:
        return self.folder / user

    def words(self, *argv: str | Path, user: str = "", world: bool = False) -> list[str]:
        """The command line that runs argv there: as root or as a user, on the host or in the world."""
        words = ["nsenter", f"--target={self.pid}", "--mount"]
        words += ["--net=/run/netns/world"] if world else ["--net"]
        if world:  # the path is the host's: entered first
            words = ["nsenter", f"--target={self.pid}", "--mount", "ip", "netns", "exec", "world"]
        if user:
            uid = str(USERS[user][0])
            words += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"]
        return [*words, *(str(word) for word in argv)]

    def environment(self, user: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a login of that user would have."""
        uid = USERS[user][0]
        kept = {key: os.environ[key] for key in ("PATH", "REMORA_MONITOR", "LANG") if key in os.environ}
        found = {**kept, "HOME": str(self.home(user)), "USER": user, "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
        return {**found, **(more or {})}

    def run(
        self,
        *argv: str | Path,
        user: str = "",
        world: bool = False,
        status: int | None = 0,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        timeout: float = DEADLINE,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; the exit status must be `status` (None: any)."""
        result = subprocess.run(
            self.words(*argv, user=user, world=world),
            env=self.environment(user, env) if user else {**os.environ, **(env or {})},
            cwd="/",
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        if status is not None:
            assert result.returncode == status, (
                f"{' '.join(str(word) for word in argv)} ended with {result.returncode}, not {status}\n"
                f"stdout: {result.stdout}\nstderr: {result.stderr}"
            )
        return result

    def popen(
        self,
        *argv: str | Path,
        user: str = "",
        world: bool = False,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start it and return."""
        return subprocess.Popen(
            self.words(*argv, user=user, world=world),
            env=self.environment(user, env) if user else {**os.environ, **(env or {})},
            cwd="/",
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )


@contextlib.contextmanager
def private_host(folder: Path, users: Sequence[str] = ("alice",)) -> Iterator[PrivateHost]:
    """A host for the time of the block. folder: where its files go; users may pass through it, so be it below /tmp."""
    script = SETUP
    for name in users:
        uid, ids = USERS[name]
        script += USER_SETUP.format(name=name, uid=uid, ids=ids, home=folder / name)
    holder = subprocess.Popen(
        [
            "setpriv",
            "--pdeathsig=KILL",
            "unshare",
            "--net",
            "--mount",
            "--propagation=private",
            "sh",
            "-c",
            script + (reachable() if users else "") + LAST,
            "sh",
            str(folder),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n", "the private host could not be made"
        yield PrivateHost(folder, holder.pid)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
