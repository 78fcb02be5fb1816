/* SPDX-License-Identifier: Apache-2.0 */
#include "log/reader.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* 0 or -errno. A descriptor that somebody made non-blocking (a shared terminal) is waited for. */
static int write_out(int fd, const char *bytes, size_t size)
{
    while (fd >= 0 && size > 0) {
        ssize_t n = write(fd, bytes, size);

        if (n < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};

            if (poll(&ready, 1, -1) < 0)
                return -errno;
            continue;
        }
        if (n < 0)
            return -errno;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

static int sink_flush(struct log_sink *sink)
{
    size_t size = sink->size;

    sink->size = 0;
    return write_out(sink->fd, sink->buffer, size);
}

static int sink_put(struct log_sink *sink, const char *bytes, size_t size)
{
    int r;

    if (size > SINK_SIZE - sink->size) {
        r = sink_flush(sink);
        if (r < 0)
            return r;
        if (size > SINK_SIZE)
            return write_out(sink->fd, bytes, size);
    }
    memcpy(sink->buffer + sink->size, bytes, size);
    sink->size += size;
    return 0;
}

/* What is held back of an unfinished line goes to the sink. */
static int line_spill(struct log_line *line)
{
    size_t size = line->pending_size;

    line->pending_size = 0;
    return size > 0 ? sink_put(line->sink, line->pending, size) : 0;
}

/* Hold bytes of an unfinished line back, as long as there is room. */
static int line_hold(struct log_line *line, const char *bytes, size_t size)
{
    int r;

    if (line->pending == NULL) {
        line->pending = malloc(PENDING_MAX);
        if (line->pending == NULL)
            return -ENOMEM;
    }
    if (size > PENDING_MAX - line->pending_size) {
        r = line_spill(line);
        if (r < 0 || size > PENDING_MAX)
            return r < 0 ? r : sink_put(line->sink, bytes, size);
    }
    memcpy(line->pending + line->pending_size, bytes, size);
    line->pending_size += size;
    return 0;
}

typedef int (*put_function)(struct log_line *line, const char *bytes, size_t size);

static int put_through(struct log_line *line, const char *bytes, size_t size)
{
    return sink_put(line->sink, bytes, size);
}

static int put_content(struct log_output *output, struct log_line *line, put_function put, const char *from,
                       size_t size)
{
    const size_t piece = sizeof(output->scratch) / NEUTRAL_GROWTH - 4;

    if (!output->options->neutralise)
        return put(line, from, size);
    while (size > 0) {
        size_t part = size < piece ? size : piece;
        int r = put(line, output->scratch, neutral_text(&line->neutral, output->scratch, from, part));

        if (r < 0)
            return r;
        from += part;
        size -= part;
    }
    return 0;
}

int output_record(struct log_output *output, const struct log_record *record)
{
    struct log_line *line = &output->lines[record->stream];
    put_function put = record->partial ? line_hold : put_through;
    const char *prefix = output->options->prefix;
    int r = 0;

    if (!record->partial && line->pending_size > 0)
        r = line_spill(line);
    if (!line->open && prefix != NULL && r >= 0)
        r = put(line, prefix, strlen(prefix));
    if (!line->open && output->options->timestamps && r >= 0) {
        r = put(line, record->time, record->time_length);
        if (r >= 0)
            r = put(line, " ", 1);
    }
    line->open = record->partial;
    if (r >= 0)
        r = put_content(output, line, put, record->content, record->size);
    if (record->partial || r < 0)
        return r;
    if (output->options->neutralise)
        r = sink_put(line->sink, output->scratch, neutral_end(&line->neutral, output->scratch, 1));
    return r < 0 ? r : sink_put(line->sink, "\n", 1);
}

int output_flush(struct log_output *output, bool end)
{
    int result = 0;

    for (size_t i = 0; i < 2 && result >= 0; i++) {
        struct log_line *line = &output->lines[i];

        result = line_spill(line);
        if (end && line->open && output->options->neutralise && result >= 0)
            result = sink_put(line->sink, output->scratch, neutral_end(&line->neutral, output->scratch, 0));
    }
    for (size_t i = 0; i < 2 && result >= 0; i++)
        result = sink_flush(&output->sinks[i]);
    return result;
}

/* Whether two descriptors lead to the same pipe, terminal or file: the order of what goes there matters then. */
static bool same_file(int first, int second)
{
    struct stat a, b;

    return first == second ||
           (fstat(first, &a) == 0 && fstat(second, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

static void block_sigpipe(struct log_output *output)
{
    sigset_t pipe_only, pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    output->sigpipe_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &output->signals);
}

static void restore_sigpipe(const struct log_output *output)
{
    static const struct timespec at_once = {0};
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!output->sigpipe_pending)
        sigtimedwait(&pipe_only, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &output->signals, NULL);
}

void output_init(struct log_output *output, const struct remora_log_options *options)
{
    bool shared = options->out >= 0 && options->err >= 0 && same_file(options->out, options->err);

    output->options = options;
    for (size_t i = 0; i < 2; i++) {
        output->lines[i] = (struct log_line){.sink = &output->sinks[shared ? 0 : i]};
        output->sinks[i].fd = i == 0 ? options->out : options->err;
        output->sinks[i].size = 0;
    }
    block_sigpipe(output);
}

void output_deinit(struct log_output *output)
{
    restore_sigpipe(output);
    for (size_t i = 0; i < 2; i++) {
        free(output->lines[i].pending);
        output->lines[i].pending = NULL;
    }
}
