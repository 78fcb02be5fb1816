/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of one container: takes what was read from a stream and writes it to each of its targets, in the format of
 * the target's driver.
 *
 * Invariants: one timestamp for each call; the output of a call is written with one write(2) for each 64 KiB or
 * more, never one for each line; files hold nothing back, an unfinished line is logged as a partial record at once; a
 * record is whole or not there (a failed write is taken back to the last whole record). A call never fails the caller:
 * what can't be written is counted as dropped, and the first call that can write again puts a record of the gap
 * before its own.
 */
#ifndef REMORA_LOG_LOG_H
#define REMORA_LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "log/cri.h"
#include "util/msg.h"

enum {
    LOG_SINKS_MAX = 4,
    LOG_FILES_MAX = 1000, /* of one sink */
};

enum log_driver {
    LOG_NONE,
    LOG_K8S_FILE,
    LOG_JSON_FILE,
    LOG_JOURNALD,
    LOG_PASSTHROUGH, /* the container has the spawner's own streams: there is nothing to log */
};

/* What becomes of output that the log can't take at once. */
enum log_policy {
    LOG_BLOCK, /* the container waits */
    LOG_DROP, /* it is dropped, counted and told in a gap record */
    LOG_RATE, /* as drop, beyond so many bytes in a second */
};

enum log_stream {
    LOG_STDOUT,
    LOG_STDERR,
};

struct log_sink_options {
    enum log_driver driver;
    const char *path; /* of the file drivers */
    int64_t max_size; /* bytes of a file; 0 = no limit */
    unsigned max_files; /* with max_size: how many files, the live one counted; 0 and 1: the full one is given up */
    int64_t max_total; /* bytes since the start, after which nothing more is written; 0 = no limit. k8s-file only */
    mode_t mode; /* of new files; 0 = 0600 */
};

struct log_stream_options {
    enum log_policy policy;
    int64_t rate; /* bytes in a second, with LOG_RATE */
};

struct log_options {
    const char *id, *name, *tag; /* journald's fields; the tag is json-file's, too. NULL or "" = none */
    const char *const *labels; /* `KEY=VALUE` */
    size_t n_labels;
    struct log_sink_options sinks[LOG_SINKS_MAX];
    size_t n_sinks;
    struct log_stream_options streams[2];
    bool priority_prefix; /* journald: `<N>` at the beginning of a line is its priority */
    bool no_partial_marks; /* journald: entries that are parts of a line aren't marked as such */
    const char *journal; /* path of journald's socket; NULL = the system's */
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
 * Open all targets: files for appending, created when missing, O_NOFOLLOW. Borrows `options` for the log's life. 0 or
 * -errno (-EINVAL: neither a regular file nor a character device), then *what names the target. `log` may be
 * uninitialised.
 */
int log_open(struct log *log, const struct log_options *options, const char **what);
/*
 * Log `size` bytes read from a stream at one time (wall clock). `bytes` must outlive a killed worker until the call is
 * over, and lie at the same address for the next one.
 */
void log_write(struct log *log, enum log_stream stream, const struct timespec *time, const void *bytes, size_t size);
/* Output is missing that the log was never given. It is counted and told in a gap record. */
void log_gap(struct log *log, enum log_stream stream, uint64_t bytes, const char *cause);
/* A run is over: write what is held back, and the gap record that waits for the next output. */
void log_finish(struct log *log);
/* Go on in the file that is at the path now, or in a new one. 0 or -errno, and the old file stays in use. */
int log_reopen(struct log *log);
/* The process that used the log was killed, at any instruction: drop what was its own, and finish what it had begun. */
void log_resume(struct log *log);
/* Give back the scratch memory; the next write allocates it again. */
void log_idle(struct log *log);
/* fsync. 0 or -errno. */
int log_sync(struct log *log);
/* Safe after a log_open that failed, and twice. */
void log_deinit(struct log *log);

/* Payload bytes that the first target took, and the most that a target did not take. */
uint64_t log_written(const struct log *log);
uint64_t log_dropped(const struct log *log);
/* Put the key `log` with a map of all counters, see docs/architecture.md. */
void log_put_counters(const struct log *log, struct msg_out *out);
/*
 * For another version of the program: put the key `log` with a map of the whole state; descriptors keep their numbers.
 * log_load takes that map in place of log_open: 0, or -EBADMSG when it doesn't fit the options.
 */
void log_save(const struct log *log, struct msg_out *out);
int log_load(struct log *log, const msgpack_object *map, const struct log_options *options);

#endif
