/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of one container: takes what was read from a stream and writes it in the driver's format.
 *
 * Invariants: one timestamp for each call; the output of a call is written with one write(2) for each 64 KiB or
 * more, never one for each line; nothing is held back, an unfinished line is logged as a partial record at once; a
 * record is whole or not there (a failed write is taken back to the last whole record). A call never fails the caller:
 * what can't be written is counted in `dropped`, and the first call that can write again puts a record of the gap
 * before its own.
 */
#ifndef REMORA_LOG_LOG_H
#define REMORA_LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "log/cri.h"

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
    char *scratch; /* formatted output; mapped at the first write, given back by log_idle */
    size_t scratch_size;
    const char *path; /* borrowed; with a limit */
    int64_t limit; /* bytes of the file; 0 = none */
    /* of the log's own: */
    struct cri_clock clock;
    uint64_t gap[2]; /* payload bytes dropped since the last good write, by stream */
    int gap_error; /* why */
    bool open_line[2]; /* the stream's last record is a partial one */
    bool torn; /* the file does not end with a newline: a record of ours, or of a writer before us, is cut off */
};

/*
 * Open (append, create 0600, O_NOFOLLOW); what a writer before us left cut off is ended by a newline at the first
 * write. 0 or -errno (-EINVAL: neither a regular file nor a character device). `log` may be uninitialised.
 */
int log_open(struct log *log, enum log_driver driver, const char *path);
/*
 * Keep the file below `bytes` (0 = no limit): before a record that would not fit, a new and empty file takes the place
 * of the full one by rename, as conmon does. A record is never cut; one that is larger than the limit has a file of its
 * own. Borrows `path`, the one of log_open, for the log's life.
 */
void log_limit(struct log *log, const char *path, int64_t bytes);
/* Log `size` bytes read from a stream at one time (wall clock). */
void log_write(struct log *log, enum log_stream stream, const struct timespec *time, const void *bytes, size_t size);
/* Give back the scratch memory; the next write allocates it again. */
void log_idle(struct log *log);
/* fsync. 0 or -errno. */
int log_sync(struct log *log);
/* Safe after a log_open that failed, and twice. */
void log_deinit(struct log *log);

#endif
