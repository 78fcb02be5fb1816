/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime call that makes the process, and what becomes of its result. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conmon/arguments.h"
#include "conmon/conmon.h"
#include "conmon/files.h"
#include "conmon/syncpipe.h"
#include "util/fd.h"

#define PIPE_MODE 0777
#define EXECUTE_FAILED 127
#define ADDRESS_PATH_MAX 108 /* sun_path */

/* ---- telling ---- */

void conmon_report(struct conmon *conmon, int number, const char *text, size_t size)
{
    const struct conmon_options *options = &conmon->options;
    const char *key = options->api_version ? "data" : options->exec ? "exit_code" : "pid";
    char line[SYNC_LINE_MAX];

    if (conmon->sync_fd < 0)
        return;
    size = sync_line(line, sizeof(line), key, number, text, size);
    if (fd_write_all(conmon->sync_fd, line, size) < 0) {
        message(&conmon->messages, MESSAGE_WARNING, "Unable to send container stderr message to parent %s",
                strerror(errno));
        fd_close(&conmon->sync_fd);
    }
}

static void quit(struct conmon *conmon)
{
    conmon->state = CONMON_ENDED;
    conmon->exit_status = EXIT_FAILURE;
    conmon_dismiss_clients(conmon);
}

void conmon_fail(struct conmon *conmon, const char *what, int error)
{
    char text[CONMON_REFUSAL_MAX];
    int length = snprintf(text, sizeof(text), error < 0 ? "%s %s" : "%s", what, strerror(-error));

    message(&conmon->messages, MESSAGE_ERROR, "%s", text);
    conmon_report(conmon, -1, text, length < (int)sizeof(text) ? (size_t)length : sizeof(text) - 1);
    quit(conmon);
}

/* In the runtime's own words, where it found some. */
static void fail_runtime(struct conmon *conmon, int wait_status)
{
    int status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    char text[SYNC_MESSAGE_MAX + 1];
    ssize_t n = conmon->stdio.err < 0 ? -1 : read(conmon->stdio.err, text, SYNC_MESSAGE_MAX);

    if (n > 0) {
        text[n] = '\0';
        message(&conmon->messages, MESSAGE_WARNING, "runtime stderr: %s", text);
    } else {
        n = snprintf(text, sizeof(text), "%.4000s failed without a word: exit status %d", conmon->options.runtime,
                     status);
    }
    message(&conmon->messages, MESSAGE_ERROR, "Failed to create container: exit status %d", status);
    conmon_report(conmon, -1, text, (size_t)n);
    quit(conmon);
}

/* ---- the console socket ---- */

static void remove_console(struct conmon *conmon)
{
    fd_close(&conmon->console);
    fd_close(&conmon->console_folder);
    if (conmon->console_path[0] != '\0')
        unlink(conmon->console_path);
    conmon->console_path[0] = '\0';
}

/* TMPDIR/conmon-term.XXXXXX; where that is too long for a socket address, `given` goes through our /proc entry. */
static int listen_console(struct conmon *conmon, char *given, size_t capacity)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    const char *folder = getenv("TMPDIR");
    char name[] = "conmon-term.XXXXXX";
    unsigned char random[6];
    CLEANUP_FD int folder_fd = -1;

    if (folder == NULL || folder[0] == '\0')
        folder = "/tmp";
    folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return -errno;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    for (size_t i = 0; i < sizeof(random); i++)
        name[sizeof(name) - 2 - i] = letters[random[i] % 32];
    if (snprintf(conmon->console_path, sizeof(conmon->console_path), "%s/%s", folder, name) >= CONMON_PATH_MAX) {
        conmon->console_path[0] = '\0';
        return -ENAMETOOLONG;
    }
    conmon->console = console_listen(folder_fd, name, given, capacity);
    if (conmon->console < 0)
        return conmon->console;
    if (strlen(conmon->console_path) < ADDRESS_PATH_MAX) {
        snprintf(given, capacity, "%s", conmon->console_path);
        return 0;
    }
    /* The given path names this descriptor, which lives as long as the socket. */
    conmon->console_folder = fd_take(&folder_fd);
    return 0;
}

/* ---- the runtime's process ---- */

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

static void set_listen_pid(const struct conmon *conmon, pid_t parent)
{
    const char *value = getenv("LISTEN_PID");
    char own[16];
    int r = listen_pid_check(value, parent, conmon->options.replace_listen_pid);

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

void conmon_restore_oom_score(const struct conmon *conmon)
{
    CLEANUP_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && conmon->oom_score[0] != '\0')
        (void)!write(fd, conmon->oom_score, strlen(conmon->oom_score));
}

/*
 * All of our own descriptors are close-on-exec; the caller's others are for the runtime. The child shares *conmon with
 * us, so what changes there as soon as it is forked is copied before.
 */
static pid_t fork_runtime(const struct conmon *conmon, const char *const *argv)
{
    const struct stdio stdio = conmon->stdio;
    int start_fd = conmon->start_fd;
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid != 0)
        return pid < 0 ? -errno : pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXECUTE_FAILED);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &conmon->caller_mask, NULL);
    if (!conmon->logs.passthrough)
        take_stdio(&stdio);
    set_listen_pid(conmon, parent);
    await_attached(start_fd);
    conmon_restore_oom_score(conmon);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot execute %s: %s\n", argv[0], strerror(errno));
    _exit(EXECUTE_FAILED);
}

