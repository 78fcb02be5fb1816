/* SPDX-License-Identifier: Apache-2.0 */
#include "system/loginuid.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* asm-generic/socket.h, kernel 6.5 */
#endif

static bool read_file(const char *path, char text[LOGINUID_SIZE])
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, LOGINUID_SIZE - 1);

    if (n <= 0)
        return false;
    text[n] = 0;
    return strspn(text, "0123456789") == (size_t)n;
}

/*
 * Has the peer ended? Then its pid may be somebody else's by now. Before kernel 6.5 nobody can say: a client waits for
 * its reply, so it is there.
 */
static bool is_gone(int socket)
{
    CLEANUP_FD int fd = -1;
    socklen_t size = sizeof(fd);
    struct pollfd ended;

    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) < 0)
        return errno != ENOPROTOOPT;
    ended = (struct pollfd){.fd = fd, .events = POLLIN};
    return poll(&ended, 1, 0) != 0;
}

bool loginuid_of_peer(int socket, char text[LOGINUID_SIZE])
{
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    char own[LOGINUID_SIZE], path[48];

    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)peer.pid);
    if (!read_file(path, text) || is_gone(socket))
        return false;
    return read_file("/proc/self/loginuid", own) && strcmp(text, own) != 0;
}

void loginuid_become(const char text[LOGINUID_SIZE])
{
    CLEANUP_FD int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)!write(fd, text, strlen(text));
}
