/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper of a native monitor does for its worker (runtime.h, enum native_task): runtime calls, helpers, the
 * clean-up and the removal of the container. Every word of a command line and every path comes from the configuration,
 * which only the keeper's own memory and a sealed descriptor hold; of a task only numbers, flags and descriptors count.
 */
#ifndef REMORA_CONTAINER_PERFORM_H
#define REMORA_CONTAINER_PERFORM_H

#include "container/config.h"
#include "engine/board.h"

#define PERFORM_NAME_MAX 32

struct monitor;

/* The keeper's own. */
struct native {
    struct config config;
    struct monitor *monitor; /* in kept memory */
    struct board *board; /* in kept memory */
    int run_dir_fd;
    char *program; /* the path that this program was executed from: what an upgrade executes */
};

/* The `perform` of a struct keeper_program; `state` is a struct native. */
void native_perform(void *state, struct board *board, struct task *task);

/* Names of scratch files in the run folder, by the number of a call: log, pid file, console socket. */
void perform_log_name(char name[PERFORM_NAME_MAX], unsigned number);
void perform_pid_name(char name[PERFORM_NAME_MAX], unsigned number);
void perform_console_name(char name[PERFORM_NAME_MAX], unsigned number);

#endif
