/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log/reader.h"
#include "util/fd.h"

/* What was being written when the size was asked for is read to the end of its line. */
static off_t end_of_line(int fd, off_t at)
{
    char buffer[4096];
    ssize_t got = at > 0 ? fd_read_at(fd, buffer, 1, at - 1) : 0;

    if (got <= 0 || buffer[0] == '\n')
        return at;
    while ((got = fd_read_at(fd, buffer, sizeof(buffer), at)) > 0) {
        const char *newline = memchr(buffer, '\n', (size_t)got);

        if (newline != NULL)
            return at + (newline + 1 - buffer);
        at += got;
    }
    return at;
}

/* Print [from, end) of the set. The reader is left in its last file. 0 or -errno. */
static int print_set(struct log_reader *reader, struct log_set *set, off_t from, off_t end)
{
    int result = 0;

    for (size_t i = 0; i < set->n && result == 0; i++) {
        struct log_file *file = &set->files[i];
        off_t offset = from > file->start ? from - file->start : 0;

        reader_begin(reader, fd_take(&file->fd), file->start, offset < file->size ? offset : file->size);
        /* Also in the last one: a container that writes faster than we read must not keep us for ever. */
        reader->limit = end - file->start < file->size ? end - file->start : end_of_line(reader->fd, file->size);
        if (reader->offset >= reader->limit)
            continue;
        result = reader_read(reader);
        if (result == 0 && i + 1 < set->n)
            result = reader_finish(reader, true);
    }
    return result;
}

static int print(struct log_reader *reader, struct log_set *set, const char *path)
{
    const struct remora_log_options *options = reader->options;
    off_t begin, end, from;
    int result;

    if (set->n == 0)
        return 0;
    result = seek_times(set, options, &begin, &end);
    if (result < 0)
        return result;
    reader->starts[0] = reader->starts[1] = begin;
    if (options->tail >= 0)
        result = seek_tail(set, begin, end, options, reader->starts);
    if (result < 0)
        return result;
    from = reader->starts[0] < reader->starts[1] ? reader->starts[0] : reader->starts[1];
    result = print_set(reader, set, from, end);
    if (result == 0 && options->follow && !reader->passed_until && end == set->size)
        result = reader_follow(reader, path);
    return result == 0 ? reader_finish(reader, false) : result;
}

int remora_log_print(const char *path, const struct remora_log_options *options)
{
    struct log_reader *reader = malloc(sizeof(*reader));
    struct log_set set;
    int result, flushed;

    if (reader == NULL)
        return -ENOMEM;
    memset(reader, 0, offsetof(struct log_reader, buffer));
    reader->options = options;
    reader->fd = -1;
    result = set_open(&set, path, -1);
    if (result < 0) {
        free(reader);
        return result;
    }
    output_init(&reader->output, options);
    result = print(reader, &set, path);
    if (result != -EPIPE && result != -EINTR) {
        flushed = output_flush(&reader->output, true);
        result = result < 0 ? result : flushed;
    }
    output_deinit(&reader->output);
    fd_close(&reader->fd);
    set_deinit(&set);
    free(reader);
    return result;
}
