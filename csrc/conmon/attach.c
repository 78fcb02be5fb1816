/* SPDX-License-Identifier: Apache-2.0 */
#include "conmon/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/fd.h"

#define ADDRESS_MAX sizeof(((struct sockaddr_un *)0)->sun_path)
#define FIFO_MODE 0660

int attach_link_path(char *to, size_t capacity, const char *socket_dir, const char *cuuid)
{
    size_t size = strlen(socket_dir);
    int length;

    while (size > 1 && socket_dir[size - 1] == '/')
        size--;
    cuuid += strspn(cuuid, "/");
    length = snprintf(to, capacity, "%.*s%s%s", (int)size, socket_dir,
                      size > 0 && socket_dir[size - 1] == '/' ? "" : "/", cuuid);
    if (length < 0 || (size_t)length >= capacity)
        return -ENAMETOOLONG;
    if ((size_t)length == ADDRESS_MAX - 1)
        to[length - 1] = '\0';
    return 0;
}

int socket_bind_in(const char *folder, const char *name, int type, unsigned mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP_FD int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP_FD int fd = -1;

    if (folder_fd < 0)
        return -errno;
    if (snprintf(address.sun_path, ADDRESS_MAX, "/proc/self/fd/%d/%s", folder_fd, name) >= (int)ADDRESS_MAX)
        return -ENAMETOOLONG;
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return -errno;
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The file takes the socket's mode: there is no moment at which it has another one. */
    if (fd < 0 || fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    /* A umask may have taken bits away; what was just bound is ours. */
    if (fchmodat(folder_fd, name, mode, 0) < 0)
        return -errno;
    return fd_take(&fd);
}

int fifo_open_in(const char *folder, const char *name)
{
    CLEANUP_FD int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd;

    if (folder_fd < 0)
        return -errno;
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return -errno;
    if (mkfifoat(folder_fd, name, FIFO_MODE) < 0)
        return -errno;
    fd = openat(folder_fd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}
