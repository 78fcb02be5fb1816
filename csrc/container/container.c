/* SPDX-License-Identifier: Apache-2.0 */
#include "container/container.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "container/cleanup.h"
#include "container/control.h"
#include "container/ending.h"
#include "container/helpers.h"
#include "container/launch.h"
#include "container/monitor.h"
#include "container/perform.h"
#include "container/tell.h"
#include "include/remora.h"
#include "util/fd.h"

#define BACKOFF_FIRST_NS (100 * MILLISECOND_NS)
#define BACKOFF_LAST_NS (60 * SECOND_NS)
#define HEALTHY_NS (10 * SECOND_NS)
#define LAST_BYTES_NS (10 * SECOND_NS)
#define DELETE_TRIES 5
#define DELETE_PAUSE_NS (100 * MILLISECOND_NS)

static void begin_delete(struct container *container);

/* ---- timers ---- */

static void stop_bound_due(struct timer *timer)
{
    struct container *container = container_of(timer, struct container, stop_bound);

    container->kill_sent = true;
    /* A runtime that doesn't come to its end must not keep the container from its own, nor a helper before it. */
    child_signal(container->state == CONTAINER_STARTING ? &container->call.child : &container->main.process, SIGKILL);
    if (container->state == CONTAINER_STARTING)
        helpers_interrupt(container);
}

static void time_limit_due(struct timer *timer)
{
    struct container *container = container_of(timer, struct container, time_limit);

    container->timed_out = true;
    container_stop(container, SIGKILL, 0);
}

static void backoff_due(struct timer *timer)
{
    struct container *container = container_of(timer, struct container, backoff);
    struct client *next;

    if (container->state == CONTAINER_BACKOFF) {
        container->restarts++;
        launch_begin(container);
        return;
    }
    if (container->state == CONTAINER_DELETING) {
        begin_delete(container);
        return;
    }
    if (container->state == CONTAINER_CLEANING) {
        cleanup_due(container);
        return;
    }
    if (container->state != CONTAINER_DONE)
        return;
    /* Whoever doesn't read its last bytes by now isn't waited for, unless it asked for back-pressure. */
    for (struct client *client = container->monitor->hub.clients; client != NULL; client = next) {
        next = client->next;
        if (!client->block)
            client_free(client);
    }
}

/* ---- the end of a run ---- */

static bool will_restart(const struct container *container)
{
    const struct config *config = container->monitor->config;

    if (container->stop_requested || !container->first_start_over)
        return false;
    switch (config->restart) {
    case RESTART_NO:
        return false;
    case RESTART_ON_FAILURE:
        return container->outcome.code != 0 &&
               (config->restart_max == 0 || container->restarts < (uint64_t)config->restart_max);
    case RESTART_ALWAYS:
    case RESTART_UNLESS_STOPPED:
        return true;
    }
    return false;
}

static void grow_backoff(struct container *container)
{
    int64_t lasted = container->outcome.finished_mono_ns - container->outcome.started_mono_ns;

    if (container->backoff_ns == 0 || lasted >= HEALTHY_NS)
        container->backoff_ns = BACKOFF_FIRST_NS;
    else if (container->backoff_ns * 2 > BACKOFF_LAST_NS)
        container->backoff_ns = BACKOFF_LAST_NS;
    else
        container->backoff_ns *= 2;
}

/* The last word on this container: everybody attached or waiting hears how it ended. */
static void tell_end(struct container *container)
{
    CLEANUP_MSG_OUT struct msg_out record = {0};

    if (container->end_told)
        return;
    container->end_told = true;
    control_tell_exited(container->monitor);
    outcome_put(&container->outcome, container->monitor, "", &record);
    if (container->failure.phase == NULL)
        control_tell_end(container->monitor, &container->main, &record);
}

static void delete_done(struct runtime_call *call, const struct failure *failure)
{
    struct container *container = container_of(call, struct container, call);

    /* A runtime that can't delete leaves its own state behind; `rm` tries again. The exit code is safe already. */
    (void)failure;
    if (strcmp(container->outcome.why, "runtime-failed") == 0)
        remora_cgroup_remove(container->monitor->config->cgroup, container->monitor->config->id);
    if (!will_restart(container)) {
        container_finish(container);
        return;
    }
    grow_backoff(container);
    container->state = CONTAINER_BACKOFF;
    timer_set(&container->backoff, container->backoff_ns);
}

/* Have the runtime forget the container; when it can't even be executed (no process, no memory), again a little later.
 */
static void begin_delete(struct container *container)
{
    runtime_prepare(&container->call, container->monitor, TASK_DELETE, "delete container", delete_done);
    container->call.unlogged = true;
    if (runtime_start(&container->call, NULL, 0) == 0)
        return;
    if (++container->delete_tries < DELETE_TRIES)
        timer_set(&container->backoff, DELETE_PAUSE_NS);
    else
        delete_done(&container->call, NULL);
}

