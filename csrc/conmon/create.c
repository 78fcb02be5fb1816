/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime call that makes the process, and what becomes of its result. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conmon/conmon.h"
#include "conmon/files.h"
#include "conmon/syncpipe.h"
#include "util/fd.h"

#define WORDY 32768 /* bytes of stderr: half of what a pipe takes */
#define SCRATCH_USED ((size_t)65536)

/* ---- telling ---- */

void conmon_report(struct conmon *conmon, int number, const char *text, size_t size)
{
    const struct conmon_options *options = &conmon->setup->options;
    const char *key = options->api_version ? "data" : options->exec ? "exit_code" : "pid";
    char line[SYNC_LINE_MAX];

    if (conmon->sync_fd < 0)
        return;
    size = sync_line(line, sizeof(line), key, number, text, size);
    if (fd_write_all(conmon->sync_fd, line, size) < 0) {
        message(&conmon->setup->messages, MESSAGE_WARNING, "Unable to send container stderr message to parent %s",
                strerror(errno));
        fd_close(&conmon->sync_fd);
    }
}

static void remove_console(struct conmon *conmon)
{
    const struct setup *setup = conmon->setup;

    fd_close(&conmon->console);
    if (setup->console_folder >= 0)
        unlinkat(setup->console_folder, setup->console_name, 0);
}

static void quit(struct conmon *conmon)
{
    conmon->state = CONMON_ENDED;
    conmon->failed = true;
    conmon->exit_status = EXIT_FAILURE;
    remove_console(conmon);
    conmon_dismiss_clients(conmon);
}

void conmon_fail(struct conmon *conmon, const char *what, int error)
{
    char text[CONMON_REFUSAL_MAX];
    int length = snprintf(text, sizeof(text), error < 0 ? "%s %s" : "%s", what, strerror(-error));

    message(&conmon->setup->messages, MESSAGE_ERROR, "%s", text);
    conmon_report(conmon, -1, text, length < (int)sizeof(text) ? (size_t)length : sizeof(text) - 1);
    quit(conmon);
}

/* In the runtime's own words, where it found some. */
static void fail_runtime(struct conmon *conmon)
{
    const struct setup *setup = conmon->setup;
    int end = conmon->runtime_end.known ? conmon->runtime_end.status : SIGKILL;
    int status = WIFEXITED(end) ? WEXITSTATUS(end) : 128 + WTERMSIG(end);
    char text[SYNC_MESSAGE_MAX + 1];
    ssize_t n = (ssize_t)conmon->said_size;

    memcpy(text, conmon->said, conmon->said_size);
    if (n == 0 && conmon->stdio.err >= 0)
        n = read(conmon->stdio.err, text, SYNC_MESSAGE_MAX);
    if (n > 0) {
        text[n] = '\0';
        message(&setup->messages, MESSAGE_WARNING, "runtime stderr: %s", text);
    } else {
        n = snprintf(text, sizeof(text), "%.4000s failed without a word: exit status %d", setup->options.runtime,
                     status);
    }
    message(&setup->messages, MESSAGE_ERROR, "Failed to create container: exit status %d", status);
    conmon_report(conmon, -1, text, (size_t)n);
    quit(conmon);
}

/*
 * What the runtime says is left in the pipe until it is done, for it may be why it failed, or else is output like the
 * container's. But a runtime that fills the pipe would wait for ever. Each write tells; hardly any matters.
 */
static void wordy_ready(struct source *source, uint32_t events)
{
    struct conmon *conmon = container_of(source, struct conmon, wordy);
    int waiting = 0;

    (void)events;
    while (ioctl(source->fd, FIONREAD, &waiting) == 0 && waiting >= WORDY) {
        char *bytes = hub_scratch(&conmon->hub);
        ssize_t n = read(source->fd, bytes, (size_t)waiting < SCRATCH_USED ? (size_t)waiting : SCRATCH_USED);
        struct timespec now;

        if (n <= 0)
            return;
        if (conmon->said_size == 0) {
            memcpy(conmon->said, bytes, sizeof(conmon->said));
            conmon->said_size = sizeof(conmon->said);
        }
        clock_gettime(CLOCK_REALTIME, &now);
        log_write(&conmon->log, LOG_STDERR, &now, bytes, (size_t)n);
    }
}

static void watch_words(struct conmon *conmon)
{
    int fd = conmon->stdio.err < 0 ? -1 : fcntl(conmon->stdio.err, F_DUPFD_CLOEXEC, 3);

    if (fd >= 0)
        source_add(&conmon->hub.loop, &conmon->wordy, fd, EPOLLIN | EPOLLET, wordy_ready);
}

/* ---- its result ---- */

/* The name of a process that waits for its start is the runtime's. An exec or a restored one runs by now. */
static void remember_name(struct conmon *conmon, pid_t pid)
{
    const struct conmon_options *options = &conmon->setup->options;

    conmon->process_begun = options->exec || options->restore != NULL || !file_read_name(pid, conmon->created_name);
}

/*
 * The old way to execute expects one line only, with the exit status. The line is never said twice to one who would
 * take a second one for that.
 */
static void tell_pid(struct conmon *conmon, pid_t pid)
{
    const struct conmon_options *options = &conmon->setup->options;

    if (conmon->pid_told || (options->exec && !options->api_version))
        return;
    conmon->pid_told = options->exec;
    conmon_report(conmon, pid, NULL, 0);
    conmon->pid_told = true;
}

