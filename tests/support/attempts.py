"""What somebody inside a container may try. Runs in the container, by the host's Python, from standard input.

Each attempt is made in a child of its own and is harmless where it succeeds: wrong magic numbers, empty modules, files
that are opened and not written. The words are names of attempts; one line each comes back: name, tab, `done`, the name
of the error, or what was seen. HOST_PID, HOST_KEY and HOST_SOCKET name things of the host.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
# (x86-64, aarch64)
NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "reboot": (169, 142),
    "userfaultfd": (323, 282),
}
KEYCTL_SEARCH = 10
KEY_SESSION = -3
KEY_USER = -4
NEW = {"mount": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
PTRACE_ATTACH = 16
NODES = frozenset("console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split())


def checked(result: int) -> int:
    """Raise OSError for a call that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(name: str, *arguments: object) -> int:
    """A system call by number."""
    number = NUMBERS[name][0 if platform.machine() == "x86_64" else 1]
    return checked(LIBC.syscall(ctypes.c_long(number), *arguments))


def c(name: str, *arguments: object) -> int:
    """A call of the C library."""
    return checked(getattr(LIBC, name)(*arguments))


def opened(path: str, flags: int = os.O_WRONLY) -> None:
    os.close(os.open(path, flags | os.O_CLOEXEC))


def content(path: str) -> str:
    """Whether there is anything to be read, or to be listed."""
    if os.path.isdir(path):
        return "something" if os.listdir(path) else "nothing"
    with open(path, "rb") as file:
        return "something" if file.read(1) else "nothing"


