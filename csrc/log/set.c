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

/* From `path` on to higher numbers. 0 or -errno. */
static int find(struct log_set *set, const char *path, const struct stat known[2], int n_known)
{
    struct stat last = {0}, now;
    char numbered[PATH_MAX];
    int missing = 0;

    for (unsigned number = 0; missing <= MISSING_MAX; number++) {
        CLEANUP_FD int fd = -1;
        int r;

        if (snprintf(numbered, sizeof(numbered), "%s.%u", path, number) >= (int)sizeof(numbered))
            return number == 0 ? -ENAMETOOLONG : 0;
        /* O_NONBLOCK: so that opening a fifo can't wait. */
        fd = open(number == 0 ? path : numbered,
                  O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (number > 0 ? O_NOFOLLOW : 0));
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || (number == 0 && errno != ENOENT)))
            return -errno;
        if (fd >= 0 && fstat(fd, &now) < 0)
            return -errno;
        if (fd >= 0 && number == 0 && !S_ISREG(now.st_mode))
            return 0;
        if (fd < 0 || !S_ISREG(now.st_mode)) {
            missing++;
            continue;
        }
        missing = 0;
        for (int i = 0; i < n_known; i++) {
            if (same_file(&now, &known[i]))
                return 0;
        }
        if (set->n > 0 && same_file(&now, &last))
            continue;
        last = now;
        r = add(set, &fd, now.st_size);
        if (r < 0)
            return r;
    }
    return set->n == 0 && n_known == 0 ? -ENOENT : 0;
}

int set_open(struct log_set *set, const char *path, const int known[2])
{
    struct stat files[2];
    int n_known = 0;
    int r;

    *set = (struct log_set){0};
    for (int i = 0; i < 2; i++) {
        if (known[i] >= 0 && fstat(known[i], &files[n_known]) == 0)
            n_known++;
    }
    r = find(set, path, files, n_known);
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
