/* SPDX-License-Identifier: Apache-2.0 */
/* The worker of a drop-in for conmon: from its first call to its end, and how one goes on where another was killed. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "conmon/conmon.h"
#include "system/confine.h"

#define BEGIN_TRIES 5 /* workers that could not even begin: the caller waits for an answer */

/* ---- rights ---- */

/*
 * Before the first foreign byte is read. Where the kernel can't do all of it the container runs all the same: a monitor
 * with more rights than it needs is better than none.
 */
static void confine(const struct setup *setup)
{
    const struct conmon_options *given = &setup->options;
    struct confine_options options = {0};
    const char *what = "";
    int r;

    for (size_t i = 0; i < setup->logs.n_files; i++)
        confine_allow(&options, setup->logs.files[i]);
    confine_allow(&options, given->bundle);
    confine_allow(&options, given->exit_dir);
    confine_allow(&options, given->persist_dir);
    confine_allow(&options, given->full_attach ? NULL : given->socket_dir);
    confine_allow(&options, given->terminal ? setup->console_path : NULL);
    confine_allow(&options, setup->pidfile);
    if (given->sdnotify_socket != NULL && given->sdnotify_socket[0] == '/')
        confine_allow(&options, given->sdnotify_socket);
    r = confine_worker(&options, &what);
    if (r < 0)
        message(&setup->messages, MESSAGE_INFO, "Failed to give up rights: %s %s", what, strerror(-r));
}

/* ---- a worker's life ---- */

static int begin(struct conmon *conmon)
{
    const char *what = "Failed to make the event loop";
    int r = hub_init(&conmon->hub, &conmon_protocol, conmon->hub.children.board, conmon_signalled);

    if (r < 0)
        return r;
    conmon_prepare(conmon);
    r = conmon_serve(conmon, &what);
    conmon->begun = true;
    if (r < 0)
        conmon_fail(conmon, what, r);
    else
        conmon_create(conmon);
    return 0;
}

/* An unreferenced terminal was just received when the worker was killed. */
static bool claim_terminal(void *context, int fd)
{
    struct conmon *conmon = context;
    unsigned number;

    if (ioctl(fd, TIOCGPTN, &number) < 0)
        return false;
    if (conmon->state != CONMON_CREATING || !conmon->setup->options.terminal || conmon->stdio.out >= 0)
        return false;
    conmon->stdio.out = fd;
    return true;
}

static void know_descriptors(struct conmon *conmon)
{
    const struct setup *setup = conmon->setup;
    const struct task *answer = &setup->board->task;
    struct loop *loop = &conmon->hub.loop;

    if (conmon->call == CALL_NONE)
        loop_know(loop, setup->start_fd);
    if (conmon->call == CALL_ASKED && answer->owner == conmon && answer->state == TASK_ANSWERED) {
        loop_know(loop, answer->pidfd);
        loop_know(loop, answer->in);
        loop_know(loop, answer->out);
        loop_know(loop, answer->err);
    }
    loop_know(loop, setup->console_folder);
    loop_know(loop, setup->messages.syslog_fd);
    for (size_t i = 0; i < setup->n_inherited && !conmon->inherited_closed; i++)
        loop_know(loop, setup->inherited[i]);
    for (size_t i = 0; i < conmon->log.n_targets; i++) {
        loop_know(loop, conmon->log.targets[i].fd);
        loop_know(loop, conmon->log.targets[i].next);
    }
}

static int resume(struct conmon *conmon)
{
    int r = hub_resume(&conmon->hub);

    if (r == 0)
        r = conmon_watch_signals(conmon);
    if (r < 0)
        return r;
    know_descriptors(conmon);
    conmon_serve_resume(conmon);
    log_resume(&conmon->log);
    session_resume(&conmon->session, &conmon->stdio);
    if (conmon->hub.loop.incomplete)
        return -ENOMEM;
    loop_sweep(&conmon->hub.loop, claim_terminal, conmon);
    hub_resumed(&conmon->hub);
    if (conmon->state != CONMON_ENDED)
        clients_resumed(conmon);
    switch (conmon->state) {
    case CONMON_CREATING:
        conmon_create_resumed(conmon);
        return 0;
    case CONMON_RUNNING:
        if (!conmon->watched && conmon->session.process.children != NULL)
            conmon_serve_running(conmon, conmon->session.process.pid);
        session_resumed(&conmon->session);
        return 0;
    case CONMON_ENDED:
        if (conmon->failed)
            conmon_dismiss_clients(conmon);
        else
            conmon_end(conmon);
        return 0;
    }
    return 0;
}

/* The keeper may end, too. */
static int finish(const struct conmon *conmon)
{
    struct board *board = conmon->setup->board;

    board->exit_status = conmon->exit_status & 0xff;
    board->finished = true;
    return 0;
}

int conmon_work(void *state, bool resumed)
{
    struct setup *setup = state;
    struct conmon *conmon = setup->conmon;
    int r;

    confine(setup);
    r = resumed && conmon->begun ? resume(conmon) : begin(conmon);
    if (r < 0 && !conmon->begun && setup->board->workers >= BEGIN_TRIES) {
        conmon_fail(conmon, "Failed to make the event loop", r);
        return finish(conmon);
    }
    if (r < 0)
        return 1;
    children_release(&conmon->hub.children);
    hub_watch_idle(&conmon->hub);
    if (!conmon->hub.loop.quit && loop_run(&conmon->hub.loop) < 0)
        return 1;
    /* Before what could not be repeated. */
    finish(conmon);
    conmon_deinit(conmon);
    return 0;
}
