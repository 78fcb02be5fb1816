/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of a run: the runtime call, then taking the process, its streams and its cgroup. Each step may be found
 * half done by a new worker, and is then done to its end.
 */
#ifndef REMORA_CONTAINER_LAUNCH_H
#define REMORA_CONTAINER_LAUNCH_H

#include "container/container.h"

/* Start, the helpers first; failures end the run (container_run_failed). May be called again while it is at it. */
void launch_begin(struct container *container);
/* The runtime call of the start is over. */
void launch_done(struct runtime_call *call, const struct failure *failure);
/* The container runs: say so where it has not been said. */
void launch_tell(struct container *container);
/* Scratch files of the start. */
void launch_forget(struct container *container);
void launch_oom_ready(struct source *source, uint32_t events);

#endif
