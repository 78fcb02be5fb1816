/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memcpy, memmove and memchr for the monitor that is linked with musl, in place of musl's own.
 *
 * musl's copies begin with `rep movs`, whose start costs more than the whole copy of a log line of 80 bytes: the
 * formatting of such lines took ten times the processor time that it takes with glibc. These use 16-byte registers,
 * which every x86-64 processor has, and overlapping ends instead of a loop over the last bytes. Compiled with
 * -fno-builtin, so that no loop here becomes a call of itself; linked only where musl is and SSE2 exists.
 */
#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

#ifndef STRING_SSE2_TEST
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memchr(const void *bytes, int wanted, size_t size);
#endif

enum {
    WORD = 16,
    STEP = 64,
};

static inline __m128i load(const char *from)
{
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}

static inline void store(char *to, __m128i word)
{
    _mm_storeu_si128((__m128i *)(void *)to, word);
}

/* Both ends in registers before the first store: right for any overlap. At most 32 bytes. */
static inline void move_small(char *to, const char *from, size_t size)
{
    if (size >= 16) {
        __m128i head = load(from), tail = load(from + size - 16);

        store(to, head);
        store(to + size - 16, tail);
    } else if (size >= 8) {
        uint64_t head, tail;

        __builtin_memcpy(&head, from, 8);
        __builtin_memcpy(&tail, from + size - 8, 8);
        __builtin_memcpy(to, &head, 8);
        __builtin_memcpy(to + size - 8, &tail, 8);
    } else if (size >= 4) {
        uint32_t head, tail;

        __builtin_memcpy(&head, from, 4);
        __builtin_memcpy(&tail, from + size - 4, 4);
        __builtin_memcpy(to, &head, 4);
        __builtin_memcpy(to + size - 4, &tail, 4);
    } else if (size > 0) {
        char first = from[0], middle = from[size / 2], last = from[size - 1];

        to[0] = first;
        to[size / 2] = middle;
        to[size - 1] = last;
    }
}

/* Upwards: right when `to` lies below `from`, or they don't overlap. More than 32 bytes. */
static inline void move_up(char *to, const char *from, size_t size)
{
    __m128i tail = load(from + size - WORD);
    char *end = to + size - WORD;

    for (; size > STEP; size -= STEP, to += STEP, from += STEP) {
        __m128i a = load(from), b = load(from + 16), c = load(from + 32), d = load(from + 48);

        store(to, a);
        store(to + 16, b);
        store(to + 32, c);
        store(to + 48, d);
    }
    for (; to < end; to += WORD, from += WORD)
        store(to, load(from));
    store(end, tail);
}

/* Downwards: right when `to` lies above `from`. More than 32 bytes. */
static inline void move_down(char *to, const char *from, size_t size)
{
    __m128i head = load(from);

    for (; size > STEP; size -= STEP) {
        const char *at = from + size;
        __m128i a = load(at - 16), b = load(at - 32), c = load(at - 48), d = load(at - 64);

        store(to + size - 16, a);
        store(to + size - 32, b);
        store(to + size - 48, c);
        store(to + size - 64, d);
    }
    for (; size > WORD; size -= WORD)
        store(to + size - WORD, load(from + size - WORD));
    store(to, head);
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    if (size <= 2 * WORD)
        move_small(to, from, size);
    else
        move_up(to, from, size);
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    if (size <= 2 * WORD)
        move_small(to, from, size);
    else if ((uintptr_t)to - (uintptr_t)from >= size) /* also where `to` is the lower one */
        move_up(to, from, size);
    else
        move_down(to, from, size);
    return to;
}

void *memchr(const void *bytes, int wanted, size_t size)
{
    const __m128i pattern = _mm_set1_epi8((char)wanted);
    /* Aligned words lie within a page, so what is read before and after the bytes does no harm. */
    const char *word = (const char *)((uintptr_t)bytes & ~(uintptr_t)(WORD - 1));
    const char *end = (const char *)bytes + size;
    unsigned mask;

    if (size == 0)
        return NULL;
    if ((uintptr_t)bytes > UINTPTR_MAX - size)
        end = (const char *)(UINTPTR_MAX & ~(uintptr_t)(WORD - 1)); /* SIZE_MAX: as far as it takes */
    mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(*(const __m128i *)(const void *)word, pattern));
    mask &= ~0U << ((uintptr_t)bytes & (WORD - 1));
    while (mask == 0) {
        word += WORD;
        if (word >= end)
            return NULL;
        mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(*(const __m128i *)(const void *)word, pattern));
    }
    word += __builtin_ctz(mask);
    return word < end ? (void *)(uintptr_t)word : NULL;
}
