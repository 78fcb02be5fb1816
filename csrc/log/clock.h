/* SPDX-License-Identifier: Apache-2.0 */
/* A second as text, kept until it changes: one localtime_r a second. */
#ifndef REMORA_LOG_CLOCK_H
#define REMORA_LOG_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct log_clock {
    int64_t second;
    char text[26]; /* "2026-11-21T21:30:02" "+00:00", NUL; empty = nothing kept */
};

/* Have the text be of that second: in the local time zone, or in UTC. */
void log_clock_set(struct log_clock *clock, time_t second, bool utc);
/* `count` decimal digits. */
void log_digits(char *to, unsigned value, int count);

#endif
