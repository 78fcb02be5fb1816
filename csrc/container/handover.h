/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live upgrade: the whole state of a monitor as one msgpack map on a memory file, with descriptors by their numbers,
 * which stay open over execve. The worker saves between two rounds of its loop and ends; the keeper appends what is its
 * own (a second map: the configuration, ends of processes), has the new program try whether it understands both, and
 * executes it.
 * The new program is a keeper at once, loads, and forks a worker that takes over as after a kill.
 */
#ifndef REMORA_CONTAINER_HANDOVER_H
#define REMORA_CONTAINER_HANDOVER_H

#include <stdbool.h>

#include "container/perform.h"
#include "engine/board.h"

struct monitor;

#define HANDOVER_VARIABLE "REMORA_MONITOR_STATE" /* in the environment of the new program: the descriptor's number */
#define HANDOVER_TRY "try" /* its value's suffix after a blank: only try whether the state can be loaded */

/* Save: a memory file's descriptor or -errno. */
int handover_save(struct monitor *monitor);
/* In the keeper: have the new program try whether it understands a state. 0 or -errno. */
int handover_try(const struct native *native, int state_fd);
/* The `upgrade` of a struct keeper_program. */
void handover_execute(void *state, int state_fd);
/* Whether this program was executed to go on from a state; the exit status then. */
bool handover_is_meant(void);
int handover_main(void);
/* Load a whole state into fresh kept memory. 0 or -errno: then there is nothing that could run. */
int handover_load(struct native *native, const char *bytes, size_t size);

/* handover_state.c: the map itself. */
void handover_put(struct monitor *monitor, struct msg_out *out);
/*
 * Fill in native->config from the second map and, in kept memory that is laid out, the monitor from the first one. 0 or
 * -errno with what was wrong in *what.
 */
int handover_get_config(struct native *native, struct msg *msg, const char **what);
int handover_get(struct monitor *monitor, struct msg *msg, const char **what);

#endif
