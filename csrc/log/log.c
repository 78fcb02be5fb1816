/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/fd.h"
#include "util/msg.h"

/* 64 KiB of lines of 16 bytes become 244 KiB: one write. More would fall out of the second-level cache. */
#define SCRATCH_SIZE ((size_t)288 * 1024)

enum {
    NOTE_MAX = 256, /* text of a record of our own */
};

static const char STREAMS[2][7] = {[LOG_STDOUT] = "stdout", [LOG_STDERR] = "stderr"};

static int open_file(struct log *log, const char *path)
{
    CLEANUP_FD int fd = -1;
    struct stat status;
    char last = '\n';

    /* O_NONBLOCK: only so that opening a fifo can't wait; it does nothing to the files that pass below. */
    fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
        return -EINVAL;
    if (S_ISREG(status.st_mode)) {
        log->size = status.st_size;
        log->torn = status.st_size > 0 && pread(fd, &last, 1, status.st_size - 1) == 1 && last != '\n';
    }
    log->fd = fd_take(&fd);
    return 0;
}

static void log_limit(struct log *log, const char *path, int64_t bytes)
{
    struct stat status;

    /* A device is never replaced by a file. */
    log->path = path;
    log->limit = bytes > 0 && log->fd >= 0 && fstat(log->fd, &status) == 0 && S_ISREG(status.st_mode) ? bytes : 0;
}

int log_open(struct log *log, const struct log_options *options, const char **what)
{
    *log = (struct log){.fd = -1};
    for (size_t i = 0; i < options->n_sinks; i++) {
        const struct log_sink_options *sink = &options->sinks[i];
        int r;

        if (sink->driver == LOG_NONE || sink->driver == LOG_PASSTHROUGH)
            continue;
        *what = sink->path;
        if (sink->driver != LOG_K8S_FILE || log->fd >= 0)
            return -EOPNOTSUPP;
        log->driver = sink->driver;
        r = open_file(log, sink->path);
        if (r < 0)
            return r;
        log_limit(log, sink->path, sink->max_size);
    }
    return 0;
}

/*
 * Write formatted records. Returns the bytes of whole records that are in the file now, and sets last_error when that
 * isn't all. When nothing behind the first `floor` bytes got in, they are taken back, too. No content has a newline in
 * it, so whatever ends in one is whole.
 */
static size_t append(struct log *log, const char *bytes, size_t size, size_t floor)
{
    size_t done = 0;
    size_t whole = size;
    bool left; /* a record that is cut off and could not be taken back */
    struct stat status;

    while (done < size) {
        ssize_t n = write(log->fd, bytes + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            const char *newline = memrchr(bytes, '\n', done);

            log->last_error = n < 0 ? errno : ENOSPC;
            whole = newline != NULL ? (size_t)(newline + 1 - bytes) : 0;
            if (whole <= floor)
                whole = 0;
            break;
        }
        done += (size_t)n;
    }
    if (done == size)
        log->last_error = 0;
    /* Counted from the file's end, for somebody else may have truncated it. */
    left = done > whole && (fstat(log->fd, &status) < 0 || status.st_size < (off_t)(done - whole) ||
                            ftruncate(log->fd, status.st_size - (off_t)(done - whole)) < 0);
    if (whole > 0 || left)
        log->torn = left;
    log->size += (int64_t)whole;
    return whole;
}

/* Begin an empty file in the full one's place. When that fails, the full one goes on growing: rather that than a loss.
 */
static bool rotate(struct log *log)
{
    CLEANUP_FD int fd = -1;
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s.new", log->path);

    if (length < 0 || (size_t)length >= sizeof(path))
        return false;
    unlink(path);
    fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    if (rename(path, log->path) < 0) {
        unlink(path);
        return false;
    }
    fd_close(&log->fd);
    log->fd = fd_take(&fd);
    log->size = 0;
    log->torn = false;
    return true;
}

/* How many bytes of the records still belong into the file: whole records below the limit, but at least one. */
static size_t fitting(struct log *log, const char *records, size_t size)
{
    size_t room = log->size < log->limit ? (size_t)(log->limit - log->size) : 0;
    const char *newline = room > 0 ? memrchr(records, '\n', size < room ? size : room) : NULL;

    if (newline == NULL && log->size > 0 && rotate(log))
        return fitting(log, records, size);
    if (newline == NULL)
        newline = memchr(records, '\n', size);
    return (size_t)(newline + 1 - records);
}

/* As append, divided over files where there is a limit. */
static size_t append_limited(struct log *log, const char *bytes, size_t size, size_t floor)
{
    size_t done = 0;

    if (log->limit == 0)
        return append(log, bytes, size, floor);
    while (done < size) {
        size_t part = fitting(log, bytes + done, size - done);
        size_t whole;

        /* What is needed before the first record is not told apart from it. */
        if (done == 0 && part <= floor) {
            const char *newline = memchr(bytes + floor, '\n', size - floor);

            part = (size_t)(newline + 1 - bytes);
        }
        whole = append(log, bytes + done, part, done == 0 ? floor : 0);
        done += whole;
        if (whole < part)
            break;
    }
    return done;
}

/* The stream's bytes in formatted records of one stream: a full record's newline is one of them, a partial one's is
 * not. */
static size_t payload_of(const char *records, size_t size, bool *open)
{
    const char *end = records + size;
    size_t payload = 0;

    while (records < end) {
        const char *newline = memchr(records, '\n', (size_t)(end - records));

        *open = records[CRI_TAG] == 'P';
        payload += (size_t)(newline + 1 - records) - CRI_PREFIX - (*open ? 1 : 0);
        records = newline + 1;
    }
    return payload;
}