def in_other_user(act: Callable[[int], object]) -> None:
    """Do it to a process of another user."""
    ready, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgid(1000)
        os.setuid(1000)
        os.write(ready_write, b"x")
        signal.pause()
    os.read(ready, 1)
    try:
        act(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def read_memory(pid: int) -> None:
    memory = ctypes.create_string_buffer(8)
    vector = struct.pack("PN", ctypes.addressof(memory), 8)
    c("process_vm_readv", pid, vector, 1, vector, 1, 0)


def make_node() -> None:
    os.mknod("/tmp/node", 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def immutable() -> None:
    with open("/tmp/immutable", "w") as file:
        number = bytearray(struct.pack("i", 0x10))
        fcntl.ioctl(file, 0x40086602, number)  # FS_IOC_SETFLAGS
        fcntl.ioctl(file, 0x40086602, bytearray(4))


def trusted() -> None:
    opened("/tmp/trusted", os.O_WRONLY | os.O_CREAT)
    os.setxattr("/tmp/trusted", "trusted.try", b"x")


def change_owner() -> None:
    opened("/tmp/owned", os.O_WRONLY | os.O_CREAT)
    os.chown("/tmp/owned", 1, 1)


def make_cgroup() -> None:
    root = "/sys/fs/cgroup"
    folder = root if os.path.exists(root + "/cgroup.controllers") else root + "/memory"
    os.mkdir(folder + "/try")
    os.rmdir(folder + "/try")


def interface() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        fcntl.ioctl(made, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS: up, as it is


def made_socket(*arguments: int) -> None:
    socket.socket(*arguments).close()


def raise_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    values = struct.pack("QQ", hard, hard + 1)
    c("setrlimit", resource.RLIMIT_NOFILE, values)


def lower_score() -> None:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")


def abstract() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.connect("\0" + os.environ["HOST_SOCKET"])


def search_key() -> None:
    call("keyctl", KEYCTL_SEARCH, KEY_SESSION, b"user", os.environ["HOST_KEY"].encode(), 0)


def search_user_key() -> None:
    call("keyctl", KEYCTL_SEARCH, KEY_USER, b"user", os.environ["HOST_KEY"].encode(), 0)


def adjust_clock() -> None:
    c("adjtimex", ctypes.create_string_buffer(struct.pack("I", 0x0004) + bytes(252)))  # ADJ_MAXERROR


def other_interfaces() -> str:
    return "something" if set(os.listdir("/sys/class/net")) - {"lo"} else "nothing"


def other_nodes() -> str:
    return "something" if set(os.listdir("/dev")) - NODES else "nothing"


def set_namespace() -> None:
    fd = os.open("/proc/1/ns/net", os.O_RDONLY)
    c("setns", fd, 0)


def mount_in_namespace(kind: bytes, target: bytes) -> None:
    """In a user and a mount namespace made for it."""
    c("unshare", NEW["user"] | NEW["mount"])
    c("mount", b"none", target, kind, 0, None)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "mount a file system": lambda: c("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "open a file system for mounting (fsopen)": lambda: call("fsopen", b"tmpfs", 0),
    "unmount what hides a file (/proc/keys)": lambda: c("umount2", b"/proc/keys", 0),
    "make a read-only mount writable (/proc/sys)": lambda: c(
        "mount", None, b"/proc/sys", None, MS_REMOUNT | MS_BIND, None
    ),
    "change the root of its mount namespace": lambda: call("pivot_root", b"/tmp", b"/tmp"),
    "make a device node": make_node,
    "see other devices than the usual ones in /dev": other_nodes,
    "open any file by its handle (open_by_handle_at)": lambda: call("open_by_handle_at", -1, None, 0),
    "set trusted extended attributes": trusted,
    "make a file immutable": immutable,
    "write kernel parameters (/proc/sys/kernel)": lambda: opened("/proc/sys/kernel/core_pattern"),
    "write network parameters (/proc/sys/net)": lambda: opened("/proc/sys/net/ipv4/ip_forward"),
    "ask for emergencies (/proc/sysrq-trigger)": lambda: opened("/proc/sysrq-trigger"),
    "write below /sys": lambda: opened("/sys/module/kernel/parameters/panic"),
    "make a cgroup": make_cgroup,
    "read the kernel's memory (/proc/kcore)": lambda: content("/proc/kcore"),
    "read the list of keys (/proc/keys)": lambda: content("/proc/keys"),
    "read the list of timers (/proc/timer_list)": lambda: content("/proc/timer_list"),
    "see the firmware's tables (/sys/firmware)": lambda: content("/sys/firmware"),
    "load a kernel module": lambda: call("init_module", b"", 0, b""),
    "unload a kernel module": lambda: call("delete_module", b"nosuchmodule", os.O_NONBLOCK),
    "start another kernel (kexec)": lambda: call("kexec_load", 0, 1 << 20, None, 0),
    "reboot": lambda: call("reboot", 0, 0, 0, None),
    "take or clear the kernel's log": lambda: c("klogctl", 9, None, 0),
    "set the clock": lambda: call("clock_settime", 0, struct.pack("qq", 0, -1)),
    "tune the clock (adjtimex)": adjust_clock,
    "load BPF programs": lambda: call("bpf", 9999, None, 0),
    "count events of the processor (perf_event_open)": lambda: call("perf_event_open", None, 0, -1, -1, 0),
    "handle page faults (userfaultfd)": lambda: call("userfaultfd", 1),
    "use io_uring": lambda: call("io_uring_setup", 1, None),
    "add a key to a keyring": lambda: call("add_key", b"user", b"try", b"x", 1, KEY_SESSION),
    "find a key of the caller's session": search_key,
    "use I/O ports": lambda: c("ioperm", 0x80, 1, 1),
    "switch accounting on (acct)": lambda: c("acct", b"/nosuchfile"),
    "add swap space": lambda: c("swapon", b"/nosuchfile", 0),
    "set the host name": lambda: c("sethostname", b"try", 3),
    "take on odd personalities (without address randomisation)": lambda: c("personality", 0x0040000),
    "see a process of the host": lambda: os.stat(f"/proc/{os.environ['HOST_PID']}"),
    "signal a process of the host": lambda: os.kill(int(os.environ["HOST_PID"]), 0),
    "trace a process of the host": lambda: c("ptrace", PTRACE_ATTACH, int(os.environ["HOST_PID"]), None, None),
    "trace a process of another user": lambda: in_other_user(lambda pid: c("ptrace", PTRACE_ATTACH, pid, None, None)),
    "read the memory of another user's process": lambda: in_other_user(read_memory),
    "enter a namespace (setns)": set_namespace,
    "make a mount namespace": lambda: c("unshare", NEW["mount"]),
    "make a network namespace": lambda: c("unshare", NEW["net"]),
    "make a pid namespace": lambda: c("unshare", NEW["pid"]),
    "make an IPC namespace": lambda: c("unshare", NEW["ipc"]),
    "make a UTS namespace": lambda: c("unshare", NEW["uts"]),
    "raise its priority": lambda: os.nice(-5),
    "be scheduled in real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "raise a hard limit": raise_limit,
    "lower its OOM score": lower_score,
    "open raw sockets": lambda: made_socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "open packet sockets": lambda: made_socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "configure a network interface": interface,
    "see the host's network interfaces": other_interfaces,
    "reach an abstract socket of the host": abstract,
    "write audit records": lambda: made_socket(socket.AF_NETLINK, socket.SOCK_RAW, 9),
    # What it can do.
    "make a user namespace": lambda: c("unshare", NEW["user"]),
    "mount a tmpfs in a user namespace of its own": lambda: mount_in_namespace(b"tmpfs", b"/tmp"),
    "mount a /proc without masks in a user namespace of its own": lambda: mount_in_namespace(b"proc", b"/proc"),
    "mount a writable /sys in a user namespace of its own": lambda: mount_in_namespace(b"sysfs", b"/sys"),
    "find a key that belongs to the caller's user": search_user_key,
    "change the owner of its files": change_owner,
    "change its root folder (chroot)": lambda: os.chroot("/tmp"),
    "become another user": lambda: os.setuid(1000),
    "listen on port 80": lambda: socket.socket().bind(("127.0.0.1", 80)),
}


def attempt(name: str) -> str:
    """What comes of it, in a child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            seen = ATTEMPTS[name]()
            text = seen if isinstance(seen, str) else "done"
        except OSError as error:
            text = errno.errorcode.get(error.errno or 0, repr(error))
        except BaseException as error:
            text = repr(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        text = file.read().decode()
    status = os.waitpid(pid, 0)[1]
    return text or f"killed by {status}"


def main() -> None:
    """Make the attempts that are named, or all."""
    for name in sys.argv[1:] or ATTEMPTS:
        print(f"{name}\t{attempt(name)}", flush=True)


if __name__ == "__main__":
    main()
