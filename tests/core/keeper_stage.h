/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A monitor on a stage, for the tests of keeper and worker: a real keeper_run in a process of its own, whose worker
 * does what the test says. What both and the test see lies in kept memory; the test itself is the subreaper above, so
 * that whatever a monitor leaves behind becomes its child.
 *
 * A worker must not fail by an assertion: it would be followed by another one. `must` ends the monitor instead.
 */
#ifndef REMORA_TESTS_KEEPER_STAGE_H
#define REMORA_TESTS_KEEPER_STAGE_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/child.h"
#include "engine/keeper.h"
#include "engine/kept.h"
#include "engine/loop.h"

enum { PROCESSES = 100, DEADLINE_MS = 60000 };

/* Tasks of the stage's keeper; `number` is the process's place. */
enum stage_task {
    STAGE_PROGRAM, /* by keeper_execute, with the task's first descriptor as its gate */
    STAGE_STRANGER, /* forked, and on no board */
    STAGE_ORPHAN, /* the child of a stranger that waits at the second gate and does not reap it */
    STAGE_NOTHING,
    STAGE_OWN, /* the test's: stage->own */
};

enum process_state {
    PROCESS_NONE,
    PROCESS_ASKED,
    PROCESS_WATCHED,
    PROCESS_ENDED,
};

struct process {
    struct child child;
    struct child_end end;
    volatile enum process_state state;
    volatile bool cleared; /* `telling` was cleared: no other call may follow */
    unsigned ends, too_many;
    _Atomic unsigned starts; /* counted by the keeper */
    int code, signal; /* how it is to end */
};

struct stage {
    struct board board;
    struct loop loop;
    struct children children;
    struct process processes[PROCESSES];
    struct source orders;
    unsigned n, left; /* processes; of which not ended */
    int gate[2], second_gate[2]; /* whoever reads a byte from it goes on */
    int report[2], order[2]; /* worker → test, test → worker: bytes */
    uint64_t signals; /* bits of those that were passed on */
    unsigned numbers[8]; /* the test's */
    volatile bool failed;
    volatile pid_t worker; /* as it says itself: the keeper may note it later */
};

/* How a test fills the stage. */
struct play {
    int (*work)(bool resumed);
    void (*own)(struct task *task);
    void (*ordered)(char order);
};

static struct stage *stage;
static const struct play *play;
static char own_path[4096];

static inline void must_hold(bool condition, const char *text, int line)
{
    if (condition)
        return;
    fprintf(stderr, "line %d: %s (errno %d)\n", line, text, errno);
    stage->failed = true;
    stage->board.exit_status = 99;
    stage->board.finished = true;
    _exit(99);
}
#define must(condition) must_hold(condition, #condition, __LINE__)

/* ---- the keeper's side ---- */

static inline void wait_at(int gate)
{
    char byte;

    if (read(gate, &byte, 1) != 1)
        _exit(98);
}

static inline pid_t fork_stranger(int code)
{
    pid_t pid = fork();

    if (pid == 0) {
        wait_at(stage->gate[0]);
        _exit(code);
    }
    return pid;
}

static inline pid_t fork_orphan(int code)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    if (fork() == 0) {
        pid = fork_stranger(code);
        if (write(ends[1], &pid, sizeof(pid)) == sizeof(pid))
            wait_at(stage->second_gate[0]);
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], &pid, sizeof(pid)) != sizeof(pid))
        pid = -1;
    close(ends[0]);
    return pid;
}

static inline void stage_perform(void *state, struct board *board, struct task *task)
{
    struct process *process = &stage->processes[task->number % PROCESSES];
    char code[16], signal[16];
    const char *argv[] = {own_path, "end", code, signal, NULL};

    (void)state;
    snprintf(code, sizeof(code), "%d", process->code);
    snprintf(signal, sizeof(signal), "%d", process->signal);
    switch ((enum stage_task)task->kind) {
    case STAGE_PROGRAM:
        process->starts++;
        keeper_execute(board, task, argv, environ, NULL);
        break;
    case STAGE_STRANGER:
        task->pid = fork_stranger(process->code);
        break;
    case STAGE_ORPHAN:
        task->pid = fork_orphan(process->code);
        break;
    case STAGE_NOTHING:
        break;
    case STAGE_OWN:
        play->own(task);
    }
}

/* ---- the worker's side ---- */

static inline void note_end(struct child *child, const struct child_end *end)
{
    struct process *process = container_of(child, struct process, child);

    bool first = process->state != PROCESS_ENDED;

    process->too_many += process->cleared;
    process->end = *end;
    process->state = PROCESS_ENDED;
    child->telling = false;
    process->cleared = true;
    process->ends++;
    stage->left -= first;
    if (stage->left == 0)
        stage->loop.quit = true;
}

static inline int ask(enum stage_task kind, unsigned number, struct task *task)
{
    *task = (struct task){.kind = (int)kind, .number = number, .kept = {stage->gate[0]}, .n_kept = 1};
    task->owner = &stage->processes[number];
    return children_ask(&stage->children, task);
}

/* Start a program that waits at the gate, and watch it. */
static inline void start(unsigned number)
{
    struct process *process = &stage->processes[number];
    struct task task;

    process->state = PROCESS_ASKED;
    must(ask(STAGE_PROGRAM, number, &task) == 0);
    must(child_watch_task(&stage->loop, &stage->children, &process->child, &task, note_end) == 0);
    process->state = PROCESS_WATCHED;
}

static inline pid_t start_unwatched(enum stage_task kind, unsigned number)
{
    struct task task;

    must(ask(kind, number, &task) == 0 && task.pid > 0);
    return task.pid;
}

static inline int watch(unsigned number, pid_t pid)
{
    struct process *process = &stage->processes[number];

    return child_watch(&stage->loop, &stage->children, &process->child, pid, note_end);
}

