/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native control protocol: listening, and what each packet of a client asks for (docs/architecture.md, "Control
 * protocol").
 */
#ifndef REMORA_CONTAINER_CONTROL_H
#define REMORA_CONTAINER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "container/container.h"
#include "engine/failure.h"
#include "util/msg.h"

struct client;
struct monitor;

/* Listen at <run>/<id>/ctl. 0 or -errno. */
int control_listen(struct monitor *monitor);
/* Listen on with the descriptor that came from elsewhere (source_bind). */
void control_bind(struct monitor *monitor);
/* Answer whoever asked for an upgrade: it is done, or was not possible. */
void control_tell_upgraded(struct monitor *monitor);
/* Accept one connection that waits. false: there is none. */
bool control_accept(struct monitor *monitor);
/* Handle one packet (size 0: one that isn't of the protocol). Takes the descriptors. false: the client was freed. */
bool control_packet(struct client *client, char *packet, size_t size, int *fds, size_t n_fds);
/* Attach a client as a map's fields ask for (also the `attach` of the configuration). */
void control_attach(struct client *client, struct session *session, const msgpack_object *fields);

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

#endif
