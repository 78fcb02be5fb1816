/* SPDX-License-Identifier: Apache-2.0 */
#include "system/child_fd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"

union one_fd {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static int child_send(int socket, int result)
{
    union one_fd ancillary = {.bytes = {0}};
    struct iovec part = {&result, sizeof(result)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (result >= 0) {
        message.msg_control = &ancillary;
        message.msg_controllen = sizeof(ancillary);
        ancillary.header =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&ancillary.header), &result, sizeof(result));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int parent_receive(int socket)
{
    union one_fd ancillary = {.bytes = {0}};
    int result = -ECHILD; /* the child ended without a word */
    struct iovec part = {&result, sizeof(result)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof(ancillary)};
    ssize_t n;

    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (n != sizeof(result))
        return -ECHILD;
    if (result < 0)
        return result;
    if (CMSG_FIRSTHDR(&message) == NULL)
        return -EMFILE; /* this process had no number left for it */
    memcpy(&result, CMSG_DATA(&ancillary.header), sizeof(result));
    return result;
}

int child_fd(int (*make)(const void *context), const void *context)
{
    CLEANUP_FD int ours = -1;
    CLEANUP_FD int theirs = -1;
    sigset_t all, saved;
    int pair[2];
    int result;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = pair[1];
    /* The caller's handlers are not for the child. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &saved);
    pid = fork();
    if (pid == 0)
        _exit(child_send(theirs, make(context)) < 0);
    result = pid < 0 ? -errno : 0;
    sigprocmask(SIG_SETMASK, &saved, NULL);
    if (result < 0)
        return result;
    fd_close(&theirs);
    result = parent_receive(ours);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return result;
}
