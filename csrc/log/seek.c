/* SPDX-License-Identifier: Apache-2.0 */
#include "log/seek.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"

enum {
    PROBE = 16384, /* bytes read where a record is looked for; more where its line is longer */
    LINE_MAX_BYTES = 262144, /* a record of json-file is not longer: Docker cuts at 16 KiB, six bytes each at most */
    RANGE = 65536, /* a smaller range is read through */
    SLACK = 4 << 20,
};

#define CLOCK_STEP_NS (60 * 1000000000LL)

bool log_selected(const struct remora_log_options *options, int64_t time_ns)
{
    return time_ns > options->since_ns && time_ns <= options->until_ns;
}

struct place {
    off_t offset; /* in the set */
    int64_t time_ns;
};

/*
 * The first record in one file that begins at `at` or later and before `end` (offsets in the file). 1, 0: none, -errno.
 */
static int next_in_file(const struct log_file *file, char *buffer, off_t at, off_t end, struct place *place)
{
    bool within = at > 0; /* in a line whose beginning is of no interest */
    size_t size = PROBE;

    if (within)
        at--; /* a newline there makes a line begin at the place asked for */
    while (at < end) {
        ssize_t got = fd_read_at(file->fd, buffer, size, at);
        bool last = got < (ssize_t)size; /* the end of the file is in it */
        const char *line = buffer;
        const char *limit = buffer + got;
        const char *newline;
        struct log_record record;

        if (got <= 0)
            return (int)got;
        if (within) {
            newline = memchr(buffer, '\n', (size_t)got);
            if (newline == NULL) {
                at += got;
                size = LINE_MAX_BYTES;
                if (last)
                    break;
                continue;
            }
            line = newline + 1;
            within = false;
        }
        for (; line < limit && at + (line - buffer) < end; line = newline + 1) {
            newline = memchr(line, '\n', (size_t)(limit - line));
            if (record_parse(line, (size_t)((newline != NULL ? newline : limit) - line), &record)) {
                *place = (struct place){file->start + at + (line - buffer), record.time_ns};
                return 1;
            }
            if (newline == NULL)
                break;
        }
        if (last)
            break;
        /* A line that is cut off is read again, unless the buffer can't hold more of it. */
        within = line == buffer && size == LINE_MAX_BYTES;
        at += within ? got : line - buffer;
        size = line == buffer ? LINE_MAX_BYTES : PROBE;
    }
    return 0;
}

/* The same in all files. */
static int next_record(const struct log_set *set, char *buffer, off_t from, off_t end, struct place *place)
{
    for (size_t i = 0; i < set->n && set->files[i].start < end; i++) {
        const struct log_file *file = &set->files[i];
        off_t file_end = end - file->start < file->size ? end - file->start : file->size;
        off_t at = from > file->start ? from - file->start : 0;
        int r = at < file_end ? next_in_file(file, buffer, at, file_end, place) : 0;

        if (r != 0)
            return r;
    }
    return 0;
}

/* Records before *low are not later than the time; those from *high on are. 0 or -errno. */
static int bisect(const struct log_set *set, char *buffer, int64_t time_ns, off_t *low, off_t *high)
{
    off_t bound = set->size; /* no record between this and *high */

    *low = 0;
    *high = set->size;
    while (bound - *low > RANGE) {
        off_t middle = *low + (bound - *low) / 2;
        struct place place = {0};
        int r = next_record(set, buffer, middle, bound, &place);

        if (r < 0)
            return r;
        if (r == 0 || place.time_ns > time_ns)
            bound = middle;
        else
            *low = place.offset;
        if (r == 1 && place.time_ns > time_ns)
            *high = place.offset;
    }
    return 0;
}

static int seek_since(const struct log_set *set, char *buffer, int64_t since_ns, off_t *begin)
{
    struct place place;
    off_t exact, high;
    int r = bisect(set, buffer, since_ns, &exact, &high);

    if (r == 0)
        r = bisect(set, buffer, since_ns - CLOCK_STEP_NS, begin, &high);
    if (r < 0 || *begin >= exact - SLACK)
        return r;
    r = next_record(set, buffer, exact - SLACK, exact, &place);
    *begin = r == 1 ? place.offset : exact;
    return r < 0 ? r : 0;
}

static int seek_until(const struct log_set *set, char *buffer, int64_t until_ns, off_t *end)
{
    struct place place;
    off_t low, exact;
    int r = bisect(set, buffer, until_ns, &low, &exact);

    if (r == 0)
        r = bisect(set, buffer, until_ns + CLOCK_STEP_NS, &low, end);
    if (r < 0 || *end <= exact + SLACK)
        return r;
    r = next_record(set, buffer, exact + SLACK, *end, &place);
    if (r == 1)
        *end = place.offset;
    return r < 0 ? r : 0;
}

int seek_times(const struct log_set *set, const struct remora_log_options *options, off_t *begin, off_t *end)
{
    char *buffer = malloc(LINE_MAX_BYTES);
    int r = 0;

    *begin = 0;
    *end = set->size;
    if (buffer == NULL)
        return -ENOMEM;
    if (options->since_ns > INT64_MIN + CLOCK_STEP_NS)
        r = seek_since(set, buffer, options->since_ns, begin);
    if (r == 0 && options->until_ns < INT64_MAX - CLOCK_STEP_NS)
        r = seek_until(set, buffer, options->until_ns, end);
    free(buffer);
    if (*end < *begin)
        *end = *begin;
    return r;
}
