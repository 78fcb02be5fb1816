/* SPDX-License-Identifier: Apache-2.0 */
#include "log/set.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fd.h"

enum {
    MISSING_MAX = 4, /* numbers in a row without a file: none of a higher number is looked for */
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static int add(struct log_set *set, int *fd, off_t size)
{
    struct log_file *files = realloc(set->files, (set->n + 1) * sizeof(*files));

    if (files == NULL)
        return -ENOMEM;
    set->files = files;
    set->files[set->n++] = (struct log_file){.fd = fd_take(fd), .size = size};
    return 0;
}

/* What was found newest first is put in order of time. */
static void arrange(struct log_set *set)
{
    for (size_t i = 0, k = set->n; i + 1 < k; i++) {
        struct log_file file = set->files[i];

        set->files[i] = set->files[--k];
        set->files[k] = file;
    }
    set->size = 0;
    for (size_t i = 0; i < set->n; i++) {
        set->files[i].start = set->size;
        set->size += set->files[i].size;
    }
}

static int name(char numbered[PATH_MAX], const char *path, unsigned number)
{
    int length =
        number == 0 ? snprintf(numbered, PATH_MAX, "%s", path) : snprintf(numbered, PATH_MAX, "%s.%u", path, number);

    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* 1: there is a regular file of that number, 0: there is none, -errno: that can't be told. */
static int open_number(const char *path, unsigned number, int *fd, struct stat *status)
{
    char numbered[PATH_MAX];

    if (name(numbered, path, number) < 0)
        return number == 0 ? -ENAMETOOLONG : 0;
    /* O_NONBLOCK: so that opening a fifo can't wait. */
    *fd = open(numbered, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (number > 0 ? O_NOFOLLOW : 0));
    if (*fd >= 0 && fstat(*fd, status) == 0)
        return S_ISREG(status->st_mode) ? 1 : 0;
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || (number == 0 && errno != ENOENT))
        return -errno;
    return 0;
}

static bool is_at(const char *path, unsigned number, const struct stat *wanted)
{
    char numbered[PATH_MAX];
    struct stat now;

    return name(numbered, path, number) == 0 && stat(numbered, &now) == 0 && same_file(&now, wanted);
}

/*
 * Where the file is by now that was at *number. What is met there on the way is newer than it. False: nowhere; then
 * there are no older ones either.
 */
static bool find_again(const char *path, const struct stat *wanted, unsigned *number)
{
    char numbered[PATH_MAX];
    struct stat now;

    for (unsigned n = *number + 1, missing = 0; missing <= MISSING_MAX; n++) {
        if (name(numbered, path, n) < 0)
            return false;
        if (stat(numbered, &now) < 0) {
            missing++;
        } else if (same_file(&now, wanted)) {
            *number = n;
            return true;
        } else {
            missing = 0;
        }
    }
    return false;
}

/*
 * Whether a file is older than another: made before it or, where that was too quick for the clock of the file system,
 * not written to as late. False when it can't be told.
 */
static bool is_older(int fd, int than)
{
    struct statx a, b;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MTIME, &a) < 0 ||
        statx(than, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MTIME, &b) < 0)
        return false;
    if ((a.stx_mask & b.stx_mask & STATX_BTIME) != 0 &&
        (a.stx_btime.tv_sec != b.stx_btime.tv_sec || a.stx_btime.tv_nsec != b.stx_btime.tv_nsec))
        return a.stx_btime.tv_sec < b.stx_btime.tv_sec ||
               (a.stx_btime.tv_sec == b.stx_btime.tv_sec && a.stx_btime.tv_nsec < b.stx_btime.tv_nsec);
    return a.stx_mtime.tv_sec < b.stx_mtime.tv_sec ||
           (a.stx_mtime.tv_sec == b.stx_mtime.tv_sec && a.stx_mtime.tv_nsec < b.stx_mtime.tv_nsec);
}

/* Leave out what is older than the known file, which is not in the set. A live one took its place. */
static void drop_older(struct log_set *set, int known, bool live)
{
    for (size_t i = live ? 1 : 0; i < set->n; i++) {
        if (is_older(set->files[i].fd, known)) {
            while (set->n > i)
                fd_close(&set->files[--set->n].fd);
        }
    }
}

/*
 * From `path` on to higher numbers, newest first; *live: there was one at the path itself. 1: the known file was met,
 * 0: it was not, -errno.
 */
static int find(struct log_set *set, const char *path, const struct stat *known, bool *live)
{
    struct stat last = {0}, now; /* of the oldest file so far */
    unsigned last_number = 0;

    for (unsigned number = 0, missing = 0; missing <= MISSING_MAX; number++) {
        CLEANUP_FD int fd = -1;
        int r = open_number(path, number, &fd, &now);

        if (r < 0)
            return r;
        if (r == 0 && number == 0 && fd >= 0)
            return 1;
        missing = r == 0 ? missing + 1 : 0;
        if (r == 0)
            continue;
        if (known != NULL && same_file(&now, known))
            return 1;
        /* While a writer rotates, a file may have two numbers. */
        if (set->n > 0 && same_file(&now, &last)) {
            last_number = number;
            continue;
        }
        /* As long as the last one has not moved, what was found behind it is older. */
        if (set->n > 0 && !is_at(path, last_number, &last)) {
            if (!find_again(path, &last, &last_number))
                return 0;
            number = last_number;
            continue;
        }
        if (number == 0)
            *live = true;
        last = now;
        last_number = number;
        r = add(set, &fd, now.st_size);
        if (r < 0)
            return r;
    }
    return 0;
}

int set_open(struct log_set *set, const char *path, int known)
{
    struct stat status;
    bool live = false;
    int r;

    *set = (struct log_set){0};
    if (known >= 0 && fstat(known, &status) < 0)
        return -errno;
    r = find(set, path, known >= 0 ? &status : NULL, &live);
    if (r == 0 && known >= 0)
        drop_older(set, known, live);
    if (r == 0 && known < 0 && set->n == 0)
        r = -ENOENT;
    if (r < 0) {
        set_deinit(set);
        return r;
    }
    arrange(set);
    return 0;
}

void set_deinit(struct log_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        fd_close(&set->files[i].fd);
    free(set->files);
    *set = (struct log_set){0};
}
