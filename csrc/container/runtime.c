/* SPDX-License-Identifier: Apache-2.0 */
#include "container/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/monitor.h"
#include "engine/execute.h"
#include "util/fd.h"

#define ARGV_MAX 64
#define ERROR_OUTPUT_MAX 4096

void runtime_prepare(struct runtime_call *call, const char *phase, runtime_done_fn done)
{
    *call = (struct runtime_call){.phase = phase, .done = done, .stdio = {-1, -1, -1}, .error_fd = -1};
}

void runtime_argument(struct runtime_call *call, const char *argument)
{
    if (call->n_args + 1 < RUNTIME_ARGS_MAX)
        call->args[call->n_args++] = argument;
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
    monitor->hub.children.hold--;
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
    struct execution execution = {.argv = argv, .environment = config->environment, .n_kept = call->n_kept};
    size_t n = 0;
    pid_t pid;
    int r;

    memcpy(execution.stdio, call->stdio, sizeof(execution.stdio));
    memcpy(execution.kept, call->kept, sizeof(execution.kept));
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
    pid = execute(&execution);
    if (pid < 0) {
        free(call->log_path);
        return pid;
    }
    r = child_watch(&monitor->hub.loop, &monitor->hub.children, &call->child, pid, call_ended);
    if (r < 0) {
        kill(pid, SIGKILL); /* our own unreaped child: the pid can't have been reused */
        waitpid(pid, NULL, 0);
        free(call->log_path);
        return r;
    }
    call->monitor = monitor;
    monitor->hub.children.hold++;
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
