/* SPDX-License-Identifier: Apache-2.0 */
/* What others can reach: attach socket, ctl and winsz, signals, time limit, the cgroup's events. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conmon/attach.h"
#include "conmon/conmon.h"
#include "conmon/files.h"
#include "conmon/syncpipe.h"
#include "util/fd.h"

#define ATTACH_BACKLOG 10
#define ATTACH_MODE 0700
#define KILLED_NS (10 * SECOND_NS) /* how long a killed process may take to go */

/* ---- signals ---- */

void conmon_signalled(struct children *children, int signal)
{
    struct conmon *conmon = container_of(children, struct conmon, hub.children);

    /* Through pidfds: one that has ended is no other process's number. */
    if (child_signal(&conmon->session.process, signal) < 0)
        child_signal(&conmon->runtime, signal);
}

static void signals_ready(struct source *source, uint32_t events)
{
    struct conmon *conmon = container_of(source, struct conmon, signals);
    struct signalfd_siginfo info;

    (void)events;
    if (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        conmon_signalled(&conmon->hub.children, (int)info.ssi_signo);
}

int conmon_watch_signals(struct conmon *conmon)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT};
    sigset_t mask;
    int fd;

    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&mask, numbers[i]);
    fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : source_add(&conmon->hub.loop, &conmon->signals, fd, EPOLLIN, signals_ready);
}

/* ---- fifos ---- */

static void resize(struct conmon *conmon, const struct control_message *window)
{
    conmon->window = *window;
    conmon->window_known = true;
    session_resize(&conmon->session, (unsigned)window->height, (unsigned)window->width);
}

static void handle_line(struct conmon *conmon, enum control_line kind, const struct control_message *line)
{
    int r;

    switch (kind) {
    case CONTROL_LINE_BAD:
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to sscanf message");
        return;
    case CONTROL_LINE_UNKNOWN:
        message(&conmon->setup->messages, MESSAGE_WARNING, "Invalid control message type: %d", line->type);
        return;
    case CONTROL_LINE_WINDOW_INVALID:
        message(&conmon->setup->messages, MESSAGE_WARNING, "Invalid window size: %dx%d (must be between 0 and %d)",
                line->height, line->width, WINDOW_MAX);
        return;
    case CONTROL_LINE_RESIZE:
        resize(conmon, line);
        return;
    case CONTROL_LINE_REOPEN:
        r = log_reopen(&conmon->log);
        if (r < 0)
            message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to open log file %s", strerror(-r));
        return;
    }
}

static void fifo_ready(struct conmon *conmon, int fd, struct lines *lines,
                       enum control_line (*parse)(const char *, struct control_message *))
{
    char buffer[LINE_BUFFER], line[LINE_BUFFER];
    const char *bytes = buffer;
    ssize_t n = read(fd, buffer, sizeof(buffer));
    size_t size = n > 0 ? (size_t)n : 0;
    struct control_message parsed;
    bool too_long = false;

    while (lines_next(lines, &bytes, &size, line, &too_long)) {
        enum control_line kind = parse(line, &parsed);

        handle_line(conmon, kind, &parsed);
    }
    if (too_long)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Could not find newline in entire buffer");
}

static void ctl_ready(struct source *source, uint32_t events)
{
    struct conmon *conmon = container_of(source, struct conmon, ctl);

    (void)events;
    fifo_ready(conmon, source->fd, &conmon->ctl_lines, control_line_parse);
}

static void winsz_ready(struct source *source, uint32_t events)
{
    struct conmon *conmon = container_of(source, struct conmon, winsz);

    (void)events;
    fifo_ready(conmon, source->fd, &conmon->winsz_lines, window_line_parse);
}

/* events 0: opened, but not read yet. */
static int add_fifo(struct conmon *conmon, struct source *source, const char *name, uint32_t events,
                    source_ready_fn ready)
{
    int fd = fifo_open_in(conmon->setup->options.bundle, name);

    return fd < 0 ? fd : source_add(&conmon->hub.loop, source, fd, events, ready);
}

/* ---- the attach socket ---- */

static int listen_attach(struct conmon *conmon, const char **what)
{
    const struct conmon_options *options = &conmon->setup->options;
    int fd;

    if (!options->full_attach) {
        int r = attach_link_path(conmon->attach_link, sizeof(conmon->attach_link), options->socket_dir,
                                 options->cuuid != NULL ? options->cuuid : options->cid);

        *what = "Failed to create symlink for notify socket";
        if (r == 0 && unlink(conmon->attach_link) < 0 && errno != ENOENT)
            r = -errno;
        if (r == 0 && symlink(options->bundle, conmon->attach_link) < 0)
            r = -errno;
        if (r < 0)
            return r;
    }
    *what = "Failed to listen on attach socket";
    fd = socket_bind_in(options->bundle, "attach", SOCK_SEQPACKET, ATTACH_MODE);
    if (fd >= 0 && listen(fd, ATTACH_BACKLOG) < 0) {
        int error = -errno;

        fd_close(&fd);
        return error;
    }
    return fd < 0 ? fd : source_add(&conmon->hub.loop, &conmon->attach, fd, EPOLLIN, clients_accept);
}

