/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/keeper.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/loop.h"
#include "engine/stdio.h"
#include "system/loginuid.h"
#include "util/fd.h"
#include "util/kernel.h"
#include "util/memory.h"

/* A worker that dies at once, again and again: not faster than this. */
#define QUICK_DEATHS 20
#define PAUSE_NS (50 * MILLISECOND_NS)

struct keeper {
    struct board *board;
    const struct keeper_program *program;
    void *state;
    pid_t worker; /* 0: there is none */
};

void board_take_over(struct board *board, int keeper_fd, int ends_fd, int answer_fd)
{
    board->keeper = getpid();
    board->upgrade_fd = -1;
    board->keeper_fd = keeper_fd;
    board->ends_fd = ends_fd;
    board->answer_fd = answer_fd;
}

int board_init(struct board *board)
{
    board_take_over(board, (int)syscall(SYS_pidfd_open, getpid(), 0), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                    eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return board->keeper_fd < 0 || board->ends_fd < 0 || board->answer_fd < 0 ? -errno : 0;
}

struct end_entry *board_expect(struct board *board, pid_t pid)
{
    for (unsigned i = 0; i < ENDS_MAX; i++) {
        struct end_entry *entry = &board->ends[i];

        if (entry->pid != 0)
            continue;
        entry->ended = 0;
        if (i >= board->end_top)
            board->end_top = i + 1;
        entry->pid = pid;
        return entry;
    }
    return NULL;
}

/* ---- ends ---- */

/* waitid's wrapper hides the kernel's fifth argument, the resource usage. */
static int wait_by(idtype_t type, pid_t id, siginfo_t *info, int options, struct rusage *usage)
{
    return (int)syscall(SYS_waitid, type, id, info, options | WEXITED | WNOHANG, usage);
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

static int64_t nanoseconds(const struct timeval *time)
{
    return time->tv_sec * SECOND_NS + time->tv_usec * 1000;
}

/* Has it ended? Then all is noted before the process is reaped: a keeper that is killed in between loses nothing. */
static bool note_end(struct end_entry *entry, pid_t pid)
{
    siginfo_t info = {0};
    struct rusage usage;

    if (wait_by(P_PID, pid, &info, WNOWAIT, &usage) < 0 || info.si_pid != pid)
        return false;
    entry->status = status_of(&info);
    entry->cpu_ns = nanoseconds(&usage.ru_utime) + nanoseconds(&usage.ru_stime);
    entry->peak_bytes = (int64_t)usage.ru_maxrss * 1024;
    entry->ended = pid;
    wait_by(P_PID, pid, &info, 0, NULL);
    return true;
}

struct end_entry *board_find(struct board *board, pid_t pid)
{
    unsigned top = board->end_top < ENDS_MAX ? board->end_top : ENDS_MAX;

    for (unsigned i = 0; i < top; i++)
        if (board->ends[i].pid == pid)
            return &board->ends[i];
    return NULL;
}

static bool note_ends(struct board *board)
{
    unsigned top = board->end_top < ENDS_MAX ? board->end_top : ENDS_MAX;
    bool any = false;

    for (unsigned i = 0; i < top; i++) {
        pid_t pid = board->ends[i].pid;

        if (pid > 0 && board->ends[i].ended != pid)
            any |= note_end(&board->ends[i], pid);
    }
    return any;
}

/* What nobody asked for: orphans of the container, helpers of the runtime. */
static bool reap_strangers(struct keeper *keeper)
{
    struct board *board = keeper->board;
    bool any = false;

    for (;;) {
        struct end_entry *entry;
        siginfo_t info = {0};

        if (board->hold > 0) {
            /* The container's first process may be among them: its pid is known only when the runtime is done. */
            board->strangers = true;
            if (board->hold > 0)
                return any;
        }
        if (wait_by(P_ALL, 0, &info, WNOWAIT, NULL) < 0 || info.si_pid == 0)
            return any;
        if (info.si_pid == keeper->worker)
            keeper->worker = 0;
        entry = board_find(board, info.si_pid);
        if (entry != NULL)
            any |= note_end(entry, info.si_pid);
        else
            wait_by(P_PID, info.si_pid, &info, 0, NULL);
    }
}

static void reap(struct keeper *keeper)
{
    struct board *board = keeper->board;
    siginfo_t info = {0};
    uint64_t one = 1;
    bool any = note_ends(board);

    board->strangers = false;
    if (reap_strangers(keeper) || any)
        (void)!write(board->ends_fd, &one, sizeof(one));
    if (keeper->worker != 0 && wait_by(P_PID, keeper->worker, &info, 0, NULL) == 0 && info.si_pid == keeper->worker)
        keeper->worker = 0;
}

/* ---- tasks ---- */

void keeper_execute(struct board *board, struct task *task, const char *const *argv, char *const *environment,
                    const int *handed_on)
{
    struct execution execution = {.argv = argv, .environment = environment, .stdio = {-1, -1, -1}};
    char login_uid[LOGINUID_SIZE];
    struct stdio stdio;

    stdio_init(&stdio);
    task->result = task->n_kept > EXECUTE_KEPT_MAX ? -E2BIG : 0;
    if (task->result == 0 && task->pipes)
        task->result = stdio_pipes(&stdio, task->with_stdin, task->uid, task->gid);
    if (task->result < 0)
        return;
    memcpy(execution.stdio, handed_on != NULL ? handed_on : stdio.theirs, sizeof(execution.stdio));
    memcpy(execution.kept, task->kept, sizeof(execution.kept));
    execution.n_kept = task->n_kept;
    if (task->asker > 0 && loginuid_of_peer(task->asker, login_uid))
        execution.login_uid = login_uid;
    task->pid = execute(&execution);
    stdio_close_theirs(&stdio);
    if (task->pid < 0) {
        task->result = task->pid;
    } else {
        task->pidfd = (int)syscall(SYS_pidfd_open, task->pid, 0);
        /* It runs: what failed once may go a second time. */
        if (task->pidfd < 0)
            task->pidfd = (int)syscall(SYS_pidfd_open, task->pid, 0);
        if (task->pidfd < 0 || board_expect(board, task->pid) == NULL) {
            task->result = task->pidfd < 0 ? -errno : -EAGAIN;
            kill(task->pid, SIGKILL); /* our own unreaped child: the pid can't have been reused */
            fd_close(&task->pidfd);
        }
    }
    if (task->result < 0) {
        stdio_deinit(&stdio);
        return;
    }
    task->in = stdio.in;
    task->out = stdio.out;
    task->err = stdio.err;
}

static void serve(struct keeper *keeper)
{
    struct board *board = keeper->board;
    struct task task;
    uint64_t one = 1;

    if (board->task.state != TASK_ASKED)
        return;
    memcpy(&task, &board->task, sizeof(task));
    task.result = 0;
    task.pid = 0;
    task.pidfd = task.in = task.out = task.err = -1;
    keeper->program->perform(keeper->state, board, &task);
    board->task.result = task.result;
    board->task.pid = task.pid;
    board->task.pidfd = task.pidfd;
    board->task.in = task.in;
    board->task.out = task.out;
    board->task.err = task.err;
    board->task.state = TASK_ANSWERED;
    (void)!write(board->answer_fd, &one, sizeof(one));
}

/* ---- workers ---- */

/* In the worker the return value is 0. */
static int start_worker(struct keeper *keeper)
{
    /* Not fork: the worker's descriptors are ours. */
    pid_t pid;

    keeper->board->workers++;
    pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid < 0) {
        keeper->board->workers--;
        return -errno;
    }
    /* Said by whoever is first to look. */
    keeper->board->worker = pid == 0 ? getpid() : pid;
    if (pid == 0)
        return 0;
    keeper->worker = pid;
    return pid;
}

static void forward(struct keeper *keeper, int signal)
{
    uint64_t one = 1;

    keeper->board->signals |= 1ULL << (signal - 1);
    (void)!write(keeper->board->ends_fd, &one, sizeof(one));
}

static void wait_for_something(struct keeper *keeper)
{
    siginfo_t info;
    sigset_t all;
    int signal;

    sigfillset(&all);
    signal = sigwaitinfo(&all, &info);
    /* Whoever ends the monitor means the container: a service manager, the end of a login. */
    if (signal == SIGTERM || signal == SIGINT || signal == SIGQUIT)
        forward(keeper, signal);
}

int keeper_run(struct board *board, const struct keeper_program *program, void *state)
{
    struct keeper keeper = {.board = board, .program = program, .state = state};
    const struct timespec pause = {.tv_sec = PAUSE_NS / SECOND_NS, .tv_nsec = PAUSE_NS % SECOND_NS};
    struct timespec started = {0}, now;
    unsigned deaths = 0;

    for (;;) {
        if (keeper.worker == 0) {
            bool resumed = board->workers > 0;
            int r;

            clock_gettime(CLOCK_MONOTONIC, &started);
            r = start_worker(&keeper);
            if (r == 0) {
                memory_begin();
                _exit(program->work(state, resumed));
            }
            if (r < 0 && !resumed)
                return r;
            /* No process to be had: not at the moment. */
            if (r < 0)
                nanosleep(&pause, NULL);
            continue;
        }
        memory_trim();
        memory_release_stack();
        wait_for_something(&keeper);
        serve(&keeper);
        reap(&keeper);
        if (keeper.worker != 0)
            continue;
        /* What it may have asked for since: a successor must not look for the answer before there is one. */
        serve(&keeper);
        if (board->finished)
            return board->exit_status;
        if (board->upgrade_fd >= 0) {
            program->upgrade(state, board->upgrade_fd);
            board->upgrade_fd = -1;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        deaths = now.tv_sec - started.tv_sec > 1 ? 0 : deaths + 1;
        if (deaths > QUICK_DEATHS)
            nanosleep(&pause, NULL);
    }
}
