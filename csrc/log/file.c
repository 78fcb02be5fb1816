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

#include "log/batch.h"
#include "util/fd.h"

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

/* Note that the first `size` bytes of the batch, from `before` on newly so, are in the file. */
static void note(struct log *log, struct log_target *target, const struct batch_format *format,
                 const struct batch *batch, size_t before, size_t size, int error, size_t torn)
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
        batch_prelude_done(next);
    if (size < batch->size && log->call.kind == LOG_CALL_FINISH)
        done = batch->from;
    else if (size < batch->size)
        done = size > batch->prelude ? batch_position(log, format, batch, size, &open) : batch->from;
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

/*
 * How many bytes of the batch from `done` on still belong into the file: whole records below the limit, but at least
 * one. May begin a new file. *full: that failed, and the file grows for the rest of the call.
 */
static size_t part_of(struct log_target *target, const struct batch *batch, size_t done, bool *full)
{
    int64_t limit = target->regular && !*full ? target->options->max_size : 0;
    size_t left = batch->size - done;
    /* What tells of a gap stays with the record behind it. */
    size_t least = batch_record_end(batch, done == 0 ? batch->prelude : done) - done;
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
    end = batch_record_end(batch, done + (size_t)room - 1) - done;
    return end < part ? end : part;
}

/* Write a batch in parts. False: the rest of it, and of the call, can't be written now. */
static bool write_batch(struct log *log, struct log_target *target, const struct batch_format *format,
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
        size_t part = already > 0 ? batch_record_end(batch, already - 1) : part_of(target, batch, done, full);
        size_t floor = done > 0 ? 0 : batch->any ? batch->prelude : batch->size - 1;
        size_t whole, torn;
        int error;

        if (already > 0 && part <= floor)
            part = batch_record_end(batch, floor);
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
    struct batch_format format;
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
    batch_format_init(&format, log, target);
    while (target_cursor(target)->done < call->end) {
        int64_t begin = impatient ? log_monotonic() : 0;

        if (impatient && target->already == 0 && !target_is_open(target, begin)) {
            target_lose_rest(log, target, 0, "the disk was too slow");
            return;
        }
        if (!mend(log, target))
            return;
        batch_make(log, target, &format, &batch);
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
    struct batch_format format;
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
    batch_format_init(&format, log, target);
    batch_make(log, target, &format, &batch);
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
