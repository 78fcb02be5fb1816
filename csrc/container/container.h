/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's life, as a state machine:
 *
 *   STARTING ──▶ RUNNING ──▶ DELETING ──▶ (restart?) ──▶ BACKOFF ──▶ STARTING
 *       │                        │ no
 *       └──(first start failed)──┴──▶ CLEANING ──▶ DONE     the monitor lives on only until its clients have their
 *                                                           last bytes
 *
 * RUNNING ends when the main session has ended (process gone, output drained). The exit record is durable before
 * anybody is told. `paused` is a property of RUNNING.
 */
#ifndef REMORA_CONTAINER_CONTAINER_H
#define REMORA_CONTAINER_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "container/record.h"
#include "container/runtime.h"
#include "engine/session.h"
#include "engine/stdio.h"
#include "system/cgroup.h"

struct client;
struct monitor;
struct msg_out;

enum container_state {
    CONTAINER_STARTING,
    CONTAINER_RUNNING,
    CONTAINER_DELETING,
    CONTAINER_BACKOFF,
    CONTAINER_DONE,
    CONTAINER_CLEANING,
};

/* What goes into an exit record (docs/architecture.md, "Exit record"). */
struct outcome {
    bool known, core, oom;
    int code, signal, status;
    const char *why; /* static */
    char error[512];
    int64_t started_ns, finished_ns, started_mono_ns, finished_mono_ns;
    uint64_t cpu_ns, peak_bytes, stdout_bytes, stderr_bytes;
};

struct container {
    struct monitor *monitor;
    enum container_state state;
    struct session main;
    struct stdio stdio; /* between the making of the pipes and the session's start */
    int console; /* listening console socket while starting, -1 */
    struct runtime_call call; /* run, delete */
    struct runtime_call pausing; /* pause, resume */
    struct client *pauser; /* who is told when it is done, or NULL */
    struct failure failure; /* why the first start failed; phase NULL: it did not */
    struct cgroup cgroup;
    struct source oom; /* borrows nothing: a duplicate of cgroup.event_fd */
    struct record_file record;
    struct outcome outcome; /* of the present or last run */
    bool has_outcome; /* a run has ended: `outcome` is what a waiter is told */
    bool paused;
    bool stop_requested; /* by somebody: no restart */
    bool keep; /* stopped only to be started again: no removal */
    bool kill_sent; /* the stop's time was over */
    bool timed_out;
    bool helpers_over; /* none is started any more (helpers.h) */
    bool cleanup_left; /* not all could be undone: others will */
    bool gone; /* removal steps are done, or there are none */
    bool last_use; /* the image has no other user left */
    bool prepared; /* record, log and timers are there */
    bool first_start_over, start_told, end_told;
    unsigned rows, cols; /* of the terminal at the start */
    int stop_signal; /* to be sent once it runs and isn't paused; 0 = none */
    uint64_t early_signals; /* bit n - 1: signal n waits for a process that can take it */
    unsigned early_tries;
    struct timer stop_bound, time_limit, backoff, early;
    int64_t backoff_ns;
    unsigned restarts, delete_tries;
    unsigned cleaned; /* steps of the clean-up that are done */
};

/* Safe to deinit from here on. 0 or -errno. */
int container_init(struct container *container, struct monitor *monitor);
/* Prepare (record, log …) and start. Failures are told to the spawner and end in DONE. */
void container_start(struct container *container);
/* A failure before the start: tell the spawner, tear down. */
void container_fail(struct container *container, const struct failure *failure);
/*
 * In a new worker: take over what is open; then, when clients and execs are back, go on from wherever the killed one
 * was.
 */
void container_resume(struct container *container);
void container_resumed(struct container *container);
/* After an upgrade: before its fields come, and after. */
void container_bind(struct container *container, struct monitor *monitor);
void container_bind_calls(struct container *container);

/* The runtime, or what leads up to it, failed; the run is over and its outcome is known: record, tell, clear away. */
void container_run_failed(struct container *container, const struct failure *failure);
void container_run_over(struct container *container);

/* The last steps, from whatever state: end the helpers, clean up (cleanup.h), then leave. */
void container_finish(struct container *container);
/* Remove what is to be removed, tell, let go. */
void container_leave(struct container *container);

/* requests.c */

void container_bind_pausing(struct container *container);

/* Send what was asked for while there was no process, or while it was paused. */
void container_deliver(struct container *container);
void container_early_due(struct timer *timer);
/* Signal the container's init. 0 or -errno (-ESRCH: it does not run). */
int container_signal(struct container *container, int signal);
/* Signal, then SIGKILL after timeout seconds (-1: never). 0, or -ESRCH when it has ended. No restart afterwards. */
int container_stop(struct container *container, int signal, int64_t timeout);
/* Pause or lift the pause; the client gets the answer. */
void container_pause(struct container *container, struct client *client, bool pause);
/* A client goes away that may wait for an answer. */
void container_forget_client(struct container *container, const struct client *client);
void container_deinit(struct container *container);

#endif