/* The run is over and `outcome` filled in: make it durable, tell, clear away. */
void container_run_over(struct container *container)
{
    container->state = CONTAINER_DELETING;
    container->has_outcome = true;
    timer_clear(&container->stop_bound);
    timer_clear(&container->time_limit);
    session_stop(&container->main);
    stdio_deinit(&container->stdio);
    fd_close(&container->console);
    container->paused = false;
    log_finish(&container->monitor->log);
    ending_record(container);
    ending_write_state(container, will_restart(container) ? "restarting" : "exited");
    if (!will_restart(container) && container->failure.phase == NULL)
        tell_end(container);
    source_remove(&container->oom);
    cgroup_deinit(&container->cgroup);
    if (!will_restart(container))
        helpers_end(container);
    container->delete_tries = 0;
    begin_delete(container);
}

static void main_ended(struct session *session)
{
    struct container *container = container_of(session, struct container, main);
    struct outcome *outcome = &container->outcome;

    outcome->finished_ns = wall_ns();
    outcome->finished_mono_ns = monotonic_ns();
    outcome_from_end(outcome, &session->end);
    cgroup_read(&container->cgroup);
    outcome->oom = container->cgroup.oom;
    if (container->cgroup.cpu_ns != 0)
        outcome->cpu_ns = container->cgroup.cpu_ns;
    if (container->cgroup.peak_bytes != 0)
        outcome->peak_bytes = container->cgroup.peak_bytes;
    outcome->stdout_bytes = session->out.bytes;
    outcome->stderr_bytes = session->err.bytes;
    if (container->timed_out)
        outcome->why = "timeout";
    container_run_over(container);
}

/* The runtime, or what leads up to it, failed. */
void container_run_failed(struct container *container, const struct failure *failure)
{
    struct outcome *outcome = &container->outcome;

    *outcome = (struct outcome){.known = true, .code = failure->status, .status = failure->status};
    outcome->why = "runtime-failed";
    outcome->started_ns = outcome->finished_ns = wall_ns();
    outcome->started_mono_ns = outcome->finished_mono_ns = monotonic_ns();
    snprintf(outcome->error, sizeof(outcome->error), "%s %.120s: %.300s", failure->phase, failure->object,
             failure->text);
    if (!container->first_start_over)
        container->failure = *failure;
    container_run_over(container);
}

void container_finish(struct container *container)
{
    container->state = CONTAINER_CLEANING;
    container->delete_tries = 0;
    tell_end(container);
    helpers_end(container);
    cleanup_go_on(container);
}

void container_leave(struct container *container)
{
    struct monitor *monitor = container->monitor;
    struct client *next;

    container->state = CONTAINER_DONE;
    if (monitor->config->remove != NULL && monitor->config->remove->size > 0 && !container->keep)
        ending_remove(container);
    ending_leave(monitor);
    if (container->failure.phase != NULL)
        control_tell_failed(monitor, &container->failure);
    control_tell_removed(monitor, container->last_use);
    timer_set(&container->backoff, LAST_BYTES_NS);
    for (struct client *client = monitor->hub.clients; client != NULL; client = next) {
        next = client->next;
        client_finish(client);
    }
    monitor_check_done(monitor);
}

static int prepare(struct container *container, struct failure *failure)
{
    struct monitor *monitor = container->monitor;
    const struct config *config = monitor->config;
    struct loop *loop = &monitor->hub.loop;
    const char *log_target;
    char *path = NULL;
    int r;

    if (asprintf(&path, "%s/exit", config->data_dir) < 0)
        return failure_errno(failure, "prepare container", config->id, -ENOMEM);
    r = record_open(&container->record, path, true);
    if (r < 0)
        failure_errno(failure, "reserve the exit record", path, r);
    free(path);
    if (r < 0)
        return r;
    r = log_open(&monitor->log, &config->log, &log_target);
    if (r < 0)
        return failure_errno(failure, "open log", log_target, r);
    container->main.log = &monitor->log;
    if (timer_init(loop, &container->stop_bound, stop_bound_due) < 0 ||
        timer_init(loop, &container->time_limit, time_limit_due) < 0 ||
        timer_init(loop, &container->early, container_early_due) < 0)
        return failure_errno(failure, "make timers", config->id, -errno);
    container->prepared = true;
    return 0;
}

