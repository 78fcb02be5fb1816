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
#include "engine/loop.h"
#include "log/log.h"

struct monitor {
    struct loop loop;
    struct config config;
    struct children children;
    struct container container;
    struct exec *execs;
    struct exec_results exec_results;
    struct client *clients;
    struct source signals, listener;
    struct timer idle; /* gives memory back after the last traffic */
    struct log log;
    int lock_fd, run_dir_fd;
    unsigned n_calls; /* for unique scratch names */
    char *scratch; /* mapped while there is traffic */
    bool scratch_used; /* since the idle timer last looked */
};

/*
 * The buffer for one packet: type byte and REMORA_PAYLOAD_MAX bytes, the payload at a multiple of 64. Shared by all;
 * valid until the callback returns. NULL without memory.
 */
char *monitor_scratch(struct monitor *monitor);
/* End the loop if the container is done and nobody waits for anything any more. */
void monitor_check_done(struct monitor *monitor);

#endif
