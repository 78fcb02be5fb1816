/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CRI log format (Kubernetes CRI logging; the engines' name for it is k8s-file), writing side:
 *
 *     TIMESTAMP SP STREAM SP TAG SP CONTENT LF
 *
 * with a timestamp of nine digits and a numeric zone, so that what stands before CONTENT always has CRI_PREFIX bytes.
 * TAG is F where CONTENT ended in a newline and P where more of the line follows. All functions are pure.
 */
#ifndef REMORA_LOG_CRI_H
#define REMORA_LOG_CRI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "log/clock.h"

enum {
    CRI_PREFIX = 45, /* bytes before CONTENT */
    CRI_TAG = 43, /* offset of the tag */
    CRI_PIECE = 16384, /* longer lines are cut into partial records of this size, as readers with line limits expect */
    CRI_MARGIN = 2 * CRI_PIECE + 4096, /* room that cri_format needs to make progress */
};

/* What stands before each record of one call; padded, for it is copied in wide pieces. */
struct cri_prefix {
    char text[64];
};

void cri_prefix_init(struct cri_prefix *prefix, struct log_clock *clock, const char stream[6],
                     const struct timespec *time);

/*
 * Where the record that begins at `from` ends: behind its newline, or after a piece of the line, or at `end`. Records
 * depend on nothing else, so that formatting can be taken up again after any of them.
 */
const char *cri_record_end(const char *from, const char *end, bool *open);

/*
 * Format [from, end) into `to`, which has `capacity` (at least CRI_MARGIN) bytes. Returns where it stopped: `end`, or
 * earlier at a place between two records when the buffer is full. *size is the number of bytes made; *open becomes true
 * when the last record is a partial one, false when it is a full one.
 */
const char *cri_format(char *to, size_t capacity, const struct cri_prefix *prefix, const char *from, const char *end,
                       size_t *size, bool *open);

#endif