/* The terminal; what the runtime still had to say on stderr belongs to the output. */
static int take_terminal(struct conmon *conmon)
{
    struct stdio *stdio = &conmon->stdio;

    /* A worker before us may have come so far. */
    if (stdio->out < 0 && conmon->session.out.source.loop == NULL)
        stdio->out = console_receive(conmon->console);
    if (stdio->out < 0 && conmon->session.out.source.loop == NULL)
        return -EIO;
    remove_console(conmon);
    return stdio->out < 0 ? 0 : stdio_pty(stdio, 0, 0);
}

/* The runtime is done. Once more, if a worker was killed on the way: what is done then shows in *conmon. */
static void take_result(struct conmon *conmon)
{
    const struct setup *setup = conmon->setup;
    const struct child_end *end = &conmon->runtime_end;
    bool well = end->known && WIFEXITED(end->status) && WEXITSTATUS(end->status) == 0;
    pid_t pid = file_read_pid(setup->pidfile);
    char text[CONMON_REFUSAL_MAX];
    int r;

    source_remove(&conmon->wordy);
    /* A runtime that wrote the pid of a process in a running container has started it, whatever it says at its end. */
    if (!well && !(setup->options.exec && pid > 0)) {
        fail_runtime(conmon);
        return;
    }
    if (setup->options.terminal && take_terminal(conmon) < 0) {
        conmon_fail(conmon, "Runtime did not set up terminal", 0);
        return;
    }
    if (pid < 0) {
        snprintf(text, sizeof(text), "Failed to read pidfile: %.800s:", setup->pidfile);
        conmon_fail(conmon, text, pid);
        return;
    }
    message(&setup->messages, MESSAGE_DEBUG, "container PID: %d", (int)pid);
    remember_name(conmon, pid);
    r = session_start(&conmon->session, &conmon->stdio, pid);
    if (r < 0 && r != -ESRCH) {
        conmon_fail(conmon, "Failed to watch the container process", r);
        return;
    }
    tell_pid(conmon, pid);
    conmon->state = CONMON_RUNNING;
    if (r == 0)
        conmon_serve_running(conmon, pid);
    else
        session_start_gone(&conmon->session, &conmon->stdio);
}

static void conclude(struct conmon *conmon)
{
    take_result(conmon);
    /* The container's process is watched now; only then may strangers be reaped. */
    children_release(&conmon->hub.children);
}

static void session_ended(struct session *session)
{
    struct conmon *conmon = container_of(session, struct conmon, session);

    /* Unless it was ended without it: killed, and not gone for long. */
    if (conmon->state != CONMON_ENDED)
        conmon_end(conmon);
}

/* ---- the call ---- */

static void call_ended(struct child *child, const struct child_end *end)
{
    struct conmon *conmon = container_of(child, struct conmon, runtime);

    conmon->runtime_end = *end;
    conmon->call = CALL_ENDED;
    child->telling = false;
    conclude(conmon);
}

/* The keeper's answer becomes the call's. */
static int accept_answer(struct conmon *conmon, const struct task *task)
{
    struct hub *hub = &conmon->hub;
    int r;

    conmon->stdio.in = task->in;
    conmon->stdio.out = task->out;
    conmon->stdio.err = task->err;
    r = child_watch_task(&hub->loop, &hub->children, &conmon->runtime, task, call_ended);
    if (r == 0) {
        watch_words(conmon);
        conmon->call = CALL_RUNNING;
    }
    hub->children.board->task.owner = NULL;
    return r;
}

static void fail_call(struct conmon *conmon, int error)
{
    children_release(&conmon->hub.children);
    conmon_fail(conmon, "Failed to fork the create command", error);
}

void conmon_prepare(struct conmon *conmon)
{
    const struct conmon_options *options = &conmon->setup->options;

    session_init(&conmon->session, &conmon->hub, options->terminal, session_ended);
    conmon->session.log = &conmon->log;
    conmon->session.stdin_once = options->gives_stdin && !options->leave_stdin_open;
}

static int open_console(struct conmon *conmon)
{
    const struct setup *setup = conmon->setup;

    if (!setup->options.terminal || setup->logs.passthrough)
        return 0;
    conmon->console = console_listen(setup->console_folder, setup->console_name);
    return conmon->console < 0 ? conmon->console : 0;
}

void conmon_create(struct conmon *conmon)
{
    struct task task = {.kind = TASK_CALL, .owner = conmon};
    int r = open_console(conmon);

    if (r < 0) {
        conmon_fail(conmon, "Failed to make a console socket", r);
        return;
    }
    children_hold(&conmon->hub.children);
    conmon->call = CALL_ASKED;
    r = children_ask(&conmon->hub.children, &task);
    if (r == 0)
        r = accept_answer(conmon, &task);
    if (r < 0)
        fail_call(conmon, r);
}

void conmon_create_resumed(struct conmon *conmon)
{
    const struct task *answer = &conmon->hub.children.board->task;

    switch (conmon->call) {
    case CALL_NONE:
        fd_close(&conmon->console);
        conmon_create(conmon);
        return;
    case CALL_ASKED:
        children_hold(&conmon->hub.children);
        if (answer->owner != conmon || answer->state != TASK_ANSWERED)
            fail_call(conmon, -EINTR);
        else if (answer->result < 0 || accept_answer(conmon, answer) < 0)
            fail_call(conmon, answer->result < 0 ? answer->result : -EIO);
        return;
    case CALL_RUNNING:
        children_hold(&conmon->hub.children);
        child_resume(&conmon->hub.children, &conmon->runtime);
        child_resumed(&conmon->runtime);
        return;
    case CALL_ENDED:
        children_hold(&conmon->hub.children);
        conclude(conmon);
        return;
    }
}
