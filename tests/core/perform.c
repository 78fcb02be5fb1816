/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a keeper does for a worker that lies: of a task only numbers count, and only those that the configuration has.
 */
#include "container/perform.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/runtime.h"
#include "container/start.h"
#include "engine/board.h"

static void put_words(struct msg_out *out, const char *const *words, size_t n)
{
    msgpack_pack_array(&out->packer, n);
    for (size_t i = 0; i < n; i++)
        msg_put_key(out, words[i]);
}

static void put_key(struct msg_out *out, const char *key, const char *const *words, size_t n)
{
    msg_put_key(out, key);
    put_words(out, words, n);
}

/* One helper, and two steps: a program that copies its input, and a file. */
static struct native make(const char *folder)
{
    static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char copy[2 * PATH_MAX + 64], lease[PATH_MAX + 32], pidfile[PATH_MAX + 32];
    struct native native = {.run_dir_fd = -1};
    CLEANUP_MSG_OUT struct msg_out out = {0};
    const char *what;
    char *bytes;

    snprintf(copy, sizeof(copy), "cat >%s/copy; ls /proc/self/fd | wc -l >>%s/copy", folder, folder);
    snprintf(lease, sizeof(lease), "%s/lease", folder);
    snprintf(pidfile, sizeof(pidfile), "%s/pid", folder);
    msg_out_init(&out, 8);
    msg_put_int(&out, "version", 1);
    msg_put_text(&out, "id", id);
    msg_put_text(&out, "data_dir", folder);
    msg_put_text(&out, "run_dir", folder);
    put_key(&out, "runtime", (const char *const[]){"/bin/false"}, 1);
    put_key(&out, "env", (const char *const[]){"PATH=/usr/bin:/bin"}, 1);
    msg_put_key(&out, "helpers");
    msgpack_pack_array(&out.packer, 1);
    msgpack_pack_map(&out.packer, 3);
    msg_put_text(&out, "name", "helper");
    put_key(&out, "argv", (const char *const[]){"/bin/sh", "-c", "echo words >&2; exit 3"}, 3);
    msg_put_text(&out, "pidfile", pidfile);
    msg_put_key(&out, "cleanup");
    msgpack_pack_array(&out.packer, 2);
    put_words(&out, (const char *const[]){"execute", "text\n", "/bin/sh", "-c", copy}, 5);
    put_words(&out, (const char *const[]){"unlink", lease}, 2);
    bytes = malloc(out.buffer.size);
    assert(bytes != NULL);
    memcpy(bytes, out.buffer.data, out.buffer.size);
    assert(config_init(&native.config, bytes, out.buffer.size, &what) == 0);
    return native;
}

/* All of it is the worker's word. */
static struct task hostile(int kind, unsigned item)
{
    return (struct task){.kind = kind,
                         .item = item,
                         .number = UINT_MAX,
                         .kept = {0, 1, 2},
                         .n_kept = SIZE_MAX,
                         .tty = true,
                         .pipes = true,
                         .with_stdin = true,
                         .uid = 1,
                         .gid = 1,
                         .pidfd = -1,
                         .in = -1,
                         .out = -1,
                         .err = -1};
}

static int wait_for(const struct task *task)
{
    int status;

    assert(task->result == 0 && task->pid > 0 && task->pidfd >= 0);
    assert(task->in < 0 && task->out < 0);
    assert(waitpid(task->pid, &status, 0) == task->pid && WIFEXITED(status));
    close(task->pidfd);
    return WEXITSTATUS(status);
}

static void what_the_configuration_does_not_have_is_refused(struct native *native)
{
    static const struct {
        int kind;
        unsigned item;
    } bad[] = {
        {TASK_HELP, 1}, {TASK_HELP, UINT_MAX}, {TASK_CLEAN_UP, 2}, {TASK_CLEAN_UP, UINT_MAX}, {TASK_CLEAN_UP + 1, 0},
        {-1, 0},        {INT_MAX, 0}};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct task task = hostile(bad[i].kind, bad[i].item);

        native_perform(native, native->board, &task);
        assert(task.result < 0 && task.pid == 0 && task.pidfd < 0);
        task.n_kept = 0;
        native_perform(native, native->board, &task);
        assert(task.result < 0 && task.pid == 0 && task.pidfd < 0);
    }
}

static void a_step_is_taken_as_it_is_configured(struct native *native)
{
    struct task task = hostile(TASK_CLEAN_UP, 0);
    char text[32] = "";
    int fd;

    native_perform(native, native->board, &task);
    assert(wait_for(&task) == 0);
    fd = open("copy", O_RDONLY | O_CLOEXEC);
    assert(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    /* Its stdio, and the folder that ls reads. */
    assert(strcmp(text, "text\n4\n") == 0);
    close(fd);
    close(open("lease", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    for (int i = 0; i < 2; i++) {
        task = hostile(TASK_CLEAN_UP, 1);
        native_perform(native, native->board, &task);
        assert(task.result == 0 && task.pid == 0 && access("lease", F_OK) < 0);
    }
}

static void a_helper_is_executed_as_it_is_configured_and_what_it_says_is_kept(struct native *native)
{
    struct task task = hostile(TASK_HELP, 0);
    char text[32] = "";

    native_perform(native, native->board, &task);
    assert(task.err >= 0 && (fcntl(task.err, F_GETFD) & FD_CLOEXEC));
    assert(wait_for(&task) == 3);
    assert(pread(task.err, text, sizeof(text) - 1, 0) == 6 && strcmp(text, "words\n") == 0);
    close(task.err);
}

int main(void)
{
    char folder[PATH_MAX];
    struct native native;

    assert(getcwd(folder, sizeof(folder)) != NULL);
    native = make(folder);
    assert(start_lay_out(&native, &native.board) == 0);
    what_the_configuration_does_not_have_is_refused(&native);
    a_step_is_taken_as_it_is_configured(&native);
    a_helper_is_executed_as_it_is_configured_and_what_it_says_is_kept(&native);
    config_deinit(&native.config);
    return 0;
}
