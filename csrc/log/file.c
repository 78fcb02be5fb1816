/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file drivers: a call becomes batches of records, a batch is divided over files where they are limited, and each
 * part is written by one write(2) and then noted in the cursor. What a worker that was killed has left of a part in the
 * file is the beginning of the batch that its successor makes: `already` bytes of it, which aren't written again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/cri.h"
#include "log/target.h"
#include "util/fd.h"

/* What is the same in all batches of a call. */
struct format {
    bool json;
    struct cri_prefix prefix[2]; /* by stream */
    struct json_tail tail[2];
};

struct batch {
    char *text; /* in the scratch */
    size_t size;
    size_t prelude; /* of it: what tells of a gap, and is only written with a record behind it */
    size_t from, next; /* the call's bytes in it */
    bool open; /* ends in a partial record */
    bool any; /* has records of the call */
    char held[JSON_HELD]; /* json-file: at its end */
    size_t n_held;
};

int file_describe(struct log_cursor *cursor, int fd)
{
    struct stat status;
    char last = '\n';

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
        return -EINVAL;
    cursor->device = status.st_dev;
    cursor->inode = status.st_ino;
    cursor->size = S_ISREG(status.st_mode) ? status.st_size : 0;
    cursor->torn = cursor->size > 0 && pread(fd, &last, 1, cursor->size - 1) == 1 && last != '\n';
    return 0;
}

int file_open(struct log *log, struct log_target *target)
{
    const struct log_sink_options *options = target->options;
    mode_t mode = options->mode != 0 ? options->mode : 0600;
    CLEANUP_FD int fd = -1;
    struct stat status;
    int r;

    (void)log;
    /* O_NONBLOCK: only so that opening a fifo can't wait; it does nothing to the files that pass below. */
    fd = open(options->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, mode);
    if (fd < 0)
        return -errno;
    r = file_describe(&target->cursors[target->current], fd);
    if (r < 0)
        return r;
    target->regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    target->fd = fd_take(&fd);
    return 0;
}

/* ---- making a batch ---- */

static void format_init(struct format *format, struct log *log, const struct log_target *target)
{
    const struct log_options *options = log->options;
    char *attributes = log->scratch + SCRATCH_FORMAT;
    long size;

    format->json = target->driver == LOG_JSON_FILE;
    if (!format->json) {
        for (int i = 0; i < 2; i++)
            cri_prefix_init(&format->prefix[i], &log->local, log_stream_names[i], &log->call.time);
        return;
    }
    /* That it fits was seen at log_open. */
    size = json_attributes(attributes, JSON_ATTRS_MAX, options->tag, options->labels, options->n_labels);
    for (int i = 0; i < 2; i++)
        json_tail_init(&format->tail[i], &log->utc, log_stream_names[i], attributes, size > 0 ? (size_t)size : 0,
                       &log->call.time);
}

/* A record of our own. Returns its size. */
static size_t put_note(const struct format *format, char *to, enum log_stream stream, const char *text, size_t size)
{
    if (format->json)
        return (size_t)(json_record(to, &format->tail[stream], text, size, false) - to);
    memcpy(to, format->prefix[stream].text, CRI_PREFIX);
    memcpy(to + CRI_PREFIX, text, size);
    to[CRI_PREFIX + size] = '\n';
    return CRI_PREFIX + size + 1;
}

/* The ends of lines that lost bytes, and a record that tells of the loss. Returns the size. */
static size_t put_prelude(const struct log_cursor *cursor, const struct format *format, char *to)
{
    char text[NOTE_MAX];
    size_t size = 0;

    if (!cursor_has_gap(cursor))
        return 0;
    if (cursor->gap[LOG_STDOUT] > 0 && (cursor->open_line[LOG_STDOUT] || cursor->held_size[LOG_STDOUT] > 0))
        size += put_note(format, to, LOG_STDOUT, cursor->held[LOG_STDOUT], cursor->held_size[LOG_STDOUT]);
    /* The record of the gap is one of stderr's, and must be a line of its own. */
    if (cursor->open_line[LOG_STDERR] || (cursor->gap[LOG_STDERR] > 0 && cursor->held_size[LOG_STDERR] > 0))
        size += put_note(format, to + size, LOG_STDERR, cursor->held[LOG_STDERR],
                         cursor->gap[LOG_STDERR] > 0 ? cursor->held_size[LOG_STDERR] : 0);
    return size + put_note(format, to + size, LOG_STDERR, text, cursor_gap_text(cursor, text));
}

