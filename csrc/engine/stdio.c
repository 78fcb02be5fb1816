/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "util/fd.h"

void stdio_init(struct stdio *stdio)
{
    *stdio = (struct stdio){.in = -1, .out = -1, .err = -1, .theirs = {-1, -1, -1}};
}

/* A pipe of which our end is non-blocking and both ends belong to the container's user. */
static int owned_pipe(int *ours, int *theirs, bool we_write, uid_t uid, gid_t gid)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    *ours = ends[we_write ? 1 : 0];
    *theirs = ends[we_write ? 0 : 1];
    if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    /* In a user namespace the owner may not be ours to give: the pipe then works but can't be opened anew. */
    if ((uid != 0 || gid != 0) && fchown(*ours, uid, gid) < 0 && errno != EPERM && errno != EINVAL)
        return -errno;
    return 0;
}

int stdio_pipes(struct stdio *stdio, bool with_stdin, uid_t uid, gid_t gid)
{
    int r;

    stdio_init(stdio);
    r = with_stdin ? owned_pipe(&stdio->in, &stdio->theirs[0], true, uid, gid) : 0;
    if (r == 0)
        r = owned_pipe(&stdio->out, &stdio->theirs[1], false, uid, gid);
    if (r == 0)
        r = owned_pipe(&stdio->err, &stdio->theirs[2], false, uid, gid);
    if (r < 0)
        stdio_deinit(stdio);
    return r;
}

int stdio_pty(struct stdio *stdio, unsigned rows, unsigned cols)
{
    struct termios settings;
    int master = stdio->out;

    /* Runtimes hand over a pty that doesn't turn LF into CR LF; a terminal emulator at the other end expects it. */
    if (tcgetattr(master, &settings) == 0) {
        settings.c_oflag |= ONLCR;
        tcsetattr(master, TCSANOW, &settings);
    }
    pty_resize(master, rows, cols);
    if (stdio->in < 0)
        stdio->in = fcntl(master, F_DUPFD_CLOEXEC, 3);
    if (stdio->in < 0 || fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
        int error = -errno;

        stdio_deinit(stdio);
        return error;
    }
    return 0;
}

void stdio_close_theirs(struct stdio *stdio)
{
    for (int i = 0; i < 3; i++)
        fd_close(&stdio->theirs[i]);
}

void stdio_deinit(struct stdio *stdio)
{
    stdio_close_theirs(stdio);
    fd_close(&stdio->in);
    fd_close(&stdio->out);
    fd_close(&stdio->err);
}

void pty_resize(int master, unsigned rows, unsigned cols)
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};

    if (rows != 0 || cols != 0)
        ioctl(master, TIOCSWINSZ, &size);
}

int console_listen(int dir_fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    unlinkat(dir_fd, name, 0);
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
        return -errno;
    return fd_take(&fd);
}

int console_receive(int listener)
{
    char name[256];
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    struct iovec data = {.iov_base = name, .iov_len = sizeof(name)};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof(ancillary)};
    CLEANUP_FD int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct cmsghdr *header;
    int master;

    if (fd < 0)
        return -errno;
    if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0)
        return -errno;
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int)))
        return -EPROTO;
    memcpy(&master, CMSG_DATA(header), sizeof(master));
    return master;
}
