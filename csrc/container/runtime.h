/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the OCI runtime (runc, crun): each is a child process that writes its errors to a log file of its own.
 *
 * While calls are under way, strangers are not reaped (child.h).
 */
#ifndef REMORA_CONTAINER_RUNTIME_H
#define REMORA_CONTAINER_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/child.h"
#include "engine/execute.h"
#include "engine/failure.h"

struct monitor;
struct runtime_call;

typedef void (*runtime_done_fn)(struct runtime_call *call, const struct failure *failure);

#define RUNTIME_ARGS_MAX 16

struct runtime_call {
    struct monitor *monitor; /* NULL: no call under way */
    struct child child;
    const char *phase; /* static words for messages: "start container" */
    bool unlogged; /* nobody reads why it failed: it does without a log, which a full disk would not take */
    const char *args[RUNTIME_ARGS_MAX]; /* after the global options; NULL-terminated */
    size_t n_args;
    int stdio[3]; /* borrowed for the child, -1 = /dev/null */
    int kept[EXECUTE_KEPT_MAX]; /* borrowed: descriptors that the child gets as 3, 4, … */
    size_t n_kept;
    int error_fd; /* borrowed, -1: a non-blocking descriptor with what it wrote to stderr, read when it failed */
    char *log_path; /* owned while the call is under way */
    runtime_done_fn done; /* failure is NULL when all went well */
};

/* Begin to fill in a call (phase: static text). */
void runtime_prepare(struct runtime_call *call, const char *phase, runtime_done_fn done);
void runtime_argument(struct runtime_call *call, const char *argument);
/* Start it. 0 or -errno; `done` is called from the loop later. */
int runtime_start(struct monitor *monitor, struct runtime_call *call);

/* The pid that a runtime wrote to its --pid-file, or -errno (-ENODATA, -EBADMSG). */
int runtime_read_pid(const char *path);

#endif