/* The prelude is in the file. */
static void prelude_done(struct log_cursor *cursor)
{
    if (!cursor_has_gap(cursor))
        return;
    for (int i = 0; i < 2; i++) {
        if (cursor->gap[i] > 0) {
            cursor->open_line[i] = false;
            cursor->held_size[i] = 0;
        }
        cursor->gap[i] = 0;
    }
    cursor->open_line[LOG_STDERR] = false;
    cursor->cause[0] = '\0';
    cursor->gaps++;
}

static void make_records(struct log *log, const struct log_cursor *cursor, const struct format *format,
                         struct batch *batch)
{
    const struct log_call *call = &log->call;
    const char *from = call->bytes + cursor->done, *end = call->bytes + call->end, *next;
    char *to = batch->text + batch->prelude;
    size_t capacity = SCRATCH_FORMAT - batch->prelude, size;

    if (format->json) {
        /* A gap in the middle of a character: its beginning is told with the gap. */
        batch->n_held = cursor->gap[call->stream] > 0 ? 0 : cursor->held_size[call->stream];
        memcpy(batch->held, cursor->held[call->stream], sizeof(batch->held));
        next = json_format(to, capacity, &format->tail[call->stream], batch->held, &batch->n_held, from, end, &size,
                           &batch->open);
    } else {
        next = cri_format(to, capacity, &format->prefix[call->stream], from, end, &size, &batch->open);
    }
    batch->next = (size_t)(next - call->bytes);
    batch->size += size;
    batch->any = size > 0;
}

/* At the end of a run: characters that never became whole. */
static void make_last_words(const struct log_cursor *cursor, const struct format *format, struct batch *batch)
{
    for (int i = 0; i < 2; i++)
        if (format->json && cursor->held_size[i] > 0 && cursor->gap[i] == 0)
            batch->size += (size_t)(json_record(batch->text + batch->size, &format->tail[i], cursor->held[i],
                                                cursor->held_size[i], true) -
                                    (batch->text + batch->size));
    batch->next = 1;
}

static void make_batch(struct log *log, const struct log_target *target, const struct format *format,
                       struct batch *batch)
{
    const struct log_cursor *cursor = target_cursor(target);

    *batch = (struct batch){.text = log->scratch, .from = cursor->done, .open = cursor->open_line[log->call.stream]};
    batch->prelude = batch->size = put_prelude(cursor, format, batch->text);
    if (log->call.kind == LOG_CALL_FINISH)
        make_last_words(cursor, format, batch);
    else
        make_records(log, cursor, format, batch);
}

/* ---- writing it ---- */

/*
 * Write the rest of a part of which `already` bytes are in the file. Returns the bytes of whole records that are there
 * now; when that isn't all, *error is the errno, and *torn the bytes of a record that could not be taken back. When
 * nothing behind the first `floor` bytes got in, they are taken back, too. No content has a newline in it, so whatever
 * ends in one is whole.
 */
static size_t append(const struct log_target *target, const char *bytes, size_t size, size_t already, size_t floor,
                     int *error, size_t *torn)
{
    size_t done = already;
    size_t whole;
    const char *newline;
    struct stat status;

    *error = 0;
    *torn = 0;
    while (done < size) {
        ssize_t n = write(target->fd, bytes + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            *error = n < 0 ? errno : ENOSPC;
            break;
        }
        done += (size_t)n;
    }
    if (done == size)
        return size;
    newline = memrchr(bytes, '\n', done);
    whole = newline != NULL ? (size_t)(newline + 1 - bytes) : 0;
    if (whole <= floor)
        whole = 0;
    /* Counted from the file's end, for somebody else may have truncated it. */
    if (done > whole && (fstat(target->fd, &status) < 0 || status.st_size < (off_t)(done - whole) ||
                         ftruncate(target->fd, status.st_size - (off_t)(done - whole)) < 0))
        *torn = done - whole;
    return whole;
}

/* How far the call is dealt with by `size` bytes of the batch, which end with a record. */
static size_t position_of(const struct log *log, const struct format *format, const struct batch *batch, size_t size,
                          bool *open)
{
    const char *at = log->call.bytes + batch->from, *end = log->call.bytes + log->call.end;
    const char *record = batch->text + batch->prelude, *stop = batch->text + size;

    while (record < stop) {
        record = (const char *)memchr(record, '\n', (size_t)(stop - record)) + 1;
        at = format->json ? json_record_end(at, end, open) : cri_record_end(at, end, open);
    }
    return (size_t)(at - log->call.bytes);
}

