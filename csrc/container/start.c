/* SPDX-License-Identifier: Apache-2.0 */
#include "container/start.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/control.h"
#include "container/ending.h"
#include "container/monitor.h"
#include "remora.h"
#include "util/fd.h"
#include "util/kernel.h"

#define CONFIG_MAX (16 * 1024 * 1024)

int start_daemon(void)
{
    sigset_t all;
    pid_t pid;

    /* Nothing may end a monitor but the end of its container, also not before it is ready to pass signals on. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (setsid() < 0 && errno != EPERM)
        return -errno;
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0)
        return 1;
    umask(022);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return 0;
}

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
    if (quiet)
        log_idle(&monitor->log);
}

static const struct protocol native_protocol = {
    .chunk = REMORA_PAYLOAD_MAX,
    .packet = control_packet,
    .lagging = control_tell_lagging,
    .gone = client_gone,
    .check_done = check_done,
    .idle = idle,
};

void monitor_check_done(struct monitor *monitor)
{
    check_done(&monitor->hub);
}

/* ---- signals ---- */

static void signals_ready(struct source *source, uint32_t events)
{
    struct monitor *monitor = container_of(source, struct monitor, signals);
    struct signalfd_siginfo info;

    (void)events;
    if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGCHLD) {
        children_reap(&monitor->hub.children);
        return;
    }
    /* Whoever ends the monitor means the container: a service manager, the end of a session. */
    monitor->container.stop_requested = true;
    container_signal(&monitor->container, (int)info.ssi_signo);
}

static int watch_signals(struct monitor *monitor)
{
    sigset_t mask;
    int fd;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGQUIT);
    fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : source_add(&monitor->hub.loop, &monitor->signals, fd, EPOLLIN, signals_ready);
}

/* ---- what was handed over ---- */

static int read_config(struct config *config, struct failure *failure)
{
    CLEANUP_FD int fd = FD_CONFIG;
    struct stat status;
    const char *what = "size";
    char *bytes;
    int r;

    if (fstat(fd, &status) < 0)
        return failure_errno(failure, "read configuration", "descriptor 3", -errno);
    if (status.st_size > CONFIG_MAX)
        return failure_errno(failure, "read configuration", what, -EFBIG);
    bytes = malloc((size_t)status.st_size + 1);
    if (bytes == NULL)
        return failure_errno(failure, "read configuration", what, -ENOMEM);
    r = pread(fd, bytes, (size_t)status.st_size, 0) == status.st_size ? 0 : -EIO;
    r = r == 0 ? config_init(config, bytes, (size_t)status.st_size, &what) : (free(bytes), r);
    return r < 0 ? failure_errno(failure, "read configuration", what, r) : 0;
}

/*
 * A mount namespace of our own with the root file system in it: what is mounted here is seen by nobody else
 * and is gone with the last process of the container, whatever happens to the monitor.
 */
static int take_rootfs(const struct config *config, struct failure *failure)
{
    CLEANUP_FD int fd = FD_ROOTFS;

    if (unshare(CLONE_NEWNS) < 0)
        return failure_errno(failure, "make a mount namespace", config->id, -errno);
    /* Mounts of the host go on arriving, none of ours goes out. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return failure_errno(failure, "make the mount namespace private", "/", -errno);
    if (config->rootfs[0] == 0)
        return 0;
    if (mkdir(config->rootfs, 0700) < 0 && errno != EEXIST)
        return failure_errno(failure, "make the mount point", config->rootfs, -errno);
    if (syscall(SYS_move_mount, fd, "", AT_FDCWD, config->rootfs, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return failure_errno(failure, "mount the root file system", config->rootfs, -errno);
    return 0;
}

static int set_up(struct monitor *monitor, struct failure *failure)
{
    struct config *config = &monitor->config;
    int r;

    monitor->run_dir_fd = open(config->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (monitor->run_dir_fd < 0)
        return failure_errno(failure, "open run folder", config->run_dir, -errno);
    if (chdir("/") < 0)
        return failure_errno(failure, "change folder", "/", -errno);
    r = watch_signals(monitor);
    if (r < 0)
        return failure_errno(failure, "watch signals", config->id, r);
    r = control_listen(monitor);
    if (r < 0)
        return failure_errno(failure, "listen", config->run_dir, r);
    return take_rootfs(config, failure);
}

static int keep_descriptors(const struct config *config)
{
    unsigned first_foreign = FD_PRESERVED + config->n_preserved;

    /* Nothing we were not told about stays open, and nothing goes on to a program by accident. */
    syscall(SYS_close_range, first_foreign, ~0U, 0);
    return (int)syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* Before there is a container that could fail: tell the spawner, remove the run folder that was made for us. */
static int tell_early_failure(const struct config *config, const struct failure *failure)
{
    CLEANUP_MSG_OUT struct msg_out event = {0};

    ending_leave_unopened(config);
    msg_out_init(&event, 6);
    msg_put_text(&event, "event", "failed");
    failure_put(failure, &event);
    remora_send(FD_SPAWNER, REMORA_PACKET_CONTROL, event.buffer.data, event.buffer.size, NULL, 0);
    return -EINVAL;
}

int start_monitor(struct monitor *monitor)
{
    struct failure failure = {0};
    struct client *spawner;
    int r;

    *monitor = (struct monitor){.lock_fd = FD_LOCK, .run_dir_fd = -1};
    monitor->signals.fd = monitor->listener.fd = -1;
    monitor->hub.loop.epoll_fd = -1;
    r = read_config(&monitor->config, &failure);
    /* What was preserved is known now; what we make ourselves must come after the rest is closed. */
    keep_descriptors(&monitor->config);
    if (r == 0) {
        r = hub_init(&monitor->hub, &native_protocol);
        if (r < 0)
            failure_errno(&failure, "make the event loop", monitor->config.id, r);
    }
    if (r < 0)
        return tell_early_failure(&monitor->config, &failure);
    fcntl(FD_SPAWNER, F_SETFL, O_NONBLOCK);
    spawner = client_new(&monitor->hub, FD_SPAWNER);
    if (spawner == NULL)
        return -ENOMEM;
    spawner->spawner = true;
    r = container_init(&monitor->container, monitor);
    if (r < 0) {
        failure_errno(&failure, "make timers", monitor->config.id, r);
        return tell_early_failure(&monitor->config, &failure);
    }
    if (monitor->config.attach != NULL)
        control_attach(spawner, &monitor->container.main, monitor->config.attach);
    if (set_up(monitor, &failure) < 0)
        container_fail(&monitor->container, &failure);
    else
        container_start(&monitor->container);
    hub_watch_idle(&monitor->hub);
    return 0;
}

void start_deinit(struct monitor *monitor)
{
    exec_free_all(monitor);
    while (monitor->hub.clients != NULL)
        client_free(monitor->hub.clients);
    container_deinit(&monitor->container);
    source_remove(&monitor->listener);
    source_remove(&monitor->signals);
    log_deinit(&monitor->log);
    config_deinit(&monitor->config);
    fd_close(&monitor->run_dir_fd);
    fd_close(&monitor->lock_fd);
    hub_deinit(&monitor->hub);
}
