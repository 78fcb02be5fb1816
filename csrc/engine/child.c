/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/child.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * PIDFD_GET_INFO (kernel 6.13; exit status from 6.15): include/uapi/linux/pidfd.h. Stated here for older headers.
 */
struct pidfd_info_v0 {
    uint64_t mask, cgroupid;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define HANDED_OVER_NS (2 * SECOND_NS) /* how long a dying parent may take */
#define PIDFD_INFO_EXIT_BIT (1ULL << 3)
#define PIDFD_GET_INFO_V0 _IOWR(0xFF, 11, struct pidfd_info_v0)

/* waitid's wrapper hides the kernel's fifth argument, the resource usage. */
static int wait_by(idtype_t type, id_t id, siginfo_t *info, int options, struct rusage *usage)
{
    return (int)syscall(SYS_waitid, type, id, info, options, usage);
}

static int status_of(const siginfo_t *info)
{
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_DUMPED:
        return info->si_status | 0x80;
    default:
        return info->si_status & 0x7f;
    }
}

static void collect(struct child *child, struct child_end *end)
{
    struct pidfd_info_v0 info = {.mask = PIDFD_INFO_EXIT_BIT};
    siginfo_t ended = {0};

    *end = (struct child_end){0};
    if (wait_by(P_PIDFD, (id_t)child->pidfd.fd, &ended, WEXITED | WNOHANG, &end->usage) == 0) {
        end->known = ended.si_pid != 0;
        end->status = status_of(&ended);
    } else if (ioctl(child->pidfd.fd, PIDFD_GET_INFO_V0, &info) == 0 && (info.mask & PIDFD_INFO_EXIT_BIT)) {
        /* Not a child of ours: the kernel still knows how it ended. */
        end->known = true;
        end->status = info.exit_code;
    }
}

/* Tell the owner. Not if the process is another parent's zombie, unless that is to be the last word. */
static bool settle(struct child *child, bool last)
{
    struct child_end end;

    collect(child, &end);
    if (!end.known && !last && child_signal(child, 0) == 0)
        return false;
    child_forget(child);
    child->ended(child, &end);
    return true;
}

static void patience_over(struct timer *timer)
{
    settle(container_of(timer, struct child, patience), true);
}

static void child_ready(struct source *source, uint32_t events)
{
    struct child *child = container_of(source, struct child, pidfd);
    struct children *children = child->children;

    (void)events;
    if (settle(child, false)) {
        children_reap(children);
        return;
    }
    if (timer_init(source->loop, &child->patience, patience_over) < 0) {
        settle(child, true);
        return;
    }
    timer_set(&child->patience, HANDED_OVER_NS);
    source_await(&child->pidfd, 0);
}

int child_watch(struct loop *loop, struct children *children, struct child *child, pid_t pid,
                void (*ended)(struct child *child, const struct child_end *end))
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    int r;

    *child = (struct child){.pid = pid, .ended = ended, .pidfd = {.fd = -1}};
    if (fd < 0)
        return -errno;
    r = source_add(loop, &child->pidfd, fd, EPOLLIN, child_ready);
    if (r < 0)
        return r;
    child->children = children;
    child->next = children->first;
    children->first = child;
    return 0;
}

int child_signal(const struct child *child, int signal)
{
    if (child->children == NULL)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, child->pidfd.fd, signal, NULL, 0) < 0 ? -errno : 0;
}

void child_forget(struct child *child)
{
    if (child->children == NULL)
        return;
    for (struct child **at = &child->children->first; *at != NULL; at = &(*at)->next) {
        if (*at == child) {
            *at = child->next;
            break;
        }
    }
    source_remove(&child->pidfd);
    timer_deinit(&child->patience);
    child->children = NULL;
}

static bool is_watched(const struct children *children, pid_t pid)
{
    for (const struct child *child = children->first; child != NULL; child = child->next)
        if (child->pid == pid)
            return true;
    return false;
}

/* Those whose parent has ended meanwhile are ours now. */
static void settle_awaited(struct children *children)
{
    struct child *next;

    for (struct child *child = children->first; child != NULL; child = next) {
        next = child->next;
        /* The owner may watch or forget others: begin anew. */
        if (child->patience.source.loop != NULL && settle(child, false))
            next = children->first;
    }
}

void children_reap(struct children *children)
{
    settle_awaited(children);
    while (children->hold == 0) {
        siginfo_t ended = {0};

        if (wait_by(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT, NULL) < 0 || ended.si_pid == 0)
            return;
        /* The first in line is one with an owner: its pidfd is readable, and its owner's turn reaps the rest. */
        if (is_watched(children, ended.si_pid))
            return;
        wait_by(P_PID, (id_t)ended.si_pid, &ended, WEXITED | WNOHANG, NULL);
    }
}
