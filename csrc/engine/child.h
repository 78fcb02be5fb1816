/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that a worker wants to know the end of: each held by its pidfd, so that a recycled pid doesn't matter.
 *
 * They are the keeper's children: it reaps them and notes their ends on the board (board.h). Those that nobody asked
 * for are reaped, too, but not while a runtime call is under way, for the container's init, whose pid is only known
 * after the call, may be among them (`children_hold`).
 *
 * Once the keeper is gone they belong to whoever inherits them, and the kernel tells how they ended (PIDFD_GET_INFO,
 * Linux 6.15); before that version nobody can tell.
 */
#ifndef REMORA_ENGINE_CHILD_H
#define REMORA_ENGINE_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/board.h"
#include "engine/loop.h"

struct child;

/* How a process ended, and what it used. `known` is false when nobody can tell any more. */
struct child_end {
    bool known;
    int status; /* as from wait(2) */
    int64_t cpu_ns, peak_bytes; /* 0: not known */
};

struct children {
    struct board *board;
    struct child *first;
    struct source ends; /* the keeper has news */
    struct source keeper; /* its pidfd */
    void (*signalled)(struct children *children, int signal);
};

struct child {
    struct children *children; /* NULL when not watched */
    struct child *next;
    pid_t pid;
    struct end_entry *entry;
    struct source pidfd;
    struct timer patience; /* how long it is waited for that somebody tells how it ended */
    struct child_end end; /* while `telling` */
    bool telling; /* it has ended; cleared by the owner once that is noted */
    void (*ended)(struct child *child, const struct child_end *end);
};

/*
 * Listen to the keeper. `signalled` is called for signals that were sent to the keeper and are meant for the container.
 * Begins held (children_release). 0 or -errno.
 */
int children_init(struct children *children, struct loop *loop, struct board *board,
                  void (*signalled)(struct children *children, int signal));
void children_deinit(struct children *children);
/* Ended processes that nobody watches are left unreaped, until as many releases. */
void children_hold(struct children *children);
void children_release(struct children *children);

/* Watch a process by pid. 0 or -errno (-ESRCH). */
int child_watch(struct loop *loop, struct children *children, struct child *child, pid_t pid,
                void (*ended)(struct child *child, const struct child_end *end));
/* Watch a process that the keeper started: `pidfd` is taken, on failure too. */
int child_watch_task(struct loop *loop, struct children *children, struct child *child, const struct task *task,
                     void (*ended)(struct child *child, const struct child_end *end));
/* Watch on in a new worker. Only after children_init. */
void child_resume(struct children *children, struct child *child);
/* As if it were watched, when it has a pidfd: for child_resume, after its fields came from elsewhere. */
void child_bind(struct loop *loop, struct children *children, struct child *child,
                void (*ended)(struct child *child, const struct child_end *end));
/* Tell an end that the killed worker did not live to note; when all else is there again. */
void child_resumed(struct child *child);
/* Signal through the pidfd. 0 or -errno (-ESRCH: it has ended). */
int child_signal(const struct child *child, int signal);
/* Stop watching; safe when not watched. */
void child_forget(struct child *child);

/*
 * Ask the keeper for something (board.h) and wait for the answer, which is in *task then. task->result or -EOWNERDEAD
 * when the keeper is gone.
 */
int children_ask(struct children *children, struct task *task);

#endif
