/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: the first process of a monitor and the parent of all the others. It keeps the descriptors, the rights and
 * the children; it waits, reaps, and executes what a fixed table of tasks allows. It reads nothing that a container or
 * a client can write.
 *
 *   keeper ──clone(CLONE_FILES)──▶ worker: the event loop, confined (system/confine.h)
 *      └── fork ──▶ runtime calls …; the container's processes become its children (subreaper)
 *
 * A worker that is killed is followed by another one that finds all descriptors and the kept memory as they were. A
 * worker whose keeper is killed goes on alone: then nothing can be executed any more, and ends come from pidfds.
 */
#ifndef REMORA_ENGINE_KEEPER_H
#define REMORA_ENGINE_KEEPER_H

#include "engine/board.h"

struct keeper_program {
    /* The worker's life; `resumed` when another one was killed before. Returns its exit status. */
    int (*work)(void *state, bool resumed);
    /* Do a task: execute what it asks for (keeper_execute) or take its steps; fills in the answer. */
    void (*perform)(void *state, struct board *board, struct task *task);
    /* Execute a new version of the program, going on from the state in the descriptor. Returns only if that failed. */
    void (*upgrade)(void *state, int state_fd);
};

/* Make the descriptors. 0 or -errno. */
int board_init(struct board *board);
/* In their place, those of the program that this one was executed by. */
void board_take_over(struct board *board, int keeper_fd, int ends_fd, int answer_fd);
/* Be the keeper until the monitor's end. Its exit status, or -errno when there can't even be a first worker. */
int keeper_run(struct board *board, const struct keeper_program *program, void *state);
/*
 * In `perform`: execute a program for the task: pipes, fork, entry in `ends`. Without pipes it gets `stdio`, which may
 * be NULL: /dev/null.
 */
void keeper_execute(struct board *board, struct task *task, const char *const *argv, char *const *environment,
                    const int *stdio);

#endif
