/* SPDX-License-Identifier: Apache-2.0 */
#include "log/reader.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "util/fd.h"

/* Re-checks after an event of the lock, at 1, 2, 4 … ms: the kernel tells of a close just before it frees the lock. */
#define SETTLE_STEPS 10

#define FALLBACK_MS 100

#define MILLISECOND_NS 1000000LL

int watch_init(struct log_watch *watch, const char *path, const char *run_dir)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;

    *watch = (struct log_watch){.file = -1, .folder = -1, .lock = -1, .settle = SETTLE_STEPS, .recheck = true};
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (path != NULL) {
        watch->folder_path = slash == NULL ? strdup(".") : strndup(path, slash > path ? (size_t)(slash - path) : 1);
        if (watch->folder_path == NULL)
            return -ENOMEM;
    }
    if (run_dir != NULL && asprintf(&watch->lock_path, "%s/lock", run_dir) < 0) {
        watch->lock_path = NULL;
        return -ENOMEM;
    }
    return 0;
}

void watch_deinit(struct log_watch *watch)
{
    fd_close(&watch->fd);
    free(watch->folder_path);
    free(watch->lock_path);
    watch->folder_path = watch->lock_path = NULL;
}

static void renew(int fd, int *watch, const char *path, uint32_t mask)
{
    int now = inotify_add_watch(fd, path, mask);

    /* What is no longer at its path is not watched any more; that fails where the kernel has dropped it itself. */
    if (*watch >= 0 && *watch != now)
        inotify_rm_watch(fd, *watch);
    *watch = now;
}

void watch_renew(struct log_watch *watch, int fd)
{
    char file[32];

    watch->recheck = false;
    if (watch->fd < 0)
        return;
    if (watch->folder_path != NULL) {
        /* By descriptor: a file that was renamed is written to until its writer has opened another. */
        snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
        renew(watch->fd, &watch->file, file, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF);
        renew(watch->fd, &watch->folder, watch->folder_path, IN_CREATE | IN_MOVED_TO);
    }
    if (watch->lock_path != NULL)
        renew(watch->fd, &watch->lock, watch->lock_path, IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
}

static void take_events(struct log_watch *watch)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;

    while ((n = read(watch->fd, events, sizeof(events))) > 0) {
        for (char *at = events; at < events + n;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;

            at += sizeof(*event) + event->len;
            if (event->wd != watch->file || event->mask != IN_MODIFY)
                watch->recheck = true;
            if (event->wd == watch->lock || (event->mask & IN_Q_OVERFLOW) != 0)
                watch->settle = 0;
        }
    }
}

int watch_wait(struct log_watch *watch, int in, int out, int64_t until_ns)
{
    /* No events asked for: POLLERR tells that the reader of a pipe is gone. */
    struct pollfd ready[3] = {
        {.fd = watch->fd, .events = POLLIN}, {.fd = out, .events = 0}, {.fd = in, .events = POLLIN}};
    bool settling = watch->fd < 0 || watch->settle < SETTLE_STEPS;
    int64_t pause = watch->fd < 0 ? FALLBACK_MS : settling ? 1 << watch->settle++ : -1;
    struct timespec now;

    if (until_ns != INT64_MAX) {
        int64_t rest;

        clock_gettime(CLOCK_REALTIME, &now);
        if (__builtin_sub_overflow(until_ns / MILLISECOND_NS, now.tv_sec * 1000LL + now.tv_nsec / MILLISECOND_NS,
                                   &rest) ||
            rest < 0)
            return 1;
        rest++;
        if (pause < 0 || rest < pause)
            pause = rest < INT32_MAX ? rest : INT32_MAX;
    }
    if (poll(ready, 3, (int)pause) < 0)
        return -errno;
    if ((ready[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        return -EPIPE;
    if (ready[0].revents != 0)
        take_events(watch);
    if (settling)
        watch->recheck = true;
    return 0;
}
