/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that a confined worker may make, and why: CALL(name, x86-64 number, aarch64 number, arguments).
 * Anything not listed kills. A machine that hasn't got a call has -1; the ones it has instead are listed, too: the two
 * C libraries (glibc, musl) and the two machines differ in what they make of one function.
 *
 * The order matters where the kernel has to run the filter for a call: those of the traffic come first. Sources of the
 * numbers: asm/unistd_64.h, asm-generic/unistd.h; tests compare each of them.
 */
#ifndef REMORA_SYSTEM_CONFINE_CALLS_H
#define REMORA_SYSTEM_CONFINE_CALLS_H

/* Arguments. */
enum confine_check {
    CONFINE_ANY,
    CONFINE_IOCTL, /* requests about terminals, pipes and pidfds */
    CONFINE_FCNTL, /* flags, duplicates, seals: nothing by which the kernel would send signals */
    CONFINE_NO_EXEC, /* memory that can't be executed */
    CONFINE_UNIX, /* sockets of this machine only */
    CONFINE_FIFO, /* no other kind of node */
};

/* clang-format off */
#define CONFINE_CALLS(CALL) \
    /* traffic: streams, clients, logs */ \
    CALL(read, 0, 63, ANY) \
    CALL(write, 1, 64, ANY) \
    CALL(epoll_wait, 232, -1, ANY) /* glibc, x86-64 */ \
    CALL(epoll_pwait, 281, 22, ANY) /* everybody else */ \
    CALL(sendto, 44, 206, ANY) /* packets to clients */ \
    CALL(recvmsg, 47, 212, ANY) /* packets from clients, with descriptors */ \
    CALL(sendmsg, 46, 211, ANY) /* to the keeper, to journald, notifications */ \
    CALL(sendmmsg, 307, 269, ANY) /* entries to journald */ \
    CALL(recvfrom, 45, 207, ANY) \
    CALL(writev, 20, 66, ANY) /* stdio of musl */ \
    CALL(readv, 19, 65, ANY) /* stdio of musl */ \
    CALL(pread64, 17, 67, ANY) \
    CALL(pwrite64, 18, 68, ANY) /* the exit record */ \
    CALL(lseek, 8, 62, ANY) \
    /* the loop */ \
    CALL(epoll_ctl, 233, 21, ANY) \
    CALL(epoll_create1, 291, 20, ANY) /* a new worker's own */ \
    CALL(timerfd_create, 283, 85, ANY) \
    CALL(timerfd_settime, 286, 86, ANY) \
    CALL(eventfd2, 290, 19, ANY) /* OOM events of cgroup v1 */ \
    CALL(signalfd4, 289, 74, ANY) \
    CALL(poll, 7, -1, ANY) \
    CALL(ppoll, 271, 73, ANY) \
    CALL(restart_syscall, 219, 128, ANY) /* the kernel's own, after a stop by job control or a debugger */ \
    /* descriptors */ \
    CALL(close, 3, 57, ANY) \
    CALL(fcntl, 72, 25, FCNTL) \
    CALL(dup3, 292, 24, ANY) /* a rotated log keeps its number */ \
    CALL(ioctl, 16, 29, IOCTL) \
    CALL(memfd_create, 319, 279, ANY) /* large journal entries, saved state */ \
    CALL(ftruncate, 77, 46, ANY) \
    /* connections */ \
    CALL(accept4, 288, 242, ANY) \
    CALL(getsockopt, 55, 209, ANY) /* SO_PEERCRED */ \
    CALL(setsockopt, 54, 208, ANY) \
    CALL(socket, 41, 198, UNIX) /* journald, console sockets */ \
    CALL(connect, 42, 203, ANY) /* journald */ \
    CALL(bind, 49, 200, ANY) /* console sockets */ \
    CALL(listen, 50, 201, ANY) \
    CALL(shutdown, 48, 210, ANY) /* a client that takes nothing */ \
    /* files: logs and their rotation, the record, the state, scratch of runtime calls */ \
    CALL(open, 2, -1, ANY) \
    CALL(openat, 257, 56, ANY) \
    CALL(stat, 4, -1, ANY) \
    CALL(fstat, 5, 80, ANY) \
    CALL(lstat, 6, -1, ANY) \
    CALL(newfstatat, 262, 79, ANY) \
    CALL(statx, 332, 291, ANY) \
    CALL(access, 21, -1, ANY) /* is a rotated log's name free? */ \
    CALL(faccessat, 269, 48, ANY) \
    CALL(getdents64, 217, 61, ANY) /* records kept for late waiters */ \
    CALL(rename, 82, -1, ANY) \
    CALL(renameat, 264, 38, ANY) \
    CALL(link, 86, -1, ANY) /* a rotated log must not take another file's place */ \
    CALL(linkat, 265, 37, ANY) \
    CALL(unlink, 87, -1, ANY) \
    CALL(unlinkat, 263, 35, ANY) \
    CALL(rmdir, 84, -1, ANY) \
    CALL(mkdir, 83, -1, ANY) \
    CALL(mkdirat, 258, 34, ANY) \
    CALL(mknodat, 259, 33, FIFO) /* ctl and winsz of conmon */ \
    CALL(symlink, 88, -1, ANY) /* the short way to conmon's attach socket */ \
    CALL(symlinkat, 266, 36, ANY) \
    CALL(fchmod, 91, 52, ANY) /* sockets before they are bound, files beside a log */ \
    CALL(fchmodat, 268, 53, ANY) \
    CALL(fallocate, 285, 47, ANY) /* room for the exit record */ \
    CALL(fsync, 74, 82, ANY) \
    CALL(fdatasync, 75, 83, ANY) \
    /* the container's processes; its OOM events on cgroup v2 */ \
    CALL(pidfd_open, 434, 434, ANY) \
    CALL(pidfd_send_signal, 424, 424, ANY) \
    CALL(inotify_init1, 294, 26, ANY) \
    CALL(inotify_add_watch, 254, 27, ANY) \
    /* memory */ \
    CALL(mmap, 9, 222, NO_EXEC) \
    CALL(mprotect, 10, 226, NO_EXEC) \
    CALL(munmap, 11, 215, ANY) \
    CALL(mremap, 25, 216, ANY) \
    CALL(madvise, 28, 233, ANY) \
    CALL(brk, 12, 214, ANY) \
    /* the process itself */ \
    CALL(rt_sigprocmask, 14, 135, ANY) \
    CALL(rt_sigaction, 13, 134, ANY) \
    CALL(rt_sigreturn, 15, 139, ANY) \
    CALL(futex, 202, 98, ANY) /* locks within the C library */ \
    CALL(clock_gettime, 228, 113, ANY) /* where the vDSO has no clock */ \
    CALL(nanosleep, 35, 101, ANY) /* between two tries to remove a cgroup */ \
    CALL(clock_nanosleep, 230, 115, ANY) \
    CALL(getrandom, 318, 278, ANY) /* the heap's seed */ \
    CALL(getpid, 39, 172, ANY) \
    CALL(gettid, 186, 178, ANY) \
    CALL(geteuid, 107, 175, ANY) /* whom a client has to be */ \
    CALL(exit, 60, 93, ANY) \
    CALL(exit_group, 231, 94, ANY)
