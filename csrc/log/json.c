/* SPDX-License-Identifier: Apache-2.0 */
#include "log/json.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    BLOCK = 64, /* bytes searched at a time */
    WIDE_TAIL = 96, /* a tail without attributes is copied whole, with what stands behind it */
};

static const char HEAD[8] = "{\"log\":\"";

/* ---- characters ---- */

/* A byte that can't be copied as it is; of others than ASCII it depends on their neighbours. */
static bool is_special(unsigned char byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\' || byte == '<' || byte == '>' || byte == '&' || byte >= 0x80;
}

/* Bytes of the character at `from`, which is not ASCII: -1 when it is none, 0 when it may become one with more bytes.
 */
static int character(const unsigned char *from, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    int size = from[0] >= 0xf0 ? 4 : from[0] >= 0xe0 ? 3 : 2;

    if (from[0] < 0xc2 || from[0] > 0xf4)
        return -1;
    /* Neither longer than needed, nor a surrogate, nor beyond U+10FFFF. */
    if (from[0] == 0xe0)
        low = 0xa0;
    else if (from[0] == 0xed)
        high = 0x9f;
    else if (from[0] == 0xf0)
        low = 0x90;
    else if (from[0] == 0xf4)
        high = 0x8f;
    for (int i = 1; i < size; i++, low = 0x80, high = 0xbf) {
        if ((size_t)i == left)
            return 0;
        if (from[i] < low || from[i] > high)
            return -1;
    }
    return size;
}

size_t json_incomplete(const char *from, const char *end)
{
    for (size_t n = 1; n <= JSON_HELD && (size_t)(end - from) >= n; n++) {
        const unsigned char *at = (const unsigned char *)end - n;

        if (*at >= 0xc0)
            return character(at, n) == 0 ? n : 0;
        if (*at < 0x80)
            return 0;
    }
    return 0;
}

static char *put(char *to, const char *text, size_t size)
{
    memcpy(to, text, size);
    return to + size;
}

/* Escape the character at *from, which is special, and pass it. */
static char *escape_one(char *to, const char **from, const char *end)
{
    static const char hex[16] = "0123456789abcdef";
    const unsigned char *at = (const unsigned char *)*from;
    int size;

    if (*at < 0x80) {
        ++*from;
        switch (*at) {
        case '\n':
            return put(to, "\\n", 2);
        case '\r':
            return put(to, "\\r", 2);
        case '"':
            return put(to, "\\\"", 2);
        case '\\':
            return put(to, "\\\\", 2);
        default:
            to = put(to, "\\u00", 4);
            *to++ = hex[*at >> 4];
            *to++ = hex[*at & 15];
            return to;
        }
    }
    size = character(at, (size_t)(end - *from));
    if (size <= 0) {
        ++*from;
        return put(to, "\\ufffd", 6);
    }
    *from += size;
    if (size == 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
        return put(to, at[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
    return put(to, (const char *)at, (size_t)size);
}

#ifdef __SSE2__
/* A bit for each byte of sixteen that is special; a newline is, too. */
static inline unsigned specials16(__m128i bytes)
{
    __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)); /* signed: from 0x80 on as well */
    __m128i quote = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    __m128i angle = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(2)), _mm_set1_epi8('>')); /* < and > */
    __m128i other = _mm_or_si128(angle, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('&')));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, quote), other));
}
#endif

static char *escape(char *to, const char *from, const char *end)
{
    while (from < end) {
#ifdef __SSE2__
        if (end - from >= 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)from);
            unsigned mask = specials16(bytes);
            int plain = mask == 0 ? 16 : __builtin_ctz(mask);

            _mm_storeu_si128((__m128i *)(void *)to, bytes);
            to += plain;
            from += plain;
            if (mask == 0)
                continue;
        }
#endif
        if (is_special((unsigned char)*from))
            to = escape_one(to, &from, end);
        else
            *to++ = *from++;
    }
    return to;
}

/* ---- what doesn't change within a call ---- */

long json_attributes(char *to, size_t capacity, const char *tag, const char *const *labels, size_t n_labels)
{
    char *at = to, *end = to + capacity;
    bool tagged = tag != NULL && tag[0] != '\0';

    if (!tagged && n_labels == 0)
        return 0;
    for (size_t i = 0; i < n_labels + tagged; i++) {
        const char *label = i < n_labels ? labels[i] : NULL;
        const char *key = label != NULL ? label : "tag";
        const char *key_end = label != NULL ? strchrnul(label, '=') : key + 3;
        const char *value = label == NULL ? tag : *key_end == '=' ? key_end + 1 : key_end;
        size_t length = (size_t)(key_end - key) + strlen(value);

        /* Sixteen bytes are more than the marks around it; escape() writes as much behind its end. */
        if ((size_t)(end - at) < 6 * length + 64)
            return -1;
        at = put(at, i == 0 ? "\"attrs\":{\"" : ",\"", i == 0 ? 10 : 2);
        at = put(escape(at, key, key_end), "\":\"", 3);
        at = put(escape(at, value, value + strlen(value)), "\"", 1);
    }
    return put(at, "},", 2) - to;
}

void json_tail_init(struct json_tail *tail, struct log_clock *clock, const char stream[6], const char *attributes,
                    size_t attributes_size, const struct timespec *time)
{
    char *at = tail->text;

    log_clock_set(clock, time->tv_sec, true);
    at = put(at, "\\n\",\"stream\":\"", 14);
    at = put(at, stream, 6);
    at = put(at, "\",", 2);
    at = put(at, attributes, attributes_size);
    at = put(at, "\"time\":\"", 8);
    at = put(at, clock->text, 19);
    if (time->tv_nsec != 0) {
        *at = '.';
        log_digits(at + 1, (unsigned)time->tv_nsec, 9);
        for (at += 10; at[-1] == '0';)
            at--;
    }
    at = put(at, "Z\"}\n", 4);
    tail->size = (size_t)(at - tail->text);
}

