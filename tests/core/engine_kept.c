/* SPDX-License-Identifier: Apache-2.0 */
/* Kept memory: what is laid out where, pools, what a killed process leaves in it, and how memory is given back. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/kept.h"

enum {
    ITEMS = 8,
    SMALL = 40,
    PAGES = 64, /* of a mapping */
};

static size_t page;

static struct kept fresh(void)
{
    struct kept kept;

    assert(kept_map(&kept, PAGES * page) == 0);
    return kept;
}

static bool is_zero(const void *from, size_t size)
{
    const char *at = from;

    for (size_t i = 0; i < size; i++)
        if (at[i] != 0)
            return false;
    return true;
}

/* How many pages of a range there are; looking touches none. */
static unsigned resident(const void *from, size_t size)
{
    unsigned char pages[PAGES];
    char *first = (char *)((uintptr_t)from & ~(uintptr_t)(page - 1));
    unsigned n = 0;

    size += (size_t)((const char *)from - first);
    size = (size + page - 1) / page;
    assert(size <= PAGES && mincore(first, size * page, pages) == 0);
    for (size_t i = 0; i < size; i++)
        n += pages[i] & 1;
    return n;
}

/* ---- laying out ---- */

static void parts_are_zeroed_aligned_and_apart(void)
{
    struct kept kept = fresh();
    char *before = kept.at, *odd = kept_take(&kept, 3, 1), *end = kept.end;

    assert(odd == before);
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        char *part = kept_take(&kept, 5, alignment);

        assert(part >= odd + 3 && (uintptr_t)part % alignment == 0 && is_zero(part, 5));
        memset(part, 0xee, 5);
        odd = part + 2;
    }
    before = kept_take_apart(&kept, page + 1);
    assert(before == end - 2 * page && (uintptr_t)before % page == 0 && is_zero(before, page + 1));
    assert(kept_take_apart(&kept, 1) == before - page);
}

static void what_does_not_fit_is_refused_and_takes_nothing(void)
{
    struct kept kept = fresh(), before;
    struct pool pool;
    size_t left;

    assert(kept_take(&kept, 100, 1) != NULL);
    before = kept;
    left = (size_t)(kept.end - kept.at);
    assert(kept_take(&kept, left + 1, 1) == NULL && kept_take_apart(&kept, left) == NULL);
    assert(kept_pool(&kept, &pool, page, PAGES) == -ENOMEM);
    assert(kept.at == before.at && kept.end == before.end);
    assert(kept_take(&kept, left, 1) == before.at && kept_take(&kept, 1, 1) == NULL);
    assert(kept_take(&kept, 0, 1) != NULL);
}

static void a_mapping_of_odd_size_is_whole_pages(void)
{
    struct kept kept;
    char *part;

    assert(kept_map(&kept, 2 * page + 5) == 0);
    part = kept_take_apart(&kept, 10);
    assert(part != NULL && (uintptr_t)part % page == 0);
    part[page - 1] = 1;
}

/* ---- pools ---- */

static void pool_gives_the_lowest_free_item(size_t size)
{
    struct kept kept = fresh();
    char *items[ITEMS], *item;
    struct pool pool;

    assert(kept_pool(&kept, &pool, size, ITEMS) == 0);
    assert(pool.size >= size && pool.capacity == ITEMS && pool_each(&pool, NULL) == NULL);
    for (int i = 0; i < ITEMS; i++) {
        items[i] = pool_take(&pool);
        assert(items[i] != NULL && (uintptr_t)items[i] % (size < page ? sizeof(max_align_t) : page) == 0);
        assert(i == 0 || items[i] >= items[i - 1] + size);
        assert(is_zero(items[i], size));
        memset(items[i], 'a' + i, size);
    }
    assert(pool_take(&pool) == NULL && pool.n_used == ITEMS);
    pool_release(&pool, items[5]);
    pool_release(&pool, items[2]);
    assert(pool.n_used == ITEMS - 2);
    item = pool_take(&pool);
    assert(item == items[2] && is_zero(item, size));
    item = pool_take(&pool);
    assert(item == items[5] && is_zero(item, size) && pool_take(&pool) == NULL);
    for (int i = 0; i < ITEMS; i++)
        assert(i == 2 || i == 5 || (items[i][0] == 'a' + i && items[i][size - 1] == 'a' + i));
}

