/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's part: the runtime call, whose every word comes from the command line, a kill, and the exit command. Of
 * what the worker writes only a pid counts, and that only if it is one of those whose ends the keeper awaits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conmon/arguments.h"
#include "conmon/setup.h"
#include "engine/stdio.h"
#include "util/fd.h"
#include "util/kernel.h"

#define PIPE_MODE 0777
#define ADDRESS_PATH_MAX 108 /* sun_path */

/* stdin, stdout and stderr are the caller's: it may wait for their end. */
void conmon_leave_stdio(void)
{
    CLEANUP_FD int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int i = 0; fd >= 0 && i <= STDERR_FILENO; i++)
        dup2(fd, i);
}

static void restore_oom_score(const struct setup *setup)
{
    CLEANUP_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && setup->oom_score[0] != '\0')
        (void)!write(fd, setup->oom_score, strlen(setup->oom_score));
}

/* ---- in the runtime's process ---- */

static void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "%s %s\n", what, strerror(errno));
    _exit(EXIT_FAILURE);
}

static void take_stdio(const struct stdio *stdio)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int i = 0; i < 3; i++) {
        /* With a terminal the runtime's words of an early failure are all that comes through here: stderr. */
        if (dup2(stdio->theirs[i] >= 0 ? stdio->theirs[i] : null_fd, i) < 0)
            give_up("Failed to dup over stdio");
        /* A process that is not root may open /dev/stdout anew. */
        if (stdio->theirs[i] >= 0)
            fchmod(i, PIPE_MODE);
    }
}

static void set_listen_pid(const struct setup *setup, pid_t parent)
{
    const char *value = getenv("LISTEN_PID");
    char own[16];
    int r = listen_pid_check(value, parent, setup->options.replace_listen_pid);

    if (r < 0) {
        dprintf(STDERR_FILENO, "Invalid LISTEN_PID %.10s\n", value);
        _exit(EXIT_FAILURE);
    }
    snprintf(own, sizeof(own), "%d", getpid());
    if (r > 0 && setenv("LISTEN_PID", own, 1) < 0)
        give_up("Failed to setenv LISTEN_PID");
}

/* A process that is to be attached to waits until its caller is. */
static void await_attached(int start_fd)
{
    char bytes[256];

    while (start_fd >= 0 && read(start_fd, bytes, sizeof(bytes)) < 0)
        if (errno != EINTR)
            give_up("start-pipe read failed");
}

static void reset_signals(const struct setup *setup)
{
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &setup->caller_mask, NULL);
}

/* All of our own descriptors are close-on-exec; the caller's others are for the runtime. */
static pid_t fork_runtime(const struct setup *setup, const struct stdio *stdio, const char *const *argv)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid != 0)
        return pid < 0 ? -errno : pid;
    reset_signals(setup);
    if (!setup->logs.passthrough)
        take_stdio(stdio);
    set_listen_pid(setup, parent);
    await_attached(setup->start_fd);
    restore_oom_score(setup);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot execute %s: %s\n", argv[0], strerror(errno));
    _exit(EXECUTE_FAILED);
}

/* ---- the tasks ---- */

static int make_streams(const struct setup *setup, struct stdio *stdio)
{
    const struct conmon_options *options = &setup->options;
    int r = stdio_pipes(stdio, options->gives_stdin && !options->terminal, 0, 0);

    if (r < 0 || !options->terminal)
        return r;
    /* The terminal takes their place; stderr is for the runtime's words. */
    fd_close(&stdio->out);
    fd_close(&stdio->theirs[1]);
    return 0;
}

