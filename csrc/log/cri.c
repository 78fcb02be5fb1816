/* SPDX-License-Identifier: Apache-2.0 */
#include "log/cri.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    BLOCK = 64, /* bytes searched at a time */
    BLOCK_OUTPUT = BLOCK * (CRI_PREFIX + 1), /* what the records of a block of newlines take */
};

void cri_prefix_init(struct cri_prefix *prefix, struct log_clock *clock, const char stream[6],
                     const struct timespec *time)
{
    log_clock_set(clock, time->tv_sec, false);
    memset(prefix->text, ' ', sizeof(prefix->text));
    memcpy(prefix->text, clock->text, 19);
    prefix->text[19] = '.';
    log_digits(prefix->text + 20, (unsigned)time->tv_nsec, 9);
    memcpy(prefix->text + 29, clock->text + 19, 6);
    memcpy(prefix->text + 36, stream, 6);
    prefix->text[CRI_TAG] = 'F';
}

static char *put_prefix(char *to, const struct cri_prefix *prefix)
{
    memcpy(to, prefix->text, 48); /* three wide stores; what is too much is overwritten by the content */
    return to + CRI_PREFIX;
}

/* A record without its newline in the stream: `size` bytes of content, and the newline that belongs to the format. */
static char *put_partial(char *to, const struct cri_prefix *prefix, const char *from, size_t size)
{
    put_prefix(to, prefix);
    to[CRI_TAG] = 'P';
    memcpy(to + CRI_PREFIX, from, size);
    to[CRI_PREFIX + size] = '\n';
    return to + CRI_PREFIX + size + 1;
}

#ifdef __SSE2__
/* A bit for each newline of a block. */
static inline uint64_t newlines(const char *block)
{
    const __m128i newline = _mm_set1_epi8('\n');
    uint64_t mask = 0;

    for (int i = 0; i < 4; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i));

        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, newline)) << (16 * i);
    }
    return mask;
}

/*
 * Whole blocks, a block of read-ahead from the end. A line and its newline are adjacent in the stream as in the log, so
 * a record is the prefix and one copy. Returns the beginning of the first line that is not formatted.
 */
static const char *format_blocks(char **to, const char *limit, const struct cri_prefix *prefix, const char *from,
                                 const char *end, bool *open)
{
    const char *line = from;
    char *at = *to;

    for (const char *block = from; end - block >= 2 * BLOCK && at <= limit; block += BLOCK) {
        for (uint64_t mask = newlines(block); mask != 0; mask &= mask - 1) {
            const char *next = block + __builtin_ctzll(mask) + 1;
            size_t size = (size_t)(next - line);

            if (size > CRI_PIECE + 1) {
                at = put_partial(at, prefix, line, CRI_PIECE);
                line += CRI_PIECE;
                size -= CRI_PIECE;
            }
            at = put_prefix(at, prefix);
            if (size <= BLOCK / 2) {
                memcpy(at, line, BLOCK / 2);
            } else if (size <= BLOCK) {
                memcpy(at, line, BLOCK);
            } else {
                memcpy(at, line, size);
            }
            at += size;
            line = next;
            *open = false;
        }
        if (block + BLOCK - line > CRI_PIECE) {
            at = put_partial(at, prefix, line, CRI_PIECE);
            line += CRI_PIECE;
            *open = true;
        }
    }
    *to = at;
    return line;
}
#endif

const char *cri_record_end(const char *from, const char *end, bool *open)
{
    size_t left = (size_t)(end - from);
    const char *newline = memchr(from, '\n', left < CRI_PIECE + 1 ? left : CRI_PIECE + 1);

    *open = newline == NULL;
    return newline != NULL ? newline + 1 : left < CRI_PIECE ? end : from + CRI_PIECE;
}

const char *cri_format(char *to, size_t capacity, const struct cri_prefix *prefix, const char *from, const char *end,
                       size_t *size, bool *open)
{
    /* One step past the limit makes at most a block of records, a long line and a piece. */
    const char *limit = to + capacity - (CRI_PIECE + 2 * BLOCK + BLOCK_OUTPUT + 2 * (CRI_PREFIX + 1));
    char *at = to;

#ifdef __SSE2__
    from = format_blocks(&at, limit, prefix, from, end, open);
#endif
    while (from < end && at <= limit) {
        const char *next = cri_record_end(from, end, open);
        size_t length = (size_t)(next - from);

        if (*open) {
            at = put_partial(at, prefix, from, length);
        } else {
            at = put_prefix(at, prefix);
            memcpy(at, from, length);
            at += length;
        }
        from = next;
    }
    *size = (size_t)(at - to);
    return from;
}
