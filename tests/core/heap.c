/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's own malloc against a list of what it should hold, and against misuse. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define malloc heap_malloc
#define free heap_free
#define calloc heap_calloc
#define realloc heap_realloc
#define memory_begin heap_begin
#define memory_trim heap_trim
static void *malloc(size_t size);
static void free(void *bytes);
static void *calloc(size_t count, size_t size);
static void *realloc(void *bytes, size_t size);
void memory_begin(void);
void memory_trim(void);
#include "util/heap.c"

enum { HELD_MAX = 400, ROUNDS = 60000 };

struct held {
    unsigned char *bytes;
    size_t size;
    unsigned char fill;
};

static uint32_t random_state = 12345;

static uint32_t chance(uint32_t below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % below;
}

/* Mostly small, sometimes large enough for a mapping. */
static size_t random_size(void)
{
    switch (chance(16)) {
    case 0:
        return chance(300000);
    case 1:
    case 2:
        return chance(70000);
    case 3:
        return chance(3);
    default:
        return chance(600);
    }
}

static void fill(struct held *held, unsigned char *bytes, size_t size)
{
    assert(bytes != NULL && ((uintptr_t)bytes & 15) == 0);
    *held = (struct held){.bytes = bytes, .size = size, .fill = (unsigned char)chance(256)};
    memset(bytes, held->fill, size);
}

static void check(const struct held *held, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert(held->bytes[i] == held->fill);
}

static void check_random_use(void)
{
    static struct held all[HELD_MAX];

    for (int round = 0; round < ROUNDS; round++) {
        struct held *held = &all[chance(HELD_MAX)];
        size_t size = random_size();
        unsigned char *bytes;

        if (round % 1000 == 0)
            heap_trim();
        if (held->bytes == NULL && chance(4) == 0) {
            bytes = heap_calloc(size / 7 + 1, 7);
            for (size_t i = 0; i < (size / 7 + 1) * 7; i++)
                assert(bytes[i] == 0);
            fill(held, bytes, (size / 7 + 1) * 7);
        } else if (held->bytes == NULL) {
            fill(held, heap_malloc(size), size);
        } else if (chance(3) == 0) {
            check(held, held->size);
            bytes = heap_realloc(held->bytes, size);
            held->bytes = bytes;
            check(held, size < held->size ? size : held->size);
            fill(held, bytes, size);
        } else {
            check(held, held->size);
            heap_free(held->bytes);
            held->bytes = NULL;
        }
    }
    for (int i = 0; i < HELD_MAX; i++) {
        if (all[i].bytes != NULL)
            check(&all[i], all[i].size);
        heap_free(all[i].bytes);
        all[i].bytes = NULL;
    }
    /* All is free: one range again. */
    assert(heap.top == heap.from && heap.filled == 0 && heap.last == 0);
}

static size_t resident_pages(void)
{
    static unsigned char present[ARENA_SIZE / 4096];
    size_t n = 0;

    assert(mincore(heap.end - ARENA_SIZE, ARENA_SIZE, present) == 0);
    for (size_t i = 0; i < ARENA_SIZE / heap.page; i++)
        n += present[i] & 1;
    return n;
}

static void check_memory_goes_back(void)
{
    void *blocks[100], *held;

    for (int i = 0; i < 100; i++)
        blocks[i] = memset(heap_malloc(10000), 1, 10000);
    held = heap_malloc(16);
    for (int i = 0; i < 100; i++)
        heap_free(blocks[i]);
    assert(resident_pages() > 200);
    heap_trim();
    assert(resident_pages() <= 2); /* the free block's links, and the block that is in use */
    heap_free(held);
    heap_trim();
    assert(resident_pages() == 0);
}

static void check_limits(void)
{
    errno = 0;
    assert(heap_malloc(SIZE_MAX) == NULL && errno == ENOMEM);
    assert(heap_malloc(SIZE_MAX / 2) == NULL);
    assert(heap_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    errno = 7;
    heap_free(NULL);
    assert(errno == 7);
}

static void twice(void)
{
    void *bytes = heap_malloc(100);

    (void)heap_malloc(100);
    heap_free(bytes);
    heap_free(bytes);
}

static void twice_at_the_top(void)
{
    void *bytes = heap_malloc(100);

    heap_free(bytes);
    heap_free(bytes);
}

static void beyond(void)
{
    char *bytes = heap_malloc(32);
    void *above = heap_malloc(32);

    memset(bytes, 1, 40);
    heap_free(above);
}

static void into_the_middle(void)
{
    char *bytes = memset(heap_malloc(100), 0, 100);

    heap_free(bytes + 32);
}

static void link_after_free(void)
{
    uintptr_t *bytes = heap_malloc(100);
    void *other = heap_malloc(100);

    (void)heap_malloc(100);
    (void)other;
    heap_free(bytes);
    bytes[0] = (uintptr_t)&heap;
    bytes[1] = (uintptr_t)&heap;
    (void)heap_malloc(100);
}

static void check_misuse_ends_the_process(void (*misuse)(void))
{
    int status;
    pid_t pid = fork();

    assert(pid >= 0);
    if (pid == 0) {
        misuse();
        _exit(0);
    }
    assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

static void check_a_fork_begins_on_its_own_page(void)
{
    char *old = heap_malloc(100), *older = heap_malloc(50000);
    char *fresh;

    strcpy(old, "as it was");
    heap_begin();
    fresh = heap_malloc(10);
    assert(((uintptr_t)fresh & (heap.page - 1)) == HEADER && fresh > older + 50000);
    heap_free(older);
    old = heap_realloc(old, 1000);
    assert(strcmp(old, "as it was") == 0 && old > fresh);
    heap_free(old);
    heap_free(fresh);
    assert(heap.top == heap.from);
    heap_free(heap_malloc(10));
}

int main(void)
{
    check_limits();
    check_random_use();
    check_memory_goes_back();
    check_misuse_ends_the_process(twice);
    check_misuse_ends_the_process(twice_at_the_top);
    check_misuse_ends_the_process(beyond);
    check_misuse_ends_the_process(into_the_middle);
    check_misuse_ends_the_process(link_after_free);
    check_a_fork_begins_on_its_own_page();
    check_random_use();
    return 0;
}
