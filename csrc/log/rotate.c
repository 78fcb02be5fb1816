/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation by rename: PATH.1 becomes PATH.2 and so on, PATH becomes PATH.1, and a new file, made as PATH.new, takes its
 * place. The order is such that there is a file at PATH at any time, and that whatever fails leaves the full file there
 * and in use. The descriptor keeps its number.
 *
 * The step that is under way is noted before it is made, and each can be made twice: whoever was killed in the middle
 * has a successor that goes on there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/target.h"

enum {
    STEP_NONE,
    STEP_REOPEN,
    STEP_MAKE, /* PATH.new; when it is interrupted, the rotation is begun again */
    STEP_GIVE_UP,
    STEP_LINK, /* PATH as PATH.1, too */
    STEP_REPLACE, /* PATH by PATH.new */
    STEP_SWAP, /* the descriptors */
    STEP_SHIFT, /* + N: PATH.N becomes PATH.(N+1) */
};

struct identity {
    uint64_t device, inode;
};

struct paths {
    char first[PATH_MAX], second[PATH_MAX];
};

static bool number_path(char to[PATH_MAX], const char *path, unsigned number)
{
    return snprintf(to, PATH_MAX, "%s.%u", path, number) < PATH_MAX;
}

static bool new_path(char to[PATH_MAX], const char *path)
{
    return snprintf(to, PATH_MAX, "%s.new", path) < PATH_MAX;
}

static bool fd_identity(int fd, struct identity *identity)
{
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0)
        return false;
    *identity = (struct identity){status.st_dev, status.st_ino};
    return true;
}

static bool path_identity(const char *path, struct identity *identity)
{
    struct stat status;

    if (lstat(path, &status) < 0)
        return false;
    *identity = (struct identity){status.st_dev, status.st_ino};
    return true;
}

static bool same(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode;
}

static void set_step(struct log_target *target, unsigned step)
{
    LOG_PUBLISH(target->step, step);
}

static bool is_ours(const struct log_target *target, const char *path)
{
    const struct log_cursor *cursor = target_cursor(target);
    struct identity ours = {cursor->device, cursor->inode}, theirs;

    return path_identity(path, &theirs) && same(&ours, &theirs);
}

/* Whether the cursor speaks of the descriptor's file. */
static bool is_described(const struct log_target *target)
{
    const struct log_cursor *cursor = target_cursor(target);
    struct identity ours = {cursor->device, cursor->inode}, open;

    return fd_identity(target->fd, &open) && same(&ours, &open);
}

static bool give_up(struct log_target *target)
{
    struct log_cursor *next;
    char path[PATH_MAX];

    set_step(target, STEP_GIVE_UP);
    if (new_path(path, target->options->path))
        unlink(path);
    /* The full file is the live one and must not be a rotated one as well. */
    if (target->linked && number_path(path, target->options->path, 1) && is_ours(target, path)) {
        if (is_ours(target, target->options->path))
            unlink(path);
        else if (access(target->options->path, F_OK) < 0)
            (void)rename(path, target->options->path);
    }
    target->linked = false;
    next = target_step(target);
    next->failed_rotations++;
    target_commit(target);
    set_step(target, STEP_NONE);
    target_close_next(target);
    return false;
}

/* The descriptor's file is the new one from here on. */
static bool swap(struct log_target *target, bool rotated)
{
    struct log_cursor *next;

    if (dup3(target->next, target->fd, O_CLOEXEC) < 0) {
        set_step(target, STEP_NONE);
        target_close_next(target);
        return false;
    }
    if (!is_described(target)) { /* else a kill came right behind the commit */
        next = target_step(target);
        file_describe(next, target->fd);
        next->rotations += rotated;
        target_commit(target);
    }
    target->linked = false;
    set_step(target, STEP_NONE);
    target_close_next(target);
    return true;
}

static bool link_or_rename(struct log_target *target, const char *path)
{
    char first[PATH_MAX];

    if (!number_path(first, path, 1))
        return false;
    target->linked = true;
    if (link(path, first) == 0 || is_ours(target, first))
        return true;
    /* No links here, or a PATH.1 that couldn't be moved away. */
    return rename(path, first) == 0;
}

static bool replace(struct log_target *target, const char *path)
{
    struct identity now, wanted;
    char fresh[PATH_MAX];

    if (new_path(fresh, path) && rename(fresh, path) == 0)
        return true;
    return path_identity(path, &now) && fd_identity(target->next, &wanted) && same(&now, &wanted);
}

