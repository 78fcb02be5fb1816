/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of one container: takes what was read from a stream and writes it in the driver's format.
 *
 * Invariants: one timestamp for each call; the output of a call is written with one write(2) for each 64 KiB or
 * more, never one for each line; a record is whole or not there (a failed write is taken back to the last whole
 * record). A call never fails the caller: what can't be written is counted in `dropped`.
 */
#ifndef REMORA_LOG_LOG_H
#define REMORA_LOG_LOG_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum log_driver {
    LOG_NONE,
    LOG_K8S_FILE,
};

enum log_stream {
    LOG_STDOUT,
    LOG_STDERR,
};

struct log {
    enum log_driver driver;
    int fd; /* owned; -1 for none */
    int64_t size; /* bytes in the file */
    uint64_t written; /* payload bytes logged since open */
    uint64_t dropped; /* payload bytes that could not be written */
    int last_error; /* errno of the last failed write, 0 after a good one */
    char *scratch; /* formatted output; allocated at the first write, given back by log_idle */
    size_t scratch_size;
};

/* Open (append, create 0600, O_NOFOLLOW). 0 or -errno. `log` may be zeroed memory. */
int log_open(struct log *log, enum log_driver driver, const char *path);
/* Log `size` bytes read from a stream at one time (wall clock). */
void log_write(struct log *log, enum log_stream stream, const struct timespec *time, const void *bytes, size_t size);
/* Give back the scratch memory; the next write allocates it again. */
void log_idle(struct log *log);
/* fsync. 0 or -errno. */
int log_sync(struct log *log);
void log_deinit(struct log *log);

#endif
