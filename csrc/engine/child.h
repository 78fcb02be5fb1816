/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes: each is watched through its pidfd, so that neither a recycled pid nor a lost SIGCHLD matters.
 *
 * The monitor is a subreaper: processes it never started become its children. They are reaped on SIGCHLD, but not
 * while a runtime call is under way, for the container's init, whose pid is only known after the call, may be among
 * them (`hold`).
 *
 * A process may have ended while its parent, which is about to end too, has not handed it over yet (crun lets a helper
 * start the container's init): then its end is collected when it has become ours.
 */
#ifndef REMORA_ENGINE_CHILD_H
#define REMORA_ENGINE_CHILD_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "engine/loop.h"

struct child;

/* How a process ended, and what it used. `known` is false when nobody can tell any more. */
struct child_end {
    bool known;
    int status; /* as from wait(2) */
    struct rusage usage;
};

struct children {
    struct child *first;
    unsigned hold; /* > 0: strangers stay zombies for now */
};

struct child {
    struct children *children; /* NULL when not watched */
    struct child *next;
    pid_t pid;
    struct source pidfd;
    struct timer patience; /* only while its end is awaited from another parent */
    void (*ended)(struct child *child, const struct child_end *end);
};

/* Watch a process by pid. 0 or -errno (-ESRCH). */
int child_watch(struct loop *loop, struct children *children, struct child *child, pid_t pid,
                void (*ended)(struct child *child, const struct child_end *end));
/* Signal through the pidfd. 0 or -errno (-ESRCH: it has ended). */
int child_signal(const struct child *child, int signal);
/* Stop watching; safe when not watched. */
void child_forget(struct child *child);
/* Reap the ended children that nobody watches, unless held. */
void children_reap(struct children *children);

#endif
