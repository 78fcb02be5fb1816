/* SPDX-License-Identifier: Apache-2.0 */
/* The copies and the search that replace musl's, against loops over single bytes, with a forbidden page at each end. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SSE2__

#define STRING_SSE2_TEST
static void *fast_memcpy(void *restrict to, const void *restrict from, size_t size);
static void *fast_memmove(void *to, const void *from, size_t size);
static void *fast_memchr(const void *bytes, int wanted, size_t size);
#define memcpy fast_memcpy
#define memmove fast_memmove
#define memchr fast_memchr
#include "util/string_sse2.c"
#undef memcpy
#undef memmove
#undef memchr

enum { ROOM = 4096, LONGEST = 300 };

/* A page between two that may not be touched. */
static unsigned char *guarded_page(void)
{
    unsigned char *pages = mmap(NULL, 3 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert(pages != MAP_FAILED && mprotect(pages + ROOM, ROOM, PROT_READ | PROT_WRITE) == 0);
    return pages + ROOM;
}

static void fill(unsigned char *page)
{
    for (int i = 0; i < ROOM; i++)
        page[i] = (unsigned char)(i * 7 + i / 256);
}

static void check_copy(unsigned char *to_page, unsigned char *from_page)
{
    for (size_t size = 0; size <= LONGEST; size++) {
        for (size_t shift = 0; shift < 17; shift++) {
            /* The ends of both lie at the forbidden page in the first round, their beginnings in the second. */
            for (int low = 0; low < 2; low++) {
                unsigned char *to = low ? to_page + shift : to_page + ROOM - size - shift;
                unsigned char *from = low ? from_page : from_page + ROOM - size;

                fill(from_page);
                memset(to_page, 0xee, ROOM);
                assert(fast_memcpy(to, from, size) == to);
                for (size_t i = 0; i < size; i++)
                    assert(to[i] == from[i]);
                for (unsigned char *at = to_page; at < to_page + ROOM; at++)
                    assert((at >= to && at < to + size) || *at == 0xee);
            }
        }
    }
}

static void check_move(unsigned char *page)
{
    static unsigned char expected[ROOM];

    for (size_t size = 0; size <= LONGEST; size++) {
        for (int distance = -(int)LONGEST; distance <= LONGEST; distance += size < 80 ? 1 : 13) {
            unsigned char *from = page + 1000;
            unsigned char *to = from + distance;

            fill(page);
            for (int i = 0; i < ROOM; i++)
                expected[i] = page[i];
            for (size_t i = 0; i < size; i++)
                expected[(size_t)(to - page) + i] = from[i];
            assert(fast_memmove(to, from, size) == to);
            for (int i = 0; i < ROOM; i++)
                assert(page[i] == expected[i]);
        }
    }
}

static void check_search(unsigned char *page)
{
    memset(page, 'x', ROOM);
    for (size_t size = 0; size <= LONGEST; size++) {
        for (int low = 0; low < 2; low++) {
            unsigned char *bytes = low ? page : page + ROOM - size;

            assert(fast_memchr(bytes, '\n', size) == NULL);
            for (size_t i = 0; i < size; i++) {
                bytes[i] = '\n';
                assert(fast_memchr(bytes, '\n', size) == bytes + i);
                assert(fast_memchr(bytes, '\n' | 0x100, i + 1) == bytes + i);
                assert(fast_memchr(bytes, '\n', i) == NULL);
                assert(i == 0 || fast_memchr(bytes + 1, '\n', size - 1) == bytes + i);
                bytes[i] = 'x';
            }
        }
    }
    page[ROOM - 1] = '\n';
    assert(fast_memchr(page, '\n', SIZE_MAX) == page + ROOM - 1);
    page[ROOM - 1] = 'x';
}

int main(void)
{
    unsigned char *one = guarded_page();
    unsigned char *other = guarded_page();

    check_copy(one, other);
    check_move(one);
    check_search(one);
    return 0;
}

#else

int main(void)
{
    return 0;
}

#endif
