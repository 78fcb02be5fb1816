/* SPDX-License-Identifier: Apache-2.0 */
#include "container/reply.h"

#include <stdlib.h>
#include <string.h>

#include "remora.h"

void client_send_map(struct client *client, int type, const struct msg_out *out)
{
    size_t size = out->buffer.size + 1;
    char *packet = malloc(size);

    if (packet == NULL)
        return;
    packet[0] = (char)type;
    memcpy(packet + 1, out->buffer.data, out->buffer.size);
    client_send(client, packet, size);
    free(packet);
}

void client_reply_ok(struct client *client, const char *op)
{
    CLEANUP_MSG_OUT struct msg_out reply = {0};

    msg_out_init(&reply, 2);
    msg_put_text(&reply, "op", op);
    msg_put_bool(&reply, "ok", true);
    client_send_map(client, REMORA_PACKET_CONTROL, &reply);
}

void client_reply_failure(struct client *client, const char *op, const struct failure *failure)
{
    CLEANUP_MSG_OUT struct msg_out reply = {0};

    msg_out_init(&reply, 7);
    msg_put_text(&reply, "op", op);
    msg_put_bool(&reply, "ok", false);
    failure_put(failure, &reply);
    client_send_map(client, REMORA_PACKET_CONTROL, &reply);
}
