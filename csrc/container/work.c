/* SPDX-License-Identifier: Apache-2.0 */
#include "container/work.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "container/control.h"
#include "container/ending.h"
#include "container/handover.h"
#include "container/monitor.h"
#include "container/perform.h"
#include "container/tell.h"
#include "remora.h"
#include "system/confine.h"
#include "util/fd.h"

#define BEGIN_TRIES 5 /* workers that could not even begin: the spawner waits for an answer */

/* ---- the native protocol ---- */

static void client_gone(struct client *client)
{
    struct monitor *monitor = monitor_of(client->hub);

    exec_forget_client(monitor, client);
    container_forget_client(&monitor->container, client);
}

static void check_done(struct hub *hub)
{
    const struct monitor *monitor = monitor_of(hub);

    if (monitor->container.state == CONTAINER_DONE && hub->clients == NULL && monitor->execs == NULL)
        hub->loop.quit = true;
}

static void idle(struct hub *hub, bool quiet)
{
    struct monitor *monitor = monitor_of(hub);

    source_await(&monitor->listener, EPOLLIN); /* it may have had to wait for resources */
    if (quiet) {
        log_idle(&monitor->log);
        pool_trim(&monitor->exec_pool);
    }
}

static const struct protocol native_protocol = {
    .chunk = REMORA_PAYLOAD_MAX,
    .packet = control_packet,
    .lagging = control_tell_lagging,
    .lost = control_tell_lost,
    .interrupted = control_interrupted,
    .gone = client_gone,
    .check_done = check_done,
    .idle = idle,
};

void monitor_check_done(struct monitor *monitor)
{
    check_done(&monitor->hub);
}

/* ---- signals ---- */

/* Whoever ends the monitor means the container: a service manager, the end of a login. */
static void signalled(struct children *children, int signal)
{
    struct monitor *monitor = container_of(children, struct monitor, hub.children);

    monitor->container.stop_requested = true;
    container_signal(&monitor->container, signal);
}

static void signals_ready(struct source *source, uint32_t events)
{
    struct monitor *monitor = container_of(source, struct monitor, signals);
    struct signalfd_siginfo info;

    (void)events;
    if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    signalled(&monitor->hub.children, (int)info.ssi_signo);
}

static int watch_signals(struct monitor *monitor)
{
    sigset_t mask;
    int fd;

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGQUIT);
    fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : source_add(&monitor->hub.loop, &monitor->signals, fd, EPOLLIN, signals_ready);
}

/* ---- a worker's life ---- */

/*
 * Before the first foreign byte is read. Where the kernel can't do all of it the container runs all the same: a monitor
 * with more rights than it needs is better than none.
 */
static int confine(const struct monitor *monitor)
{
    const struct config *config = monitor->config;
    struct confine_options options = {0};
    char run[PATH_MAX], ended[PATH_MAX + 8];
    const char *what, *slash = strrchr(config->run_dir, '/');

    /* Of the folder of all run folders only what we need: others have theirs there, and what they tell to be undone. */
    snprintf(run, sizeof(run), "%.*s/", (int)(slash - config->run_dir), config->run_dir);
    snprintf(ended, sizeof(ended), "%sended", run);
    confine_allow(&options, config->run_dir);
    confine_allow_removal(&options, run);
    if (config->remove != NULL && config->remove->size > 0)
        confine_allow(&options, ended); /* records for late waiters; start.c sees to it that it is there */
    confine_allow(&options, config->data_dir);
    confine_allow(&options, config->pidfile);
    for (size_t i = 0; i < config->log.n_sinks; i++)
        confine_allow(&options, config->log.sinks[i].path);
    return confine_worker(&options, &what);
}

/* What may go the next time. */
static bool passes(int error)
{
    return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ENOSPC || error == -EIO;
}

static int begin(struct monitor *monitor)
{
    struct failure failure;
    struct client *spawner;
    int r = hub_init(&monitor->hub, &native_protocol, monitor->hub.children.board, signalled);

    if (r == 0)
        r = container_init(&monitor->container, monitor);
    if (r == 0)
        r = watch_signals(monitor);
    if (r < 0)
        return r;
    monitor->listener.fd = -1;
    monitor->since_ns = wall_ns();
    fcntl(FD_SPAWNER, F_SETFL, O_NONBLOCK);
    spawner = client_new(&monitor->hub, FD_SPAWNER);
    if (spawner != NULL)
        spawner->spawner = true;
    if (spawner != NULL && monitor->config->attach != NULL)
        control_attach(spawner, &monitor->container.main, monitor->config->attach);
    monitor->begun = true;
    if (!monitor->failed_early) {
        r = control_listen(monitor);
        if (r < 0)
            failure_errno(monitor->early_failure, "listen", monitor->config->run_dir, r);
        monitor->failed_early = r < 0;
    }
    if (!monitor->failed_early) {
        container_start(&monitor->container);
    } else {
        failure = *monitor->early_failure;
        container_fail(&monitor->container, &failure);
    }
    return 0;
}