/* clang-format on */

/* Values of arguments as the kernel has them on both machines: the C libraries' names may mean others. */
enum confine_argument {
    CONFINE_AF_UNIX = 1,
    CONFINE_PROT_EXEC = 4,
    CONFINE_S_IFMT = 0170000,
    CONFINE_S_IFIFO = 0010000,
};

#define CONFINE_IOCTLS(ARGUMENT)                                                                                       \
    ARGUMENT(0x5401) /* TCGETS */                                                                                      \
    ARGUMENT(0x5402) /* TCSETS */                                                                                      \
    ARGUMENT(0x802c542a) /* TCGETS2: glibc from 2.42 on */                                                             \
    ARGUMENT(0x402c542b) /* TCSETS2 */                                                                                 \
    ARGUMENT(0x5413) /* TIOCGWINSZ */                                                                                  \
    ARGUMENT(0x5414) /* TIOCSWINSZ */                                                                                  \
    ARGUMENT(0x80045430) /* TIOCGPTN: which descriptor is a terminal, after a worker was killed */                     \
    ARGUMENT(0x541b) /* FIONREAD */

/* PIDFD_GET_INFO has the size of its structure in it, which grows: that part does not count. */
#define CONFINE_IOCTL_SIZE 0x3fff0000U
#define CONFINE_PIDFD_GET_INFO 0xc000ff0bU

#define CONFINE_FCNTLS(ARGUMENT)                                                                                       \
    ARGUMENT(1) /* F_GETFD */                                                                                          \
    ARGUMENT(2) /* F_SETFD */                                                                                          \
    ARGUMENT(3) /* F_GETFL */                                                                                          \
    ARGUMENT(4) /* F_SETFL */                                                                                          \
    ARGUMENT(1030) /* F_DUPFD_CLOEXEC */                                                                               \
    ARGUMENT(1033) /* F_ADD_SEALS */                                                                                   \
    ARGUMENT(1034) /* F_GET_SEALS */

#endif
