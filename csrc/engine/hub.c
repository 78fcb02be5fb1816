/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hub.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/client.h"
#include "remora.h"
#include "util/kernel.h"

#define IDLE_AFTER_NS SECOND_NS
#define STACK_RELEASED ((uintptr_t)65536)
#define STACK_KEPT ((uintptr_t)512)
#define SCRATCH_OFFSET 63 /* the type byte stands right before a multiple of 64 */
#define SCRATCH_SIZE (SCRATCH_OFFSET + 1 + REMORA_PAYLOAD_MAX)

/*
 * The start goes deeper down the stack than the loop does afterwards: three pages that would stay with an idle monitor.
 * Half a kilobyte below this frame is kept, for the call itself. What of the range was never mapped doesn't matter.
 */
static void release_stack(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) - STACK_KEPT) & ~(page - 1);

    (void)madvise((void *)(end - STACK_RELEASED), STACK_RELEASED, MADV_DONTNEED);
}

static void idle_due(struct timer *timer)
{
    struct hub *hub = container_of(timer, struct hub, idle);

    hub->protocol->idle(hub, !hub->scratch_used);
    if (hub->scratch_used) {
        hub->scratch_used = false;
        timer_set(timer, IDLE_AFTER_NS);
        return;
    }
    if (hub->scratch != NULL)
        munmap(hub->scratch, SCRATCH_SIZE);
    hub->scratch = NULL;
    memory_trim();
    release_stack();
}

int hub_init(struct hub *hub, const struct protocol *protocol)
{
    int r;

    *hub = (struct hub){.protocol = protocol, .loop.epoll_fd = -1};
    hub->idle.source.fd = -1;
    r = loop_init(&hub->loop);
    return r < 0 ? r : timer_init(&hub->loop, &hub->idle, idle_due);
}

void hub_deinit(struct hub *hub)
{
    while (hub->clients != NULL)
        client_free(hub->clients);
    timer_deinit(&hub->idle);
    loop_deinit(&hub->loop);
}

void hub_watch_idle(struct hub *hub)
{
    timer_set(&hub->idle, IDLE_AFTER_NS);
}

char *hub_scratch(struct hub *hub)
{
    if (hub->scratch != NULL) {
        hub->scratch_used = true;
    } else {
        void *mapped = mmap(NULL, SCRATCH_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (mapped == MAP_FAILED)
            return NULL;
        hub->scratch = mapped;
        hub->scratch_used = false;
        hub_watch_idle(hub);
    }
    return hub->scratch + SCRATCH_OFFSET;
}
