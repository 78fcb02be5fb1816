/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where to begin and to end in the files of a log, without reading them through: bisection by time, and counting lines
 * from the end. Records are in order of time but for steps of the clock, which are looked for up to a minute and SLACK
 * bytes away.
 */
#ifndef REMORA_LOG_SEEK_H
#define REMORA_LOG_SEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/remora.h"
#include "log/parse.h"
#include "log/set.h"

/* Whether a record is within the bounds of the options. */
bool log_selected(const struct remora_log_options *options, int64_t time_ns);

/* The part of the log outside of which no record is wanted, from [*begin] up to the record at [*end]. 0 or -errno. */
int seek_times(const struct log_set *set, const struct remora_log_options *options, off_t *begin, off_t *end);

/*
 * The beginning of the last options->tail lines in [begin, end): starts[] gets the offset of the first record of each
 * stream. Unfinished lines at the end count; partial records far before the rest of their line are not looked for. 0 or
 * -errno.
 */
int seek_tail(const struct log_set *set, off_t begin, off_t end, const struct remora_log_options *options,
              off_t starts[2]);

/* Counting lines over records that come last one first. */
struct tail {
    int64_t wanted;
    int64_t lines;
    bool later[2]; /* a wanted record of the stream was met */
    bool closed[2]; /* the stream's wanted lines are complete */
    int64_t passed; /* bytes met since there were enough lines */
};

/* Whether a record belongs to the wanted lines. */
bool tail_take(struct tail *tail, int stream, bool partial);
/* So many bytes were passed. */
void tail_pass(struct tail *tail, size_t size);
/* Whether no further record can belong to them, or one is not to be waited for. */
bool tail_done(const struct tail *tail);

#endif
