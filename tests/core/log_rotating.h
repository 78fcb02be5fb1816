/* SPDX-License-Identifier: Apache-2.0 */
/* A small writer of rotated logs, so that the reader is tested against what the format says and not against our writer.
 */
#ifndef TESTS_CORE_LOG_ROTATING_H
#define TESTS_CORE_LOG_ROTATING_H

#include <time.h>

#include "log_help.h"

struct rotating {
    const char *path;
    unsigned max_files; /* with the live one; 1: the full file is replaced and is gone */
    int64_t max_size; /* 0: only rotating_shift rotates */
    bool json;
    bool linked; /* rotate so that there is always a file at the path, which for a moment has a number, too */
    int fd;
    int64_t size;
};

static inline void rotating_open(struct rotating *log)
{
    log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert(log->fd >= 0);
    log->size = lseek(log->fd, 0, SEEK_END);
}

/* As Docker does it: from the oldest on, so that for a moment one number is missing. */
static inline void rotating_shift(struct rotating *log)
{
    char from[256], to[256];
    bool replace = log->linked || log->max_files == 1;

    for (unsigned i = log->max_files - 1; i > 0; i--) {
        snprintf(to, sizeof(to), "%s.%u", log->path, i);
        snprintf(from, sizeof(from), i > 1 ? "%s.%u" : "%s", log->path, i - 1);
        if (i == log->max_files - 1)
            unlink(to);
        if (i == 1 && replace)
            assert(link(from, to) == 0);
        else
            rename(from, to);
    }
    close(log->fd);
    if (replace) {
        snprintf(from, sizeof(from), "%s.new", log->path);
        log->fd = open(from, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
        assert(log->fd >= 0 && rename(from, log->path) == 0);
    } else {
        rotating_open(log);
    }
    log->size = 0;
}

static inline void rotating_close(struct rotating *log)
{
    char path[256];

    close(log->fd);
    unlink(log->path);
    for (unsigned i = 1; i < log->max_files; i++) {
        snprintf(path, sizeof(path), "%s.%u", log->path, i);
        unlink(path);
    }
}

/* One record. `partial`: the line goes on in the next one of its stream. */
static inline void rotating_put(struct rotating *log, int64_t time_ns, const char *stream, bool partial,
                                const char *text)
{
    time_t second = time_ns / 1000000000;
    char record[1024], when[64];
    struct tm tm;
    int size;

    assert(gmtime_r(&second, &tm) != NULL);
    snprintf(when, sizeof(when), "%04d-%02d-%02dT%02d:%02d:%02d.%09lld", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, (long long)(time_ns % 1000000000));
    if (log->json)
        size = snprintf(record, sizeof(record), "{\"log\":\"%s%s\",\"stream\":\"%s\",\"time\":\"%sZ\"}\n", text,
                        partial ? "" : "\\n", stream, when);
    else
        size = snprintf(record, sizeof(record), "%s+00:00 %s %c %s\n", when, stream, partial ? 'P' : 'F', text);
    assert(size > 0 && size < (int)sizeof(record));
    if (log->max_size > 0 && log->size > 0 && log->size + size > log->max_size)
        rotating_shift(log);
    assert(write(log->fd, record, (size_t)size) == size);
    log->size += size;
}

#endif
