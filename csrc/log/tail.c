/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log/seek.h"
#include "util/fd.h"

enum {
    BLOCK = 262144, /* a longer record of json-file is not found */
    FIRST_BLOCK = 16384, /* a few lines are mostly all that is wanted */
    LOOK_BACK = 4 << 20, /* bytes before the last wanted line in which partial records of it are looked for */
};

bool tail_take(struct tail *tail, int stream, bool partial)
{
    if (tail->closed[stream])
        return false;
    if (!partial || !tail->later[stream]) {
        /* The last piece of a line, or of an unfinished one. */
        if (tail->lines == tail->wanted) {
            tail->closed[stream] = true;
            return false;
        }
        tail->lines++;
    }
    tail->later[stream] = true;
    return true;
}

void tail_pass(struct tail *tail, size_t size)
{
    if (tail->lines == tail->wanted)
        tail->passed += (int64_t)size;
}

bool tail_done(const struct tail *tail)
{
    if (tail->lines < tail->wanted)
        return false;
    if (tail->passed > LOOK_BACK)
        return true;
    for (int i = 0; i < 2; i++) {
        if (!tail->closed[i] && tail->later[i])
            return false;
    }
    return true;
}

struct backwards {
    const struct remora_log_options *options;
    struct tail tail;
    off_t *starts;
    char *buffer; /* a byte before the block tells whether a line begins with it; behind it the rest of a CRI head */
    size_t block;
};

/* The lines that begin in [begin, end) of a file, last one first. Returns where the first of them begins, or -errno. */
static off_t take_block(struct backwards *all, const struct log_file *file, off_t begin, off_t end)
{
    size_t before = begin > 0 ? 1 : 0;
    off_t limit = file->size - end > RECORD_HEAD ? end + RECORD_HEAD : file->size;
    ssize_t got = fd_read_at(file->fd, all->buffer, (size_t)(limit - begin) + before, begin - (off_t)before);
    char *block = all->buffer + before;
    char *after = block + (end - begin); /* lines begin before this */

    if (got < limit - begin + (off_t)before)
        return got < 0 ? got : begin; /* truncated meanwhile: what was found has to do */
    while (after > block && !tail_done(&all->tail)) {
        char *newline = memrchr(all->buffer, '\n', (size_t)(after - 1 - all->buffer));
        char *line = newline != NULL ? newline + 1 : block;
        size_t length = (size_t)(all->buffer + got - line);
        char *stop = memchr(line, '\n', length);
        struct log_record record;

        if (newline == NULL && begin > 0)
            break; /* the line begins in an earlier block */
        if (stop != NULL)
            length = (size_t)(stop - line);
        if (record_parse(line, length, &record) && log_selected(all->options, record.time_ns) &&
            tail_take(&all->tail, record.stream, record.partial))
            all->starts[record.stream] = file->start + begin + (line - block);
        tail_pass(&all->tail, (size_t)(after - line));
        after = line;
    }
    return begin + (after - block);
}

static int take_file(struct backwards *all, const struct log_file *file, off_t begin, off_t end)
{
    while (end > begin && !tail_done(&all->tail)) {
        off_t from = end - begin > (off_t)all->block ? end - (off_t)all->block : begin;
        off_t first = take_block(all, file, from, end);

        if (first < 0)
            return (int)first;
        /* The next block holds the whole line before the first one; where there is none, the line is longer. */
        if (first < end || all->block == BLOCK)
            end = first < end ? first : from;
        all->block = BLOCK;
    }
    return 0;
}

int seek_tail(const struct log_set *set, off_t begin, off_t end, const struct remora_log_options *options,
              off_t starts[2])
{
    struct backwards all = {
        .options = options,
        .tail.wanted = options->tail,
        .starts = starts,
        .buffer = malloc(1 + BLOCK + RECORD_HEAD),
        .block = FIRST_BLOCK,
    };
    int result = all.buffer == NULL ? -ENOMEM : 0;

    starts[0] = starts[1] = end;
    for (size_t i = set->n; i > 0 && result == 0 && !tail_done(&all.tail); i--) {
        const struct log_file *file = &set->files[i - 1];
        off_t last = end - file->start < file->size ? end - file->start : file->size;

        result = take_file(&all, file, begin > file->start ? begin - file->start : 0, last);
    }
    free(all.buffer);
    return result;
}