/* Go on with the noted step. */
static bool proceed(struct log_target *target)
{
    const char *path = target->options->path;
    struct paths paths;

    while (target->step >= STEP_SHIFT) {
        unsigned number = target->step - STEP_SHIFT;

        if (!number_path(paths.first, path, number) || !number_path(paths.second, path, number + 1) ||
            (rename(paths.first, paths.second) < 0 && errno != ENOENT))
            return give_up(target);
        set_step(target, number > 1 ? STEP_SHIFT + number - 1 : STEP_LINK);
    }
    if (target->step == STEP_LINK) {
        if (!link_or_rename(target, path))
            return give_up(target);
        set_step(target, STEP_REPLACE);
    }
    if (target->step == STEP_REPLACE) {
        if (!replace(target, path))
            return give_up(target);
        set_step(target, STEP_SWAP);
    }
    return swap(target, true);
}

/* The first step of moving the rotated files away: what stands behind a number that is free needn't move. */
static unsigned first_shift(const struct log_sink_options *options)
{
    char path[PATH_MAX];
    struct identity there;
    unsigned number = 1;

    /* Only one that is surely not there is free. */
    while (number + 1 < options->max_files && number_path(path, options->path, number) &&
           (path_identity(path, &there) || errno != ENOENT))
        number++;
    return number > 1 ? STEP_SHIFT + number - 1 : STEP_LINK;
}

bool file_rotate(struct log_target *target)
{
    const struct log_sink_options *options = target->options;
    const struct log_cursor *cursor = target_cursor(target);
    const struct identity live = {cursor->device, cursor->inode};
    char fresh[PATH_MAX];
    struct identity now;
    bool there = path_identity(options->path, &now);

    /* Not known for the moment: rather a file that grows than one that is written over. */
    if (!there && errno != ENOENT)
        return give_up(target);
    /* Somebody else has moved our file away: nothing of theirs is renamed. */
    if (there && !same(&live, &now))
        return file_reopen(target) == 0;
    set_step(target, STEP_MAKE);
    if (!new_path(fresh, options->path))
        return give_up(target);
    unlink(fresh);
    target->next = open(fresh, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                        options->mode != 0 ? options->mode : 0600);
    if (target->next < 0)
        return give_up(target);
    if (options->max_files < 2 || !there)
        set_step(target, STEP_REPLACE);
    else
        set_step(target, first_shift(options));
    return proceed(target);
}

int file_reopen(struct log_target *target)
{
    const struct log_sink_options *options = target->options;
    struct stat status;

    set_step(target, STEP_REOPEN);
    target->next = open(options->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK,
                        options->mode != 0 ? options->mode : 0600);
    if (target->next < 0 || fstat(target->next, &status) < 0 || !S_ISREG(status.st_mode)) {
        int error = target->next < 0 ? errno : EINVAL;

        set_step(target, STEP_NONE);
        target_close_next(target);
        return -error;
    }
    return swap(target, false) ? 0 : -EMFILE;
}

/* A descriptor that was opened for the target just before the kill, and not noted. */
static int find_lost(const struct log_target *target, const struct identity *wanted)
{
    enum { LOOKED_AT = 4096 };
    struct identity identity;

    for (int fd = 3; fd < LOOKED_AT; fd++) {
        if (fd != target->fd && fd_identity(fd, &identity) && same(&identity, wanted) &&
            (fcntl(fd, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_RDWR))
            return fd;
    }
    return -1;
}

/* Whether target->next is still the second descriptor of our file, or that of a file that was given up. */
static bool is_leftover(const struct log_target *target)
{
    struct stat status, ours;

    return target->next >= 0 && target->next != target->fd && fstat(target->next, &status) == 0 &&
           S_ISREG(status.st_mode) && fstat(target->fd, &ours) == 0 && status.st_dev == ours.st_dev &&
           (status.st_ino == ours.st_ino || (status.st_nlink == 0 && status.st_size == 0)) &&
           (fcntl(target->next, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_RDWR);
}

void file_rotate_resume(struct log_target *target)
{
    const char *path = target->options->path;
    unsigned step = target->step;
    struct identity wanted, ours;
    char fresh[PATH_MAX];

    if (step == STEP_NONE) {
        /* Killed right before or behind the close that is the last act. Its number may be another's by now. */
        if (is_leftover(target))
            close(target->next);
        target->next = -1;
        return;
    }
    if (target->next < 0 && step == STEP_MAKE && new_path(fresh, path) && path_identity(fresh, &wanted))
        target->next = find_lost(target, &wanted);
    if (target->next < 0 && step == STEP_REOPEN && path_identity(path, &wanted) && fd_identity(target->fd, &ours) &&
        !same(&wanted, &ours))
        target->next = find_lost(target, &wanted);
    if (step == STEP_GIVE_UP)
        give_up(target);
    else if (step > STEP_GIVE_UP)
        proceed(target);
    else {
        /* Begun again by who needs it. */
        set_step(target, STEP_NONE);
        target_close_next(target);
        if (step == STEP_REOPEN)
            file_reopen(target);
    }
}
