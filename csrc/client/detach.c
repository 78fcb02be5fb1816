/* SPDX-License-Identifier: Apache-2.0 */
#include "client/detach.h"

#include <string.h>

void detach_init(struct detach *detach, const unsigned char *keys, size_t length)
{
    *detach = (struct detach){.keys = keys, .length = keys == NULL || length > DETACH_KEYS_MAX ? 0 : length};
}

/*
 * The next byte is not the expected one. Of the held keys so many come out that the rest is a beginning of the
 * sequence again, one that the byte may continue: with the keys "aab" and "aa" held, an "a" lets one "a" out.
 */
static size_t release(struct detach *detach, unsigned char next, unsigned char *out)
{
    size_t held = detach->held;

    for (size_t n = 1; n <= held; n++) {
        size_t rest = held - n;

        if (memcmp(detach->keys + n, detach->keys, rest) == 0 && detach->keys[rest] == next) {
            memcpy(out, detach->keys, n);
            detach->held = rest;
            return n;
        }
    }
    memcpy(out, detach->keys, held);
    detach->held = 0;
    return held;
}

size_t detach_feed(struct detach *detach, const unsigned char *in, size_t size, unsigned char *out, bool *found)
{
    size_t made = 0;
    size_t at = 0;

    *found = false;
    if (detach->length == 0) {
        memcpy(out, in, size);
        return size;
    }
    while (at < size) {
        if (detach->held == 0) {
            /* A paste goes through in one piece up to the next byte that may begin the sequence. */
            const unsigned char *first = memchr(in + at, detach->keys[0], size - at);
            size_t plain = first == NULL ? size - at : (size_t)(first - in) - at;

            memcpy(out + made, in + at, plain);
            made += plain;
            at += plain;
            if (at == size)
                break;
        } else if (in[at] != detach->keys[detach->held]) {
            made += release(detach, in[at], out + made);
            if (detach->held == 0)
                continue;
        }
        at++;
        if (++detach->held == detach->length) {
            detach->held = 0;
            *found = true;
            break;
        }
    }
    return made;
}

size_t detach_flush(struct detach *detach, unsigned char *out)
{
    size_t held = detach->held;

    if (held > 0) /* without any keys there is nothing to copy from */
        memcpy(out, detach->keys, held);
    detach->held = 0;
    return held;
}
