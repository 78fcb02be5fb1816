/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker of a native monitor: begins, or takes over from one that was killed, and runs the loop to the end.
 */
#ifndef REMORA_CONTAINER_WORK_H
#define REMORA_CONTAINER_WORK_H

#include <stdbool.h>

struct monitor;

/* The `work` of a struct keeper_program; `state` is a struct native. */
int native_work(void *state, bool resumed);
/* After an upgrade, when the monitor's own fields have come. */
void work_bind(struct monitor *monitor);

#endif
