/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers: programs that have to run as long as the container does (`helpers` of the configuration). The keeper
 * executes each before the first run, one after the other; it is ready when its program has ended with 0, having left a
 * process in the background whose pid is in a file. That process becomes the keeper's child, and is watched by its
 * pidfd.
 *
 *   DOWN ──▶ STARTING ──▶ RUNNING ──▶ ENDING ──▶ DOWN
 *                ▲            │ it died
 *                └── WAITING ◀┘ 0.1 s, doubling to 30 s
 *
 * A shared one is several containers': it is watched and started again like others, but left to itself at the end, and
 * need not be the keeper's child.
 *
 * They stay up between the runs of a container that is restarted, and are ended (SIGTERM, SIGKILL after five seconds)
 * when its last run is over, before the clean-up. A first start that fails fails the container's.
 *
 * Their memory is apart from all that an idle monitor touches: one without helpers has none of it.
 */
#ifndef REMORA_CONTAINER_HELPERS_H
#define REMORA_CONTAINER_HELPERS_H

#include <stdbool.h>
#include <stdint.h>

#include "container/runtime.h"
#include "engine/child.h"
#include "engine/loop.h"

struct container;
struct monitor;
struct msg_out;

enum helper_state {
    HELPER_DOWN,
    HELPER_STARTING,
    HELPER_RUNNING,
    HELPER_WAITING,
    HELPER_ENDING,
};

struct helper {
    struct monitor *monitor; /* NULL: never started */
    enum helper_state state;
    unsigned number; /* in the configuration */
    struct runtime_call call; /* its program, until it is ready */
    struct child process;
    struct timer timer; /* of a start, of WAITING, of ENDING */
    bool late; /* it was killed, for it did not become ready */
    unsigned starts; /* that went well */
    int64_t started_mono_ns, backoff_ns;
    char error[256]; /* why it went down last, or could not be started; "" */
};

/* Before the runtime is called: whether all are up. If not, launch_begin is called again, or the run fails. */
bool helpers_up(struct container *container);
/* Kill those that are being started: the container is not to start any more. */
void helpers_interrupt(struct container *container);
/* The last run is over: end them all. container_finish goes on once helpers_gone. May be called again. */
void helpers_end(struct container *container);
bool helpers_gone(const struct container *container);
void helpers_deinit(struct container *container);
/* Put `helpers`: a list of maps (docs/architecture.md, `status`). */
void helpers_put(const struct monitor *monitor, struct msg_out *out);

/* In a new worker: take over what is open; then, when the container's own call is back, go on. */
void helpers_resume(struct container *container);
void helpers_resumed(struct container *container);
/* After an upgrade: as if one were as it was, after its fields came from elsewhere. */
void helper_bind(struct monitor *monitor, struct helper *helper);

#endif
