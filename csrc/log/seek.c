/* SPDX-License-Identifier: Apache-2.0 */
#include "log/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"

enum {
    BLOCK = 262144,
    HEAD = 256, /* bytes of a record that hold its time, stream and first tag */
    BISECT_MIN = 1 << 20, /* a smaller range is read through */
    LOOK_BACK = 4 << 20, /* bytes before the last wanted line in which partial records of it are looked for */
};

#define CLOCK_STEP_NS (60 * 1000000000LL)

bool log_selected(const struct remora_log_options *options, int64_t time_ns)
{
    return time_ns > options->since_ns && time_ns <= options->until_ns;
}

/* The first record that begins after `from`: its time and offset. 1, 0: none in the bytes that were looked at, -errno.
 */
static int next_record(int fd, char *buffer, off_t from, off_t end, off_t *offset, int64_t *time_ns)
{
    size_t size = end - from < BLOCK ? (size_t)(end - from) : BLOCK;
    ssize_t got = fd_read_at(fd, buffer, size, from);
    const char *limit = buffer + got;

    if (got < 0)
        return (int)got;
    for (const char *at = memchr(buffer, '\n', (size_t)got); at != NULL;) {
        const char *newline = memchr(at + 1, '\n', (size_t)(limit - at - 1));
        size_t length;
        struct cri_record record;

        at++;
        length = (size_t)((newline != NULL ? newline : limit) - at);
        if (cri_parse(at, length < HEAD ? length : HEAD, &record)) {
            *offset = from + (at - buffer);
            *time_ns = record.time_ns;
            return 1;
        }
        at = newline;
    }
    return 0;
}

off_t seek_since(int fd, off_t size, int64_t since_ns)
{
    off_t low = 0, high = size;
    char *buffer;

    if (since_ns < INT64_MIN + CLOCK_STEP_NS)
        return 0;
    buffer = malloc(BLOCK);
    if (buffer == NULL)
        return -ENOMEM;
    while (high - low > BISECT_MIN) {
        off_t middle = low + (high - low) / 2;
        off_t offset = low;
        int64_t time_ns = 0;
        int r = next_record(fd, buffer, middle, high, &offset, &time_ns);

        if (r < 0) {
            low = r;
            break;
        }
        /* Without a record there is nothing to decide on: what is left is read through from `low` on. */
        if (r == 0)
            break;
        if (time_ns > since_ns - CLOCK_STEP_NS)
            high = middle;
        else
            low = offset;
    }
    free(buffer);
    return low;
}

/* Counting lines from the end. */
struct tail {
    const struct remora_log_options *options;
    int64_t lines;
    off_t *starts;
    bool later[2]; /* a wanted record of the stream is already found, after this place */
    bool closed[2]; /* the stream's wanted lines are complete */
    off_t full_at; /* where the last wanted line was met; -1 = not yet */
};

static void tail_take(struct tail *tail, const struct cri_record *record, off_t offset)
{
    int stream = record->stream;

    if (tail->closed[stream] || !log_selected(tail->options, record->time_ns))
        return;
    if (!record->partial || !tail->later[stream]) {
        /* The last piece of a line, or of an unfinished one. */
        if (tail->lines == tail->options->tail) {
            tail->closed[stream] = true;
            return;
        }
        if (++tail->lines == tail->options->tail)
            tail->full_at = offset;
    }
    tail->later[stream] = true;
    tail->starts[stream] = offset;
}

static bool tail_done(const struct tail *tail, off_t offset)
{
    if (tail->lines < tail->options->tail)
        return false;
    if (tail->full_at - offset > LOOK_BACK)
        return true;
    for (int i = 0; i < 2; i++) {
        if (!tail->closed[i] && tail->later[i])
            return false;
    }
    return true;
}

int seek_tail(int fd, off_t low, off_t size, const struct remora_log_options *options, off_t starts[2])
{
    struct tail tail = {.options = options, .starts = starts, .full_at = -1};
    /* A byte before the block tells whether a record begins with it; the bytes after it are the heads of its last
     * records. */
    char *buffer = malloc(1 + BLOCK + HEAD);
    int result = buffer == NULL ? -ENOMEM : 0;

    starts[0] = starts[1] = size;
    for (off_t end = size; end > low && result == 0 && !tail_done(&tail, end);) {
        off_t begin = end - low > BLOCK ? end - BLOCK : low;
        size_t before = begin > 0 ? 1 : 0;
        off_t limit = size - end > HEAD ? end + HEAD : size;
        ssize_t got = fd_read_at(fd, buffer, (size_t)(limit - begin) + before, begin - (off_t)before);
        char *block = buffer + before;
        char *after = block + (end - begin); /* records begin before this */

        if (got < 0 || got < limit - begin + (off_t)before) {
            result = got < 0 ? (int)got : 0; /* truncated meanwhile: what was found has to do */
            break;
        }
        while (after > block && !tail_done(&tail, begin + (after - block))) {
            char *newline = memrchr(buffer, '\n', (size_t)(after - 1 - buffer));
            char *line = newline != NULL ? newline + 1 : block;
            size_t length = (size_t)(buffer + got - line);
            char *stop;
            struct cri_record record;

            if (newline == NULL && begin > 0)
                break; /* the record begins in an earlier block */
            if (length > HEAD)
                length = HEAD;
            stop = memchr(line, '\n', length);
            if (cri_parse(line, stop != NULL ? (size_t)(stop - line) : length, &record))
                tail_take(&tail, &record, begin + (line - block));
            after = line;
        }
        end = begin;
    }
    free(buffer);
    return result;
}
