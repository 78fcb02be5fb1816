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
/* Accept one connection that waits. false: there is none. */
bool control_accept(struct monitor *monitor);
/* Handle one packet (size 0: one that isn't of the protocol). Takes the descriptors. false: the client was freed. */
bool control_packet(struct client *client, char *packet, size_t size, int *fds, size_t n_fds);
/* Attach a client as a map's fields ask for (also the `attach` of the configuration). */
void control_attach(struct client *client, struct session *session, const msgpack_object *fields);

#endif
