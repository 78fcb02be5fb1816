/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper and the worker of a monitor tell each other, in kept memory (kept.h). The two share one descriptor
 * table: a number means the same to both.
 *
 *   worker → keeper   a task: something to execute or a step to take; one at a time, the worker waits for the answer
 *   keeper → worker   how processes ended (`ends`), announced on an eventfd
 *
 * The keeper trusts nothing in it: it takes a copy, and from the copy only what it can check.
 */
#ifndef REMORA_ENGINE_BOARD_H
#define REMORA_ENGINE_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/execute.h"

#define ENDS_MAX 1024 /* processes watched at the same time */

/* A process that somebody wants to know the end of. */
struct end_entry {
    _Atomic pid_t pid; /* 0: free */
    _Atomic pid_t ended; /* `pid` once all below is filled in */
    int status; /* as from wait(2) */
    int64_t cpu_ns, peak_bytes;
};

enum task_state {
    TASK_NONE,
    TASK_ASKED,
    TASK_ANSWERED,
};

struct task {
    _Atomic int state;
    int kind; /* of the program's own enum */
    unsigned number; /* for scratch names */
    unsigned item; /* which of several that the keeper knows by itself */
    int kept[EXECUTE_KEPT_MAX]; /* the executed program gets them as 3, 4, … */
    size_t n_kept;
    bool tty;
    bool pipes; /* make the pipes of its stdio, owned by uid:gid */
    bool with_stdin;
    bool unlogged;
    bool attended; /* somebody is there who does part of it */
    uid_t uid;
    gid_t gid;
    int asker; /* the connection of whom it is done for: a program bears that one's login uid; 0: nobody's */
    const void *owner; /* who asked: tells a resumed worker whose answer this is */
    /* the answer */
    int result; /* 0 or -errno; of a step without a program whatever it gives */
    pid_t pid;
    int pidfd;
    int in, out, err; /* our ends of the pipes, -1 */
};

struct board {
    struct task task;
    _Atomic unsigned hold; /* > 0: ended processes that nobody asked for stay zombies for now */
    _Atomic bool strangers; /* some were left so */
    _Atomic bool finished; /* the worker's end is the monitor's */
    int exit_status; /* of the keeper then */
    int ends_fd, answer_fd; /* eventfds */
    pid_t keeper; /* 0 once it is gone */
    int keeper_fd; /* pidfd */
    _Atomic pid_t worker;
    _Atomic unsigned workers; /* started so far */
    _Atomic uint64_t signals; /* bit n - 1: signal n was sent to the keeper and is meant for the container */
    _Atomic int upgrade_fd; /* the saved state to go on with as a new program, or -1 */
    unsigned end_top; /* entries ever used */
    struct end_entry ends[ENDS_MAX];
};

/* Set a free entry to a process; NULL: all are taken. */
struct end_entry *board_expect(struct board *board, pid_t pid);
/* The entry that is set to a process, or NULL. */
struct end_entry *board_find(struct board *board, pid_t pid);

#endif
