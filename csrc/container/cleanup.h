/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be undone outside when a container has ended for good (`cleanup` of the configuration): step by step,
 * each by the keeper, and none before the record is durable and told. The state of the container is CLEANING meanwhile.
 *
 * A step may be taken twice: a worker that is killed in it leaves it to the next one. What can't be done any more, as
 * the keeper is gone or nothing can be executed, is left to whoever meets the container next: the file that tells the
 * steps stays in the run folder then.
 */
#ifndef REMORA_CONTAINER_CLEANUP_H
#define REMORA_CONTAINER_CLEANUP_H

#include "container/container.h"

/* Take the next step, or the rest of the way: container_leave when there is nothing left to do. */
void cleanup_go_on(struct container *container);
/* A program of a step has ended; of its runtime call. */
void cleanup_step_done(struct runtime_call *call, const struct failure *failure);
/* The time of a step, or the pause before another try, is over. */
void cleanup_due(struct container *container);

#endif
