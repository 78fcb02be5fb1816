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
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container/ending.h"
#include "container/handover.h"
#include "container/helpers.h"
#include "container/monitor.h"
#include "container/namespaces.h"
#include "container/perform.h"
#include "container/work.h"
#include "engine/keeper.h"
#include "remora.h"
#include "util/fd.h"
#include "util/kernel.h"
#include "util/memory.h"

#define CONFIG_MAX (16 * 1024 * 1024)

#define KEPT_SIZE ((size_t)64 << 20) /* of addresses; little of it is ever touched */

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
 * What a program gets as stdin in place of a stream is the host's /dev/null: crun gives it to the container's user, and
 * whoever owns it could change its mode for everybody. Through a read-only mount of it, in our namespace alone, one can
 * write to the device but not change its inode. Where that can't be had, things are as everywhere else.
 */
static void protect_null(void)
{
    struct statvfs status;
    unsigned long flags;

    if (mount("/dev/null", "/dev/null", NULL, MS_BIND, NULL) < 0 || statvfs("/dev/null", &status) < 0)
        return;
    /* What it has must be said again: in a user namespace it can't be taken away. */
    flags = status.f_flag & (ST_NOSUID | ST_NOEXEC | ST_NOATIME | ST_NODIRATIME);
    if (status.f_flag & ST_RELATIME)
        flags |= MS_RELATIME;
    mount(NULL, "/dev/null", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL);
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
    protect_null();
    if (config->rootfs[0] == 0)
        return 0;
    if (mkdir(config->rootfs, 0700) < 0 && errno != EEXIST)
        return failure_errno(failure, "make the mount point", config->rootfs, -errno);
    if (syscall(SYS_move_mount, fd, "", AT_FDCWD, config->rootfs, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return failure_errno(failure, "mount the root file system", config->rootfs, -errno);
    return 0;
}

static int set_up(struct native *native, struct failure *failure)
{
    const struct config *config = &native->config;
    int r;

    native->run_dir_fd = open(config->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (native->run_dir_fd < 0)
        return failure_errno(failure, "open run folder", config->run_dir, -errno);
    /* For late waiters: the worker may write in it, but not make it. */
    if (config->remove != NULL && config->remove->size > 0)
        mkdirat(native->run_dir_fd, "../ended", 0700);
    if (chdir("/") < 0)
        return failure_errno(failure, "change folder", "/", -errno);
    r = take_rootfs(config, failure);
    return r == 0 ? namespaces_bind(config, failure) : r;
}

static int keep_descriptors(const struct config *config)
{
    /* Nothing we were not told about stays open, and nothing goes on to a program by accident. */
    syscall(SYS_close_range, (unsigned)config_first_foreign(config), ~0U, 0);
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

/* The kept memory of a monitor; it is all zero but for what is set here. */
int start_lay_out(struct native *native, struct board **board)
{
    struct kept kept;
    struct monitor *monitor;
    int r = kept_map(&kept, KEPT_SIZE);

    if (r < 0)
        return r;
    monitor = kept_take(&kept, sizeof(*monitor), sizeof(max_align_t));
    *board = kept_take(&kept, sizeof(**board), sizeof(max_align_t));
    if (monitor == NULL || *board == NULL)
        return -ENOMEM;
    r = kept_pool(&kept, &monitor->exec_pool, sizeof(struct exec), EXECS_MAX);
    if (r == 0)
        r = hub_lay_out(&monitor->hub, &kept);
    if (r == 0) {
        monitor->early_failure = kept_take_apart(&kept, sizeof(*monitor->early_failure));
        r = monitor->early_failure == NULL ? -ENOMEM : 0;
    }
    if (r == 0 && native->config.n_helpers > 0) {
        monitor->helpers = kept_take_apart(&kept, native->config.n_helpers * sizeof(*monitor->helpers));
        r = monitor->helpers == NULL ? -ENOMEM : 0;
    }
    monitor->config = &native->config;
    monitor->hub.children.board = *board;
    monitor->lock_fd = FD_LOCK;
    snprintf(monitor->name, sizeof(monitor->name), "%s", native->config.name);
    native->monitor = monitor;
    native->board = *board;
    return r;
}

/* Where this program lies, or NULL. Apart, as all below that has large things on its stack: both processes keep theirs.
 */
static __attribute__((noinline)) char *own_path(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    path[n > 0 ? n : 0] = 0;
    return strdup(path);
}

int start_keeper(struct native *native, struct board *board)
{
    static const struct keeper_program program = {
        .work = native_work, .perform = native_perform, .upgrade = handover_execute};

    native->program = own_path();
    memory_release_stack();
    return native->program == NULL ? -ENOMEM : keeper_run(board, &program, native);
}

/* All that can fail before there is a worker. 0, or -errno when it was told. */
static __attribute__((noinline)) int prepare(struct native *native, struct board **board)
{
    struct failure failure = {0};
    int r = read_config(&native->config, &failure);

    /* What was preserved is known now; what we make ourselves must come after the rest is closed. */
    keep_descriptors(&native->config);
    if (r == 0) {
        r = start_lay_out(native, board);
        if (r == 0)
            r = board_init(*board);
        if (r < 0)
            failure_errno(&failure, "make memory for the monitor", native->config.id, r);
    }
    if (r < 0)
        return tell_early_failure(&native->config, &failure);
    native->monitor->failed_early = set_up(native, native->monitor->early_failure) < 0;
    namespaces_close(&native->config);
    native->monitor->run_dir_fd = native->run_dir_fd;
    return 0;
}

static __attribute__((noinline)) int tell_no_worker(const struct native *native, int error)
{
    struct failure failure = {0};

    failure_errno(&failure, "start the worker", native->config.id, error);
    return tell_early_failure(&native->config, &failure);
}

int start_monitor(void)
{
    struct native *native = calloc(1, sizeof(*native));
    struct board *board = NULL;
    int r;

    if (native == NULL)
        return -ENOMEM;
    native->run_dir_fd = -1;
    r = prepare(native, &board);
    if (r < 0)
        return r;
    r = start_keeper(native, board);
    return r < 0 ? tell_no_worker(native, r) : r;
}
