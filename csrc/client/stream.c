/* SPDX-License-Identifier: Apache-2.0 */
#include "client/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "util/fd.h"

void stream_init(struct stream *stream, int fd, bool writing)
{
    struct stat status;
    char path[32];

    *stream = (struct stream){.fd = fd, .owned = -1};
    if (fd < 0 || fstat(fd, &status) < 0)
        return;
    stream->socket = S_ISSOCK(status.st_mode);
    /* A regular file opened again would begin at its start: only what has no position. */
    if (!S_ISFIFO(status.st_mode) && !(S_ISCHR(status.st_mode) && isatty(fd)))
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    stream->owned = open(path, (writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (stream->owned >= 0)
        stream->fd = stream->owned;
    else
        stream->blocking = true; /* another user's terminal, say */
}

void stream_deinit(struct stream *stream)
{
    fd_close(&stream->owned);
    stream->fd = -1;
}

static bool is_ready(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};

    return poll(&ready, 1, 0) > 0;
}

ssize_t stream_read(struct stream *stream, void *buffer, size_t capacity)
{
    ssize_t n;

    if (stream->blocking && !is_ready(stream->fd, POLLIN))
        return -EAGAIN;
    do {
        n = stream->socket ? recv(stream->fd, buffer, capacity, MSG_DONTWAIT) : read(stream->fd, buffer, capacity);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t stream_write(struct stream *stream, const void *bytes, size_t size)
{
    ssize_t n;

    if (stream->blocking) {
        if (!is_ready(stream->fd, POLLOUT))
            return -EAGAIN;
        /* A pipe that poll calls writable has room for this much (pipe(7)). */
        if (size > PIPE_BUF)
            size = PIPE_BUF;
    }
    do {
        n = stream->socket ? send(stream->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                           : write(stream->fd, bytes, size);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}
