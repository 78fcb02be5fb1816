/* SPDX-License-Identifier: Apache-2.0 */
#include "log/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "util/fd.h"

enum {
    BLOCK = 262144, /* read at a time; a longer record is printed in pieces */
    TIME_MAX = 64,
};

struct reader {
    const struct remora_log_options *options;
    struct log_output output;
    int fd; /* owned */
    off_t offset; /* of buffer[0] in the file */
    off_t limit; /* read no further; -1: to the end of the file */
    off_t starts[2]; /* by stream: what lies before is not printed */
    size_t size; /* bytes in the buffer: the beginning of a record */
    bool passed_until; /* a record later than until_ns was seen */
    /* A record longer than the buffer, of which the beginning is printed. */
    bool within;
    bool within_selected;
    struct cri_record long_record;
    char long_time[TIME_MAX];
    char buffer[BLOCK];
};

static bool selected(struct reader *reader, const struct cri_record *record, off_t offset)
{
    if (record->time_ns > reader->options->until_ns)
        reader->passed_until = true;
    return offset >= reader->starts[record->stream] && log_selected(reader->options, record->time_ns);
}

/* One whole line of the file, or the rest of a long one. What is no record is left out. */
static int take_line(struct reader *reader, const char *line, size_t size, off_t offset)
{
    struct cri_record record;

    if (reader->within) {
        reader->within = false;
        reader->long_record.content = line;
        reader->long_record.size = size;
        return reader->within_selected ? output_record(&reader->output, &reader->long_record, reader->long_time) : 0;
    }
    if (!cri_parse(line, size, &record) || !selected(reader, &record, offset))
        return 0;
    return output_record(&reader->output, &record, line);
}

/* A piece of a line that is not at its end: of one longer than the buffer, or cut off at the end of the file. */
static int take_piece(struct reader *reader, bool last)
{
    struct cri_record *record = &reader->long_record;
    struct cri_record piece;

    if (!reader->within) {
        reader->within = true;
        reader->within_selected =
            cri_parse(reader->buffer, reader->size, record) && selected(reader, record, reader->offset);
        if (!reader->within_selected)
            return 0;
        if (record->time_length > sizeof(reader->long_time))
            record->time_length = sizeof(reader->long_time);
        memcpy(reader->long_time, reader->buffer, record->time_length);
    } else {
        record->content = reader->buffer;
        record->size = reader->size;
    }
    reader->within = !last;
    piece = *record;
    piece.partial = true;
    return reader->within_selected ? output_record(&reader->output, &piece, reader->long_time) : 0;
}

/* Read and print to the end of the file as it is now. 0 or -errno. */
static int read_on(struct reader *reader)
{
    for (;;) {
        size_t room = BLOCK - reader->size;
        off_t at = reader->offset + (off_t)reader->size;
        char *line = reader->buffer;
        char *newline;
        ssize_t n;
        int r;

        if (reader->limit >= 0 && reader->limit - at < (off_t)room)
            room = (size_t)(reader->limit - at);
        n = pread(reader->fd, reader->buffer + reader->size, room, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        /* Only what is new can hold the newline. */
        newline = memchr(reader->buffer + reader->size, '\n', (size_t)n);
        reader->size += (size_t)n;
        while (newline != NULL) {
            r = take_line(reader, line, (size_t)(newline - line), reader->offset + (line - reader->buffer));
            if (r < 0)
                return r;
            line = newline + 1;
            newline = memchr(line, '\n', (size_t)(reader->buffer + reader->size - line));
        }
        reader->size = (size_t)(reader->buffer + reader->size - line);
        reader->offset += line - reader->buffer;
        memmove(reader->buffer, line, reader->size);
        if (reader->size == BLOCK) {
            r = take_piece(reader, false);
            if (r < 0)
                return r;
            reader->offset += BLOCK;
            reader->size = 0;
        }
        if (reader->passed_until && reader->options->follow)
            return 0;
    }
}

static void begin_file(struct reader *reader, int fd)
{
    fd_close(&reader->fd);
    reader->fd = fd;
    reader->offset = 0;
    reader->size = 0;
    reader->starts[0] = reader->starts[1] = 0;
    reader->within = false;
}

/* Whether the file was emptied meanwhile; then it is read from its beginning. Emptied and grown beyond our place can't
 * be told. */
static bool truncated(struct reader *reader)
{
    struct stat status;

    if (fstat(reader->fd, &status) < 0 || status.st_size >= reader->offset + (off_t)reader->size)
        return false;
    begin_file(reader, fd_take(&reader->fd));
    return true;
}

/* Whether the path leads to another file by now; then the old one is read to its end and the new one begun. */
static bool rotated(struct reader *reader, const char *path)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat now, ours;

    if (fd < 0 || fstat(fd, &now) < 0 || fstat(reader->fd, &ours) < 0 || !S_ISREG(now.st_mode))
        return false;
    if (now.st_dev == ours.st_dev && now.st_ino == ours.st_ino)
        return false;
    /* Whoever made the new file writes to the old one no more. */
    if (read_on(reader) < 0)
        return false;
    begin_file(reader, fd_take(&fd));
    return true;
}

