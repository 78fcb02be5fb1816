/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/fd.h"

/*
 * PIDFD_GET_INFO (kernel 6.13; exit status from 6.15): include/uapi/linux/pidfd.h. Stated here for older headers.
 */
struct pidfd_info_v0 {
    uint64_t mask, cgroupid;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define PIDFD_INFO_EXIT_BIT (1ULL << 3)
#define PIDFD_GET_INFO_V0 _IOWR(0xFF, 11, struct pidfd_info_v0)
#define ASK_AGAIN_MS 1000
#define REAPED_NS (10 * SECOND_NS) /* how long whoever is its parent may take to reap a process */

/* ---- the keeper ---- */

static void poke(const struct children *children)
{
    if (children->keeper.loop != NULL)
        (void)syscall(SYS_pidfd_send_signal, children->keeper.fd, SIGUSR1, NULL, 0);
}

static void collect(const struct child *child, struct child_end *end)
{
    struct pidfd_info_v0 info = {.mask = PIDFD_INFO_EXIT_BIT};

    *end = (struct child_end){0};
    if (child->entry != NULL && child->entry->ended == child->pid) {
        *end = (struct child_end){
            .known = true,
            .status = child->entry->status,
            .cpu_ns = child->entry->cpu_ns,
            .peak_bytes = child->entry->peak_bytes,
        };
    } else if (ioctl(child->pidfd.fd, PIDFD_GET_INFO_V0, &info) == 0 && (info.mask & PIDFD_INFO_EXIT_BIT)) {
        end->known = true;
        end->status = info.exit_code;
    }
}

/* Tell the owner. Not if it may become known yet, unless that is to be the last word. */
static bool settle(struct child *child, bool last)
{
    struct child_end end;

    collect(child, &end);
    if (!end.known && !last)
        return false;
    child->end = end;
    child->telling = true;
    child_forget(child);
    child->ended(child, &end);
    return true;
}

static void settle_all(struct children *children)
{
    struct child *next;

    for (struct child *child = children->first; child != NULL; child = next) {
        next = child->next;
        /* The owner may watch or forget others: begin anew. */
        if (settle(child, false))
            next = children->first;
    }
}

static void ends_ready(struct source *source, uint32_t events)
{
    struct children *children = container_of(source, struct children, ends);
    uint64_t count, signals;

    (void)events;
    (void)!read(source->fd, &count, sizeof(count));
    settle_all(children);
    signals = children->board->signals;
    for (int signal = 1; signals != 0; signal++, signals >>= 1) {
        if (!(signals & 1))
            continue;
        /* Forgotten only then: rather passed on twice, by a killed worker's successor, than never. */
        children->signalled(children, signal);
        atomic_fetch_and(&children->board->signals, ~(1ULL << (signal - 1)));
    }
}

static void keeper_gone(struct source *source, uint32_t events)
{
    struct children *children = container_of(source, struct children, keeper);

    (void)events;
    source_remove(source);
    children->board->keeper = 0;
    children->board->keeper_fd = -1;
}

/* The board's descriptors outlive the worker: not closed when it can't be done. */
static int wait_for(struct loop *loop, struct source *source, int fd, source_ready_fn ready)
{
    source->fd = fd;
    source_bind(loop, source, EPOLLIN, ready);
    source_resume(source);
    return loop->incomplete ? -ENOMEM : source->loop == NULL ? -EBADF : 0;
}

int children_init(struct children *children, struct loop *loop, struct board *board,
                  void (*signalled)(struct children *children, int signal))
{
    int r;

    children->board = board;
    children->signalled = signalled;
    children->first = NULL;
    children->ends.fd = children->keeper.fd = -1;
    children->keeper.loop = NULL;
    board->hold = 1;
    r = wait_for(loop, &children->ends, board->ends_fd, ends_ready);
    if (r == 0 && board->keeper_fd >= 0)
        r = wait_for(loop, &children->keeper, board->keeper_fd, keeper_gone);
    /* A killed worker may have read the news and not passed them on. */
    if (r == 0 && board->signals != 0)
        (void)!write(board->ends_fd, &(uint64_t){1}, sizeof(uint64_t));
    return r;
}

void children_deinit(struct children *children)
{
    source_remove(&children->ends);
    source_remove(&children->keeper);
}

void children_hold(struct children *children)
{
    children->board->hold++;
}

void children_release(struct children *children)
{
    if (--children->board->hold == 0 && children->board->strangers)
        poke(children);
}

int children_ask(struct children *children, struct task *task)
{
    struct board *board = children->board;
    struct pollfd waited[] = {{.fd = board->answer_fd, .events = POLLIN}, {.fd = board->keeper_fd, .events = POLLIN}};
    uint64_t count;

    task->result = -EOWNERDEAD;
    if (children->keeper.loop == NULL)
        return -EOWNERDEAD;
    /* First: with an old answer's state, half of this task would look answered to a successor. */
    board->task.state = TASK_NONE;
    task->state = TASK_NONE;
    memcpy(&board->task, task, sizeof(*task));
    board->task.state = TASK_ASKED;
    poke(children);
    while (board->task.state != TASK_ANSWERED) {
        int n = poll(waited, 2, ASK_AGAIN_MS);

        if (n == 0)
            poke(children); /* it may not have gone through */
        if (n <= 0)
            continue;
        if (waited[1].revents != 0 && board->task.state != TASK_ANSWERED)
            return -EOWNERDEAD;
        (void)!read(board->answer_fd, &count, sizeof(count));
    }
    memcpy(task, &board->task, sizeof(*task));
    return task->result;
}

/* ---- children ---- */

static void patience_over(struct timer *timer)
{
    settle(container_of(timer, struct child, patience), true);
}

/* It has ended, but the keeper has not noted it yet, or is not its parent: then the kernel tells once it is reaped. */
static void child_ready(struct source *source, uint32_t events)
{
    struct child *child = container_of(source, struct child, pidfd);

    if (settle(child, (events & EPOLLHUP) != 0))
        return;
    /* There is one already when a worker was killed in here. */
    if (child->patience.source.loop == NULL && timer_init(source->loop, &child->patience, patience_over) < 0) {
        settle(child, true);
        return;
    }
    timer_set(&child->patience, REAPED_NS);
    /* That it is reaped comes as a hang-up. */
    source_await(&child->pidfd, EPOLLPRI);
}

static void unlink_child(struct children *children, const struct child *child)
{
    for (struct child **at = &children->first; *at != NULL; at = &(*at)->next) {
        if (*at == child) {
            *at = child->next;
            break;
        }
    }
}

static int take(struct loop *loop, struct children *children, struct child *child, pid_t pid, int pidfd,
                void (*ended)(struct child *child, const struct child_end *end))
{
    int r;

    /* A killed worker may have been as far as that already. */
    unlink_child(children, child);
    *child = (struct child){.pid = pid, .ended = ended, .pidfd = {.fd = -1}};
    child->patience.source.fd = -1;
    r = source_add(loop, &child->pidfd, pidfd, EPOLLIN, child_ready);
    if (r < 0)
        return r;
    child->next = children->first;
    children->first = child;
    child->children = children;
    return 0;
}

int child_watch(struct loop *loop, struct children *children, struct child *child, pid_t pid,
                void (*ended)(struct child *child, const struct child_end *end))
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct end_entry *entry;
    int r;

