/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root of a monitor: one container, its loop and everything that hangs on it.
 *
 *   monitor ─┬─ container   the state machine: start, run, end, restart, teardown
 *            ├─ session     the container's init and its streams (container.main)
 *            ├─ execs       further sessions
 *            └─ clients     connections of the control socket
 */
#ifndef REMORA_CONTAINER_MONITOR_H
#define REMORA_CONTAINER_MONITOR_H

#include "container/config.h"
#include "container/container.h"
#include "container/exec.h"
#include "engine/child.h"
#include "engine/client.h"
#include "engine/hub.h"
#include "log/log.h"

#define CONTAINER_NAME_MAX 255

struct monitor {
    struct hub hub;
    const struct config *config; /* private memory, the same in all workers */
    struct container container;
    struct pool exec_pool;
    struct exec *execs;
    char name[CONTAINER_NAME_MAX + 1]; /* the present one */
    struct source signals, listener;
    int lock_fd, run_dir_fd;
    int64_t since_ns; /* wall clock: the start of the first worker */
    bool held_gone; /* descriptors that are held until the end (config_first_held) are closed, or to be swept away */
    bool upgrading; /* the loop ended for an upgrade */
    int upgrade_error; /* errno, when the new program could not be executed */
    bool begun; /* by a first worker, so that another one can go on */
    unsigned n_calls; /* for unique scratch names */
    struct log log;
    /* Rarely touched, after the log's large buffers: pages that an idle monitor mostly does without. */
    bool failed_early; /* in what the keeper does before there is a worker */
    struct failure *early_failure; /* then; in kept memory apart */
    struct exec_results exec_results;
    struct helper *helpers; /* in kept memory apart, as many as are configured; NULL: none are */
};

static inline struct monitor *monitor_of(struct hub *hub)
{
    return container_of(hub, struct monitor, hub);
}

/* End the loop if the container is done and nobody waits for anything any more. */
void monitor_check_done(struct monitor *monitor);

#endif
