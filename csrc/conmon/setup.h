/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a drop-in for conmon was asked for. It is private memory of the keeper, filled in before the first worker and
 * not changed by workers: each has a copy at the same address, and none can change what the keeper executes.
 */
#ifndef REMORA_CONMON_SETUP_H
#define REMORA_CONMON_SETUP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "conmon/logs.h"
#include "conmon/message.h"
#include "conmon/options.h"
#include "engine/board.h"
#include "log/log.h"

struct conmon;

#define CONMON_PATH_MAX 4096
#define CONMON_INHERITED_MAX 1024 /* descriptors of the caller that are closed at the end */

struct setup {
    struct conmon_options options;
    struct conmon_logs logs;
    struct log_options log_options;
    struct messages messages;
    struct conmon *conmon; /* in kept memory */
    struct board *board; /* in kept memory */
    int start_fd; /* the keeper's; -1 once the runtime is called */
    int console_folder; /* where the console socket is to be, with a terminal; -1 */
    char console_name[20];
    /* Allocated, and never freed: large arrays would cost every monitor some pages. */
    char *console_path; /* of the socket */
    char *pidfile;
    size_t n_inherited;
    sigset_t caller_mask; /* for programs that are executed */
    char oom_score[16]; /* as it was at the start; "" = not known */
    bool called; /* the keeper's: the runtime was called, so the exit command is due */
    int inherited[CONMON_INHERITED_MAX]; /* the caller's other descriptors, which the runtime gets */
};

/*
 * setup.c: check everything and open the logs. 0, or -errno with a message to the caller. The last part of the order in
 * options.h.
 */
int setup_check(struct setup *setup);

/* start.c */

/* Whether a command line is meant for conmon. */
bool conmon_is_meant(int argc, char *const *argv);
/* All of it; the exit status. */
int conmon_main(int argc, char **argv);

/* perform.c: what the keeper does for the worker (board.h), and once there is none any more. */

enum conmon_task {
    TASK_CALL, /* the runtime: create, restore or exec */
    TASK_KILL, /* the process group of task->pid, which must be one whose end is awaited */
};

void conmon_perform(void *state, struct board *board, struct task *task);
/* Execute the exit command and wait for it; the last thing to be done. */
void conmon_run_exit_command(const struct setup *setup);
/* Replace stdin, stdout and stderr by /dev/null. */
void conmon_leave_stdio(void);

/* work.c: the worker's life. */
int conmon_work(void *state, bool resumed);

#endif
