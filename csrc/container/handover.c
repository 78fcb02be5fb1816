/* SPDX-License-Identifier: Apache-2.0 */
#include "container/handover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/monitor.h"
#include "container/start.h"
#include "engine/keeper.h"
#include "util/fd.h"

#define TRY_MS 5000
#define UNDERSTOOD 86 /* exit status of a trial that went well */
#define STATE_MAX ((size_t)256 << 20)
#define ENDED_FIELDS 4
#define READ_TRIES 3

extern char **environ;

/*
 * The file: the size of the first map (eight bytes), that map, the second map. The worker writes the first one, the
 * keeper the second one, with all that decides what is executed: a worker is not trusted with that.
 */
int handover_save(struct monitor *monitor)
{
    CLEANUP_MSG_OUT struct msg_out state = {0};
    CLEANUP_FD int fd = memfd_create("remora-state", MFD_CLOEXEC);
    uint64_t size;
    int r;

    if (fd < 0)
        return -errno;
    handover_put(monitor, &state);
    size = state.buffer.size;
    r = fd_write_all(fd, &size, sizeof(size));
    if (r == 0)
        r = fd_write_all(fd, state.buffer.data, state.buffer.size);
    return r < 0 ? r : fd_take(&fd);
}

/* ---- the old program ---- */

/* So that they all live through an execve. 0 or -errno: then some would not. */
static int keep_on_exec(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int r = 0;

    if (dir == NULL)
        return -errno;
    while (errno = 0, r == 0 && (entry = readdir(dir)) != NULL) {
        int fd = atoi(entry->d_name);

        if (fd > STDERR_FILENO && fd != dirfd(dir) && fcntl(fd, F_SETFD, 0) < 0)
            r = -errno;
    }
    if (r == 0)
        r = -errno;
    closedir(dir);
    return r;
}

static void close_on_exec(void)
{
    syscall(SYS_close_range, (unsigned)STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* Execute the program that is installed now. Returns only if that failed. */
static void execute_new(const struct native *native, int state_fd, const char *suffix)
{
    char short_id[13], value[32];
    char *argv[] = {(char *)(uintptr_t) "remora-monitor", short_id, native->monitor->name, NULL};

    snprintf(short_id, sizeof(short_id), "%s", native->config.id);
    snprintf(value, sizeof(value), "%d%s", state_fd, suffix);
    if (setenv(HANDOVER_VARIABLE, value, 1) == 0)
        execve(native->program, argv, environ);
    unsetenv(HANDOVER_VARIABLE);
}

/*
 * The second map, in the place of an earlier one. Ends that the keeper has noted and no worker has taken in are in it:
 * reaped, so nobody else can tell them.
 */
static int append(const struct native *native, int fd)
{
    const struct board *board = native->board;
    unsigned top = board->end_top < ENDS_MAX ? board->end_top : ENDS_MAX, n = 0;
    CLEANUP_MSG_OUT struct msg_out more = {0};
    struct end_entry ended[ENDS_MAX];
    uint64_t first;

    for (unsigned i = 0; i < top; i++) {
        memcpy(&ended[n], &board->ends[i], sizeof(ended[n]));
        n += ended[n].pid > 0 && ended[n].ended == ended[n].pid;
    }
    msg_out_init(&more, 6);
    msg_put_int(&more, "workers", board->workers);
    msg_put_int(&more, "keeper_fd", board->keeper_fd);
    msg_put_int(&more, "ends_fd", board->ends_fd);
    msg_put_int(&more, "answer_fd", board->answer_fd);
    msg_put_key(&more, "config");
    msgpack_pack_bin(&more.packer, native->config.size);
    msgpack_pack_bin_body(&more.packer, native->config.bytes, native->config.size);
    msg_put_key(&more, "ends");
    msgpack_pack_array(&more.packer, (size_t)n * ENDED_FIELDS);
    for (unsigned i = 0; i < n; i++) {
        msgpack_pack_int64(&more.packer, ended[i].pid);
        msgpack_pack_int64(&more.packer, ended[i].status);
        msgpack_pack_int64(&more.packer, ended[i].cpu_ns);
        msgpack_pack_int64(&more.packer, ended[i].peak_bytes);
    }
    if (pread(fd, &first, sizeof(first), 0) != (ssize_t)sizeof(first) || first > STATE_MAX)
        return -EBADMSG;
    if (ftruncate(fd, (off_t)(sizeof(first) + first)) < 0 || lseek(fd, 0, SEEK_END) < 0)
        return -errno;
    return fd_write_all(fd, more.buffer.data, more.buffer.size);
}

int handover_try(const struct native *native, int state_fd)
{
    CLEANUP_FD int pidfd = -1;
    struct pollfd waited = {.events = POLLIN};
    int status = 0, r = append(native, state_fd);
    pid_t pid;

    if (r < 0)
        return r;
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        fcntl(state_fd, F_SETFD, 0);
        execute_new(native, state_fd, " " HANDOVER_TRY);
        _exit(EXECUTE_FAILED);
    }
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    waited.fd = pidfd;
    if (pidfd < 0 || poll(&waited, 1, TRY_MS) != 1)
        kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid)
        return -ECHILD;
    /* A status of our own: many a program that is no monitor ends with 0. */
    return WIFEXITED(status) && WEXITSTATUS(status) == UNDERSTOOD ? 0 : -ENOEXEC;
}

