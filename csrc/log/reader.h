/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of remora_log_print: reading a file record by record (read.c), printing records (output.c), going on while
 * the log grows (follow.c, watch.c).
 *
 * The model: a file is read in blocks from one offset on; each record goes to its stream, which joins partial records
 * to lines and has a sink. Both streams share one sink when their descriptors are the same file, so that the order of
 * lines is kept there. Memory is bounded whatever the file holds.
 */
#ifndef REMORA_LOG_READER_H
#define REMORA_LOG_READER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/remora.h"
#include "log/neutral.h"
#include "log/parse.h"
#include "log/seek.h"
#include "log/set.h"

/* ---- printing records (output.c) */

enum {
    SINK_SIZE = 65536,
    PENDING_MAX = 262144, /* bytes of an unfinished line that are held back to keep it whole */
};

struct log_sink {
    int fd; /* borrowed; -1 = nobody wants it */
    size_t size;
    char buffer[SINK_SIZE];
};

/* One stream of the container on its way to a sink. */
struct log_line {
    struct log_sink *sink;
    bool open; /* a line has begun */
    char *pending; /* its rendered beginning; PENDING_MAX bytes, allocated when first needed */
    size_t pending_size;
    struct neutral neutral;
};

struct log_output {
    const struct remora_log_options *options; /* borrowed */
    struct log_line lines[2]; /* by enum log_stream */
    struct log_sink sinks[2];
    sigset_t signals; /* of this thread before */
    bool sigpipe_pending;
    char scratch[NEUTRAL_GROWTH * (4096 + 4)];
};

/* Until output_deinit SIGPIPE is blocked in this thread; what was caused here is taken back then. */
void output_init(struct log_output *output, const struct remora_log_options *options);
void output_deinit(struct log_output *output);
/* Take one record; time filters are the caller's. 0, -EPIPE, -EINTR, -ENOMEM or another -errno. */
int output_record(struct log_output *output, const struct log_record *record);
/* Write out what is held back, for nothing more comes soon; with `end`, nothing more comes at all. As above. */
int output_flush(struct log_output *output, bool end);

/* ---- reading one file after the other (read.c) */

enum {
    READ_BLOCK = 262144, /* read at a time; a longer record is printed in pieces, or left out if it is of json-file */
    TIME_MAX = 64,
    MARK_SIZE = 1024,
};

struct log_reader {
    const struct remora_log_options *options; /* borrowed */
    struct log_output output;
    int fd; /* owned; the file that is read */
    off_t start; /* of the file in the set */
    off_t offset; /* of buffer[0] in the file */
    off_t limit; /* read no further; -1: to the end of the file */
    off_t starts[2]; /* in the set, by stream: what lies before is not printed */
    size_t size; /* bytes in the buffer: the beginning of a record */
    char mark[MARK_SIZE]; /* the bytes before `offset` */
    size_t mark_size;
    bool passed_until; /* no later record is wanted */
    /* A record longer than the buffer, of which the beginning is printed. */
    bool within;
    bool within_selected;
    struct log_record long_record;
    char long_time[TIME_MAX];
    char buffer[READ_BLOCK];
};

/* Read `fd` (taken) next, from `offset` on; the file begins at `start` in the set. */
void reader_begin(struct log_reader *reader, int fd, off_t start, off_t offset);
/* The file was emptied: from its beginning. */
void reader_restart(struct log_reader *reader);
/* Read and print to the end of the file as it is now, or to the limit. 0 or -errno. */
int reader_read(struct log_reader *reader);
/* The file goes on no further: a record that is cut off there ends its line if there is `more` in another file, and
 * else is printed as far as it goes. 0 or -errno. */
int reader_finish(struct log_reader *reader, bool more);

/* ---- following (follow.c, watch.c) */

/* Go on with the file, and those that come after it at the path, until the end that the options tell. 0 or -errno. */
int reader_follow(struct log_reader *reader, const char *path);

/* What is watched while following: the file, its folder, the container's lock. */
struct log_watch {
    int fd; /* owned; inotify, -1 = none: then looked at every 100 ms */
    int file, folder, lock; /* watch descriptors */
    char *folder_path; /* owned; NULL: no file is watched */
    char *lock_path; /* owned; NULL: no container to wait for */
    int settle; /* step of the re-checks after an event of the lock */
    bool recheck; /* more than new bytes in the file may have happened */
};

/* path: the log's, or NULL. 0 or -ENOMEM. */
int watch_init(struct log_watch *watch, const char *path, const char *run_dir);
void watch_deinit(struct log_watch *watch);
/* Watch the file `fd`, whatever its name, and what is at the other paths now. */
void watch_renew(struct log_watch *watch, int fd);
/*
 * Wait for an event, or for `in` (-1 = none) to be readable, or until_ns (wall clock), or the reader of out going away.
 * 0: look again, 1: the time is up, -EPIPE, -EINTR.
 */
int watch_wait(struct log_watch *watch, int in, int out, int64_t until_ns);

#endif
