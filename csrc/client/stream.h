/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing descriptors of the caller without ever blocking and without touching their flags.
 *
 * O_NONBLOCK belongs to the open file, which the shell and others share: setting it breaks them. So a pipe or terminal
 * is opened once more, through /proc/self/fd, for a file of our own; a socket takes the flag with each call; a regular
 * file never blocks for long. Where none of this works, small pieces are written when poll says that there is room.
 */
#ifndef REMORA_CLIENT_STREAM_H
#define REMORA_CLIENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stream {
    int fd; /* the one to poll and use; -1: none */
    int owned; /* our own file where `fd` is one, else -1 */
    bool socket;
    bool blocking; /* only poll tells whether a call would block */
};

/* `fd` is borrowed; -1 gives an empty stream. */
void stream_init(struct stream *stream, int fd, bool writing);
void stream_deinit(struct stream *stream);
/* As read(2) and write(2): a size, or -errno; -EAGAIN: poll first. */
ssize_t stream_read(struct stream *stream, void *buffer, size_t capacity);
ssize_t stream_write(struct stream *stream, const void *bytes, size_t size);

#endif
