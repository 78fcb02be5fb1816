/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/monitor.h"
#include "util/fd.h"

#define ARGV_MAX 64
#define ERROR_OUTPUT_MAX 4096
#define EXECUTE_FAILED 127

void runtime_prepare(struct runtime_call *call, const char *phase, runtime_done_fn done)
{
    *call = (struct runtime_call){.phase = phase, .done = done, .stdio = {-1, -1, -1}, .error_fd = -1};
}

void runtime_argument(struct runtime_call *call, const char *argument)
{
    if (call->n_args + 1 < RUNTIME_ARGS_MAX)
        call->args[call->n_args++] = argument;
}

/* In the child: the descriptors where the program expects them, and no other. Async-signal-safe calls only. */
static int place(const int stdio[3], const int *kept, size_t n_kept)
{
    int high[3 + RUNTIME_KEPT_MAX];
    int lowest = 3 + (int)n_kept;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null_fd < 0 || n_kept > RUNTIME_KEPT_MAX)
        return -1;
    /* First all out of the way, then each into its place: sources and targets may overlap. */
    for (size_t i = 0; i < 3 + n_kept; i++) {
        int source = i < 3 ? stdio[i] : kept[i - 3];

        high[i] = fcntl(source >= 0 ? source : null_fd, F_DUPFD_CLOEXEC, lowest);
        if (high[i] < 0)
            return -1;
    }
    for (size_t i = 0; i < 3 + n_kept; i++)
        if (dup2(high[i], (int)i) < 0)
            return -1;
    return (int)syscall(SYS_close_range, (unsigned)lowest, ~0U, 0);
}

pid_t runtime_fork(const struct monitor *monitor, const char *const *argv, const int stdio[3], const int *kept,
                   size_t n_kept, bool die_with_monitor)
{
    sigset_t none;
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid > 0)
        return pid;
    /* The monitor blocks all signals and ignores none but SIGPIPE: the program starts with a clean slate. */
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (die_with_monitor) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXECUTE_FAILED);
    }
    if (place(stdio, kept, n_kept) < 0)
        _exit(EXECUTE_FAILED);
    /* The p variant makes a shell run what is no program. */
    if (strchr(argv[0], '/') != NULL)
        execve(argv[0], (char *const *)(uintptr_t)argv, monitor->config.environment);
    else
        execvpe(argv[0], (char *const *)(uintptr_t)argv, monitor->config.environment);
    _exit(EXECUTE_FAILED);
}

static void finish(struct runtime_call *call, const struct failure *failure)
{
    struct monitor *monitor = call->monitor;

    unlink(call->log_path);
    free(call->log_path);
    call->log_path = NULL;
    call->monitor = NULL;
    /* The callee may watch the container's init now; only then may strangers be reaped (by child_ready). */
    call->done(call, failure);
    monitor->children.hold--;
}

static void call_ended(struct child *child, const struct child_end *end)
{
    struct runtime_call *call = container_of(child, struct runtime_call, child);
    struct failure failure;
    char output[ERROR_OUTPUT_MAX];
    ssize_t n = 0;

    if (end->known && WIFEXITED(end->status) && WEXITSTATUS(end->status) == 0) {
        finish(call, NULL);
        return;
    }
    if (call->error_fd >= 0)
        n = read(call->error_fd, output, sizeof(output));
    failure_runtime(&failure, call->phase, call->monitor->config.runtime[0], call->log_path, output,
                    n > 0 ? (size_t)n : 0, end->status);
    finish(call, &failure);
}

int runtime_start(struct monitor *monitor, struct runtime_call *call)
{
    const struct config *config = &monitor->config;
    const char *argv[ARGV_MAX];
    size_t n = 0;
    pid_t pid;
    int r;

    if (config->n_runtime + 4 + call->n_args + 1 > ARGV_MAX)
        return -E2BIG;
    if (asprintf(&call->log_path, "%s/runtime-%u.log", config->run_dir, monitor->n_calls++) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < config->n_runtime; i++)
        argv[n++] = config->runtime[i];
    if (!call->unlogged) {
        argv[n++] = "--log";
        argv[n++] = call->log_path;
        argv[n++] = "--log-format";
        argv[n++] = "json";
    }
    for (size_t i = 0; i < call->n_args; i++)
        argv[n++] = call->args[i];
    argv[n] = NULL;
    pid = runtime_fork(monitor, argv, call->stdio, call->kept, call->n_kept, true);
    if (pid < 0) {
        free(call->log_path);
        return pid;
    }
    r = child_watch(&monitor->loop, &monitor->children, &call->child, pid, call_ended);
    if (r < 0) {
        kill(pid, SIGKILL); /* our own unreaped child: the pid can't have been reused */
        waitpid(pid, NULL, 0);
        free(call->log_path);
        return r;
    }
    call->monitor = monitor;
    monitor->children.hold++;
    return 0;
}

int runtime_read_pid(const char *path)
{
    char text[16];
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n;
    long pid;

    if (fd < 0)
        return -errno;
    n = fd_read_all(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return n < 0 ? (int)n : -ENODATA;
    text[n] = 0;
    pid = strtol(text, NULL, 10);
    return pid > 1 && pid <= INT32_MAX ? (int)pid : -EBADMSG;
}
