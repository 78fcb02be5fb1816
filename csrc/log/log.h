/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of one container: takes what was read from a stream and writes it to each of its targets, in the format of
 * the target's driver.
 *
 * Invariants: one timestamp for each call; the output of a call is written with one write(2) for each 64 KiB or
 * more, never one for each line; files hold nothing back (but for a character that is cut in two, in json-file), an
 * unfinished line is logged as a partial record at once; a record is whole or not there (a failed write is taken back
 * to the last whole record). A call never fails the caller: what can't be written is counted as dropped, and the first
 * call that can write again puts a record of the gap before its own.
 *
 * The struct lies in memory shared between a worker and its successors, and a worker may be killed at any instruction.
 * So what a target has done is kept twice (struct log_cursor), and a step is made by one store that says which copy
 * counts. The text of a call is a pure function of the cursor and the call, so that a successor makes it again, sees
 * from the file's size (or from what the kernel noted of a sent batch) how far it got, and goes on from there.
 */
#ifndef REMORA_LOG_LOG_H
#define REMORA_LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#include "log/clock.h"
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

enum {
    LOG_CAUSE_MAX = 80, /* text that says why output is missing */
    LOG_LINE_MAX = 32768, /* journald: bytes of a line that are sent as one entry */
    LOG_BATCH = 32, /* journald: entries sent by one system call */
};

/* What a target has done. */
struct log_cursor {
    uint64_t call; /* the call that `done` counts in */
    uint64_t done; /* bytes of the call that are dealt with */
    uint64_t batch; /* journald: batches sent */
    int64_t size, total; /* bytes in the live file; written since log_open */
    uint64_t device, inode; /* of the live file */
    uint64_t written[2], dropped[2]; /* payload bytes by stream */
    uint64_t gap[2]; /* of `dropped`: not yet told in a gap record */
    uint64_t gaps, rotations, failed_rotations;
    int last_error; /* errno of the last failed write, 0 after a good one */
    unsigned joined[2]; /* journald: bytes in log->joined */
    signed char priority[2]; /* journald: of the line that has begun; -1: the stream's own */
    unsigned char held_size[2]; /* json-file: the beginning of a character, */
    char held[2][3]; /* of which the rest has not come yet */
    bool open_line[2]; /* the stream's last record is a partial one */
    bool torn; /* the file does not end with a newline: a record of ours, or of a writer before us, is cut off */
    char cause[LOG_CAUSE_MAX]; /* of the gap */
};

struct log_target {
    enum log_driver driver;
    const struct log_sink_options *options; /* borrowed */
    int fd; /* owned: the file, the same number for life; or a socket */
    int next; /* owned: the file that takes its place, or the memory of a large entry */
    bool regular; /* else a device: neither rotated nor taken back */
    bool linked; /* of a rotation under way, */
    unsigned step; /* see rotate.c; 0 = none */
    bool stalled; /* the journal let us wait too long: wait no more until it takes something */
    int64_t closed_until; /* with LOG_DROP: no write before that time, monotonic */
    size_t already; /* after a kill: bytes of the next batch that are in the file */
    unsigned current; /* which cursor counts */
    struct log_cursor cursors[2];
};

struct log_bucket {
    int64_t tokens; /* bytes that may be logged now; negative: owed by a long line */
    int64_t at; /* monotonic time of that, 0 = never */
    bool skipping; /* the rest of a dropped line goes, too */
};

enum log_call_kind {
    LOG_CALL_WRITE,
    LOG_CALL_GAP, /* `begin` bytes are missing */
    LOG_CALL_FINISH,
};

struct log_call {
    uint64_t sequence; /* odd: a call is under way */
    enum log_call_kind kind;
    enum log_stream stream;
    struct timespec time;
    const char *bytes; /* borrowed */
    size_t size, begin, end; /* logged is [begin, end); the policy dropped the rest */
    char cause[LOG_CAUSE_MAX]; /* why */
};

/* One entry of a batch on its way to the journal: what is true once it is there. */
struct log_entry {
    uint64_t done;
    unsigned char kind; /* see journal.c */
    unsigned char stream;
    signed char priority;
};

struct log_journal {
    uint64_t batch; /* valid when it is the cursor's next one */
    unsigned n;
    struct log_entry entries[LOG_BATCH];
    struct mmsghdr headers[LOG_BATCH]; /* the kernel writes msg_len of each one that it took */
};

struct log {
    const struct log_options *options; /* borrowed */
    size_t n_targets;
    struct log_target targets[LOG_SINKS_MAX];
    struct log_call call;
    struct log_bucket buckets[2];
    struct log_clock local, utc;
    char *scratch; /* formatted output; mapped at the first write, given back by log_idle. Private to a process */
    /* For journald only, and untouched without it: */
    struct log_journal journal;
    char joined[2][LOG_LINE_MAX]; /* unfinished lines */
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
/* How many calls were begun: who notes it before log_write can tell after a kill whether the call is the log's by now.
 */
uint64_t log_calls(const struct log *log);
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