    if (fd < 0) {
        *child = (struct child){.pidfd = {.fd = -1}};
        return -errno;
    }
    r = take(loop, children, child, pid, fd, ended);
    if (r < 0)
        return r;
    entry = board_find(children->board, pid);
    child->entry = entry != NULL ? entry : board_expect(children->board, pid);
    if (child->entry == NULL) {
        child_forget(child);
        return -EAGAIN;
    }
    /* Ended already, and left unreaped for us? */
    if (children->board->strangers)
        poke(children);
    return 0;
}

int child_watch_task(struct loop *loop, struct children *children, struct child *child, const struct task *task,
                     void (*ended)(struct child *child, const struct child_end *end))
{
    struct end_entry *entry = board_find(children->board, task->pid);
    int r = take(loop, children, child, task->pid, task->pidfd, ended);

    if (r < 0) {
        if (entry != NULL)
            entry->pid = 0;
        return r;
    }
    child->entry = entry;
    /* It may have ended before we looked, and the news may have come before. */
    if (entry != NULL && entry->ended == child->pid)
        (void)!write(children->ends.fd, &(uint64_t){1}, sizeof(uint64_t));
    return 0;
}

void child_resume(struct children *children, struct child *child)
{
    if (child->children == NULL)
        return;
    child->next = children->first;
    children->first = child;
    source_resume(&child->pidfd);
    timer_resume(&child->patience);
    child->entry = board_find(children->board, child->pid);
    if (child->entry == NULL)
        child->entry = board_expect(children->board, child->pid);
    (void)!write(children->ends.fd, &(uint64_t){1}, sizeof(uint64_t));
    poke(children);
}

void child_bind(struct loop *loop, struct children *children, struct child *child,
                void (*ended)(struct child *child, const struct child_end *end))
{
    child->ended = ended;
    child->children = child->pidfd.fd >= 0 ? children : NULL;
    source_bind(loop, &child->pidfd, EPOLLIN, child_ready);
}

void child_resumed(struct child *child)
{
    struct child_end end = child->end;

    if (child->telling && child->children == NULL)
        child->ended(child, &end);
}

int child_signal(const struct child *child, int signal)
{
    if (child->children == NULL)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, child->pidfd.fd, signal, NULL, 0) < 0 ? -errno : 0;
}

void child_forget(struct child *child)
{
    struct children *children = child->children;

    if (children == NULL)
        return;
    child->children = NULL;
    unlink_child(children, child);
    source_remove(&child->pidfd);
    timer_deinit(&child->patience);
    if (child->entry != NULL)
        child->entry->pid = 0;
    child->entry = NULL;
}
