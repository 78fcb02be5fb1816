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
#include "engine/kept.h"
#include "engine/loop.h"

struct client;
struct hub;
struct stream;

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
    /* So many bytes that were queued for a client went with a killed worker. */
    void (*lost)(struct client *client, size_t bytes);
    /*
     * A worker was killed while it handled this packet, or had only just taken it. false: what it asked for may or may
     * not have been done; the client is to be freed, and may ask again.
     */
    bool (*interrupted)(struct client *client, const char *packet);
    /*
     * NULL, or: what a process wrote is about to be read for the first time, or, as it has ended, for the last. Whoever
     * connected in time is to be taken in now: later events of this round come too late.
     */
    void (*draining)(struct hub *hub);
    /* A client is about to be freed: nobody may refer to it any more. */
    void (*gone)(struct client *client);
    /* The last client may have gone. */
    void (*check_done)(struct hub *hub);
    /* Now and then while there is traffic; `quiet` when nothing came for a while: give memory back. */
    void (*idle)(struct hub *hub, bool quiet);
};

/*
 * What is being done with the bytes in the scratch buffer: what a worker that is killed leaves to the next one.
 */
struct flight {
    struct stream *stream; /* output is on its way from this stream; NULL: none is */
    size_t size; /* bytes asked for, and then read; of a terminal, bytes asked for on top of `gathered` */
    size_t there; /* of a pipe: bytes that were in it before */
    size_t gathered; /* of a terminal: bytes of earlier reads that go with it */
    bool read; /* `size` bytes are in the scratch buffer */
    bool logging, logged;
    uint64_t log_calls; /* of the log before this one */
    uint64_t bytes_before; /* of the stream */
    size_t sent; /* bytes of whole pieces that all clients have */
    struct client *reader; /* a packet of this client is being taken or handled; NULL: none is */
};

struct hub {
    struct loop loop;
    struct children children;
    const struct protocol *protocol;
    struct pool client_pool, input_pool;
    struct client *clients;
    struct timer idle; /* gives memory back after the last traffic */
    char *scratch; /* in kept memory */
    bool scratch_dirty, scratch_used; /* there is memory to give back; since the idle timer last looked */
    struct flight flight;
    bool handed_over; /* the state came from another version of the program, queues and all */
};

#define INPUT_SIZE ((size_t)1 << 20) /* of one item of input_pool: input that a process doesn't take yet */

/* Lay out what the hub needs in kept memory, once, before the first worker. The rest must be zero. 0 or -ENOMEM. */
int hub_lay_out(struct hub *hub, struct kept *kept);
/* In the first worker. Ends begin held (children_release). 0 or -errno; safe to deinit in either case. */
int hub_init(struct hub *hub, const struct protocol *protocol, struct board *board,
             void (*signalled)(struct children *children, int signal));
/*
 * In a new worker: a fresh loop; clients are there again, without what was queued for them. 0 or -errno. Sessions, and
 * whatever else has sources, are the caller's; hub_resumed when all that is done.
 */
int hub_resume(struct hub *hub);
/* Before hub_resume, when the state came from another version of the program. */
void hub_bind(struct hub *hub, const struct protocol *protocol,
              void (*signalled)(struct children *children, int signal));
/* When sessions and all else are back: finish what the killed worker was doing with the scratch buffer. */
void hub_resumed(struct hub *hub);
/* Frees the clients, too. */
void hub_deinit(struct hub *hub);
/* Look for idleness in a while. */
void hub_watch_idle(struct hub *hub);
/*
 * The buffer for one packet: type byte and REMORA_PAYLOAD_MAX bytes, the payload at a multiple of 64. Shared by all;
 * valid until the callback returns.
 */
char *hub_scratch(struct hub *hub);

#endif
