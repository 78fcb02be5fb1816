/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/execute.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "system/loginuid.h"

/* The null device, by whatever mount: a container gets it by the one of this namespace, which may be read-only. */
static bool is_null(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

/* In the child: the descriptors where the program expects them, and no other. Async-signal-safe calls only. */
static int place(const struct execution *execution)
{
    size_t n_kept = execution->n_kept;
    int high[3 + EXECUTE_KEPT_MAX];
    int lowest = 3 + (int)n_kept;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null_fd < 0 || n_kept > EXECUTE_KEPT_MAX)
        return -1;
    /* First all out of the way, then each into its place: sources and targets may overlap. */
    for (size_t i = 0; i < 3 + n_kept; i++) {
        int source = i < 3 ? execution->stdio[i] : execution->kept[i - 3];

        if (source < 0 || (i < 3 && is_null(source)))
            source = null_fd;
        high[i] = fcntl(source, F_DUPFD_CLOEXEC, lowest);
        if (high[i] < 0)
            return -1;
    }
    for (size_t i = 0; i < 3 + n_kept; i++)
        if (dup2(high[i], (int)i) < 0)
            return -1;
    return (int)syscall(SYS_close_range, (unsigned)lowest, ~0U, 0);
}

pid_t execute(const struct execution *execution)
{
    const char *const *argv = execution->argv;
    sigset_t none;
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid > 0)
        return pid;
    /* A monitor blocks all signals and ignores none but SIGPIPE: the program starts with a clean slate. */
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (execution->login_uid != NULL)
        loginuid_become(execution->login_uid);
    if (place(execution) < 0)
        _exit(EXECUTE_FAILED);
    /* The p variant makes a shell run what is no program. */
    if (strchr(argv[0], '/') != NULL)
        execve(argv[0], (char *const *)(uintptr_t)argv, execution->environment);
    else
        execvpe(argv[0], (char *const *)(uintptr_t)argv, execution->environment);
    _exit(EXECUTE_FAILED);
}
