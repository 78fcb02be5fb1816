/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a monitor.
 *
 * The child shares this process's memory until it executes the program (vfork): nothing is copied, however large the
 * caller is. Between vfork and execve it makes system calls only, and leaves its error in the shared structure.
 * The program forks itself and its first process ends at once; that one is our child and is reaped here, so that
 * no zombie is left and the monitor belongs to init from the first moment.
 *
 * The child gets a clean state, whatever the caller's is: default signal actions, an empty mask, a session of its own
 * (a ctrl-c typed just now is not for the monitor), folder "/", /dev/null as stdio, and no descriptor but those of the
 * table in docs/architecture.md.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client/client.h"
#include "include/remora.h"
#include "util/fd.h"

#define FIRST_FD 3
#define FIXED_FDS 4 /* configuration, connection, lock, root file system */
#define HANDED_ON_MAX (REMORA_PACKET_FDS_MAX + 16) /* preserved ones; before them stdio and namespaces */
#define SPAWN_FDS_MAX (FIXED_FDS + HANDED_ON_MAX)

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

struct spawn {
    const char *program;
    char *const *argv;
    char *const *environment;
    int null_fd;
    int fds[SPAWN_FDS_MAX]; /* in the order of their numbers in the child */
    int n_fds;
    volatile int error; /* set by the child before it gives up */
};

int remora_sealed_memory(const char *name, const void *bytes, size_t size)
{
    CLEANUP_FD int fd = -1;
    int result;

    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before kernel 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    result = fd_write_all(fd, bytes, size);
    if (result < 0)
        return result;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return -errno;
    return fd_take(&fd);
}

/* Runs in the child, in the parent's memory. Returns only when something failed. */
static int child_exec(const struct spawn *spawn)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    int last = FIRST_FD + spawn->n_fds;
    int high[SPAWN_FDS_MAX];
    sigset_t none;

    /* Ignored signals survive execve. glibc keeps two numbers for itself and refuses them: that is no error. */
    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &action, NULL);
    (void)setsid();
    if (chdir("/") < 0)
        return errno;
    /* First all of them out of the way, then each to its number: a source may be another one's target. */
    for (int i = 0; i < spawn->n_fds; i++) {
        high[i] = fcntl(spawn->fds[i], F_DUPFD, last);
        if (high[i] < 0)
            return errno;
    }
    for (int i = 0; i < FIRST_FD; i++)
        if (dup2(spawn->null_fd, i) < 0)
            return errno;
    for (int i = 0; i < spawn->n_fds; i++)
        if (dup2(high[i], FIRST_FD + i) < 0)
            return errno;
    if (syscall(SYS_close_range, (unsigned int)last, ~0U, 0) < 0)
        return errno;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        return errno;
    execve(spawn->program, spawn->argv, spawn->environment);
    return errno;
}

static pid_t start_child(struct spawn *spawn)
{
    pid_t pid = vfork();

    if (pid == 0) {
        spawn->error = child_exec(spawn);
        _exit(127);
    }
    return pid;
}

static int run_child(struct spawn *spawn)
{
    sigset_t all, saved;
    int status = 0;
    pid_t pid;

    /* A handler of the caller must not run in the child, on the caller's memory. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &saved);
    pid = start_child(spawn);
    if (pid < 0)
        spawn->error = errno;
    while (pid > 0 && waitpid(pid, &status, 0) < 0) {
        if (errno == EINTR)
            continue;
        /* ECHILD: the caller ignores SIGCHLD, the kernel has reaped it. */
        status = 0;
        break;
    }
    sigprocmask(SIG_SETMASK, &saved, NULL);
    if (spawn->error != 0)
        return -spawn->error;
    /* It was executed and did not get as far as its own fork (killed, say). */
    return status == 0 ? 0 : -ECHILD;
}

int remora_spawn(const char *program, const char *short_id, const char *name, const void *configuration, size_t size,
                 int lock_fd, int rootfs_fd, const int *preserved, size_t n_preserved, char *const *environment)
{
    char *argv[] = {"remora-monitor", (char *)(uintptr_t)short_id, (char *)(uintptr_t)name, NULL};
    struct spawn spawn = {.program = program, .argv = argv, .environment = environment, .n_fds = FIXED_FDS};
    CLEANUP_FD int null_fd = -1;
    CLEANUP_FD int memory = -1;
    CLEANUP_FD int ours = -1;
    CLEANUP_FD int theirs = -1;
    int pair[2];
    int result;

    if (n_preserved > HANDED_ON_MAX)
        return -EMSGSIZE;
    memory = remora_sealed_memory("remora-configuration", configuration, size);
    if (memory < 0)
        return memory;
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return -errno;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = pair[1];
    client_enlarge(ours);
    client_enlarge(theirs);
    spawn.null_fd = null_fd;
    spawn.fds[0] = memory;
    spawn.fds[1] = theirs;
    spawn.fds[2] = lock_fd;
    spawn.fds[3] = rootfs_fd >= 0 ? rootfs_fd : null_fd;
    for (size_t i = 0; i < n_preserved; i++)
        spawn.fds[spawn.n_fds++] = preserved[i];
    result = run_child(&spawn);
    return result < 0 ? result : fd_take(&ours);
}