static pid_t call_runtime(struct setup *setup, const struct stdio *stdio)
{
    char console[64];
    const char *socket = NULL;
    const char **argv;
    pid_t pid;

    /* Where the path is too long for a socket address, through our /proc entry. */
    snprintf(console, sizeof(console), "/proc/%d/fd/%d/%s", getpid(), setup->console_folder, setup->console_name);
    if (setup->options.terminal)
        socket = strlen(setup->console_path) < ADDRESS_PATH_MAX ? setup->console_path : console;
    argv = runtime_arguments(&setup->options, setup->pidfile, socket);
    if (argv == NULL)
        return -ENOMEM;
    /* A pid that an earlier call left there would be taken for this one's. */
    unlink(setup->pidfile);
    pid = fork_runtime(setup, stdio, argv);
    free(argv);
    return pid;
}

static int start_call(struct setup *setup, struct board *board, struct task *task, const struct stdio *stdio)
{
    task->pid = call_runtime(setup, stdio);
    fd_close(&setup->start_fd);
    if (task->pid < 0)
        return task->pid;
    setup->called = true;
    if (setup->logs.passthrough)
        conmon_leave_stdio();
    task->pidfd = (int)syscall(SYS_pidfd_open, task->pid, 0);
    if (task->pidfd >= 0 && board_expect(board, task->pid) != NULL)
        return 0;
    kill(task->pid, SIGKILL); /* our own unreaped child: the pid can't have been reused */
    fd_close(&task->pidfd);
    return -EAGAIN;
}

static int perform_call(struct setup *setup, struct board *board, struct task *task)
{
    struct stdio stdio;
    int r = 0;

    if (setup->called)
        return -EALREADY;
    stdio_init(&stdio);
    if (!setup->logs.passthrough)
        r = make_streams(setup, &stdio);
    if (r == 0)
        r = start_call(setup, board, task, &stdio);
    stdio_close_theirs(&stdio);
    if (r < 0) {
        stdio_deinit(&stdio);
        return r;
    }
    task->in = stdio.in;
    task->out = stdio.out;
    task->err = stdio.err;
    return 0;
}

static int perform_kill(const struct board *board, pid_t pid)
{
    siginfo_t info = {0};
    pid_t group;

    for (unsigned i = 0; pid > 1 && i < ENDS_MAX; i++) {
        if (board->ends[i].pid != pid || board->ends[i].ended == pid)
            continue;
        /* A child of ours that is not reaped: the number is still its own. */
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
            return -ECHILD;
        group = getpgid(pid);
        /* A group of 1 or less would be everybody; ours is not meant. */
        if (group > 1 && group != getpgrp())
            kill(-group, SIGKILL);
        return kill(pid, SIGKILL) < 0 ? -errno : 0;
    }
    return -ESRCH;
}

void conmon_perform(void *state, struct board *board, struct task *task)
{
    struct setup *setup = state;

    switch ((enum conmon_task)task->kind) {
    case TASK_CALL:
        task->result = perform_call(setup, board, task);
        return;
    case TASK_KILL:
        task->result = perform_kill(board, (pid_t)task->number);
        return;
    }
    task->result = -EINVAL;
}

/* ---- the exit command ---- */

static void execute_exit_command(const struct setup *setup)
{
    const struct conmon_options *options = &setup->options;
    const char **argv = calloc(options->exit_args.n + 2, sizeof(*argv));

    if (argv == NULL)
        return;
    argv[0] = options->exit_command;
    for (size_t i = 0; i < options->exit_args.n; i++)
        argv[1 + i] = options->exit_args.items[i];
    reset_signals(setup);
    restore_oom_score(setup);
    execv(argv[0], (char *const *)(uintptr_t)argv);
}

void conmon_run_exit_command(const struct setup *setup)
{
    struct timespec delay = {.tv_sec = setup->options.exit_delay};
    pid_t pid;

    /* Nothing of the caller's or the container's is held any more, however long the command takes to begin. */
    conmon_leave_stdio();
    syscall(SYS_close_range, 3U, ~0U, 0);
    while (delay.tv_sec + delay.tv_nsec > 0 && nanosleep(&delay, &delay) < 0 && errno == EINTR)
        ;
    /* What the command leaves behind is nobody's business here. */
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    pid = fork();
    if (pid == 0) {
        execute_exit_command(setup);
        _exit(EXIT_FAILURE);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