/* Note that the first `size` bytes of the batch, from `before` on newly so, are in the file. */
static void note(struct log *log, struct log_target *target, const struct format *format, const struct batch *batch,
                 size_t before, size_t size, int error, size_t torn)
{
    enum log_stream stream = log->call.stream;
    struct log_cursor *next = target_step(target);
    size_t done = batch->next;
    bool open = batch->open;

    next->last_error = error;
    next->torn = torn > 0;
    next->size += (int64_t)(size - before + torn);
    next->total += (int64_t)(size - before);
    if (size > 0 && batch->prelude > 0)
        prelude_done(next);
    if (size < batch->size && log->call.kind == LOG_CALL_FINISH)
        done = batch->from;
    else if (size < batch->size)
        done = size > batch->prelude ? position_of(log, format, batch, size, &open) : batch->from;
    if (log->call.kind == LOG_CALL_WRITE) {
        next->written[stream] += done - next->done;
        if (size > batch->prelude)
            next->open_line[stream] = open;
        if (done == batch->next) {
            next->held_size[stream] = (unsigned char)batch->n_held;
            memcpy(next->held[stream], batch->held, sizeof(next->held[stream]));
        } else if (done > batch->from) {
            next->held_size[stream] = 0;
        }
    } else if (size == batch->size) {
        next->held_size[LOG_STDOUT] = next->held_size[LOG_STDERR] = 0;
    }
    next->done = done;
    target_commit(target);
}

/* The end of the first record behind `from`. */
static size_t record_behind(const struct batch *batch, size_t from)
{
    const char *newline = from < batch->size ? memchr(batch->text + from, '\n', batch->size - from) : NULL;

    return newline != NULL ? (size_t)(newline + 1 - batch->text) : batch->size;
}

/*
 * How many bytes of the batch from `done` on still belong into the file: whole records below the limit, but at least
 * one. May begin a new file. *full: that failed, and the file grows for the rest of the call.
 */
static size_t part_of(struct log_target *target, const struct batch *batch, size_t done, bool *full)
{
    int64_t limit = target->regular && !*full ? target->options->max_size : 0;
    size_t left = batch->size - done;
    /* What tells of a gap stays with the record behind it. */
    size_t least = record_behind(batch, done == 0 ? batch->prelude : done) - done;
    int64_t size = target_cursor(target)->size;
    const char *newline = NULL;

    if (limit <= 0 || size + (int64_t)left <= limit)
        return left;
    if (size < limit)
        newline = memrchr(batch->text + done, '\n', (size_t)(limit - size));
    if (newline != NULL && (size_t)(newline + 1 - batch->text) - done >= least)
        return (size_t)(newline + 1 - batch->text) - done;
    if (size == 0)
        return least;
    *full = !file_rotate(target);
    return part_of(target, batch, done, full);
}

/* As much as the limit of all files together lets through, the record that crosses it whole. */
static size_t below_total(const struct log_target *target, const struct batch *batch, size_t done, size_t part)
{
    int64_t room = target->options->max_total - target_cursor(target)->total;
    size_t end;

    if (target->options->max_total <= 0 || (int64_t)part <= room)
        return part;
    if (room <= 0)
        return 0;
    end = record_behind(batch, done + (size_t)room - 1) - done;
    return end < part ? end : part;
}

/* Write a batch in parts. False: the rest of it, and of the call, can't be written now. */
static bool write_batch(struct log *log, struct log_target *target, const struct format *format,
                        const struct batch *batch, bool *full)
{
    size_t done = 0;
    size_t already = target->already;

    target->already = 0;
    if (already > batch->size)
        already = batch->size;
    if (batch->size == 0) /* all of it is held, or there is nothing to tell */
        note(log, target, format, batch, 0, 0, 0, 0);
    while (done < batch->size) {
        /* A record that is in the file in part is finished there. */
        size_t part = already > 0 ? record_behind(batch, already - 1) : part_of(target, batch, done, full);
        size_t floor = done > 0 ? 0 : batch->any ? batch->prelude : batch->size - 1;
        size_t whole, torn;
        int error;

        if (already > 0 && part <= floor)
            part = record_behind(batch, floor);
        part = already > 0 ? part : below_total(target, batch, done, part);
        if (part == 0) {
            target_lose_rest(log, target, 0, NULL);
            return false;
        }
        whole = append(target, batch->text + done, part, already, floor, &error, &torn);
        already = 0;
        if (whole > 0 || error != 0)
            note(log, target, format, batch, done, done + whole, error, torn);
        done += whole;
        if (whole < part) {
            target_lose_rest(log, target, error, NULL);
            return false;
        }
    }
    return true;
}