static int follow(struct reader *reader, const char *path)
{
    const struct remora_log_options *options = reader->options;
    struct log_watch watch;
    bool held = true;
    int result = watch_init(&watch, path, options->run_dir);

    while (result == 0) {
        bool recheck = watch.recheck || watch.fd < 0;

        if (recheck) {
            watch_renew(&watch);
            /* Before reading: what is written after the end is nobody's output. */
            held = options->run_dir == NULL || remora_lock_held(options->run_dir) > 0;
        }
        result = read_on(reader);
        if (result < 0 || reader->passed_until)
            break;
        if (truncated(reader) || (recheck && rotated(reader, path))) {
            watch.recheck = true;
            continue;
        }
        if (!held)
            break;
        result = output_flush(&reader->output, false);
        if (result == 0)
            result = watch_wait(&watch, options->out, options->until_ns);
    }
    if (result == 1)
        result = read_on(reader);
    watch_deinit(&watch);
    return result;
}

static int print(struct reader *reader, const char *path)
{
    const struct remora_log_options *options = reader->options;
    struct stat status;
    off_t low;
    int result;

    if (fstat(reader->fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return 0;
    low = seek_since(reader->fd, status.st_size, options->since_ns);
    if (low < 0)
        return (int)low;
    reader->starts[0] = reader->starts[1] = low;
    if (options->tail >= 0) {
        result = seek_tail(reader->fd, low, status.st_size, options, reader->starts);
        if (result < 0)
            return result;
    }
    reader->offset = reader->starts[0] < reader->starts[1] ? reader->starts[0] : reader->starts[1];
    /* A container that writes faster than we read must not keep us for ever. */
    reader->limit = status.st_size;
    result = read_on(reader);
    if (result == 0 && options->follow && !reader->passed_until) {
        reader->limit = -1;
        result = follow(reader, path);
    }
    /* A record that was cut off by a crash is shown as far as it goes. */
    if (result == 0 && reader->size > 0)
        result = take_piece(reader, true);
    return result;
}

/* While we write, SIGPIPE is blocked in this thread; what we caused is taken back before it is let through again. */
static void block_sigpipe(sigset_t *saved, bool *was_pending)
{
    sigset_t pipe_only, pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    *was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, saved);
}

static void restore_sigpipe(const sigset_t *saved, bool was_pending)
{
    static const struct timespec at_once = {0};
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!was_pending)
        sigtimedwait(&pipe_only, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

int remora_log_print(const char *path, const struct remora_log_options *options)
{
    struct reader *reader = malloc(sizeof(*reader));
    bool was_pending;
    sigset_t saved;
    int result, flushed;

    if (reader == NULL)
        return -ENOMEM;
    memset(reader, 0, offsetof(struct reader, buffer));
    reader->options = options;
    reader->limit = -1;
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (reader->fd < 0) {
        result = -errno;
        free(reader);
        return result;
    }
    output_init(&reader->output, options);
    block_sigpipe(&saved, &was_pending);
    result = print(reader, path);
    if (result != -EPIPE && result != -EINTR) {
        flushed = output_flush(&reader->output, true);
        result = result < 0 ? result : flushed;
    }
    restore_sigpipe(&saved, was_pending);
    output_deinit(&reader->output);
    fd_close(&reader->fd);
    free(reader);
    return result;
}
