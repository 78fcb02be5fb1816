/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of a run: the outcome as a map, the durable record, and the removal of a `--rm` container.
 */
#ifndef REMORA_CONTAINER_ENDING_H
#define REMORA_CONTAINER_ENDING_H

#include "container/config.h"
#include "container/container.h"
#include "util/msg.h"

/* Wall clock and monotonic time in nanoseconds. */
int64_t wall_ns(void);
int64_t monotonic_ns(void);

/* Fill in how a session's process ended. */
void outcome_from_end(struct outcome *outcome, const struct child_end *end);
/* The outcome as a map; `session` is "" for the container itself. */
void outcome_put(const struct outcome *outcome, const struct monitor *monitor, const char *session,
                 struct msg_out *out);
/* Write the exit record; durable on return. */
void ending_record(struct container *container);
/* The state file, replaced by rename: `status` as in docs/architecture.md. */
void ending_write_state(struct container *container, const char *status);
/* Put the state map's content. */
void ending_put_state(const struct container *container, const char *status, struct msg_out *out);
/* Run the removal steps (see docs/architecture.md, `remove`), keeping the record for late waiters. */
void ending_remove(struct container *container);
/*
 * Empty and remove the run folder (but for what tells others what is to be undone) and let the lock go: from now on
 * there is no monitor to be seen.
 */
void ending_leave(struct monitor *monitor);
/* The same for a run folder that could not even be opened: all there is in it is the lock that came with us. */
void ending_leave_unopened(const struct config *config);

#endif
