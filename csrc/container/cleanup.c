/* SPDX-License-Identifier: Apache-2.0 */
#include "container/cleanup.h"

#include <errno.h>
#include <signal.h>

#include "container/helpers.h"
#include "container/monitor.h"

#define STEP_NS (10 * SECOND_NS)
#define TRIES 5
#define PAUSE_NS (100 * MILLISECOND_NS)

void cleanup_step_done(struct runtime_call *call, const struct failure *failure)
{
    struct container *container = container_of(call, struct container, call);

    /* However it ended: nobody is left to be told, and a second try would find what the first one has left. */
    (void)failure;
    timer_clear(&container->backoff);
    container->cleaned = call->item + 1;
    container->delete_tries = 0;
    cleanup_go_on(container);
}

/* 1: a program is at work; 0: the step is done; -errno. */
static int take_step(struct container *container)
{
    struct monitor *monitor = container->monitor;
    struct task task = {.kind = TASK_CLEAN_UP, .item = container->cleaned};
    int r;

    if (config_step_executes(monitor->config, container->cleaned)) {
        runtime_prepare(&container->call, monitor, TASK_CLEAN_UP, "clean up", cleanup_step_done);
        container->call.item = container->cleaned;
        r = runtime_start(&container->call, NULL, 0);
        if (r == 0)
            timer_set(&container->backoff, STEP_NS);
        return r == 0 ? 1 : r;
    }
    r = children_ask(&monitor->hub.children, &task);
    if (r == 0)
        container->cleaned++;
    return r;
}

void cleanup_go_on(struct container *container)
{
    unsigned n = config_n_steps(container->monitor->config);

    if (!helpers_gone(container))
        return; /* the last one that goes comes back to this */
    while (container->cleaned < n) {
        int r = take_step(container);

        if (r > 0)
            return;
        if (r < 0 && r != -EOWNERDEAD && ++container->delete_tries < TRIES) {
            timer_set(&container->backoff, PAUSE_NS);
            return;
        }
        if (r < 0) {
            container->cleanup_left = true;
            container->cleaned = n;
        }
    }
    container_leave(container);
}

void cleanup_due(struct container *container)
{
    if (runtime_under_way(&container->call))
        child_signal(&container->call.child, SIGKILL);
    else
        cleanup_go_on(container);
}
