/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: one owner each, -1 when empty, closed by scope where they are local.
 */
#ifndef REMORA_UTIL_FD_H
#define REMORA_UTIL_FD_H

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

/* Close what *fd owns and leave it empty; errno is kept. */
static inline void fd_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        int owned = *fd;

        *fd = -1;
        close(owned);
        errno = saved;
    }
}

/* Hand a descriptor over: the caller owns the result, *fd is empty. */
static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define CLEANUP(function) __attribute__((cleanup(function)))
#define CLEANUP_FD CLEANUP(fd_close)

/* Write all of it, resuming short writes; 0 or -errno. For blocking descriptors. */
int fd_write_all(int fd, const void *bytes, size_t size);

/* Read a whole file of at most `capacity` bytes: its size, -EFBIG when there is more, or -errno. */
ssize_t fd_read_all(int fd, void *buffer, size_t capacity);

/* As pread, until the end of the file or of the buffer: bytes read or -errno. */
ssize_t fd_read_at(int fd, void *buffer, size_t size, off_t offset);

#endif
