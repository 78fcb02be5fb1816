/* SPDX-License-Identifier: Apache-2.0 */
/*
 * malloc for the monitor that is linked with musl: what is freed goes back to the last page.
 *
 * musl's own allocator keeps a page of tables and a page for each family of sizes that was ever used, in the keeper and
 * in the worker again: 24 kB of an idle monitor's 70. This one lays everything side by side in one range of addresses:
 * blocks with their size before and the size of their neighbour, joined with free neighbours at once, free ones in
 * lists by size. memory_trim gives back every whole page that no block in use lies on. A worker begins on a new page
 * (memory_begin): what was allocated before the fork stays shared with the keeper and is never written again.
 *
 * Each header carries a check of its own address and contents under a secret: a write beyond a block, a second free or
 * a free of something else ends the process instead of being made use of. Large requests are mappings of their own.
 * One thread only. Linked where musl is; elsewhere the C library's malloc serves.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "util/memory.h"

enum {
    UNIT = 16, /* alignment, and size of a header */
    BINS = 24, /* by the power of two of the size */
    TRIES = 8, /* blocks looked at in the bin where some are too small */
};

#define ARENA_SIZE ((size_t)4 << 20) /* of addresses; what does not fit becomes a mapping */
#define MAPPED_FROM ((size_t)128 << 10)
#define SIZE_LIMIT ((size_t)PTRDIFF_MAX - 65536)

struct block {
    uint32_t size; /* with the header, in units; MAPPED: a mapping, whose size follows the header */
    uint32_t before; /* size of the block before, in units; 0: none. With IN_USE */
    uint64_t check;
    struct block *next, *prev; /* of a free one, in its bin */
};

#define IN_USE 0x80000000U
#define MAPPED 0xffffffffU
#define HEADER ((size_t)UNIT)
#define SMALLEST 2 /* units: room for the links of a free block */

/* The only state of this program that is not reached from a root struct: malloc has no argument for it. */
static struct heap {
    char *from, *top, *end; /* blocks lie in [from, top) */
    char *high; /* from here on nothing was ever written */
    uint32_t last; /* size of the block before top, in units */
    uint64_t secret;
    size_t page;
    struct block *bins[BINS];
    uint32_t filled; /* bit n: bins[n] is not empty */
} heap;

static uint64_t check_of(const struct block *block)
{
    uint64_t words = (uint64_t)block->before << 32 | block->size;

    return (words ^ heap.secret) * 0x9e3779b97f4a7c15U ^ (uintptr_t)block;
}

static void seal(struct block *block)
{
    block->check = check_of(block);
}

static void verify(const struct block *block)
{
    if (block->check != check_of(block))
        __builtin_trap();
}

static bool heap_init(void)
{
    const void *random = (const void *)getauxval(AT_RANDOM); /* sixteen bytes; the first are the stack's guard */
    void *memory = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    heap.from = heap.top = heap.high = memory;
    heap.end = heap.from + ARENA_SIZE;
    heap.page = getauxval(AT_PAGESZ);
    if (random != NULL)
        memcpy(&heap.secret, (const char *)random + 8, sizeof(heap.secret));
    return true;
}

static struct block *after(const struct block *block)
{
    return (struct block *)((uintptr_t)block + (size_t)block->size * UNIT);
}

static struct block *block_before(const struct block *block)
{
    uint32_t size = block->before & ~IN_USE;

    return size == 0 ? NULL : (struct block *)((uintptr_t)block - (size_t)size * UNIT);
}

static bool in_use(const struct block *block)
{
    return (block->before & IN_USE) != 0;
}

static unsigned bin_of(uint32_t size)
{
    return 31U - (unsigned)__builtin_clz(size);
}

static void bin_add(struct block *block)
{
    unsigned bin = bin_of(block->size);

    block->prev = NULL;
    block->next = heap.bins[bin];
    if (block->next != NULL)
        block->next->prev = block;
    heap.bins[bin] = block;
    heap.filled |= 1U << bin;
}

static void bin_remove(struct block *block)
{
    unsigned bin = bin_of(block->size);

    verify(block);
    /* The links are not under the check: written after the free, they would write where somebody else wants. */
    if (block->prev == NULL ? heap.bins[bin] != block : block->prev->next != block)
        __builtin_trap();
    if (block->next != NULL && block->next->prev != block)
        __builtin_trap();
    if (block->next != NULL)
        block->next->prev = block->prev;
    if (block->prev != NULL)
        block->prev->next = block->next;
    else
        heap.bins[bin] = block->next;
    if (heap.bins[bin] == NULL)
        heap.filled &= ~(1U << bin);
}

/* Tell the neighbour above that `block` has another size now. */
static void tell_size(const struct block *block)
{
    struct block *above = after(block);

    if ((char *)above == heap.top) {
        heap.last = block->size;
        return;
    }
    verify(above);
    above->before = (above->before & IN_USE) | block->size;
    seal(above);
}

/* What a block has beyond `size` units becomes free, if it is enough for a block. */
static void cut(struct block *block, uint32_t size)
{
    struct block *rest;

    if (block->size - size < SMALLEST)
        return;
    rest = (struct block *)((uintptr_t)block + (size_t)size * UNIT);
    rest->size = block->size - size;
    rest->before = size;
    block->size = size;
    seal(block);
    seal(rest);
    tell_size(rest);
    bin_add(rest);
}

static struct block *take_free(uint32_t size)
{
    unsigned bin = bin_of(size);
    struct block *block = heap.bins[bin];
    uint32_t larger;

    for (int i = 0; i < TRIES && block != NULL && block->size < size; i++)
        block = block->next;
    if (block == NULL || block->size < size) {
        larger = heap.filled & ~((2U << bin) - 1);
        if (larger == 0)
            return NULL;
        block = heap.bins[__builtin_ctz(larger)];
    }
    bin_remove(block);
    cut(block, size);
    return block;
}

