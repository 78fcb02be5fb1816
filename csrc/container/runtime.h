/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the OCI runtime (runc, crun): each is a process that the keeper starts (perform.c) and that writes its
 * errors to a log file of its own. While calls are under way, strangers are not reaped (child.h).
 *
 * A call goes IDLE → STARTING → RUNNING → ENDED → IDLE; `done` is called in ENDED. A new worker takes it up where it
 * is.
 */
#ifndef REMORA_CONTAINER_RUNTIME_H
#define REMORA_CONTAINER_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/child.h"
#include "engine/failure.h"
#include "engine/stdio.h"

struct monitor;
struct runtime_call;

typedef void (*runtime_done_fn)(struct runtime_call *call, const struct failure *failure);

/* What the keeper does for the worker of a native monitor. */
enum native_task {
    TASK_RUN,
    TASK_EXEC,
    TASK_DELETE,
    TASK_PAUSE,
    TASK_UNPAUSE,
    TASK_REMOVE, /* the removal steps of the configuration; no program */
    TASK_TRY_UPGRADE, /* whether the program that is installed now understands the state in the first descriptor */
    TASK_HELP, /* the program of a helper */
    TASK_CLEAN_UP, /* a step of the clean-up: a file is removed, or a program executed */
};

enum call_state {
    CALL_IDLE,
    CALL_STARTING,
    CALL_RUNNING,
    CALL_ENDED,
};

struct runtime_call {
    struct monitor *monitor;
    enum call_state state;
    enum native_task kind;
    const char *phase; /* static words for messages: "start container" */
    runtime_done_fn done; /* failure is NULL when all went well */
    unsigned number; /* of its log */
    unsigned item; /* of the configuration: which helper, which step */
    int words; /* of a helper: a memory file with what it said on stderr, -1 */
    bool unlogged; /* nobody reads why it failed: it does without a log, which a full disk would not take */
    bool tty; /* it gets a console socket instead of pipes */
    bool passthrough; /* neither: it gets the spawner's own stdio */
    bool with_stdin;
    uid_t uid; /* who owns the pipes */
    gid_t gid;
    int asker; /* the connection of who asked for it, 0: nobody but us; only until it is started */
    struct stdio *stdio; /* in kept memory: takes our ends of the pipes; NULL: /dev/null for the program */
    struct child child;
    struct child_end end; /* from CALL_ENDED on */
};

/* Begin to fill in a call (phase: static text). */
void runtime_prepare(struct runtime_call *call, struct monitor *monitor, enum native_task kind, const char *phase,
                     runtime_done_fn done);
/* Start it; the program gets `kept` as 3, 4, …. 0 or -errno; `done` is called from the loop later. */
int runtime_start(struct runtime_call *call, const int *kept, size_t n_kept);
bool runtime_under_way(const struct runtime_call *call);
/* As it was, after its fields came from elsewhere. */
void runtime_bind(struct runtime_call *call, runtime_done_fn done);
/* In a new worker, before descriptors that nobody knows are closed: these are. */
void runtime_know(const struct runtime_call *call);
/* In a new worker, when its `done` has done all that matters: forget it. */
void runtime_forget(struct runtime_call *call);
/* Go on with it in a new worker. false: it was never started, or is over. */
bool runtime_resume(struct runtime_call *call);

/* The pid that a runtime wrote to its --pid-file in that folder, or -errno (-ENODATA, -EBADMSG). */
int runtime_read_pid(int dir_fd, const char *name);

#endif
