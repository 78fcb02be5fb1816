/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small facts that the caller asks the system for: a terminal's size, a process's start, a small file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "include/remora.h"
#include "util/fd.h"

/* Field 22 of /proc/PID/stat, counted from the one after the name: proc(5). */
#define START_FIELD 19

const char *remora_version(void)
{
    return REMORA_VERSION; /* from meson.build */
}

int remora_window_size(int fd)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) < 0)
        return -errno;
    /* Beyond this the result would be negative; no real terminal is. */
    if (size.ws_row > INT16_MAX)
        return -ERANGE;
    return size.ws_row << 16 | size.ws_col;
}

ssize_t remora_read_file(const char *path, void *buffer, size_t capacity)
{
    struct stat status;
    CLEANUP_FD int fd = -1;

    /* Not blocking: what lies there might be a fifo. */
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    return fd_read_all(fd, buffer, capacity);
}

int64_t remora_process_start(pid_t pid)
{
    char text[1024];
    char path[32];
    CLEANUP_FD int fd = -1;
    ssize_t n;
    char *at;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    n = fd_read_all(fd, text, sizeof(text) - 1);
    if (n < 0)
        return n;
    text[n] = 0;
    /* The name is in parentheses and may contain any of them: the last one ends it. */
    at = strrchr(text, ')');
    if (at == NULL || at[1] == 0)
        return -EBADMSG;
    at += 2;
    /* A zombie has a start time too, but nothing runs any more: who inherited it may take a second to reap it. */
    if (*at == 'Z' || *at == 'X')
        return -ESRCH;
    for (int i = 0; i < START_FIELD; i++) {
        at = strchr(at, ' ');
        if (at == NULL)
            return -EBADMSG;
        at++;
    }
    return (int64_t)strtoll(at, NULL, 10);
}
