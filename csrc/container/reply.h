/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client of the native protocol is told: maps in packets.
 */
#ifndef REMORA_CONTAINER_REPLY_H
#define REMORA_CONTAINER_REPLY_H

#include "engine/client.h"
#include "engine/failure.h"
#include "util/msg.h"

/* Send a map as CONTROL (or another type). */
void client_send_map(struct client *client, int type, const struct msg_out *out);
void client_reply_ok(struct client *client, const char *op);
void client_reply_failure(struct client *client, const char *op, const struct failure *failure);

#endif
