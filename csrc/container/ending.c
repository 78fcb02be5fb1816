/* SPDX-License-Identifier: Apache-2.0 */
#include "container/ending.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "container/control.h"
#include "container/monitor.h"
#include "container/tell.h"
#include "remora.h"
#include "util/fd.h"

#define LATE_WAITER_SECONDS 600
#define RECORD_KEYS 23
#define RECORD_TRIES 3

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

int64_t wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* ---- the record ---- */

void outcome_from_end(struct outcome *outcome, const struct child_end *end)
{
    outcome->known = end->known;
    if (!end->known) {
        /* Nobody can tell any more; 255 is for callers that must have a number, `known` is the truth. */
        outcome->code = 255;
        outcome->why = "unknown";
        return;
    }
    if (WIFSIGNALED(end->status)) {
        outcome->signal = WTERMSIG(end->status);
        outcome->core = WCOREDUMP(end->status);
        outcome->code = 128 + outcome->signal;
        outcome->why = "signaled";
    } else {
        outcome->code = WEXITSTATUS(end->status);
        outcome->why = "exited";
    }
    outcome->cpu_ns = (uint64_t)end->cpu_ns;
    outcome->peak_bytes = (uint64_t)end->peak_bytes;
}

void outcome_put(const struct outcome *outcome, const struct monitor *monitor, const char *session, struct msg_out *out)
{
    msg_out_init(out, RECORD_KEYS);
    msg_put_int(out, "version", 1);
    msg_put_text(out, "id", monitor->config->id);
    msg_put_text(out, "name", monitor->name);
    msg_put_text(out, "session", session);
    msg_put_bool(out, "known", outcome->known);
    msg_put_int(out, "code", outcome->code);
    msg_put_int(out, "signal", outcome->signal);
    msg_put_bool(out, "core", outcome->core);
    msg_put_bool(out, "oom", outcome->oom);
    msg_put_text(out, "why", outcome->why != NULL ? outcome->why : "unknown");
    msg_put_text(out, "error", outcome->error);
    msg_put_int(out, "status", outcome->status);
    msg_put_int(out, "started_ns", outcome->started_ns);
    msg_put_int(out, "finished_ns", outcome->finished_ns);
    msg_put_int(out, "started_mono_ns", outcome->started_mono_ns);
    msg_put_int(out, "finished_mono_ns", outcome->finished_mono_ns);
    msg_put_int(out, "cpu_ns", (int64_t)outcome->cpu_ns);
    msg_put_int(out, "peak_bytes", (int64_t)outcome->peak_bytes);
    msg_put_int(out, "restarts", monitor->container.restarts);
    msg_put_int(out, "stdout_bytes", (int64_t)outcome->stdout_bytes);
    msg_put_int(out, "stderr_bytes", (int64_t)outcome->stderr_bytes);
    msg_put_int(out, "log_bytes", (int64_t)log_written(&monitor->log));
    msg_put_int(out, "log_dropped", (int64_t)log_dropped(&monitor->log));
}

void ending_record(struct container *container)
{
    const msgpack_object_array *steps = container->monitor->config->remove;
    /* A container that goes with its end has no use for a record that outlives a power cut. */
    bool durable = steps == NULL || steps->size == 0;
    CLEANUP_MSG_OUT struct msg_out record = {0};

    outcome_put(&container->outcome, container->monitor, "", &record);
    /* Its space is reserved, so a failure is most likely a passing one; there is nobody who could do more. */
    for (int i = 0; i < RECORD_TRIES; i++)
        if (record_write(&container->record, record.buffer.data, record.buffer.size, durable) == 0)
            return;
}

/* ---- the state file ---- */

static void boot_id(char *out, size_t capacity)
{
    CLEANUP_FD int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, capacity - 1) : 0;

    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
}

void ending_put_state(const struct container *container, const char *status, struct msg_out *out)
{
    const struct monitor *monitor = container->monitor;
    bool runs = container->state == CONTAINER_RUNNING;
    char boot[64];

    boot_id(boot, sizeof(boot));
    msg_out_init(out, 13);
    msg_put_int(out, "version", 1);
    msg_put_text(out, "id", monitor->config->id);
    msg_put_text(out, "name", monitor->name);
    msg_put_text(out, "status", status);
    msg_put_int(out, "pid", runs ? container->main.process.pid : 0);
    msg_put_int(out, "pid_start", runs ? remora_process_start(container->main.process.pid) : 0);
    msg_put_int(out, "monitor_pid", container->monitor->hub.children.board->keeper);
    msg_put_int(out, "started_ns", container->outcome.started_ns);
    msg_put_int(out, "started_mono_ns", container->outcome.started_mono_ns);
    msg_put_int(out, "restarts", container->restarts);
    msg_put_bool(out, "tty", monitor->config->tty);
    msg_put_text(out, "boot_id", boot);
    msg_put_int(out, "exit_code", container->has_outcome && !runs ? container->outcome.code : 0);
}

/* Without room for a new file: in its place. Who reads half of it asks us (state.py). */
static void overwrite_state(int dir_fd, const struct msg_out *state)
{
    CLEANUP_FD int fd = openat(dir_fd, "state", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0 && fd_write_all(fd, state->buffer.data, state->buffer.size) == 0)
        (void)!ftruncate(fd, (off_t)state->buffer.size);
}