/* The caller may connect now. */
static void tell_attachable(struct conmon *conmon)
{
    char line[64];
    size_t size = sync_line(line, sizeof(line), "data", 0, NULL, 0);

    if (conmon->attach_fd >= 0 && fd_write_all(conmon->attach_fd, line, size) < 0)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Unable to send attach message to parent %s",
                strerror(errno));
    fd_close(&conmon->attach_fd);
}

int conmon_serve(struct conmon *conmon, const char **what)
{
    int r;

    *what = "Failed to watch signals";
    r = conmon_watch_signals(conmon);
    *what = "Failed to make timers";
    if (r == 0)
        r = timer_init(&conmon->hub.loop, &conmon->patience, conmon_patience_due);
    if (r == 0 && conmon->setup->options.sdnotify_socket != NULL)
        r = relay_init(&conmon->relay, conmon, what);
    if (r < 0 || conmon->setup->options.bundle == NULL || conmon->setup->logs.passthrough)
        return r;
    r = listen_attach(conmon, what);
    if (r < 0)
        return r;
    *what = "Failed to mkfifo";
    r = add_fifo(conmon, &conmon->ctl, "ctl", EPOLLIN, ctl_ready);
    /* Sizes that come before there is a terminal wait in the fifo. */
    if (r == 0)
        r = add_fifo(conmon, &conmon->winsz, "winsz", 0, winsz_ready);
    if (r == 0)
        tell_attachable(conmon);
    return r;
}

/* ---- once the process runs ---- */

void conmon_check_oom(struct conmon *conmon)
{
    const struct conmon_options *options = &conmon->setup->options;

    if (!conmon->cgroup.oom || conmon->oom_told)
        return;
    conmon->oom_told = true;
    message(&conmon->setup->messages, MESSAGE_INFO, "OOM received");
    if (options->persist_dir != NULL && file_touch(options->persist_dir, "oom") < 0)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to write oom file");
    if (options->bundle != NULL && file_touch(options->bundle, "oom") < 0)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to write oom file");
}

static void oom_ready(struct source *source, uint32_t events)
{
    struct conmon *conmon = container_of(source, struct conmon, oom);

    (void)events;
    cgroup_event(&conmon->cgroup);
    conmon_check_oom(conmon);
}

/* The keeper kills the whole group; where there is no keeper any more, the process at least. */
static void kill_group(struct conmon *conmon)
{
    struct task task = {.kind = TASK_KILL, .number = (unsigned)conmon->session.process.pid};

    if (children_ask(&conmon->hub.children, &task) < 0)
        child_signal(&conmon->session.process, SIGKILL);
}

static void time_limit_due(struct timer *timer)
{
    struct conmon *conmon = container_of(timer, struct conmon, time_limit);

    if (conmon->state != CONMON_RUNNING)
        return;
    if (conmon->timed_out) {
        conmon_end(conmon); /* killed long ago, and still there */
        return;
    }
    if (conmon->session.process_ended)
        return;
    message(&conmon->setup->messages, MESSAGE_INFO, "Timed out, killing main loop");
    conmon->timed_out = true;
    kill_group(conmon);
    timer_set(timer, KILLED_NS);
}

static void watch_oom(struct conmon *conmon, pid_t pid)
{
    int fd;

    source_remove(&conmon->oom);
    cgroup_deinit(&conmon->cgroup);
    cgroup_open(&conmon->cgroup, pid, "");
    fd = conmon->cgroup.event_fd < 0 ? -1 : fcntl(conmon->cgroup.event_fd, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0 && source_add(&conmon->hub.loop, &conmon->oom, fd, EPOLLIN, oom_ready) < 0)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to watch for OOM");
}

static void limit_time(struct conmon *conmon, int seconds)
{
    struct timer *timer = &conmon->time_limit;

    if (timer->source.loop == NULL && timer_init(&conmon->hub.loop, timer, time_limit_due) < 0)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to set the time limit");
    else
        timer_set(timer, seconds_ns(seconds));
}

void conmon_serve_running(struct conmon *conmon, pid_t pid)
{
    const struct conmon_options *options = &conmon->setup->options;

    if (conmon->window_known)
        session_resize(&conmon->session, (unsigned)conmon->window.height, (unsigned)conmon->window.width);
    if (options->terminal)
        source_await(&conmon->winsz, EPOLLIN);
    /* An exec's cgroup is the container's, whose own monitor watches it. */
    if (!options->exec || options->persist_dir != NULL)
        watch_oom(conmon, pid);
    if (options->timeout > 0)
        limit_time(conmon, options->timeout);
    conmon->watched = true;
}

void conmon_serve_resume(struct conmon *conmon)
{
    struct loop *loop = &conmon->hub.loop;
    struct source *const sources[] = {&conmon->attach, &conmon->ctl, &conmon->winsz, &conmon->oom, &conmon->wordy};

    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
        source_resume(sources[i]);
    timer_resume(&conmon->time_limit);
    timer_resume(&conmon->patience);
    relay_resume(&conmon->relay);
    loop_know(loop, conmon->cgroup.event_fd);
    loop_know(loop, conmon->cgroup.oom_fd);
    loop_know(loop, conmon->cgroup.cpu_fd);
    loop_know(loop, conmon->cgroup.peak_fd);
    loop_know(loop, conmon->console);
    loop_know(loop, conmon->sync_fd);
    loop_know(loop, conmon->attach_fd);
}