static void drop(struct log *log, enum log_stream stream, size_t size)
{
    log->dropped += size;
    log->gap[stream] += size;
    log->gap_error = log->last_error;
}

/* A record of stderr's or stdout's own making. Returns its size. */
static size_t put_note(struct log *log, char *to, enum log_stream stream, const struct timespec *time, const char *note)
{
    struct cri_prefix prefix;

    cri_prefix_init(&prefix, &log->clock, STREAMS[stream], time);
    memcpy(to, prefix.text, CRI_PREFIX);
    return CRI_PREFIX + (size_t)snprintf(to + CRI_PREFIX, NOTE_MAX, "%s\n", note);
}

/*
 * What has to stand in the file before the next record: the end of a torn record, the ends of lines that lost bytes, a
 * record that tells of the loss. Returns its size, mostly 0.
 */
static size_t put_prelude(struct log *log, char *to, const struct timespec *time)
{
    uint64_t lost = log->gap[LOG_STDOUT] + log->gap[LOG_STDERR];
    char note[NOTE_MAX];
    size_t size = 0;

    if (log->torn)
        to[size++] = '\n';
    if (lost == 0)
        return size;
    if (log->open_line[LOG_STDOUT] && log->gap[LOG_STDOUT] > 0)
        size += put_note(log, to + size, LOG_STDOUT, time, "");
    /* The record of the gap is one of stderr's, and must be a line of its own. */
    if (log->open_line[LOG_STDERR])
        size += put_note(log, to + size, LOG_STDERR, time, "");
    snprintf(note, sizeof(note) - 1, "remora: %llu bytes of output were not logged: %s", (unsigned long long)lost,
             strerror(log->gap_error));
    return size + put_note(log, to + size, LOG_STDERR, time, note);
}

/* The prelude is in the file. */
static void prelude_done(struct log *log)
{
    if (log->gap[LOG_STDOUT] + log->gap[LOG_STDERR] == 0)
        return;
    if (log->gap[LOG_STDOUT] > 0)
        log->open_line[LOG_STDOUT] = false;
    log->open_line[LOG_STDERR] = false;
    log->gap[LOG_STDOUT] = log->gap[LOG_STDERR] = 0;
}

static bool have_scratch(struct log *log)
{
    void *memory;

    if (log->scratch != NULL)
        return true;
    /* A mapping rather than malloc: what is given back really goes. */
    memory = mmap(NULL, SCRATCH_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        log->last_error = errno;
        return false;
    }
    log->scratch = memory;
    log->scratch_size = SCRATCH_SIZE;
    return true;
}

void log_write(struct log *log, enum log_stream stream, const struct timespec *time, const void *bytes, size_t size)
{
    const char *from = bytes;
    const char *end = from + size;
    struct cri_prefix prefix;

    if (log->fd < 0 || size == 0)
        return;
    if (!have_scratch(log)) {
        drop(log, stream, size);
        return;
    }
    cri_prefix_init(&prefix, &log->clock, STREAMS[stream], time);
    while (from < end) {
        size_t prelude = put_prelude(log, log->scratch, time);
        char *records = log->scratch + prelude;
        bool open = false;
        size_t formatted, whole;
        const char *next = cri_format(records, log->scratch_size - prelude, &prefix, from, end, &formatted, &open);

        whole = append_limited(log, log->scratch, prelude + formatted, prelude);
        if (whole > 0)
            prelude_done(log);
        if (whole < prelude + formatted) {
            size_t payload = whole > 0 ? payload_of(records, whole - prelude, &log->open_line[stream]) : 0;

            log->written += payload;
            drop(log, stream, (size_t)(end - from) - payload);
            return;
        }
        log->open_line[stream] = open;
        log->written += (uint64_t)(next - from);
        from = next;
    }
}

void log_idle(struct log *log)
{
    if (log->scratch != NULL)
        munmap(log->scratch, log->scratch_size);
    log->scratch = NULL;
    log->scratch_size = 0;
}

int log_sync(struct log *log)
{
    if (log->fd < 0)
        return 0;
    return fsync(log->fd) < 0 ? -errno : 0;
}

void log_deinit(struct log *log)
{
    log_idle(log);
    fd_close(&log->fd);
}

void log_gap(struct log *log, enum log_stream stream, uint64_t bytes, const char *cause)
{
    (void)cause;
    log->last_error = EIO;
    drop(log, stream, bytes);
}

void log_finish(struct log *log)
{
    (void)log;
}

int log_reopen(struct log *log)
{
    (void)log;
    return -EOPNOTSUPP;
}

void log_resume(struct log *log)
{
    log->scratch = NULL;
}

uint64_t log_written(const struct log *log)
{
    return log->written;
}

uint64_t log_dropped(const struct log *log)
{
    return log->dropped;
}

void log_put_counters(const struct log *log, struct msg_out *out)
{
    (void)log;
    msg_put_key(out, "log");
    msgpack_pack_map(&out->packer, 0);
}

void log_save(const struct log *log, struct msg_out *out)
{
    (void)log;
    msg_put_key(out, "log");
    msgpack_pack_map(&out->packer, 0);
}

int log_load(struct log *log, const msgpack_object *map, const struct log_options *options)
{
    (void)log, (void)map, (void)options;
    return -EBADMSG;
}