void ending_write_state(struct container *container, const char *status)
{
    int dir_fd = container->monitor->run_dir_fd;
    CLEANUP_MSG_OUT struct msg_out state = {0};
    CLEANUP_FD int fd = openat(dir_fd, "state.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    ending_put_state(container, status, &state);
    if (fd >= 0 && fd_write_all(fd, state.buffer.data, state.buffer.size) == 0 &&
        renameat(dir_fd, "state.new", dir_fd, "state") == 0)
        return;
    unlinkat(dir_fd, "state.new", 0);
    overwrite_state(dir_fd, &state);
}

/* ---- removal ---- */

/* Forget records that no late waiter will ask for any more. */
static void prune_ended(int dir_fd)
{
    DIR *dir = fdopendir(fcntl(dir_fd, F_DUPFD_CLOEXEC, 3));
    time_t now = time(NULL);
    struct dirent *entry;
    struct stat status;

    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && fstatat(dir_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            now - status.st_mtime > LATE_WAITER_SECONDS)
            unlinkat(dir_fd, entry->d_name, 0);
    closedir(dir);
}

static void keep_for_late_waiters(struct container *container)
{
    struct monitor *monitor = container->monitor;
    CLEANUP_MSG_OUT struct msg_out record = {0};
    CLEANUP_FD int dir_fd = -1, fd = -1;

    mkdirat(monitor->run_dir_fd, "../ended", 0700);
    dir_fd = openat(monitor->run_dir_fd, "../ended", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir_fd < 0)
        return;
    prune_ended(dir_fd);
    outcome_put(&container->outcome, monitor, "", &record);
    fd = openat(dir_fd, monitor->config->id, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && fd_write_all(fd, record.buffer.data, record.buffer.size) < 0)
        unlinkat(dir_fd, monitor->config->id, 0);
}

/* What can be done without the keeper: unlinking. Whoever meets a folder without its request sweeps the rest. */
static void unlink_only(const struct monitor *monitor)
{
    const msgpack_object_array *steps = monitor->config->remove;

    for (uint32_t i = 0; i < steps->size; i++) {
        const msgpack_object *step = &steps->ptr[i];
        struct msg *msg = (struct msg *)(uintptr_t)&monitor->config->msg;
        const char *word;

        if (step->type != MSGPACK_OBJECT_ARRAY || step->via.array.size != 2)
            continue;
        word = msg_element(msg, &step->via.array.ptr[0]);
        if (word != NULL && strcmp(word, "unlink") == 0 && (word = msg_element(msg, &step->via.array.ptr[1])) != NULL)
            unlink(word);
    }
}

void ending_remove(struct container *container)
{
    struct monitor *monitor = container->monitor;
    struct task task = {.kind = TASK_REMOVE, .attended = control_has_owner(monitor)};
    int r;

    if (container->failure.phase == NULL)
        keep_for_late_waiters(container);
    /* The log and the record are open files below what is removed now. */
    record_deinit(&container->record);
    log_deinit(&monitor->log);
    r = children_ask(&monitor->hub.children, &task);
    if (r < 0)
        unlink_only(monitor);
    container->last_use = r > 0;
    container->gone = true;
}

void ending_leave_unopened(const struct config *config)
{
    char *lock = NULL;

    if (config->run_dir == NULL || config->run_dir[0] != '/' || asprintf(&lock, "%s/lock", config->run_dir) < 0)
        return;
    unlink(lock);
    rmdir(config->run_dir);
    free(lock);
}

/* What is still to be undone may need any of the spawner's files. */
static bool stays(const char *name, bool cleanup_left)
{
    return strcmp(name, "state") == 0 || strcmp(name, "lock") == 0 || (cleanup_left && strcmp(name, "ctl") != 0);
}

static void unlink_entries(int dir_fd, bool cleanup_left)
{
    int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (!stays(entry->d_name, cleanup_left))
            unlinkat(dir_fd, entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
}

/*
 * A lock without a state file would look like a start: the two go last, and together. What failed once may go a second
 * time, but only before the lock has gone: from then on whatever is in the folder may be the next one's.
 */
static void empty_folder(int dir_fd, bool cleanup_left)
{
    for (int i = 0; i < 2; i++)
        unlink_entries(dir_fd, cleanup_left);
    if (unlinkat(dir_fd, "state", 0) < 0)
        unlinkat(dir_fd, "state", 0);
    if (unlinkat(dir_fd, "lock", 0) < 0 && errno != ENOENT)
        unlinkat(dir_fd, "lock", 0);
}

/*
 * Ports of the host, say: whoever sees the lock gone may want them. Once: their numbers are anybody's afterwards.
 */
static void let_go_of_held(struct monitor *monitor)
{
    bool gone = monitor->held_gone;

    monitor->held_gone = true;
    for (int fd = config_first_held(monitor->config); !gone && fd < config_first_foreign(monitor->config); fd++)
        close(fd);
}

void ending_leave(struct monitor *monitor)
{
    /* Nobody new from here on; who has connected already still gets an answer. */
    if (monitor->listener.loop != NULL) {
        unlinkat(monitor->run_dir_fd, "ctl", 0);
        while (control_accept(monitor))
            ;
    }
    source_remove(&monitor->listener);
    let_go_of_held(monitor);
    if (monitor->run_dir_fd < 0)
        ending_leave_unopened(monitor->config);
    if (monitor->run_dir_fd >= 0)
        empty_folder(monitor->run_dir_fd, monitor->container.cleanup_left);
    /* Somebody who waited for the lock may be in there already: then it is not empty, and stays. */
    if (rmdir(monitor->config->run_dir) < 0 && errno != ENOENT)
        rmdir(monitor->config->run_dir);
    fd_close(&monitor->run_dir_fd);
    fd_close(&monitor->lock_fd);
}
