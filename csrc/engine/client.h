/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: of the native control socket or of conmon's attach socket (hub.h, struct protocol).
 *
 * What can't be sent at once waits in a queue of whole packets. A `block` client's queue stops the reading of its
 * session's output (back-pressure); any other client whose queue grows over CLIENT_QUEUE_MAX is cut off:
 * its queue is dropped, it is told so as soon as it reads again, and the container never waits for it.
 */
#ifndef REMORA_ENGINE_CLIENT_H
#define REMORA_ENGINE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/loop.h"

#define CLIENT_QUEUE_MAX (1024 * 1024)

struct hub;
struct session;
struct packet;

enum client_wait {
    WAIT_NOTHING,
    WAIT_RUNNING,
    WAIT_EXITED,
    WAIT_REMOVED,
    WAIT_UPGRADED,
};

struct client {
    struct hub *hub;
    struct client *next;
    struct source source;
    struct session *session; /* what it is attached to, or NULL */
    bool wants_out, wants_err, gives_in;
    bool block, owner, spawner;
    bool lagging; /* cut off; the notice is in the queue or sent */
    bool closing; /* to be closed once the queue is sent */
    bool hung_up; /* the peer is gone, but its input waits for a blocked stdin */
    bool throttles; /* its queue is what stops the session's output now */
    bool input_over; /* it will send nothing more */
    bool foreground; /* conmon: it was there before the process ran, and may hold it up for ever */
    size_t queued_before; /* conmon: when it was last looked at whether it takes anything */
    enum client_wait wait;
    const char *wait_op; /* static: the `op` of the reply it waits for */
    bool killed; /* for the reply to `stop` */
    struct packet *first, **last; /* owned queue */
    size_t queued; /* bytes in it */
};

/* Take a connected socket. NULL when it can't be watched (closed then). */
struct client *client_new(struct hub *hub, int fd);
/* Close and free; what it was attached to goes on. */
void client_free(struct client *client);
/*
 * In a new worker: first all clients are listed and watched again, without their queues; then, when sessions are back,
 * what was being read from one is dealt with.
 */
void client_resume(struct hub *hub, struct client *client);
void client_resumed(struct client *client);
/* A client that came from elsewhere, with its queue: for client_resume. */
void client_bind(struct hub *hub, struct client *client);
/* Append to the queue what came from elsewhere; 0 or -ENOMEM. */
int client_take_queued(struct client *client, const char *bytes, size_t size);
/* Call `put` for each queued packet. */
void client_each_queued(const struct client *client, void (*put)(void *context, const char *bytes, size_t size),
                        void *context);
/* Free once what is queued has been sent; never before the next round of the loop. */
void client_finish(struct client *client);

/* Send one packet: `packet` begins with its type byte. May cut the client off, never frees it. */
void client_send(struct client *client, const char *packet, size_t size);
/* Drop its queue; it gets nothing more but what the protocol tells such a client. Never frees it. */
void client_cut_off(struct client *client);
/* Whether to read from it: called when the stdin of its session fills and empties. */
void client_update_reading(struct client *client);

#endif