/* ---- its result ---- */

/* What a process executes that waits for its start is the runtime itself. */
static void remember_runtime(struct conmon *conmon, pid_t pid)
{
    char path[32];
    struct stat status;

    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    /* An exec is not created first: by now it runs. */
    if (conmon->options.exec || stat(path, &status) < 0) {
        conmon->started = true;
        return;
    }
    conmon->runtime_device = status.st_dev;
    conmon->runtime_inode = status.st_ino;
}

static int take_terminal(struct conmon *conmon)
{
    CLEANUP_FD int err = fd_take(&conmon->stdio.err);
    int master = console_receive(conmon->console);

    remove_console(conmon);
    if (master < 0)
        return master;
    stdio_close_theirs(&conmon->stdio);
    if (stdio_pty(&conmon->stdio, master, 0, 0) < 0)
        return -EIO;
    /* What the runtime still had to say belongs to the output. */
    conmon->stdio.err = fd_take(&err);
    return 0;
}

static void runtime_ended(struct child *child, const struct child_end *end)
{
    struct conmon *conmon = container_of(child, struct conmon, runtime);
    bool well = end->known && WIFEXITED(end->status) && WEXITSTATUS(end->status) == 0;
    pid_t pid = file_read_pid(conmon->pidfile);
    char text[CONMON_REFUSAL_MAX];
    int r;

    conmon->hub.children.hold--;
    /* A runtime that wrote the pid of a process in a running container has started it, whatever it says at its end. */
    if (!well && !(conmon->options.exec && pid > 0)) {
        fail_runtime(conmon, end->status);
        return;
    }
    if (conmon->options.terminal && take_terminal(conmon) < 0) {
        conmon_fail(conmon, "Runtime did not set up terminal", 0);
        return;
    }
    if (pid < 0) {
        snprintf(text, sizeof(text), "Failed to read pidfile: %.800s:", conmon->pidfile);
        conmon_fail(conmon, text, pid);
        return;
    }
    conmon->state = CONMON_RUNNING;
    remember_runtime(conmon, pid);
    message(&conmon->messages, MESSAGE_DEBUG, "container PID: %d", (int)pid);
    r = session_start(&conmon->session, &conmon->stdio, pid);
    if (r < 0 && r != -ESRCH) {
        conmon_fail(conmon, "Failed to watch the container process", r);
        return;
    }
    /* The old way to execute expects one line only, with the exit status. */
    if (conmon->options.api_version || !conmon->options.exec)
        conmon_report(conmon, pid, NULL, 0);
    if (r == 0)
        conmon_serve_running(conmon, pid);
    else
        session_start_gone(&conmon->session, &conmon->stdio);
}

static void session_ended(struct session *session)
{
    conmon_end(container_of(session, struct conmon, session));
}

static int prepare_streams(struct conmon *conmon, char *console, size_t capacity)
{
    const struct conmon_options *options = &conmon->options;
    int r;

    session_init(&conmon->session, &conmon->hub, options->terminal, session_ended);
    conmon->session.log = &conmon->log;
    conmon->session.stdin_once = options->gives_stdin && !options->leave_stdin_open;
    if (conmon->logs.passthrough)
        return 0;
    r = stdio_pipes(&conmon->stdio, options->gives_stdin && !options->terminal, 0, 0);
    if (r < 0 || !options->terminal)
        return r;
    fd_close(&conmon->stdio.out);
    fd_close(&conmon->stdio.theirs[1]);
    return listen_console(conmon, console, capacity);
}

void conmon_create(struct conmon *conmon)
{
    char console[ADDRESS_PATH_MAX + 64];
    const char **argv;
    pid_t pid;
    int r = prepare_streams(conmon, console, sizeof(console));

    if (r < 0) {
        conmon_fail(conmon, conmon->options.terminal ? "Failed to make a console socket" : "Failed to create pipes", r);
        return;
    }
    argv = runtime_arguments(&conmon->options, conmon->pidfile, conmon->console >= 0 ? console : NULL);
    /* A pid that an earlier call left there would be taken for this one's. */
    unlink(conmon->pidfile);
    pid = argv == NULL ? -ENOMEM : fork_runtime(conmon, argv);
    free(argv);
    if (pid < 0) {
        conmon_fail(conmon, "Failed to fork the create command", pid);
        return;
    }
    fd_close(&conmon->start_fd);
    stdio_close_theirs(&conmon->stdio);
    if (conmon->logs.passthrough)
        conmon_leave_stdio();
    conmon->exit_command_due = conmon->options.exit_command != NULL;
    conmon->hub.children.hold++;
    r = child_watch(&conmon->hub.loop, &conmon->hub.children, &conmon->runtime, pid, runtime_ended);
    if (r < 0) {
        kill(pid, SIGKILL); /* our own unreaped child: the pid can't have been reused */
        conmon_fail(conmon, "Failed to wait for the runtime", r);
    }
}
