/* SPDX-License-Identifier: Apache-2.0 */
#include "system/loginuid.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

static bool read_file(const char *path, char text[LOGINUID_SIZE])
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, LOGINUID_SIZE - 1);

    if (n <= 0)
        return false;
    text[n] = 0;
    return strspn(text, "0123456789") == (size_t)n;
}

bool loginuid_of_peer(int socket, char text[LOGINUID_SIZE])
{
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    char own[LOGINUID_SIZE], path[48];

    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)peer.pid);
    return read_file(path, text) && read_file("/proc/self/loginuid", own) && strcmp(text, own) != 0;
}

void loginuid_become(const char text[LOGINUID_SIZE])
{
    CLEANUP_FD int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)!write(fd, text, strlen(text));
}
