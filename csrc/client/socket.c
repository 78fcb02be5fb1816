/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of a control socket: connecting, one packet out, one packet in.
 *
 * Invariants: a packet is one type byte and at most REMORA_PAYLOAD_MAX bytes; no call raises SIGPIPE; a call that a
 * signal interrupts returns -EINTR with nothing sent or taken, so that the caller may look at what the signal meant
 * and call again.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "client/client.h"
#include "include/remora.h"
#include "util/fd.h"

/* Room for some packets of the full size, so that a bulk copy does not change sides at each of them. */
#define SOCKET_BUFFER (1 << 20)

void client_enlarge(int fd)
{
    int size = SOCKET_BUFFER;

    /* The forced form needs CAP_NET_ADMIN; the plain one is cut to net.core.wmem_max. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int remora_connect(const char *run_dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP_FD int folder = -1;
    CLEANUP_FD int fd = -1;

    folder = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* A socket's name has 107 bytes, a path may have 4095: go through the descriptor. */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/ctl", folder);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    client_enlarge(fd);
    return fd_take(&fd);
}

int remora_send(int fd, int type, const void *payload, size_t size, const int *fds, size_t n_fds)
{
    unsigned char kind = (unsigned char)type;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * REMORA_PACKET_FDS_MAX)];
    } ancillary;
    struct iovec parts[2] = {{&kind, 1}, {(void *)(uintptr_t)payload, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};

    if (size > REMORA_PAYLOAD_MAX || n_fds > REMORA_PACKET_FDS_MAX)
        return -EMSGSIZE;
    if (n_fds > 0) {
        struct cmsghdr *header = &ancillary.align;

        memset(&ancillary, 0, sizeof(ancillary));
        message.msg_control = ancillary.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
    }
    while (sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};

        if (errno == ECONNRESET || errno == ENOTCONN)
            return -EPIPE;
        if (errno != EAGAIN)
            return -errno;
        if (poll(&ready, 1, -1) < 0)
            return -errno;
    }
    return 0;
}

int client_put(int fd, int type, const void *payload, size_t size)
{
    unsigned char kind = (unsigned char)type;
    struct iovec parts[2] = {{&kind, 1}, {(void *)(uintptr_t)payload, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};

    while (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == ECONNRESET || errno == ENOTCONN)
            return -EPIPE;
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

ssize_t client_take(int fd, int *type, void *payload, size_t capacity, int flags)
{
    unsigned char kind = 0;
    struct iovec parts[2] = {{&kind, 1}, {payload, capacity}};
    /* No room for ancillary data: descriptors that nobody asked for are closed by the kernel. */
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);

    /*
     * A peer that closes with packets of ours unread leaves ECONNRESET once, before what it sent last (the exit
     * record, for one): reading the error clears it, and the queue comes after.
     */
    if (n < 0 && errno == ECONNRESET)
        n = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    if (n == 0)
        return -ECONNRESET;
    if (message.msg_flags & MSG_TRUNC)
        return -EMSGSIZE;
    *type = kind;
    return n - 1;
}

int64_t client_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

ssize_t remora_receive(int fd, int *type, void *payload, size_t capacity, int timeout_ms)
{
    int64_t deadline = timeout_ms < 0 ? 0 : client_now_ms() + timeout_ms;

    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t n;
        int left = -1;
        int result;

        if (timeout_ms >= 0) {
            int64_t rest = deadline - client_now_ms();

            left = rest > 0 ? (int)rest : 0;
        }
        result = poll(&ready, 1, left);
        if (result < 0)
            return -errno;
        if (result == 0)
            return -ETIMEDOUT;
        n = client_take(fd, type, payload, capacity, MSG_DONTWAIT);
        /* Another process with the same descriptor may have been quicker. */
        if (n != -EAGAIN)
            return n;
    }
}