void handover_execute(void *state, int state_fd)
{
    struct native *native = state;
    struct monitor *monitor = native->monitor;

    int r = append(native, state_fd);

    if (r == 0)
        r = keep_on_exec();
    if (r == 0) {
        execute_new(native, state_fd, "");
        r = -errno;
    }
    monitor->upgrade_error = -r;
    close_on_exec();
    close(state_fd);
}

/* ---- the new program ---- */

bool handover_is_meant(void)
{
    return getenv(HANDOVER_VARIABLE) != NULL;
}

static int read_state(int fd, char **bytes, size_t *size)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (status.st_size < (off_t)sizeof(uint64_t) || (uint64_t)status.st_size > STATE_MAX)
        return -EBADMSG;
    *size = (size_t)status.st_size;
    *bytes = malloc(*size);
    if (*bytes == NULL)
        return -ENOMEM;
    for (int i = 0; i < READ_TRIES; i++)
        if (fd_read_at(fd, *bytes, *size, 0) == (ssize_t)*size)
            return 0;
    return -EIO;
}

/* Nothing is made anew that may fail now: the old program is gone. */
static int take_board_over(struct board *board, struct msg *msg)
{
    int keeper_fd = (int)msg_int(&msg->root, "keeper_fd", -1);

    if (keeper_fd < 0)
        return board_init(board);
    board_take_over(board, keeper_fd, (int)msg_int(&msg->root, "ends_fd", -1),
                    (int)msg_int(&msg->root, "answer_fd", -1));
    return 0;
}

static int load_ends(struct board *board, struct msg *msg)
{
    const msgpack_object_array *ends = msg_array(&msg->root, "ends");

    board->workers = (unsigned)msg_int(&msg->root, "workers", 1);
    for (uint32_t i = 0; ends != NULL && i + ENDED_FIELDS <= ends->size; i += ENDED_FIELDS) {
        struct end_entry *entry = board_expect(board, (pid_t)ends->ptr[i].via.i64);

        if (entry == NULL)
            return -ENOMEM;
        entry->status = (int)ends->ptr[i + 1].via.i64;
        entry->cpu_ns = ends->ptr[i + 2].via.i64;
        entry->peak_bytes = ends->ptr[i + 3].via.i64;
        entry->ended = entry->pid;
    }
    return 0;
}

int handover_load(struct native *native, const char *bytes, size_t size)
{
    CLEANUP_MSG struct msg msg = {0}, more = {0};
    const char *what;
    uint64_t first;
    int r;

    if (size < sizeof(first))
        return -EBADMSG;
    memcpy(&first, bytes, sizeof(first));
    bytes += sizeof(first);
    size -= sizeof(first);
    if (first > size)
        return -EBADMSG;
    r = msg_parse(&more, bytes + first, size - (size_t)first);
    if (r == 0)
        r = msg_parse(&msg, bytes, (size_t)first);
    if (r == 0)
        r = handover_get_config(native, &more, &what);
    if (r == 0)
        r = start_lay_out(native, &native->board);
    if (r == 0)
        r = take_board_over(native->board, &more);
    if (r == 0)
        r = handover_get(native->monitor, &msg, &what);
    return r < 0 ? r : load_ends(native->board, &more);
}

int handover_main(void)
{
    struct native native = {.run_dir_fd = -1};
    char *bytes = NULL, *rest;
    size_t size = 0;
    int fd = (int)strtol(getenv(HANDOVER_VARIABLE), &rest, 10);
    bool try = strcmp(rest, " " HANDOVER_TRY) == 0;
    int r = read_state(fd, &bytes, &size);

    unsetenv(HANDOVER_VARIABLE);
    if (r == 0)
        r = handover_load(&native, bytes, size);
    free(bytes);
    if (try || r < 0)
        return r < 0 ? 125 : UNDERSTOOD;
    close(fd);
    close_on_exec();
    native.run_dir_fd = native.monitor->run_dir_fd;
    /* Until the worker knows again whom it waits for. */
    native.board->hold = 1;
    r = start_keeper(&native, native.board);
    return r < 0 ? 125 : r;
}
