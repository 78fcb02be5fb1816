/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kept memory: one mapping, made before the first worker is forked and shared by the keeper and all workers, so that
 * what is in it outlives a worker that is killed. It is at the same address in all of them.
 *
 * A worker may die between any two instructions. So: an object is valid only once the field that says so is set, which
 * is set last and cleared first; lists are made anew from the pools (pool_each) by the next worker; what points to a
 * worker's private memory (malloc, mmap) is stale then.
 *
 * Pages cost memory once they are touched, and no sooner. What is touched by every idle monitor lies together, at the
 * lower end; pools and buffers, which are given back when nothing in them is used, at the upper end.
 */
#ifndef REMORA_ENGINE_KEPT_H
#define REMORA_ENGINE_KEPT_H

#include <stdbool.h>
#include <stddef.h>

/* Objects of one size. */
struct pool {
    size_t size;
    unsigned capacity;
    unsigned n_used;
    unsigned char *used; /* one byte for each item */
    char *items;
};

struct kept {
    char *at, *end; /* what is not laid out yet */
};

/* Map `size` bytes of zeros. 0 or -errno. */
int kept_map(struct kept *kept, size_t size);
/* Take a part, zeroed, aligned to `alignment` (a power of two); it is never given back. NULL: too small. */
void *kept_take(struct kept *kept, size_t size, size_t alignment);
/* As kept_take, but on pages of its own, which kept_forget_apart gives back. */
void *kept_take_apart(struct kept *kept, size_t size);
/* Lay out a pool. Large items begin at pages, so that they can be given back one by one. 0 or -ENOMEM. */
int kept_pool(struct kept *kept, struct pool *pool, size_t size, unsigned capacity);

/* The lowest free item, zeroed; NULL when all are used. */
void *pool_take(struct pool *pool);
void pool_release(struct pool *pool, void *item);
/* The used item after `item` (NULL: the first one), or NULL. */
void *pool_each(const struct pool *pool, const void *item);
/* Give its memory back if no item is used. */
void pool_trim(struct pool *pool);
/* Count the used ones anew, after a worker was killed. */
void pool_resume(struct pool *pool);

/* Give the memory of a part back; it reads as zeros. Only whole pages within it go. */
void kept_forget(void *from, size_t size);
/* The same of what kept_take_apart gave. */
void kept_forget_apart(void *from, size_t size);

#endif
