/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients of the native protocol hear without asking, and what they asked to be told later.
 */
#ifndef REMORA_CONTAINER_TELL_H
#define REMORA_CONTAINER_TELL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "engine/failure.h"
#include "util/msg.h"

struct client;
struct monitor;
struct session;

/* The state of the container, as a reply to `op`. */
void reply_record(struct client *client, const char *op);

/* Events and answers the container's life brings. */
void control_tell_started(struct monitor *monitor, pid_t pid);
/* A client that can't follow is cut off. */
void control_tell_lagging(struct client *client);
/* What was queued for a client went with a killed worker. */
void control_tell_lost(struct client *client, size_t bytes);
/* Whether a client can be kept whose packet a killed worker was handling: not when it waits for an answer. */
bool control_interrupted(struct client *client, const char *packet);
void control_tell_failed(struct monitor *monitor, const struct failure *failure);
void control_tell_restarted(struct monitor *monitor, unsigned restarts);
/* Answer those who wait for the end of this run. */
void control_tell_exited(struct monitor *monitor);
/* The last packet for everybody attached to a session: how it ended. */
void control_tell_end(struct monitor *monitor, const struct session *session, const struct msg_out *record);
void control_tell_removed(struct monitor *monitor, bool last_use);
/* Is an owner client there who will do what is left to do for the image? */
bool control_has_owner(const struct monitor *monitor);
/* Answer whoever asked for an upgrade: it is done, or was not possible. */
void control_tell_upgraded(struct monitor *monitor);

#endif
