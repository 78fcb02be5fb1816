/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/kept.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uintptr_t round_up(uintptr_t value, size_t alignment)
{
    return (value + alignment - 1) & ~((uintptr_t)alignment - 1);
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int kept_map(struct kept *kept, size_t size)
{
    void *memory;

    size = round_up(size, page_size());
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return -errno;
    kept->at = memory;
    kept->end = kept->at + size;
    return 0;
}

void *kept_take(struct kept *kept, size_t size, size_t alignment)
{
    char *from = (char *)round_up((uintptr_t)kept->at, alignment);

    if (from > kept->end || size > (size_t)(kept->end - from))
        return NULL;
    kept->at = from + size;
    return from;
}

void *kept_take_apart(struct kept *kept, size_t size)
{
    size_t whole = round_up(size, page_size());

    if (whole > (size_t)(kept->end - kept->at))
        return NULL;
    kept->end -= whole;
    return kept->end;
}

int kept_pool(struct kept *kept, struct pool *pool, size_t size, unsigned capacity)
{
    size_t page = page_size();
    size_t item = round_up(size, sizeof(max_align_t));
    size_t head = round_up(capacity, item >= page ? page : sizeof(max_align_t));

    if (item >= page)
        item = round_up(item, page);
    *pool = (struct pool){.size = item, .capacity = capacity};
    pool->used = kept_take_apart(kept, head + item * capacity);
    if (pool->used == NULL)
        return -ENOMEM;
    pool->items = (char *)pool->used + head;
    return 0;
}

void *pool_take(struct pool *pool)
{
    for (unsigned i = 0; i < pool->capacity; i++) {
        char *item = pool->items + pool->size * i;

        if (pool->used[i])
            continue;
        /* Large ones are zeros: they were given back whole. */
        if (pool->size < page_size())
            memset(item, 0, pool->size);
        pool->used[i] = 1;
        pool->n_used++;
        return item;
    }
    return NULL;
}

void pool_release(struct pool *pool, void *item)
{
    size_t i = (size_t)((char *)item - pool->items) / pool->size;

    if (pool->size >= page_size())
        kept_forget(item, pool->size);
    pool->used[i] = 0;
    pool->n_used--;
}

void pool_trim(struct pool *pool)
{
    if (pool->n_used == 0)
        kept_forget_apart(pool->used, (size_t)(pool->items - (char *)pool->used) + pool->size * pool->capacity);
}

void *pool_each(const struct pool *pool, const void *item)
{
    size_t i = item == NULL ? 0 : (size_t)((const char *)item - pool->items) / pool->size + 1;

    for (; i < pool->capacity && pool->n_used > 0; i++)
        if (pool->used[i])
            return pool->items + pool->size * i;
    return NULL;
}

void pool_resume(struct pool *pool)
{
    pool->n_used = 0;
    for (unsigned i = 0; i < pool->capacity; i++)
        pool->n_used += pool->used[i];
}

void kept_forget(void *from, size_t size)
{
    size_t page = page_size();
    uintptr_t first = round_up((uintptr_t)from, page);
    uintptr_t end = ((uintptr_t)from + size) & ~((uintptr_t)page - 1);

    /* Of a shared mapping only MADV_REMOVE frees anything. */
    if (first < end)
        (void)madvise((void *)first, end - first, MADV_REMOVE);
}

void kept_forget_apart(void *from, size_t size)
{
    kept_forget(from, round_up(size, page_size()));
}