static void items_of_any_size_are_given_lowest_first_and_zeroed(void)
{
    pool_gives_the_lowest_free_item(1);
    pool_gives_the_lowest_free_item(SMALL);
    pool_gives_the_lowest_free_item(page - 1);
    pool_gives_the_lowest_free_item(page);
    pool_gives_the_lowest_free_item(2 * page + 1);
}

static void each_used_item_is_visited_once_in_order(void)
{
    struct kept kept = fresh();
    struct pool pool;
    char *items[ITEMS], *item;

    assert(kept_pool(&kept, &pool, SMALL, ITEMS) == 0);
    for (int i = 0; i < ITEMS; i++)
        items[i] = pool_take(&pool);
    pool_release(&pool, items[0]);
    pool_release(&pool, items[3]);
    pool_release(&pool, items[ITEMS - 1]);
    item = NULL;
    for (int i = 1; i < ITEMS - 1; i++) {
        if (i == 3)
            continue;
        item = pool_each(&pool, item);
        assert(item == items[i]);
    }
    assert(pool_each(&pool, item) == NULL);
    /* The one that is being visited may go. */
    item = pool_each(&pool, NULL);
    pool_release(&pool, item);
    assert(pool_each(&pool, item) == items[2]);
}

/* ---- after a kill ---- */

struct shared {
    struct pool pool;
    volatile unsigned taken, released;
};

/* Take and release for ever, until killed. */
static void churn(struct shared *shared)
{
    char *items[ITEMS] = {0};

    for (unsigned i = 0;; i++) {
        unsigned at = i * 5 % ITEMS;

        if (items[at] == NULL) {
            items[at] = pool_take(&shared->pool);
            if (!is_zero(items[at], shared->pool.size))
                _exit(1);
            memset(items[at], 0xff, shared->pool.size);
            shared->taken++;
        } else {
            pool_release(&shared->pool, items[at]);
            items[at] = NULL;
            shared->released++;
        }
    }
}

static void check_after_kill(struct pool *pool)
{
    unsigned n = 0;

    pool_resume(pool);
    for (char *item = pool_each(pool, NULL), *next; item != NULL; item = next, n++) {
        next = pool_each(pool, item);
        pool_release(pool, item);
    }
    assert(n <= ITEMS && pool->n_used == 0 && pool_each(pool, NULL) == NULL);
    for (int i = 0; i < ITEMS; i++)
        assert(is_zero(pool_take(pool), pool->size));
    assert(pool->n_used == ITEMS && pool_take(pool) == NULL);
    for (int i = 0; i < ITEMS; i++)
        pool_release(pool, pool->items + pool->size * (size_t)i);
}

static void kill_in_the_middle(size_t size, unsigned kills)
{
    struct kept kept = fresh();
    struct shared *shared = kept_take(&kept, sizeof(*shared), sizeof(max_align_t));

    assert(kept_pool(&kept, &shared->pool, size, ITEMS) == 0);
    for (unsigned i = 0; i < kills; i++) {
        unsigned goal = shared->taken + 20 + i % 7;
        int status;
        pid_t pid = fork();

        assert(pid >= 0);
        if (pid == 0)
            churn(shared);
        while (shared->taken < goal && waitpid(pid, &status, WNOHANG) == 0)
            ;
        kill(pid, SIGKILL);
        assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        check_after_kill(&shared->pool);
    }
}

static void a_pool_is_whole_again_when_a_process_was_killed_in_it(void)
{
    kill_in_the_middle(SMALL, 100);
    kill_in_the_middle(2 * page, 50);
}

