/* SPDX-License-Identifier: Apache-2.0 */
#include "conmon/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "util/fd.h"

/*
 * A new file beside `path`, whose name goes to `temporary`. Always the same name: what a killed worker left there is
 * replaced by the next one.
 */
static int open_beside(const char *path, char *temporary, size_t capacity)
{
    int length = snprintf(temporary, capacity, "%s.tmp", path);
    int fd;

    if (length < 0 || (size_t)length >= capacity)
        return -ENAMETOOLONG;
    if (unlink(temporary) < 0 && errno != ENOENT)
        return -errno;
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    return fd < 0 ? -errno : fd;
}

static int put_number(const char *path, int number, bool durable)
{
    char temporary[PATH_MAX], text[16];
    int length = snprintf(text, sizeof(text), "%d", number);
    CLEANUP_FD int fd = open_beside(path, temporary, sizeof(temporary));
    int r;

    if (fd < 0)
        return fd;
    r = fd_write_all(fd, text, (size_t)length);
    if (r == 0 && durable && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(temporary);
    return r;
}

int file_put_number(const char *path, int number, bool durable)
{
    int r = put_number(path, number, durable);

    /* An exit code: what failed once may go a second time, and one that a power cut could take is better than none. */
    return r < 0 ? put_number(path, number, false) : r;
}

int file_put_number_in(const char *folder, const char *name, int number)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", folder, name);

    return length < 0 || (size_t)length >= sizeof(path) ? -ENAMETOOLONG : file_put_number(path, number, true);
}

int file_touch(const char *folder, const char *name)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
    CLEANUP_FD int fd = -1;

    if (length < 0 || (size_t)length >= sizeof(path))
        return -ENAMETOOLONG;
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0666);
    return fd < 0 ? -errno : 0;
}

pid_t file_read_pid(const char *path)
{
    char text[32];
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n;
    char *end;
    long pid;

    if (fd < 0)
        return -errno;
    n = fd_read_all(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return n < 0 ? (pid_t)n : -ENODATA;
    text[n] = '\0';
    pid = strtol(text, &end, 10);
    if (end == text || (*end != '\0' && *end != '\n') || pid <= 1 || pid > INT32_MAX)
        return -EBADMSG;
    return (pid_t)pid;
}

bool file_read_name(pid_t pid, char name[PROCESS_NAME_MAX])
{
    char path[32];
    CLEANUP_FD int fd = -1;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : fd_read_all(fd, name, PROCESS_NAME_MAX - 1);
    name[n > 0 ? n : 0] = '\0';
    return n > 0;
}
