/* SPDX-License-Identifier: Apache-2.0 */
#include "conmon/syncpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t escape(char *to, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    static const char plain[] = "\\\"\n\t\r\b\f";
    static const char letters[] = "\\\"ntrbf";
    const char *found = byte != 0 ? memchr(plain, byte, sizeof(plain) - 1) : NULL;

    if (found != NULL) {
        to[0] = '\\';
        to[1] = letters[found - plain];
        return 2;
    }
    if (byte >= 0x20 && byte != 0x7f) {
        to[0] = (char)byte;
        return 1;
    }
    memcpy(to, "\\u00", 4);
    to[4] = digits[byte >> 4];
    to[5] = digits[byte & 15];
    return 6;
}

size_t sync_line(char *to, size_t capacity, const char *key, int number, const char *message, size_t size)
{
    static const char end[] = "\"}\n";
    size_t done =
        (size_t)snprintf(to, capacity, "{\"%s\": %d%s", key, number, message != NULL ? ", \"message\": \"" : "}\n");

    if (message == NULL)
        return done;
    if (size > SYNC_MESSAGE_MAX)
        size = SYNC_MESSAGE_MAX;
    for (size_t i = 0; i < size && done + 6 + sizeof(end) <= capacity; i++)
        done += escape(to + done, (unsigned char)message[i]);
    memcpy(to + done, end, sizeof(end) - 1);
    return done + sizeof(end) - 1;
}

int pipe_from_environment(const char *variable, char *refusal, size_t capacity)
{
    const char *text = getenv(variable);
    char *end;
    long fd;

    if (text == NULL)
        return -1;
    errno = 0;
    fd = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || fd > INT_MAX || fd < INT_MIN) {
        snprintf(refusal, capacity, "unable to parse %s %s", variable, strerror(EINVAL));
        return -EINVAL;
    }
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        snprintf(refusal, capacity, "unable to make %s CLOEXEC %s", variable, strerror(errno));
        return -EBADF;
    }
    return fd > 0 ? (int)fd : -1;
}
