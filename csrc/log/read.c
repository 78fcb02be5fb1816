/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "log/reader.h"
#include "util/fd.h"

void reader_begin(struct log_reader *reader, int fd, off_t start, off_t offset)
{
    ssize_t got;

    fd_close(&reader->fd);
    reader->fd = fd;
    reader->start = start;
    reader->offset = offset;
    reader->size = 0;
    reader->within = false;
    reader->mark_size = offset < MARK_SIZE ? (size_t)offset : MARK_SIZE;
    got = fd_read_at(fd, reader->mark, reader->mark_size, offset - (off_t)reader->mark_size);
    reader->mark_size = got == (ssize_t)reader->mark_size ? (size_t)got : 0;
}

void reader_restart(struct log_reader *reader)
{
    reader->start = reader->offset = 0;
    reader->starts[0] = reader->starts[1] = 0;
    reader->size = reader->mark_size = 0;
    reader->within = false;
}

static bool selected(struct log_reader *reader, const struct log_record *record, off_t offset)
{
    if (record->time_ns > reader->options->until_ns)
        reader->passed_until = true;
    return reader->start + offset >= reader->starts[record->stream] && log_selected(reader->options, record->time_ns);
}

/* One whole line of the file, or the rest of a long one. What is no record is left out. */
static int take_line(struct log_reader *reader, char *line, size_t size, off_t offset)
{
    struct log_record record;

    if (reader->within) {
        reader->within = false;
        reader->long_record.content = line;
        reader->long_record.size = size;
        return reader->within_selected ? output_record(&reader->output, &reader->long_record) : 0;
    }
    if (!record_parse(line, size, &record) || !selected(reader, &record, offset))
        return 0;
    if (record.escaped)
        record_unescape(&record, line + (record.content - line));
    return output_record(&reader->output, &record);
}

/* A piece of a line that is not at its end: of one longer than the buffer, or cut off at the end of the file. */
static int take_piece(struct log_reader *reader, bool last)
{
    struct log_record *record = &reader->long_record;
    struct log_record piece;

    if (!reader->within) {
        reader->within = true;
        reader->within_selected =
            cri_parse(reader->buffer, reader->size, record) && selected(reader, record, reader->offset);
        if (!reader->within_selected)
            return 0;
        if (record->time_length > sizeof(reader->long_time))
            record->time_length = sizeof(reader->long_time);
        memcpy(reader->long_time, record->time, record->time_length);
        record->time = reader->long_time;
    } else {
        record->content = reader->buffer;
        record->size = reader->size;
    }
    reader->within = !last;
    piece = *record;
    piece.partial = true;
    return reader->within_selected ? output_record(&reader->output, &piece) : 0;
}

/* All whole lines of the buffer, of which `fresh` bytes at the end are new; a long one that fills it in a piece. */
static int take_buffer(struct log_reader *reader, size_t fresh)
{
    char *line = reader->buffer;
    /* Only what is new can hold the newline. */
    char *from = line + reader->size - fresh;
    char *last = memrchr(from, '\n', fresh);
    size_t done = last != NULL ? (size_t)(last + 1 - line) : reader->size == READ_BLOCK ? READ_BLOCK : 0;
    int r = 0;

    if (done > 0) {
        reader->mark_size = done < MARK_SIZE ? done : MARK_SIZE;
        memcpy(reader->mark, line + done - reader->mark_size, reader->mark_size);
    }
    if (last == NULL && done > 0)
        r = take_piece(reader, false);
    while (last != NULL && from <= last && r >= 0) {
        char *newline = memchr(from, '\n', (size_t)(last + 1 - from));

        r = take_line(reader, line, (size_t)(newline - line), reader->offset + (line - reader->buffer));
        line = from = newline + 1;
    }
    reader->size -= done;
    reader->offset += (off_t)done;
    memmove(reader->buffer, reader->buffer + done, reader->size);
    return r;
}

int reader_read(struct log_reader *reader)
{
    for (;;) {
        size_t room = READ_BLOCK - reader->size;
        off_t at = reader->offset + (off_t)reader->size;
        ssize_t n;
        int r;

        if (reader->limit >= 0 && reader->limit - at < (off_t)room)
            room = reader->limit > at ? (size_t)(reader->limit - at) : 0;
        n = pread(reader->fd, reader->buffer + reader->size, room, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        reader->size += (size_t)n;
        r = take_buffer(reader, (size_t)n);
        if (r < 0 || (reader->passed_until && reader->options->follow))
            return r;
    }
}

int reader_finish(struct log_reader *reader, bool more)
{
    int r = 0;

    if (more && (reader->size > 0 || reader->within))
        r = take_line(reader, reader->buffer, reader->size, reader->offset);
    else if (reader->size > 0)
        r = take_piece(reader, true);
    reader->size = 0;
    return r;
}
