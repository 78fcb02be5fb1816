/* SPDX-License-Identifier: Apache-2.0 */
#include "container/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container/control.h"
#include "container/ending.h"
#include "container/helpers.h"
#include "container/monitor.h"
#include "container/perform.h"
#include "container/tell.h"
#include "util/fd.h"

static void write_pidfile(const char *path, pid_t pid)
{
    char text[16];
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd >= 0)
        fd_write_all(fd, text, (size_t)snprintf(text, sizeof(text), "%d\n", pid));
}

void launch_oom_ready(struct source *source, uint32_t events)
{
    (void)events;
    cgroup_event(&container_of(source, struct container, oom)->cgroup);
}

static void watch_cgroup(struct container *container, pid_t pid)
{
    int fd;

    cgroup_open(&container->cgroup, pid, container->monitor->config->cgroup);
    fd = container->cgroup.event_fd >= 0 ? fcntl(container->cgroup.event_fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd >= 0)
        source_add(&container->monitor->hub.loop, &container->oom, fd, EPOLLIN, launch_oom_ready);
}

/* The terminal comes on the console socket; it may have been taken already (container_resume). */
static int take_terminal(struct container *container)
{
    struct stdio *stdio = &container->stdio;

    if (container->main.out.source.loop != NULL)
        return 0;
    if (stdio->out < 0)
        stdio->out = console_receive(container->console);
    return stdio->out < 0 ? stdio->out : stdio_pty(stdio, container->rows, container->cols);
}

/* The process is there: take its streams. 0, or a failure. */
static int adopt(struct container *container, struct failure *failure, pid_t *pid)
{
    struct monitor *monitor = container->monitor;
    const struct config *config = monitor->config;
    char name[PERFORM_NAME_MAX];
    int r;

    perform_pid_name(name, container->call.number);
    r = runtime_read_pid(monitor->run_dir_fd, name);
    if (r < 0)
        return failure_errno(failure, "read pid file", name, r);
    *pid = r;
    if (config->tty) {
        r = take_terminal(container);
        if (r < 0)
            return failure_errno(failure, "receive terminal", config->runtime[0], r);
    }
    watch_cgroup(container, *pid);
    container->outcome = (struct outcome){.started_ns = wall_ns(), .started_mono_ns = monotonic_ns()};
    r = session_start(&container->main, &container->stdio, *pid);
    return r < 0 ? failure_errno(failure, "watch process", name, r) : 0;
}

/* Scratch files of the start. */
void launch_forget(struct container *container)
{
    int dir_fd = container->monitor->run_dir_fd;
    char name[PERFORM_NAME_MAX];

    fd_close(&container->console);
    perform_console_name(name, container->call.number);
    unlinkat(dir_fd, name, 0);
    perform_pid_name(name, container->call.number);
    unlinkat(dir_fd, name, 0);
}

/* The container runs: say so where it has not been said. */
void launch_tell(struct container *container)
{
    struct monitor *monitor = container->monitor;

    ending_write_state(container, container->paused ? "paused" : "running");
    if (container->start_told)
        return;
    if (monitor->config->pidfile[0] != 0)
        write_pidfile(monitor->config->pidfile, container->main.process.pid);
    if (monitor->config->timeout > 0)
        timer_set(&container->time_limit, seconds_ns(monitor->config->timeout));
    if (container->first_start_over)
        control_tell_restarted(monitor, container->restarts);
    else
        control_tell_started(monitor, container->main.process.pid);
    container->first_start_over = true;
    container->start_told = true;
}

void launch_done(struct runtime_call *call, const struct failure *failure)
{
    struct container *container = container_of(call, struct container, call);
    struct failure own;
    pid_t pid = 0;

    if (failure != NULL) {
        container_run_failed(container, failure);
        return;
    }
    if (adopt(container, &own, &pid) < 0) {
        container_run_failed(container, &own);
        return;
    }
    container->state = CONTAINER_RUNNING;
    launch_forget(container);
    launch_tell(container);
    container_deliver(container);
}

static int start_runtime(struct container *container, struct failure *failure)
{
    struct monitor *monitor = container->monitor;
    const struct config *config = monitor->config;
    struct runtime_call *call = &container->call;
    int kept[EXECUTE_KEPT_MAX];
    size_t n_kept = 0;
    char name[PERFORM_NAME_MAX];
    int r;

    runtime_prepare(call, monitor, TASK_RUN, "start container", launch_done);
    call->tty = config->tty;
    call->with_stdin = config->stdin_open;
    call->uid = config->uid;
    call->gid = config->gid;
    call->stdio = &container->stdio;
    call->passthrough = config->passthrough;
    if (config->tty) {
        perform_console_name(name, monitor->n_calls);
        container->console = console_listen(monitor->run_dir_fd, name);
        if (container->console < 0)
            return failure_errno(failure, "make console socket", config->run_dir, container->console);
    }
    while (n_kept < config->n_preserved && n_kept < EXECUTE_KEPT_MAX) {
        kept[n_kept] = config_first_preserved(config) + (int)n_kept;
        n_kept++;
    }
    r = runtime_start(call, kept, n_kept);
    return r < 0 ? failure_errno(failure, "execute runtime", config->runtime[0], r) : 0;
}

void launch_begin(struct container *container)
{
    struct failure failure;

    container->state = CONTAINER_STARTING;
    container->timed_out = container->kill_sent = container->start_told = false;
    if (!helpers_up(container))
        return; /* called again once they are, unless one of them fails */
    if (start_runtime(container, &failure) < 0)
        container_run_failed(container, &failure);
}
