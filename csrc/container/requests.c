/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others ask of a container: signals, stop, pause. Each is right in every state (container.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/ending.h"
#include "container/monitor.h"
#include "container/reply.h"
#include "engine/client.h"
#include "util/fd.h"

#define YOUNG_NS SECOND_NS /* an init of this age may not have come to its handlers yet */
/* A young init gets this long to say what it does with its early signals, looked at so often. */
#define EARLY_TRIES 100
#define START_BOUND_NS (5 * SECOND_NS) /* for a runtime to come to its end, when the container is to be killed */
#define EARLY_PAUSE_NS (10 * MILLISECOND_NS)

/* Signals count from 1, up to 64. */
static uint64_t signal_bit(int signal)
{
    return 1ULL << (signal - 1);
}

/* The bits of a line of /proc/PID/status such as "SigCgt:\t0000000000000002". */
static uint64_t signal_mask(const char *status, const char *key)
{
    const char *line = strstr(status, key);

    return line != NULL ? strtoull(line + strlen(key), NULL, 16) : 0;
}

/*
 * The kernel drops a signal that the first process of a pid namespace neither handles nor blocks
 * (pid_namespaces(7)). One that came before there was a process would be lost if that process has only just begun.
 */
static bool would_be_dropped(pid_t pid, int signal)
{
    char path[32], status[4096];
    CLEANUP_FD int fd = -1;
    ssize_t n;

    if (signal == SIGKILL || signal == SIGSTOP)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, status, sizeof(status) - 1) : -1;
    if (n <= 0)
        return false;
    status[n] = 0;
    /* Still the runtime's own program, whose handlers are not the ones the signal is meant for. */
    if (strncmp(status, "Name:\trunc:[", 12) == 0)
        return true;
    return ((signal_mask(status, "SigCgt:") | signal_mask(status, "SigBlk:")) & signal_bit(signal)) == 0;
}

static void deliver_early(struct container *container, bool wait)
{
    for (int signal = 1; signal <= 64; signal++) {
        uint64_t bit = signal_bit(signal);

        if (!(container->early_signals & bit) || (wait && would_be_dropped(container->main.process.pid, signal)))
            continue;
        container->early_signals &= ~bit;
        child_signal(&container->main.process, signal);
    }
    if (container->early_signals != 0)
        timer_set(&container->early, EARLY_PAUSE_NS);
}

void container_early_due(struct timer *timer)
{
    struct container *container = container_of(timer, struct container, early);

    if (container->state == CONTAINER_RUNNING)
        deliver_early(container, ++container->early_tries < EARLY_TRIES);
}

static bool is_young(const struct container *container)
{
    return monotonic_ns() - container->outcome.started_mono_ns <= YOUNG_NS;
}

void container_deliver(struct container *container)
{
    container->early_tries = 0;
    if (container->stop_signal != 0)
        container->early_signals |= signal_bit(container->stop_signal);
    container->stop_signal = 0;
    deliver_early(container, is_young(container));
}

int container_signal(struct container *container, int signal)
{
    if (signal == SIGKILL || signal == container->monitor->config->stop_signal)
        container->stop_requested = true;
    if (container->state != CONTAINER_STARTING && container->state != CONTAINER_RUNNING)
        return -ESRCH;
    if (container->state == CONTAINER_RUNNING && !is_young(container))
        return child_signal(&container->main.process, signal);
    container->early_signals |= signal_bit(signal);
    if (container->state == CONTAINER_RUNNING)
        container_deliver(container);
    return 0;
}

static void resume_for_stop_done(struct runtime_call *call, const struct failure *failure)
{
    struct container *container = container_of(call, struct container, pausing);

    (void)failure;
    container->paused = false;
    container_deliver(container);
}

static void start_pausing(struct container *container, enum native_task kind, const char *phase, runtime_done_fn done)
{
    struct failure failure;
    int r;

    runtime_prepare(&container->pausing, container->monitor, kind, phase, done);
    r = runtime_start(&container->pausing, NULL, 0);
    if (r < 0) {
        failure_errno(&failure, "execute runtime", container->monitor->config->runtime[0], r);
        done(&container->pausing, &failure);
    }
}

/* A frozen process takes no signal, not even SIGKILL (cgroup v1). */
static void stop_now(struct container *container)
{
    if (container->paused)
        start_pausing(container, TASK_UNPAUSE, "resume container", resume_for_stop_done);
    else
        container_deliver(container);
}

int container_stop(struct container *container, int signal, int64_t timeout)
{
    container->stop_requested = true;
    switch (container->state) {
    case CONTAINER_DELETING:
        return 0; /* ended already; its restart is off now */
    case CONTAINER_BACKOFF:
        timer_clear(&container->backoff);
        container_finish(container);
        return 0;
    case CONTAINER_CLEANING:
    case CONTAINER_DONE:
        return -ESRCH;
    case CONTAINER_STARTING:
    case CONTAINER_RUNNING:
        break;
    }
    container->stop_signal = timeout == 0 ? SIGKILL : signal;
    container->kill_sent = timeout == 0;
    if (timeout > 0)
        timer_set(&container->stop_bound, seconds_ns(timeout));
    else if (timeout == 0 && container->state == CONTAINER_STARTING)
        timer_set(&container->stop_bound, START_BOUND_NS);
    /* While a pause or unpause is under way, its end goes on with this. */
    if (container->state == CONTAINER_RUNNING && !runtime_under_way(&container->pausing))
        stop_now(container);
    return 0;
}

static void pausing_done(struct runtime_call *call, const struct failure *failure)
{
    struct container *container = container_of(call, struct container, pausing);
    bool pause = call->kind == TASK_PAUSE;
    struct client *client = container->pauser;

    container->pauser = NULL;
    if (failure == NULL && container->state == CONTAINER_RUNNING) {
        container->paused = pause;
        ending_write_state(container, pause ? "paused" : "running");
        if (!pause)
            container_deliver(container);
    }
    if (client != NULL && failure == NULL)
        client_reply_ok(client, pause ? "pause" : "unpause");
    else if (client != NULL)
        client_reply_failure(client, pause ? "pause" : "unpause", failure);
    if (container->state == CONTAINER_RUNNING && container->stop_signal != 0)
        stop_now(container);
}

void container_pause(struct container *container, struct client *client, bool pause)
{
    const char *op = pause ? "pause" : "unpause";
    const char *id = container->monitor->config->id;
    struct failure failure;

    if (container->state != CONTAINER_RUNNING)
        failure_text(&failure, op, id, "the container is not running");
    else if (runtime_under_way(&container->pausing))
        failure_text(&failure, op, id, "another pause or unpause is under way");
    else if (container->paused == pause)
        failure_text(&failure, op, id, pause ? "the container is paused already" : "the container is not paused");
    else {
        container->pauser = client;
        start_pausing(container, pause ? TASK_PAUSE : TASK_UNPAUSE, pause ? "pause container" : "unpause container",
                      pausing_done);
        return;
    }
    client_reply_failure(client, op, &failure);
}

void container_forget_client(struct container *container, const struct client *client)
{
    if (container->pauser == client)
        container->pauser = NULL;
}

void container_bind_pausing(struct container *container)
{
    runtime_bind(&container->pausing, pausing_done);
}