/* End what is cut off at the end of the file. False when even that can't be written. */
static bool mend(struct log *log, struct log_target *target)
{
    struct log_cursor *next;
    ssize_t n;

    if (!target_cursor(target)->torn)
        return true;
    if (target->already > 0) {
        target->already--;
    } else {
        do
            n = write(target->fd, "\n", 1);
        while (n < 0 && errno == EINTR);
        if (n <= 0) {
            target_lose_rest(log, target, n < 0 ? errno : ENOSPC, NULL);
            return false;
        }
    }
    next = target_step(target);
    next->torn = false;
    next->size++;
    target_commit(target);
    return true;
}

void file_call(struct log *log, struct log_target *target)
{
    const struct log_call *call = &log->call;
    bool impatient = log->options->streams[call->stream].policy == LOG_DROP && call->kind == LOG_CALL_WRITE;
    struct format format;
    struct batch batch;
    bool full = false;

    if (call->kind == LOG_CALL_FINISH) {
        const struct log_cursor *cursor = target_cursor(target);

        if (!cursor_has_gap(cursor) && cursor->held_size[LOG_STDOUT] + cursor->held_size[LOG_STDERR] == 0)
            return;
    }
    if (target_cursor(target)->done >= call->end)
        return;
    if (target->options->max_total > 0 && target_cursor(target)->total >= target->options->max_total) {
        target_lose_rest(log, target, 0, NULL);
        return;
    }
    if (!log_scratch(log)) {
        target_lose_rest(log, target, ENOMEM, NULL);
        return;
    }
    format_init(&format, log, target);
    while (target_cursor(target)->done < call->end) {
        int64_t begin = impatient ? log_monotonic() : 0;

        if (impatient && target->already == 0 && !target_is_open(target, begin)) {
            target_lose_rest(log, target, 0, "the disk was too slow");
            return;
        }
        if (!mend(log, target))
            return;
        make_batch(log, target, &format, &batch);
        if (!write_batch(log, target, &format, &batch, &full))
            return;
        if (impatient)
            target_took(target, begin, log_monotonic());
    }
}

/* ---- after a kill ---- */

/* How many of the batch's first bytes end the file, which isn't as long as it should be: somebody truncated it. */
static size_t find_beginning(const char *file, size_t size, const struct batch *batch)
{
    const char *end = file + size;

    for (const char *at = file; at < end; at++) {
        const char *newline;

        if ((size_t)(end - at) <= batch->size && memcmp(at, batch->text, (size_t)(end - at)) == 0)
            return (size_t)(end - at);
        newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL)
            break;
        at = newline;
    }
    return 0;
}

void file_resume(struct log *log, struct log_target *target)
{
    static const size_t room = SCRATCH_FORMAT;
    const struct log_cursor *cursor = target_cursor(target);
    struct log_cursor *next;
    struct format format;
    struct batch batch;
    struct stat status;
    ssize_t n;
    char *file;

    target->already = 0;
    if (!target->regular || fstat(target->fd, &status) < 0 || status.st_size == cursor->size)
        return;
    /* A call that is not begun, or over, wrote nothing: others did. */
    if ((log->call.sequence & 1) == 0 || cursor->call != log->call.sequence || cursor->done >= log->call.end ||
        !log_scratch(log)) {
        next = target_step(target);
        file_describe(next, target->fd);
        target_commit(target);
        return;
    }
    if (cursor->torn && status.st_size == cursor->size + 1) {
        target->already = 1;
        return;
    }
    format_init(&format, log, target);
    make_batch(log, target, &format, &batch);
    file = malloc(room);
    if (file == NULL)
        return;
    n = status.st_size > cursor->size && status.st_size - cursor->size <= (off_t)batch.size
            ? fd_read_at(target->fd, file, (size_t)(status.st_size - cursor->size), cursor->size)
            : -1;
    if (n > 0 && memcmp(file, batch.text, (size_t)n) == 0) {
        target->already = (size_t)n;
    } else {
        off_t from = status.st_size > (off_t)room ? status.st_size - (off_t)room : 0;

        n = fd_read_at(target->fd, file, room, from);
        target->already = n > 0 ? find_beginning(file, (size_t)n, &batch) : 0;
        next = target_step(target);
        file_describe(next, target->fd);
        next->size -= (int64_t)target->already;
        next->torn = next->torn && target->already == 0;
        target_commit(target);
    }
    free(file);
}