/* An unreferenced terminal was just received when the worker was killed. */
static bool claim_terminal(void *context, int fd)
{
    struct monitor *monitor = context;
    unsigned number;

    if (ioctl(fd, TIOCGPTN, &number) < 0)
        return false;
    if (monitor->container.state == CONTAINER_STARTING && monitor->config->tty && monitor->container.stdio.out < 0) {
        monitor->container.stdio.out = fd;
        return true;
    }
    return false;
}

static int resume(struct monitor *monitor)
{
    struct hub *hub = &monitor->hub;
    int r = hub_resume(hub);

    if (r < 0)
        return r;
    /* Descriptors of namespaces were between these two: long closed, their numbers may be anybody's. */
    for (int fd = FD_PRESERVED; fd < config_first_namespace(monitor->config); fd++)
        loop_know(&hub->loop, fd);
    for (int fd = config_first_preserved(monitor->config); fd < config_first_held(monitor->config); fd++)
        loop_know(&hub->loop, fd);
    for (int fd = config_first_held(monitor->config); !monitor->held_gone && fd < config_first_foreign(monitor->config);
         fd++)
        loop_know(&hub->loop, fd);
    loop_know(&hub->loop, monitor->run_dir_fd);
    loop_know(&hub->loop, monitor->lock_fd);
    for (size_t i = 0; i < monitor->log.n_targets; i++) {
        loop_know(&hub->loop, monitor->log.targets[i].fd);
        loop_know(&hub->loop, monitor->log.targets[i].next);
    }
    source_resume(&monitor->listener);
    r = watch_signals(monitor);
    if (r < 0)
        return r;
    log_resume(&monitor->log);
    container_resume(&monitor->container);
    exec_resume_all(monitor);
    if (hub->loop.incomplete)
        return -ENOMEM;
    loop_sweep(&hub->loop, claim_terminal, monitor);
    hub_resumed(hub);
    exec_resumed_all(monitor);
    container_resumed(&monitor->container);
    control_tell_upgraded(monitor);
    return 0;
}

static void end(struct monitor *monitor)
{
    exec_free_all(monitor);
    while (monitor->hub.clients != NULL)
        client_free(monitor->hub.clients);
    container_deinit(&monitor->container);
    source_remove(&monitor->listener);
    source_remove(&monitor->signals);
    log_deinit(&monitor->log);
    fd_close(&monitor->run_dir_fd);
    fd_close(&monitor->lock_fd);
    hub_deinit(&monitor->hub);
}

void work_bind(struct monitor *monitor)
{
    hub_bind(&monitor->hub, &native_protocol, signalled);
    control_bind(monitor);
}

/* Leave all to a new version of the program, if that understands it. */
static int hand_over(struct native *native)
{
    struct monitor *monitor = native->monitor;
    struct task task = {.kind = TASK_TRY_UPGRADE, .n_kept = 1};
    int fd = handover_save(monitor);
    int r = fd;

    if (fd >= 0) {
        task.kept[0] = fd;
        r = children_ask(&monitor->hub.children, &task);
    }
    if (r == 0) {
        monitor->hub.children.board->upgrade_fd = fd;
        return 0;
    }
    fd_close(&fd);
    monitor->upgrade_error = -r;
    control_tell_upgraded(monitor);
    monitor->hub.loop.quit = false;
    monitor_check_done(monitor);
    return r;
}

int native_work(void *state, bool resumed)
{
    struct native *native = state;
    struct monitor *monitor = native->monitor;
    int r;

    r = confine(monitor);
    /* Another worker has better luck; if not, one with more rights than it needs is better than none. */
    if (passes(r) && native->board->workers % BEGIN_TRIES != 0)
        return 1;
    r = resumed && monitor->begun ? resume(monitor) : begin(monitor);
    if (r < 0 && !monitor->begun && native->board->workers >= BEGIN_TRIES) {
        native->board->exit_status = r; /* the keeper tells the spawner */
        native->board->finished = true;
        return 0;
    }
    if (r < 0)
        return 1;
    children_release(&monitor->hub.children);
    hub_watch_idle(&monitor->hub);
    while (!monitor->hub.loop.quit) {
        if (loop_run(&monitor->hub.loop) < 0)
            return 1;
        if (monitor->upgrading && hand_over(native) == 0)
            return 0; /* not finished: the keeper goes on with it */
    }
    /* Before what could not be repeated. */
    native->board->finished = true;
    end(monitor);
    return 0;
}
