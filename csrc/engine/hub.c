/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hub.h"

#include <errno.h>
#include <stdint.h>

#include "engine/client.h"
#include "engine/stream.h"
#include "remora.h"
#include "util/memory.h"

#define CLIENTS_MAX 1024
#define INPUTS_MAX 16
#define IDLE_AFTER_NS SECOND_NS
#define SCRATCH_OFFSET 63 /* the type byte stands right before a multiple of 64 */
#define SCRATCH_SIZE (SCRATCH_OFFSET + 1 + REMORA_PAYLOAD_MAX)

static void idle_due(struct timer *timer)
{
    struct hub *hub = container_of(timer, struct hub, idle);

    hub->protocol->idle(hub, !hub->scratch_used);
    if (hub->scratch_used) {
        hub->scratch_used = false;
        timer_set(timer, IDLE_AFTER_NS);
        return;
    }
    if (hub->scratch_dirty)
        kept_forget_apart(hub->scratch, SCRATCH_SIZE);
    hub->scratch_dirty = false;
    pool_trim(&hub->client_pool);
    pool_trim(&hub->input_pool);
    memory_trim();
    memory_release_stack();
}

int hub_lay_out(struct hub *hub, struct kept *kept)
{
    int r = kept_pool(kept, &hub->client_pool, sizeof(struct client), CLIENTS_MAX);

    if (r == 0)
        r = kept_pool(kept, &hub->input_pool, INPUT_SIZE, INPUTS_MAX);
    hub->scratch = kept_take_apart(kept, SCRATCH_SIZE);
    return hub->scratch == NULL ? -ENOMEM : r;
}

int hub_init(struct hub *hub, const struct protocol *protocol, struct board *board,
             void (*signalled)(struct children *children, int signal))
{
    int r = loop_init(&hub->loop);

    hub->protocol = protocol;
    hub->idle.source.fd = -1;
    if (r == 0)
        r = children_init(&hub->children, &hub->loop, board, signalled);
    return r < 0 ? r : timer_init(&hub->loop, &hub->idle, idle_due);
}

int hub_resume(struct hub *hub)
{
    int r = loop_resume(&hub->loop);

    if (r == 0)
        r = children_init(&hub->children, &hub->loop, hub->children.board, hub->children.signalled);
    if (r < 0)
        return r;
    loop_know(&hub->loop, hub->children.board->answer_fd);
    timer_resume(&hub->idle);
    hub->clients = NULL;
    pool_resume(&hub->client_pool);
    pool_resume(&hub->input_pool);
    for (struct client *client = pool_each(&hub->client_pool, NULL), *next; client != NULL; client = next) {
        next = pool_each(&hub->client_pool, client);
        client_resume(hub, client);
    }
    return 0;
}

void hub_resumed(struct hub *hub)
{
    stream_finish_flight(hub);
    for (struct client *client = hub->clients, *next; client != NULL; client = next) {
        next = client->next;
        client_resumed(client);
    }
    hub->handed_over = false;
    hub_watch_idle(hub);
}

void hub_bind(struct hub *hub, const struct protocol *protocol,
              void (*signalled)(struct children *children, int signal))
{
    hub->protocol = protocol;
    hub->children.signalled = signalled;
    hub->handed_over = true;
    timer_bind(&hub->loop, &hub->idle, idle_due);
}

void hub_deinit(struct hub *hub)
{
    while (hub->clients != NULL)
        client_free(hub->clients);
    timer_deinit(&hub->idle);
    children_deinit(&hub->children);
    loop_deinit(&hub->loop);
}

void hub_watch_idle(struct hub *hub)
{
    timer_set(&hub->idle, IDLE_AFTER_NS);
}

char *hub_scratch(struct hub *hub)
{
    hub->scratch_used = hub->scratch_dirty;
    if (!hub->scratch_dirty)
        hub_watch_idle(hub);
    hub->scratch_dirty = true;
    return hub->scratch + SCRATCH_OFFSET;
}
