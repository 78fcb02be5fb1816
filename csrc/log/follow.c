/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "log/reader.h"
#include "util/fd.h"

/*
 * Before looking again: a file that was emptied meanwhile is read from its beginning, which its size tells, or what
 * stands before our place. One whose writer has taken back records it could not write whole is read on from there; for
 * that, the beginning of a record is read again.
 */
static void look_back(struct log_reader *reader)
{
    off_t from = reader->offset - (off_t)reader->mark_size;
    char now[MARK_SIZE];
    ssize_t got = fd_read_at(reader->fd, now, reader->mark_size, from);

    if (got < 0)
        return;
    if (memcmp(now, reader->mark, (size_t)got) != 0 || (got == 0 && reader->offset > 0 && reader->mark_size > 0)) {
        reader_restart(reader);
        return;
    }
    reader->offset = from + got;
    reader->mark_size = (size_t)got;
    reader->size = 0;
}

/*
 * Go on with the files that are newer than ours, when there are any: ours is read to its end, for whoever made the next
 * one writes to it no more, and so are those between it and the newest. 1, 0: ours is the newest, -errno.
 */
static int advance(struct log_reader *reader, const char *path)
{
    struct log_set newer;
    int result = set_open(&newer, path, reader->fd);

    for (size_t i = 0; i < newer.n && result == 0; i++) {
        result = reader_read(reader);
        if (result < 0 || reader->passed_until)
            break;
        result = reader_finish(reader, true);
        reader_begin(reader, fd_take(&newer.files[i].fd), 0, 0);
        reader->starts[0] = reader->starts[1] = 0;
    }
    if (result == 0 && newer.n > 0)
        result = 1;
    set_deinit(&newer);
    return result;
}

int reader_follow(struct log_reader *reader, const char *path)
{
    const struct remora_log_options *options = reader->options;
    struct log_watch watch;
    bool held = true;
    int result = watch_init(&watch, path, options->run_dir);

    reader->limit = -1;
    while (result == 0) {
        bool recheck = watch.recheck || watch.fd < 0;

        if (recheck) {
            watch_renew(&watch, reader->fd);
            /* Before reading: what is written after the end is nobody's output. */
            held = options->run_dir == NULL || remora_lock_held(options->run_dir) > 0;
        }
        look_back(reader);
        result = reader_read(reader);
        if (result < 0 || reader->passed_until)
            break;
        result = recheck ? advance(reader, path) : 0;
        if (result < 0 || reader->passed_until)
            break;
        if (result == 1) {
            result = 0;
            watch.recheck = true;
            continue;
        }
        if (!held)
            break;
        result = output_flush(&reader->output, false);
        if (result == 0)
            result = watch_wait(&watch, -1, options->out, options->until_ns);
    }
    if (result == 1)
        result = reader_read(reader);
    watch_deinit(&watch);
    return result;
}