/* ---- records ---- */

static inline char *put_head(char *to)
{
    memcpy(to, HEAD, sizeof(HEAD));
    return to + sizeof(HEAD);
}

/* `to` has room for WIDE_TAIL bytes at least. */
static inline char *put_tail(char *to, const struct json_tail *tail, bool open)
{
    size_t skipped = open ? 2 : 0;

    if (tail->size <= WIDE_TAIL)
        memcpy(to, tail->text + skipped, WIDE_TAIL);
    else
        memcpy(to, tail->text + skipped, tail->size - skipped);
    return to + tail->size - skipped;
}

char *json_record(char *to, const struct json_tail *tail, const char *text, size_t size, bool open)
{
    return put_tail(escape(put_head(to), text, text + size), tail, open);
}

const char *json_record_end(const char *from, const char *end, bool *open)
{
    size_t left = (size_t)(end - from);
    const char *newline = memchr(from, '\n', left < JSON_PIECE + 1 ? left : JSON_PIECE + 1);

    *open = newline == NULL;
    if (newline != NULL)
        return newline + 1;
    if (left <= JSON_PIECE)
        return end;
    return from + JSON_PIECE - json_incomplete(from, from + JSON_PIECE);
}

/*
 * The record from `from` to `next`, behind what is held. Returns its end: `to` when everything is held. `last`: nothing
 * follows in this call.
 */
static char *put_record(char *to, const struct json_tail *tail, char held[JSON_HELD], size_t *n_held, const char *from,
                        const char *next, bool open, bool last)
{
    char *at = put_head(to);
    const char *stop = open ? next : next - 1;
    bool any = !open;

    if (*n_held > 0) {
        char joined[JSON_HELD + 3];
        size_t had = *n_held, more = (size_t)(stop - from) < 3 ? (size_t)(stop - from) : 3;
        int size;

        memcpy(joined, held, had);
        memcpy(joined + had, from, more);
        size = character((const unsigned char *)joined, had + more);
        if (size == 0 && open && last) { /* then there are no three bytes more */
            memcpy(held, joined, had + more);
            *n_held = had + more;
            return to;
        }
        any = true;
        *n_held = 0;
        at = escape(at, joined, joined + (size > 0 ? (size_t)size : had));
        if (size > 0)
            from += (size_t)size - had;
    }
    if (open && last) {
        size_t n = json_incomplete(from, stop);

        stop -= n;
        memcpy(held, stop, n);
        *n_held = n;
    }
    at = escape(at, from, stop);
    return any || stop > from ? put_tail(at, tail, open) : to;
}

#ifdef __SSE2__
static inline void search(const char *block, uint64_t *newlines, uint64_t *specials)
{
    *newlines = *specials = 0;
    for (int i = 0; i < 4; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i));

        *newlines |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'))) << (16 * i);
        *specials |= (uint64_t)specials16(bytes) << (16 * i);
    }
    *specials &= ~*newlines;
}

/* Whole lines of whole blocks, a block of read-ahead from the end. Returns the beginning of the first line that is not
 * formatted. */
static const char *format_blocks(char **to, const char *limit, const struct json_tail *tail, const char *from,
                                 const char *end)
{
    const char *line = from;
    char *at = *to;
    bool plain = true; /* the line, up to this block */

    for (const char *block = from; end - block >= 2 * BLOCK && block - line <= JSON_PIECE - BLOCK; block += BLOCK) {
        uint64_t newlines, specials;

        for (search(block, &newlines, &specials); newlines != 0; newlines &= newlines - 1) {
            uint64_t up_to = newlines ^ (newlines - 1); /* the bits up to the newline */
            const char *next = block + __builtin_ctzll(newlines) + 1;
            size_t size = (size_t)(next - 1 - line);

            if (at > limit) {
                *to = at;
                return line;
            }
            at = put_head(at);
            if (!plain || (specials & up_to) != 0) {
                at = escape(at, line, next - 1);
            } else if (size <= BLOCK / 2) {
                memcpy(at, line, BLOCK / 2);
                at += size;
            } else if (size <= BLOCK) {
                memcpy(at, line, BLOCK);
                at += size;
            } else {
                memcpy(at, line, size);
                at += size;
            }
            at = put_tail(at, tail, false);
            specials &= ~up_to;
            plain = true;
            line = next;
        }
        plain = plain && specials == 0;
    }
    *to = at;
    return line;
}
#endif

const char *json_format(char *to, size_t capacity, const struct json_tail *tail, char held[JSON_HELD], size_t *n_held,
                        const char *from, const char *end, size_t *size, bool *open)
{
    const char *limit = to + capacity - JSON_MARGIN;
    char *at = to;

    while (from < end && at <= limit) {
        const char *next;
        char *before;
        bool partial;

#ifdef __SSE2__
        if (*n_held == 0) {
            before = at;
            from = format_blocks(&at, limit, tail, from, end);
            if (at > before)
                *open = false;
            if (from == end || at > limit)
                break;
        }
#endif
        next = json_record_end(from, end, &partial);
        before = at;
        at = put_record(at, tail, held, n_held, from, next, partial, next == end);
        if (at > before)
            *open = partial;
        from = next;
    }
    *size = (size_t)(at - to);
    return from;
}
