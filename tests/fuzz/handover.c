/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes are the state of a monitor, as the worker of an earlier version leaves it for the next one.
 * The new keeper, which has all rights, refuses it or loads it without harm, and what it executes comes from the second
 * map, never from the worker's.
 *
 * The input: two stretches (fuzz.h), the worker's map and the keeper's.
 */
#include "container/handover.h"

#include "container/monitor.h"
#include "container/start.h"
#include "fuzz.h"

/* Words that a monitor keeps for its life are never freed, and packets only by a loop: also not here. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=64:detect_leaks=0";
}

enum {
    KEPT_SIZE = 64 << 20, /* of start_lay_out */
    STATE_MAX = 1 << 17,
};

static void check(const struct native *native)
{
    const struct monitor *monitor = native->monitor;
    unsigned n = 0;

    if (native->config.n_runtime == 0 || native->config.runtime[0] == NULL || monitor->config != &native->config)
        abort();
    if (memchr(monitor->name, 0, sizeof(monitor->name)) == NULL)
        abort();
    for (const struct exec *exec = monitor->execs; exec != NULL; exec = exec->next, n++)
        if (n > EXECS_MAX || memchr(exec->id, 0, sizeof(exec->id)) == NULL)
            abort();
    for (const struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        if (client->hub != &monitor->hub)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char state[STATE_MAX];
    struct fuzz_input input = {data, size};
    struct native native = {.run_dir_fd = -1};
    const uint8_t *worker = fuzz_stretch(&input, &size);
    uint64_t first = size;

    memcpy(state, &first, sizeof(first));
    memcpy(state + sizeof(first), worker, size);
    worker = fuzz_stretch(&input, &size);
    memcpy(state + sizeof(first) + first, worker, size);
    if (handover_load(&native, state, sizeof(first) + (size_t)first + size) == 0)
        check(&native);
    config_deinit(&native.config);
    if (native.monitor == NULL)
        return 0;
    /* Closed here alone: descriptors that the state speaks of are ours only in a monitor. */
    close(native.board->keeper_fd);
    close(native.board->ends_fd);
    close(native.board->answer_fd);
    munmap(native.monitor, KEPT_SIZE);
    return 0;
}
