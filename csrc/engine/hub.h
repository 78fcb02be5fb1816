/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all parts of a monitor share, whatever protocol its clients speak: the loop, the processes that are watched, the
 * clients, and memory that is only there while there is traffic.
 */
#ifndef REMORA_ENGINE_HUB_H
#define REMORA_ENGINE_HUB_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/child.h"
#include "engine/loop.h"

struct client;
struct hub;

/* How clients are spoken to. */
struct protocol {
    size_t chunk; /* most bytes of output in one packet; at most REMORA_PAYLOAD_MAX */
    bool any_size; /* packets may be larger than REMORA_PAYLOAD_MAX */
    /*
     * Handle one packet (size 0: one that is larger than any of the protocol). Takes the descriptors. false: the client
     * was freed.
     */
    bool (*packet)(struct client *client, char *packet, size_t size, int *fds, size_t n_fds);
    /* NULL: a peer that ends its input has gone; else it goes on reading, and this is told. */
    void (*input_ended)(struct client *client);
    /* NULL, or: a `block` client's queue begins to hold up its session. */
    void (*throttling)(struct client *client);
    /* The queue of a client that must not hold up anything grew too long and was dropped: the last it may be told. */
    void (*lagging)(struct client *client);
    /* A client is about to be freed: nobody may refer to it any more. */
    void (*gone)(struct client *client);
    /* The last client may have gone. */
    void (*check_done)(struct hub *hub);
    /* Now and then while there is traffic; `quiet` when nothing came for a while: give memory back. */
    void (*idle)(struct hub *hub, bool quiet);
};

struct hub {
    struct loop loop;
    struct children children;
    const struct protocol *protocol;
    struct client *clients;
    struct timer idle; /* gives memory back after the last traffic */
    char *scratch; /* mapped while there is traffic */
    bool scratch_used; /* since the idle timer last looked */
};

/* 0 or -errno; safe to deinit in either case. */
int hub_init(struct hub *hub, const struct protocol *protocol);
/* Frees the clients, too. */
void hub_deinit(struct hub *hub);
/* Look for idleness in a while. */
void hub_watch_idle(struct hub *hub);
/*
 * The buffer for one packet: type byte and REMORA_PAYLOAD_MAX bytes, the payload at a multiple of 64. Shared by all;
 * valid until the callback returns. NULL without memory.
 */
char *hub_scratch(struct hub *hub);

#endif
