/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of a run folder: an OFD write lock on the file `lock`.
 *
 * It belongs to the open file, not to a process: handing the descriptor over hands the lock over, and it is free when
 * the last holder is gone, however it ended. `rm` unlinks the file while it holds the lock, so a lock counts only if
 * its file is still the one at the path.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "client/client.h"
#include "include/remora.h"
#include "util/fd.h"

/* Each retry means that somebody removed the folder just then. */
#define RETRIES_MAX 1000

/* Looks at the beginning, 1 ms apart. */
#define SHORT_STEPS 4

/* Re-checks after an event, at 1, 2, 4 … ms: together one second. */
#define SETTLE_STEPS 10

/* Without an inotify instance (there are only so many for each user): the time between two looks. */
#define FALLBACK_MS 100

static int lock_path(char *path, size_t capacity, const char *run_dir)
{
    int n = snprintf(path, capacity, "%s/lock", run_dir);

    return n < 0 || (size_t)n >= capacity ? -ENAMETOOLONG : 0;
}

/* mkdir -p, all 0700: what is above a run folder is as private. */
static int make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);

    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return -errno;
    if (length >= sizeof(part))
        return -ENAMETOOLONG;
    memcpy(part, path, length + 1);
    for (char *at = part + 1; *at != 0; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return -errno;
        *at = '/';
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* 1: the descriptor is the file at the path; 0: it is not (any more); -errno. */
static int lock_current(int fd, const char *path)
{
    struct stat ours, there;

    if (fstat(fd, &ours) < 0)
        return -errno;
    if (fstatat(AT_FDCWD, path, &there, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    return ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

int remora_lock(const char *run_dir, bool wait)
{
    char path[PATH_MAX];
    int result = lock_path(path, sizeof(path), run_dir);

    if (result < 0)
        return result;
    for (int i = 0; i < RETRIES_MAX; i++) {
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        CLEANUP_FD int fd = -1;

        fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0) {
            if (errno != ENOENT)
                return -errno;
            result = make_folders(run_dir);
            if (result < 0 && result != -ENOENT)
                return result;
            continue;
        }
        if (fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range) < 0)
            return errno == EACCES ? -EAGAIN : -errno;
        result = lock_current(fd, path);
        if (result < 0)
            return result;
        if (result > 0)
            return fd_take(&fd);
    }
    return -EAGAIN;
}

static int held_at(const char *path)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CLEANUP_FD int fd = -1;

    /* Read-only: closing it is then no event for those who wait (below). */
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    if (fcntl(fd, F_OFD_GETLK, &range) < 0)
        return -errno;
    return range.l_type != F_UNLCK;
}

int remora_lock_held(const char *run_dir)
{
    char path[PATH_MAX];
    int result = lock_path(path, sizeof(path), run_dir);

    return result < 0 ? result : held_at(path);
}

/* Watch the file that is at the path now, which may be another one than last time. */
static int watch_path(int watch, const char *path)
{
    /* Unlinking is IN_ATTRIB: the file itself goes (IN_DELETE_SELF) only with its last holder. */
    const uint32_t events = IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW;

    return watch >= 0 && inotify_add_watch(watch, path, events) < 0 ? -errno : 0;
}

static void watch_drain(int fd)
{
    char events[4096];

    while (read(fd, events, sizeof(events)) > 0)
        ;
}

int remora_lock_wait(const char *run_dir, int timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : client_now_ms() + timeout_ms;
    int settle = SETTLE_STEPS; /* none pending */
    CLEANUP_FD int watch = -1;
    char path[PATH_MAX];
    int result = lock_path(path, sizeof(path), run_dir);

    if (result < 0)
        return result;
    /* Without a watch first, for a holder that is about to end: closing a watch takes the kernel 8 ms. */
    for (int i = 0; i < SHORT_STEPS; i++) {
        result = held_at(path);
        if (result <= 0)
            return result;
        if (client_now_ms() >= deadline)
            return -ETIMEDOUT;
        if (poll(NULL, 0, 1) < 0)
            return -errno;
    }
    watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch < 0 && errno != EMFILE)
        return -errno;
    result = watch_path(watch, path);
    if (result < 0)
        return result == -ENOENT || result == -ENOTDIR ? 0 : result;
    for (;;) {
        struct pollfd ready = {.fd = watch, .events = POLLIN};
        int64_t rest = deadline - client_now_ms();
        int64_t pause = watch < 0 ? FALLBACK_MS : settle < SETTLE_STEPS ? 1 << settle++ : -1;

        result = held_at(path);
        if (result <= 0)
            return result;
        if (rest <= 0)
            return -ETIMEDOUT;
        if (timeout_ms >= 0 && (pause < 0 || pause > rest))
            pause = rest;
        result = poll(&ready, 1, (int)pause);
        if (result < 0)
            return -errno;
        if (result > 0) {
            /*
             * The kernel tells of the close just before it frees the lock (kernel 6.18, __fput), so one look is not
             * enough: look again for a while.
             */
            watch_drain(watch);
            settle = 0;
            result = watch_path(watch, path);
            if (result < 0)
                return result == -ENOENT || result == -ENOTDIR ? 0 : result;
        }
    }
}