static struct block *take_new(uint32_t size)
{
    struct block *block = (struct block *)(void *)heap.top;

    if ((size_t)size * UNIT > (size_t)(heap.end - heap.top))
        return NULL;
    block->size = size;
    block->before = heap.last;
    heap.last = size;
    heap.top += (size_t)size * UNIT;
    if (heap.top > heap.high)
        heap.high = heap.top;
    return block;
}

static void *take_mapping(size_t size)
{
    size_t whole = (size + 2 * HEADER + heap.page - 1) & ~(heap.page - 1);
    struct block *block = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (block == MAP_FAILED)
        return NULL;
    /* The size stands first, the header right before the bytes, as with all blocks. */
    *(size_t *)block = whole;
    block = (struct block *)((uintptr_t)block + HEADER);
    block->size = MAPPED;
    block->before = IN_USE;
    seal(block);
    return (char *)block + HEADER;
}

static size_t room_of(const struct block *block)
{
    if (block->size == MAPPED)
        return *(const size_t *)((uintptr_t)block - HEADER) - 2 * HEADER;
    return (size_t)block->size * UNIT - HEADER;
}

static struct block *block_of(void *bytes)
{
    struct block *block = (struct block *)((uintptr_t)bytes - HEADER);

    verify(block);
    if (!in_use(block))
        __builtin_trap();
    return block;
}

static uint32_t units_of(size_t size)
{
    uint32_t units = (uint32_t)((size + HEADER + UNIT - 1) / UNIT);

    return units < SMALLEST ? SMALLEST : units;
}

void *malloc(size_t size)
{
    struct block *block = NULL;
    void *bytes = NULL;

    if (size < SIZE_LIMIT && (heap.from != NULL || heap_init())) {
        if (size < MAPPED_FROM) {
            block = take_free(units_of(size));
            if (block == NULL)
                block = take_new(units_of(size));
        }
        if (block != NULL) {
            block->before |= IN_USE;
            seal(block);
            return (char *)block + HEADER;
        }
        bytes = take_mapping(size);
    }
    if (bytes == NULL)
        errno = ENOMEM;
    return bytes;
}

/* Join with the free neighbours, and with the unused range at the top. */
static void give_back(struct block *block)
{
    struct block *other;

    block->before &= ~IN_USE;
    other = after(block);
    if ((char *)other != heap.top && !in_use(other)) {
        bin_remove(other);
        block->size += other->size;
    }
    other = block_before(block);
    if (other != NULL && !in_use(other)) {
        bin_remove(other);
        other->size += block->size;
        block->check = 0; /* a second free finds no block here */
        block = other;
    }
    if ((char *)after(block) == heap.top) {
        heap.top = (char *)block;
        heap.last = block->before;
        block->check = 0;
        return;
    }
    seal(block);
    tell_size(block);
    bin_add(block);
}

void free(void *bytes)
{
    int saved = errno;
    struct block *block;

    if (bytes == NULL)
        return;
    block = block_of(bytes);
    if (block->size == MAPPED)
        (void)munmap((void *)((uintptr_t)block - HEADER), room_of(block) + 2 * HEADER);
    /* What is below belongs to the process that was forked from: memory_begin. */
    else if ((char *)block >= heap.from)
        give_back(block);
    errno = saved;
}

void *calloc(size_t count, size_t size)
{
    char *high = heap.high;
    size_t whole;
    char *bytes;

    if (__builtin_mul_overflow(count, size, &whole)) {
        errno = ENOMEM;
        return NULL;
    }
    bytes = malloc(whole);
    /* What is new from the kernel is zero, and costs nothing while it is not touched. */
    if (bytes == NULL || bytes >= high || bytes < heap.from)
        return bytes;
    return memset(bytes, 0, whole < (size_t)(high - bytes) ? whole : (size_t)(high - bytes));
}

void *realloc(void *bytes, size_t size)
{
    struct block *block;
    void *moved;

    if (bytes == NULL)
        return malloc(size);
    block = block_of(bytes);
    if (size <= room_of(block) && (block->size == MAPPED ? size >= MAPPED_FROM : size >= room_of(block) / 2))
        return bytes;
    moved = malloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, bytes, size < room_of(block) ? size : room_of(block));
    free(bytes);
    return moved;
}

void memory_begin(void)
{
    size_t used;

    if (heap.from == NULL)
        return;
    used = ((size_t)(heap.top - (heap.end - ARENA_SIZE)) + heap.page - 1) & ~(heap.page - 1);
    heap.from = heap.top = heap.end - ARENA_SIZE + used;
    if (heap.high < heap.from)
        heap.high = heap.from;
    heap.last = 0;
    heap.filled = 0;
    memset(heap.bins, 0, sizeof(heap.bins));
}

void memory_trim(void)
{
    /* Beyond the links of a free block nothing is kept. */
    for (unsigned bin = 0; bin < BINS; bin++) {
        for (struct block *block = heap.bins[bin]; block != NULL; block = block->next) {
            uintptr_t from = ((uintptr_t)block + sizeof(*block) + heap.page - 1) & ~(heap.page - 1);
            uintptr_t to = (uintptr_t)after(block) & ~(heap.page - 1);

            if (from < to)
                (void)madvise((void *)from, to - from, MADV_DONTNEED);
        }
    }
    if (heap.from != NULL) {
        uintptr_t from = ((uintptr_t)heap.top + heap.page - 1) & ~(heap.page - 1);

        if (from < (uintptr_t)heap.high && madvise((void *)from, (uintptr_t)heap.high - from, MADV_DONTNEED) == 0)
            heap.high = (char *)from;
    }
}
