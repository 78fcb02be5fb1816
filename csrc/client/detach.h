/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detach keys: finds a sequence in what is typed. No I/O, no clock.
 *
 * What could be the beginning of the sequence is held back, and comes out when the next key shows that it was not, or
 * by detach_flush when the caller has waited long enough. Nothing is lost, nothing comes twice, order is kept.
 */
#ifndef REMORA_CLIENT_DETACH_H
#define REMORA_CLIENT_DETACH_H

#include <stdbool.h>
#include <stddef.h>

/* Longest sequence; what is longer is never found. */
#define DETACH_KEYS_MAX 64

struct detach {
    const unsigned char *keys; /* borrowed */
    size_t length; /* 0: off */
    size_t held; /* so many of the keys were typed in a row; they have not come out */
};

void detach_init(struct detach *detach, const unsigned char *keys, size_t length);

/*
 * Take `size` bytes. What is to be passed on goes to `out` (room for size + DETACH_KEYS_MAX), its size is returned.
 * *found: the sequence is complete; what was typed after it is dropped.
 */
size_t detach_feed(struct detach *detach, const unsigned char *in, size_t size, unsigned char *out, bool *found);

/* Give out what is held: its size. */
size_t detach_flush(struct detach *detach, unsigned char *out);

#endif
