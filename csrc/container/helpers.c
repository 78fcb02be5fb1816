/* SPDX-License-Identifier: Apache-2.0 */
#include "container/helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/cleanup.h"
#include "container/ending.h"
#include "container/launch.h"
#include "container/monitor.h"
#include "util/fd.h"

#define READY_NS (30 * SECOND_NS) /* for a program to be ready */
#define END_NS (5 * SECOND_NS) /* between SIGTERM and SIGKILL */
#define BACKOFF_FIRST_NS (100 * MILLISECOND_NS)
#define BACKOFF_LAST_NS (30 * SECOND_NS)
#define HEALTHY_NS (10 * SECOND_NS)

static void helper_due(struct timer *timer);

static const struct config_helper *config_of(const struct helper *helper)
{
    return &helper->monitor->config->helpers[helper->number];
}

static bool is_over(const struct helper *helper)
{
    return helper->monitor->container.helpers_over;
}

/* ---- ends ---- */

static void is_down(struct helper *helper)
{
    struct container *container = &helper->monitor->container;

    timer_clear(&helper->timer);
    helper->state = HELPER_DOWN;
    unlink(config_of(helper)->pidfile);
    if (container->state == CONTAINER_CLEANING)
        cleanup_go_on(container);
}

static void back_off(struct helper *helper)
{
    if (helper->backoff_ns == 0)
        helper->backoff_ns = BACKOFF_FIRST_NS;
    else if (helper->backoff_ns * 2 > BACKOFF_LAST_NS)
        helper->backoff_ns = BACKOFF_LAST_NS;
    else
        helper->backoff_ns *= 2;
    helper->state = HELPER_WAITING;
    timer_set(&helper->timer, helper->backoff_ns);
}

static void process_ended(struct child *child, const struct child_end *end)
{
    struct helper *helper = container_of(child, struct helper, process);

    if (is_over(helper)) {
        helper->state = HELPER_DOWN;
        child->telling = false;
        is_down(helper);
        return;
    }
    if (!end->known)
        snprintf(helper->error, sizeof(helper->error), "it ended, and nobody knows how");
    else if (WIFSIGNALED(end->status))
        snprintf(helper->error, sizeof(helper->error), "it was killed by signal %d", WTERMSIG(end->status));
    else
        snprintf(helper->error, sizeof(helper->error), "it ended with status %d", WEXITSTATUS(end->status));
    if (monotonic_ns() - helper->started_mono_ns >= HEALTHY_NS)
        helper->backoff_ns = 0;
    back_off(helper);
    child->telling = false;
}

static void end_process(struct helper *helper)
{
    if (config_of(helper)->shared) {
        child_forget(&helper->process);
        is_down(helper);
        return;
    }
    /* The state last: a new worker does all of it again. */
    child_signal(&helper->process, SIGTERM);
    timer_set(&helper->timer, END_NS);
    helper->state = HELPER_ENDING;
}

/* ---- starts ---- */

/* The pid in its file: what failed once may go a second time, and what runs there must not be forgotten. */
static int left_pid(const struct helper *helper)
{
    int pid = runtime_read_pid(AT_FDCWD, config_of(helper)->pidfile);

    return pid < 0 ? runtime_read_pid(AT_FDCWD, config_of(helper)->pidfile) : pid;
}

static int watch(struct helper *helper, pid_t pid)
{
    struct hub *hub = &helper->monitor->hub;

    return child_watch(&hub->loop, &hub->children, &helper->process, pid, process_ended);
}

/* The process that a program has left in the background. 0 or -errno. */
static int adopt(struct helper *helper)
{
    int pid = left_pid(helper), r;

    if (pid < 0)
        return pid;
    /* A killed worker may have been as far as that. */
    if (helper->process.children != NULL && helper->process.pid == pid)
        return 0;
    r = watch(helper, pid);
    return r < 0 && r != -ESRCH ? watch(helper, pid) : r;
}

