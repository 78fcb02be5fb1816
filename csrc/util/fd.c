/* SPDX-License-Identifier: Apache-2.0 */
#include "util/fd.h"

int fd_write_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t n = write(fd, at, size);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t fd_read_all(int fd, void *buffer, size_t capacity)
{
    char *at = buffer;
    size_t size = 0;
    char more;

    for (;;) {
        /* With the buffer full, one byte more tells whether the file ends here. */
        ssize_t n = size < capacity ? read(fd, at + size, capacity - size) : read(fd, &more, 1);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            return (ssize_t)size;
        if (size == capacity)
            return -EFBIG;
        size += (size_t)n;
    }
}

ssize_t fd_read_at(int fd, void *buffer, size_t size, off_t offset)
{
    char *at = buffer;
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, at + done, size - done, offset + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}