int container_init(struct container *container, struct monitor *monitor)
{
    *container = (struct container){.monitor = monitor, .console = -1, .record = {.fd = -1}};
    container->oom.fd = -1;
    cgroup_init(&container->cgroup);
    stdio_init(&container->stdio);
    session_init(&container->main, &monitor->hub, monitor->config->tty, main_ended);
    container->main.stdin_once = monitor->config->stdin_once;
    container->rows = monitor->config->rows;
    container->cols = monitor->config->cols;
    return timer_init(&monitor->hub.loop, &container->backoff, backoff_due);
}

void container_start(struct container *container)
{
    struct failure failure;

    if (prepare(container, &failure) < 0)
        container_fail(container, &failure);
    else
        launch_begin(container);
}

void container_fail(struct container *container, const struct failure *failure)
{
    container_run_failed(container, failure);
}

void container_deinit(struct container *container)
{
    session_stop(&container->main);
    stdio_deinit(&container->stdio);
    fd_close(&container->console);
    source_remove(&container->oom);
    cgroup_deinit(&container->cgroup);
    record_deinit(&container->record);
    helpers_deinit(container);
    timer_deinit(&container->stop_bound);
    timer_deinit(&container->time_limit);
    timer_deinit(&container->backoff);
    timer_deinit(&container->early);
}

/* ---- a new worker ---- */

void container_resume(struct container *container)
{
    struct loop *loop = &container->monitor->hub.loop;

    loop_know(loop, container->console);
    loop_know(loop, container->record.fd);
    loop_know(loop, container->cgroup.event_fd);
    loop_know(loop, container->cgroup.oom_fd);
    loop_know(loop, container->cgroup.cpu_fd);
    loop_know(loop, container->cgroup.peak_fd);
    source_resume(&container->oom);
    timer_resume(&container->stop_bound);
    timer_resume(&container->time_limit);
    timer_resume(&container->backoff);
    timer_resume(&container->early);
    session_resume(&container->main, &container->stdio);
    helpers_resume(container);
    runtime_know(&container->call);
    runtime_know(&container->pausing);
}

void container_resumed(struct container *container)
{
    runtime_resume(&container->pausing);
    switch (container->state) {
    case CONTAINER_STARTING:
        if (!container->prepared) {
            container_start(container);
            break;
        }
        if (!runtime_resume(&container->call)) {
            helpers_resumed(container);
            if (container->state == CONTAINER_STARTING && !runtime_under_way(&container->call))
                launch_begin(container);
            break;
        }
        helpers_resumed(container);
        break;
    case CONTAINER_RUNNING:
        /* A call that is still in ENDED did not come to the end of its `done`: this does the rest of that. */
        if (container->call.state == CALL_ENDED)
            container->call.state = CALL_IDLE;
        launch_forget(container);
        launch_tell(container);
        container_deliver(container);
        helpers_resumed(container);
        session_resumed(&container->main);
        break;
    case CONTAINER_DELETING:
        helpers_resumed(container);
        if (container->call.kind != TASK_DELETE || !runtime_resume(&container->call))
            container_run_over(container);
        break;
    case CONTAINER_BACKOFF:
        helpers_resumed(container);
        if (!timer_is_set(&container->backoff))
            timer_set(&container->backoff, container->backoff_ns);
        break;
    case CONTAINER_CLEANING:
        if (container->call.kind == TASK_CLEAN_UP && runtime_resume(&container->call))
            break;
        helpers_resumed(container); /* the last one that goes may go on with it */
        if (container->state == CONTAINER_CLEANING && !runtime_under_way(&container->call))
            container_finish(container);
        break;
    case CONTAINER_DONE:
        container_leave(container);
        break;
    }
}

/* ---- a new version of the program ---- */

void container_bind(struct container *container, struct monitor *monitor)
{
    *container = (struct container){.monitor = monitor, .console = -1, .record = {.fd = -1}};
    container->oom.fd = -1;
    cgroup_init(&container->cgroup);
    stdio_init(&container->stdio);
    session_init(&container->main, &monitor->hub, monitor->config->tty, main_ended);
    container->main.log = &monitor->log;
}

static runtime_done_fn done_of(enum native_task kind)
{
    return kind == TASK_RUN ? launch_done : kind == TASK_CLEAN_UP ? cleanup_step_done : delete_done;
}

void container_bind_calls(struct container *container)
{
    struct loop *loop = &container->monitor->hub.loop;

    container->call.stdio = container->call.kind == TASK_RUN ? &container->stdio : NULL;
    runtime_bind(&container->call, done_of(container->call.kind));
    container_bind_pausing(container);
    source_bind(loop, &container->oom, EPOLLIN, launch_oom_ready);
    timer_bind(loop, &container->backoff, backoff_due);
    if (!container->prepared)
        return;
    timer_bind(loop, &container->stop_bound, stop_bound_due);
    timer_bind(loop, &container->time_limit, time_limit_due);
    timer_bind(loop, &container->early, container_early_due);
}
