/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of remora_log_print: finding where to begin (seek.c), printing records (output.c), waiting for more
 * (follow.c).
 *
 * The model: a file is read in blocks from one offset on; each record goes to its stream, which joins partial records
 * to lines and has a sink. Both streams share one sink when their descriptors are the same file, so that the order of
 * lines is kept there. Memory is bounded whatever the file holds.
 */
#ifndef REMORA_LOG_READER_H
#define REMORA_LOG_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/remora.h"
#include "log/neutral.h"
#include "log/parse.h"

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
    char scratch[NEUTRAL_GROWTH * (4096 + 4)];
};

void output_init(struct log_output *output, const struct remora_log_options *options);
void output_deinit(struct log_output *output);
/* Take one record; time filters are the caller's. 0, -EPIPE, -EINTR, -ENOMEM or another -errno. */
int output_record(struct log_output *output, const struct cri_record *record, const char *time);
/* Write out what is held back, for nothing more comes soon; with `end`, nothing more comes at all. As above. */
int output_flush(struct log_output *output, bool end);

/* Whether a record is within the bounds of the options. */
bool log_selected(const struct remora_log_options *options, int64_t time_ns);

/*
 * Where to begin in [0, size): a place before which no record is later than since_ns, found by bisection; records are
 * in order of time but for clock steps of up to a minute. An offset or -errno.
 */
off_t seek_since(int fd, off_t size, int64_t since_ns);
/*
 * The beginning of the last `tail` lines of [low, size): starts[] gets the offset of the first record of each stream.
 * Unfinished lines at the end count; partial records far before the rest of their line are not looked for. 0 or -errno.
 */
int seek_tail(int fd, off_t low, off_t size, const struct remora_log_options *options, off_t starts[2]);

/* What is watched while following: the file, its folder, the container's lock. */
struct log_watch {
    int fd; /* owned; inotify, -1 = none: then looked at every 100 ms */
    int file, folder, lock; /* watch descriptors */
    const char *path;
    char *folder_path, *lock_path; /* owned; lock_path NULL: no container to wait for */
    int settle; /* step of the re-checks after an event of the lock */
    bool recheck; /* more than new bytes in the file may have happened */
};

/* 0 or -ENOMEM. */
int watch_init(struct log_watch *watch, const char *path, const char *run_dir);
void watch_deinit(struct log_watch *watch);
/* Watch the files that are at the paths now. */
void watch_renew(struct log_watch *watch);
/*
 * Wait for an event, or until_ns (wall clock), or the reader of out going away. 0: look again, 1: the time is up,
 * -EPIPE, -EINTR.
 */
int watch_wait(struct log_watch *watch, int out, int64_t until_ns);

#endif