/* So many as wait there, or will. */
static inline void open_gate(const int *gate, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        must(write(gate[1], "x", 1) == 1);
}

/* It has ended, reaped or not. */
static inline void await_death(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd waited = {.fd = fd, .events = POLLIN};

    must(fd >= 0 ? poll(&waited, 1, DEADLINE_MS) == 1 : errno == ESRCH);
    close(fd);
}

/* The keeper has looked for ended processes since the call: it does so after each task. */
static inline void await_keeper_round(void)
{
    struct task task;

    must(ask(STAGE_NOTHING, 0, &task) == 0 && ask(STAGE_NOTHING, 0, &task) == 0);
}

static inline bool is_there(pid_t pid)
{
    return kill(pid, 0) == 0;
}

static inline void tell(char byte)
{
    must(write(stage->report[1], &byte, 1) == 1);
}

static inline void note_signal(struct children *children, int signal)
{
    (void)children;
    stage->signals |= 1ULL << (signal - 1);
    tell('s');
}

static inline void order_ready(struct source *source, uint32_t events)
{
    char order;

    (void)events;
    if (read(source->fd, &order, 1) == 1)
        play->ordered(order);
}

/* In a first worker. */
static inline void begin(void)
{
    must(loop_init(&stage->loop) == 0);
    must(children_init(&stage->children, &stage->loop, &stage->board, note_signal) == 0);
    must(source_add(&stage->loop, &stage->orders, stage->order[0], EPOLLIN, order_ready) == 0);
}

static inline int finish(void)
{
    must(stage->left > 0 || stage->children.first == NULL);
    stage->board.exit_status = 42;
    stage->board.finished = true;
    return 0;
}

/* Run until all processes have ended. */
static inline int run_and_finish(void)
{
    must(stage->left == 0 || loop_run(&stage->loop) == 0);
    return finish();
}

/* ---- the test's side ---- */

static inline int stage_work(void *state, bool resumed)
{
    (void)state;
    stage->worker = getpid();
    return play->work(resumed);
}

static inline void set_stage(const struct play *what, unsigned n)
{
    struct kept kept;

    assert(kept_map(&kept, (size_t)4 << 20) == 0);
    stage = kept_take(&kept, sizeof(*stage), sizeof(max_align_t));
    assert(stage != NULL);
    play = what;
    stage->n = stage->left = n;
    assert(pipe2(stage->gate, O_CLOEXEC) == 0 && pipe2(stage->second_gate, O_CLOEXEC) == 0);
    assert(pipe2(stage->report, O_CLOEXEC) == 0 && pipe2(stage->order, O_CLOEXEC | O_NONBLOCK) == 0);
}

/* The keeper's pid. */
static inline pid_t raise_curtain(void)
{
    static const struct keeper_program program = {.work = stage_work, .perform = stage_perform};
    pid_t pid = fork();

    assert(pid >= 0);
    if (pid == 0) {
        sigset_t all;

        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        _exit(board_init(&stage->board) < 0 ? 97 : keeper_run(&stage->board, &program, NULL));
    }
    return pid;
}

/* The next byte of the worker. */
static inline char await_report(void)
{
    struct pollfd waited = {.fd = stage->report[0], .events = POLLIN};
    char byte = 0;

    assert(poll(&waited, 1, DEADLINE_MS) == 1 && read(stage->report[0], &byte, 1) == 1);
    return byte;
}

static inline void order(char byte)
{
    assert(write(stage->order[1], &byte, 1) == 1);
}

/* The process, a child of the test by now, ends. */
static inline int await_end(pid_t pid)
{
    int status;

    await_death(pid);
    assert(waitpid(pid, &status, 0) == pid);
    return status;
}

static inline void close_stage(void)
{
    int *const pairs[] = {stage->gate, stage->second_gate, stage->report, stage->order};

    assert(!stage->failed);
    assert(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
}

static inline void await_curtain(pid_t keeper)
{
    int status = await_end(keeper);

    assert(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    close_stage();
}

/* From the beginning to an end without any interference. */
static inline void perform_play(const struct play *what, unsigned n)
{
    set_stage(what, n);
    await_curtain(raise_curtain());
}

static inline bool ended_with(const struct process *process, int code, int signal)
{
    int status = process->end.status;

    if (process->ends != 1 || process->too_many != 0 || !process->end.known)
        return false;
    return signal != 0 ? WIFSIGNALED(status) && WTERMSIG(status) == signal
                       : WIFEXITED(status) && WEXITSTATUS(status) == code;
}

/* Linux 6.15 tells how a process ended that somebody else reaped. */
static inline bool kernel_tells_ends(void)
{
    struct {
        uint64_t mask, cgroup;
        uint32_t ids[11];
        int32_t exit_code;
    } info = {.mask = 1ULL << 3};
    pid_t pid = fork();
    int fd;

    if (pid == 0)
        _exit(3);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert(fd >= 0 && waitpid(pid, NULL, 0) == pid);
    if (ioctl(fd, _IOWR(0xFF, 11, char[64]), &info) < 0)
        info.mask = 0;
    close(fd);
    return (info.mask & (1ULL << 3)) != 0;
}

/* First thing in main: the program that STAGE_PROGRAM executes is this one. */
static inline void stage_main(int argc, char **argv)
{
    ssize_t n;

    if (argc == 4 && strcmp(argv[1], "end") == 0) {
        wait_at(3);
        if (atoi(argv[3]) != 0)
            raise(atoi(argv[3]));
        _exit(atoi(argv[2]));
    }
    n = readlink("/proc/self/exe", own_path, sizeof(own_path) - 1);
    assert(n > 0);
    assert(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
}

#endif