/* Every state that lies between two steps of taking and releasing. */
static void a_count_that_was_not_kept_is_counted_anew(void)
{
    struct kept kept = fresh();
    struct pool pool;
    char *first, *second;

    assert(kept_pool(&kept, &pool, SMALL, ITEMS) == 0);
    first = pool_take(&pool);
    second = pool_take(&pool);
    pool.n_used--; /* marked, and not counted yet */
    pool_resume(&pool);
    assert(pool.n_used == 2 && pool_each(&pool, NULL) == first && pool_each(&pool, first) == second);
    pool.used[0] = 0; /* let go, and not counted yet */
    pool_resume(&pool);
    assert(pool.n_used == 1 && pool_each(&pool, NULL) == second && pool_take(&pool) == first);
}

/* ---- giving memory back ---- */

static void what_is_forgotten_is_no_memory_any_more_and_reads_as_zeros(void)
{
    struct kept kept = fresh();
    char *part = kept_take_apart(&kept, 8 * page);

    memset(part, 1, 8 * page);
    assert(resident(part, 8 * page) == 8);
    /* Only whole pages go. */
    kept_forget(part + 1, 3 * page);
    assert(resident(part, 8 * page) == 6);
    assert(part[page - 1] == 1 && part[3 * page] == 1);
    kept_forget(part, page - 1);
    kept_forget(part + page / 2, page / 2);
    assert(resident(part, 8 * page) == 6);
    assert(is_zero(part + page, 2 * page));
    kept_forget_apart(part, 8 * page - 5);
    assert(resident(part, 8 * page) == 0 && is_zero(part, 8 * page));
}

static void another_process_sees_that_it_is_gone_too(void)
{
    struct kept kept = fresh();
    char *part = kept_take_apart(&kept, 4 * page);
    int status;
    pid_t pid;

    memset(part, 1, 4 * page);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        kept_forget_apart(part, 4 * page);
        part[0] = 2;
        _exit(0);
    }
    assert(waitpid(pid, &status, 0) == pid && status == 0);
    assert(part[0] == 2 && is_zero(part + 1, 4 * page - 1));
}

static void large_items_are_given_back_one_by_one_and_a_pool_only_when_it_is_empty(void)
{
    struct kept kept = fresh();
    struct pool large, small;
    char *items[3], *item;

    assert(kept_pool(&kept, &large, 2 * page, ITEMS) == 0 && kept_pool(&kept, &small, SMALL, ITEMS) == 0);
    assert(resident(large.items, 2 * page * ITEMS) == 0);
    for (int i = 0; i < 3; i++)
        items[i] = memset(pool_take(&large), 1, 2 * page);
    assert(resident(large.items, 2 * page * ITEMS) == 6);
    pool_release(&large, items[1]);
    assert(resident(large.items, 2 * page * ITEMS) == 4);
    item = pool_take(&small);
    memset(item, 1, SMALL);
    pool_trim(&small);
    pool_trim(&large);
    assert(small.n_used == 1 && item[0] == 1 && items[0][0] == 1 && items[2][2 * page - 1] == 1);
    pool_release(&small, item);
    pool_release(&large, items[0]);
    pool_release(&large, items[2]);
    pool_trim(&small);
    pool_trim(&large);
    assert(resident(small.used, page) == 0 && resident(large.used, page) == 0);
    assert(resident(large.items, 2 * page * ITEMS) == 0);
    assert(pool_each(&small, NULL) == NULL && pool_take(&small) == item && pool_take(&large) == items[0]);
}

int main(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    parts_are_zeroed_aligned_and_apart();
    what_does_not_fit_is_refused_and_takes_nothing();
    a_mapping_of_odd_size_is_whole_pages();
    items_of_any_size_are_given_lowest_first_and_zeroed();
    each_used_item_is_visited_once_in_order();
    a_pool_is_whole_again_when_a_process_was_killed_in_it();
    a_count_that_was_not_kept_is_counted_anew();
    what_is_forgotten_is_no_memory_any_more_and_reads_as_zeros();
    another_process_sees_that_it_is_gone_too();
    large_items_are_given_back_one_by_one_and_a_pool_only_when_it_is_empty();
    return 0;
}