/* Not of this start any more: what it has left must not stay. */
static void kill_left(const struct helper *helper)
{
    int pid = config_of(helper)->shared ? -1 : left_pid(helper);
    CLEANUP_FD int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

    if (fd >= 0)
        (void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}

static void start_failed(struct helper *helper, const struct failure *failure)
{
    struct container *container = &helper->monitor->container;

    snprintf(helper->error, sizeof(helper->error), "%.*s", (int)sizeof(helper->error) - 1, failure->text);
    if (helper->starts > 0 || container->first_start_over) {
        if (failure->error == EOWNERDEAD)
            helper->state = HELPER_DOWN; /* there will never be another one */
        else
            back_off(helper);
        return;
    }
    helper->state = HELPER_DOWN;
    container_run_failed(container, failure);
}

static void program_done(struct runtime_call *call, const struct failure *failure)
{
    struct helper *helper = container_of(call, struct helper, call);
    struct container *container = &helper->monitor->container;
    const char *name = config_of(helper)->name;
    struct failure own;
    int r;

    timer_clear(&helper->timer);
    if (is_over(helper)) {
        if (adopt(helper) == 0)
            end_process(helper);
        else
            is_down(helper);
        return;
    }
    if (failure != NULL) {
        kill_left(helper);
        own = *failure;
        if (helper->late)
            failure_text(&own, call->phase, name, "it was not ready within 30 seconds");
        start_failed(helper, &own);
        return;
    }
    r = adopt(helper);
    if (r < 0) {
        kill_left(helper);
        failure_errno(&own, call->phase, name, r);
        if (r == -ENOENT || r == -ENODATA || r == -EBADMSG)
            failure_text(&own, call->phase, name, "it has left no pid in its pid file");
        start_failed(helper, &own);
        return;
    }
    helper->started_mono_ns = monotonic_ns();
    helper->starts++;
    helper->state = HELPER_RUNNING;
    if (container->state == CONTAINER_STARTING && !container->first_start_over && !runtime_under_way(&container->call))
        launch_begin(container);
}

/* Its fields are zero, which is no empty descriptor. */
static int prepare(struct helper *helper, struct monitor *monitor)
{
    if (helper->monitor == NULL) {
        helper->number = (unsigned)(helper - monitor->helpers);
        helper->process.pidfd.fd = helper->process.patience.source.fd = helper->timer.source.fd = helper->call.words =
            -1;
        helper->monitor = monitor;
    }
    return helper->timer.source.loop == NULL ? timer_init(&monitor->hub.loop, &helper->timer, helper_due) : 0;
}

static int start_program(struct helper *helper, struct monitor *monitor, struct failure *failure)
{
    int r = prepare(helper, monitor);

    if (r == 0) {
        /* What is in it afterwards is of this start. */
        if (unlink(config_of(helper)->pidfile) < 0 && errno != ENOENT)
            unlink(config_of(helper)->pidfile);
        helper->late = false;
        helper->state = HELPER_STARTING;
        runtime_prepare(&helper->call, monitor, TASK_HELP, "start helper", program_done);
        helper->call.item = helper->number;
        helper->call.unlogged = true;
        r = runtime_start(&helper->call, NULL, 0);
    }
    if (r < 0)
        return failure_errno(failure, "start helper", config_of(helper)->name, r);
    timer_set(&helper->timer, READY_NS);
    return 0;
}

static void start_again(struct helper *helper)
{
    struct failure failure;

    if (start_program(helper, helper->monitor, &failure) < 0)
        start_failed(helper, &failure);
}

static void helper_due(struct timer *timer)
{
    struct helper *helper = container_of(timer, struct helper, timer);

    switch (helper->state) {
    case HELPER_STARTING:
        helper->late = true;
        child_signal(&helper->call.child, SIGKILL);
        break;
    case HELPER_WAITING:
        start_again(helper);
        break;
    case HELPER_ENDING:
        child_signal(&helper->process, SIGKILL);
        break;
    case HELPER_DOWN:
    case HELPER_RUNNING:
        break;
    }
}

/* ---- for the container ---- */

bool helpers_up(struct container *container)
{
    struct monitor *monitor = container->monitor;
    struct failure failure;

    /* Between runs each follows its own back-off. */
    if (container->first_start_over)
        return true;
    for (unsigned i = 0; i < monitor->config->n_helpers; i++) {
        struct helper *helper = &monitor->helpers[i];

        if (helper->state == HELPER_STARTING)
            return false;
        if (helper->state != HELPER_DOWN)
            continue;
        if (start_program(helper, monitor, &failure) < 0)
            start_failed(helper, &failure);
        return false;
    }
    return true;
}

void helpers_interrupt(struct container *container)
{
    for (unsigned i = 0; i < container->monitor->config->n_helpers; i++)
        if (container->monitor->helpers[i].state == HELPER_STARTING)
            child_signal(&container->monitor->helpers[i].call.child, SIGKILL);
}

void helpers_end(struct container *container)
{
    struct monitor *monitor = container->monitor;

    container->helpers_over = true;
    for (unsigned i = 0; i < monitor->config->n_helpers; i++) {
        struct helper *helper = &monitor->helpers[i];

        if (helper->state == HELPER_STARTING) {
            child_signal(&helper->call.child, SIGTERM);
            timer_set(&helper->timer, END_NS);
        } else if (helper->state == HELPER_RUNNING) {
            end_process(helper);
        } else if (helper->state == HELPER_WAITING) {
            is_down(helper);
        }
    }
}

bool helpers_gone(const struct container *container)
{
    for (unsigned i = 0; i < container->monitor->config->n_helpers; i++)
        if (container->monitor->helpers[i].state != HELPER_DOWN)
            return false;
    return true;
}

void helpers_put(const struct monitor *monitor, struct msg_out *out)
{
    msg_put_key(out, "helpers");
    msgpack_pack_array(&out->packer, monitor->config->n_helpers);
    for (unsigned i = 0; i < monitor->config->n_helpers; i++) {
        const struct helper *helper = &monitor->helpers[i];

        msgpack_pack_map(&out->packer, 4);
        msg_put_text(out, "name", monitor->config->helpers[i].name);
        msg_put_int(out, "pid", helper->state == HELPER_RUNNING ? helper->process.pid : 0);
        msg_put_int(out, "restarts", helper->starts > 0 ? helper->starts - 1 : 0);
        msg_put_text(out, "error", helper->error);
    }
}

/* ---- a new worker ---- */

void helpers_resume(struct container *container)
{
    struct monitor *monitor = container->monitor;

    for (unsigned i = 0; i < monitor->config->n_helpers; i++) {
        struct helper *helper = &monitor->helpers[i];

        if (helper->monitor == NULL)
            continue;
        runtime_know(&helper->call);
        child_resume(&monitor->hub.children, &helper->process);
        timer_resume(&helper->timer);
    }
}

static void resumed(struct helper *helper)
{
    if (helper->state != HELPER_STARTING)
        runtime_forget(&helper->call);
    switch (helper->state) {
    case HELPER_STARTING:
        if (runtime_resume(&helper->call))
            break;
        if (is_over(helper))
            is_down(helper);
        else
            start_again(helper);
        break;
    case HELPER_RUNNING:
    case HELPER_ENDING:
        child_resumed(&helper->process);
        break;
    case HELPER_WAITING:
        if (!timer_is_set(&helper->timer))
            timer_set(&helper->timer, helper->backoff_ns);
        helper->process.telling = false;
        break;
    case HELPER_DOWN:
        break;
    }
}

void helpers_resumed(struct container *container)
{
    struct monitor *monitor = container->monitor;

    for (unsigned i = 0; i < monitor->config->n_helpers; i++)
        if (monitor->helpers[i].monitor != NULL)
            resumed(&monitor->helpers[i]);
    if (container->helpers_over)
        helpers_end(container);
}

void helpers_deinit(struct container *container)
{
    struct monitor *monitor = container->monitor;

    for (unsigned i = 0; i < monitor->config->n_helpers; i++) {
        if (monitor->helpers[i].monitor == NULL)
            continue;
        child_forget(&monitor->helpers[i].process);
        timer_deinit(&monitor->helpers[i].timer);
    }
}

void helper_bind(struct monitor *monitor, struct helper *helper)
{
    helper->monitor = monitor;
    helper->number = (unsigned)(helper - monitor->helpers);
    helper->process.patience.source.fd = -1;
    helper->call.item = helper->number;
    runtime_bind(&helper->call, program_done);
    child_bind(&monitor->hub.loop, &monitor->hub.children, &helper->process, process_ended);
    timer_bind(&monitor->hub.loop, &helper->timer, helper_due);
}
