/* SPDX-License-Identifier: Apache-2.0 */
#include "container/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/monitor.h"
#include "container/perform.h"
#include "util/fd.h"

#define ERROR_OUTPUT_MAX 4096

void runtime_prepare(struct runtime_call *call, struct monitor *monitor, enum native_task kind, const char *phase,
                     runtime_done_fn done)
{
    *call = (struct runtime_call){.monitor = monitor, .kind = kind, .phase = phase, .done = done, .words = -1};
}

bool runtime_under_way(const struct runtime_call *call)
{
    return call->state != CALL_IDLE;
}

void runtime_forget(struct runtime_call *call)
{
    if (call->state != CALL_ENDED)
        return;
    call->state = CALL_IDLE;
    fd_close(&call->words);
}

/* Why a program that is no runtime failed: its last words. */
static void describe_program(const struct runtime_call *call, const char *name, struct failure *failure)
{
    char output[ERROR_OUTPUT_MAX];
    struct stat status = {0};
    off_t from = 0;
    ssize_t n = 0;

    /* Not by seeking: the position is shared with who writes. */
    if (call->words >= 0 && fstat(call->words, &status) == 0) {
        from = status.st_size > (off_t)sizeof(output) ? status.st_size - (off_t)sizeof(output) : 0;
        n = pread(call->words, output, sizeof(output), from);
    }
    failure_program(failure, call->phase, name, output, n > 0 ? (size_t)n : 0,
                    call->end.known ? call->end.status : SIGKILL);
}

static void describe(const struct runtime_call *call, struct failure *failure)
{
    const struct monitor *monitor = call->monitor;
    char name[PERFORM_NAME_MAX], output[ERROR_OUTPUT_MAX];
    ssize_t n = 0;

    if (call->kind == TASK_HELP && call->item < monitor->config->n_helpers) {
        describe_program(call, monitor->config->helpers[call->item].name, failure);
        return;
    }
    perform_log_name(name, call->number);
    if (call->stdio != NULL && call->stdio->err >= 0)
        n = read(call->stdio->err, output, sizeof(output));
    failure_runtime(failure, call->phase, monitor->config->runtime[0], monitor->run_dir_fd, name, output,
                    n > 0 ? (size_t)n : 0, call->end.known ? call->end.status : SIGKILL);
}

/* It is over: tell, and only then forget it. */
static void conclude(struct runtime_call *call)
{
    struct monitor *monitor = call->monitor;
    struct failure failure, *failed = NULL;
    char name[PERFORM_NAME_MAX];

    perform_log_name(name, call->number);
    if (!call->end.known || !WIFEXITED(call->end.status) || WEXITSTATUS(call->end.status) != 0) {
        describe(call, &failure);
        failed = &failure;
    }
    call->done(call, failed);
    /* Unless `done` prepared and started it anew. */
    runtime_forget(call);
    if (monitor->run_dir_fd >= 0)
        unlinkat(monitor->run_dir_fd, name, 0);
    /* The callee may watch the container's init now; only then may strangers be reaped. */
    children_release(&monitor->hub.children);
}

static void call_ended(struct child *child, const struct child_end *end)
{
    struct runtime_call *call = container_of(child, struct runtime_call, child);

    call->end = *end;
    call->state = CALL_ENDED;
    child->telling = false;
    conclude(call);
}

/* The keeper's answer becomes the call's. */
static int accept_answer(struct runtime_call *call, const struct task *task)
{
    struct hub *hub = &call->monitor->hub;
    int r;

    if (call->stdio != NULL) {
        call->stdio->in = task->in;
        call->stdio->out = task->out;
        call->stdio->err = task->err;
    } else {
        call->words = task->err;
    }
    r = child_watch_task(&hub->loop, &hub->children, &call->child, task, call_ended);
    if (r == 0)
        call->state = CALL_RUNNING;
    hub->children.board->task.owner = NULL;
    return r;
}

int runtime_start(struct runtime_call *call, const int *kept, size_t n_kept)
{
    struct monitor *monitor = call->monitor;
    struct task task = {
        .kind = call->kind,
        .number = monitor->n_calls++,
        .item = call->item,
        .n_kept = n_kept,
        .tty = call->tty,
        .pipes = call->stdio != NULL && !call->tty && !call->passthrough,
        .with_stdin = call->with_stdin,
        .unlogged = call->unlogged,
        .uid = call->uid,
        .gid = call->gid,
        .asker = call->asker,
        .owner = call,
    };
    int r;

    if (n_kept > EXECUTE_KEPT_MAX)
        return -E2BIG;
    if (n_kept > 0)
        memcpy(task.kept, kept, n_kept * sizeof(*kept));
    call->number = task.number;
    call->state = CALL_STARTING;
    children_hold(&monitor->hub.children);
    r = children_ask(&monitor->hub.children, &task);
    if (r == 0)
        r = accept_answer(call, &task);
    if (r < 0) {
        call->state = CALL_IDLE;
        fd_close(&call->words);
        children_release(&monitor->hub.children);
    }
    return r;
}

void runtime_bind(struct runtime_call *call, runtime_done_fn done)
{
    struct hub *hub = &call->monitor->hub;

    call->done = done;
    child_bind(&hub->loop, &hub->children, &call->child, call_ended);
}

void runtime_know(const struct runtime_call *call)
{
    struct hub *hub;
    const struct task *answer;

    if (call->state == CALL_IDLE)
        return;
    hub = &call->monitor->hub;
    answer = &hub->children.board->task;
    if (call->child.children != NULL)
        loop_know(&hub->loop, call->child.pidfd.fd);
    loop_know(&hub->loop, call->words);
    if (answer->owner != call || answer->state != TASK_ANSWERED || answer->result < 0)
        return;
    loop_know(&hub->loop, answer->pidfd);
    loop_know(&hub->loop, answer->in);
    loop_know(&hub->loop, answer->out);
    loop_know(&hub->loop, answer->err);
}

bool runtime_resume(struct runtime_call *call)
{
    struct monitor *monitor = call->monitor;
    struct task *answer;

    switch (call->state) {
    case CALL_IDLE:
        return false;
    case CALL_STARTING:
        answer = &monitor->hub.children.board->task;
        if (answer->owner != call || answer->state != TASK_ANSWERED || answer->result < 0) {
            call->state = CALL_IDLE;
            return false;
        }
        children_hold(&monitor->hub.children);
        return accept_answer(call, answer) == 0;
    case CALL_RUNNING:
        children_hold(&monitor->hub.children);
        child_resume(&monitor->hub.children, &call->child);
        child_resumed(&call->child);
        return true;
    case CALL_ENDED:
        children_hold(&monitor->hub.children);
        conclude(call);
        return true;
    }
    return false;
}

int runtime_read_pid(int dir_fd, const char *name)
{
    char text[16];
    CLEANUP_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
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
