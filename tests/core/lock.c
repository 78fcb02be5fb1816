/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of a run folder: who holds it, how it is handed over, how its end is waited for.
 */
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "client/client.h"
#include "include/remora.h"
#include "util/fd.h"

static char folder[] = "/tmp/remora-lock-XXXXXX";
static char run_dir[64];
static char path[80];

static void test_folders_are_made_private(void)
{
    struct stat status;
    int fd;

    assert(remora_lock_held(run_dir) == 0);
    assert(remora_lock_wait(run_dir, 0) == 0);
    fd = remora_lock(run_dir, false);
    assert(fd >= 0);
    assert(stat(run_dir, &status) == 0 && (status.st_mode & 07777) == 0700);
    assert(stat(path, &status) == 0 && (status.st_mode & 07777) == 0600);
    assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void test_only_one_holds_it(void)
{
    int fd = remora_lock(run_dir, false);

    assert(fd >= 0);
    assert(remora_lock_held(run_dir) == 1);
    assert(remora_lock(run_dir, false) == -EAGAIN);
    assert(remora_lock_wait(run_dir, 30) == -ETIMEDOUT);
    close(fd);
    assert(remora_lock_held(run_dir) == 0);
}

/* A child that keeps `fd` until a byte (or the end) comes through the pipe, and then so much longer. */
static pid_t keep(int fd, int pipe_in, int close_too, int longer_ms)
{
    pid_t pid = fork();

    if (pid == 0) {
        char byte;
        int result;

        close(close_too);
        (void)fd;
        result = read(pipe_in, &byte, 1) < 0;
        poll(NULL, 0, longer_ms);
        _exit(result);
    }
    return pid;
}

static void test_it_is_free_when_its_last_holder_is_killed(void)
{
    int fd = remora_lock(run_dir, false);
    int pair[2];
    pid_t pid;

    assert(fd >= 0 && pipe(pair) == 0);
    pid = keep(fd, pair[0], pair[1], 0);
    close(fd);
    assert(remora_lock_held(run_dir) == 1);
    kill(pid, SIGKILL);
    assert(remora_lock_wait(run_dir, 5000) == 0);
    assert(remora_lock_held(run_dir) == 0);
    assert(waitpid(pid, NULL, 0) == pid);
    close(pair[0]);
    close(pair[1]);
}

static void test_waiting_ends_soon_after_it_is_free(void)
{
    for (int i = 0; i < 50; i++) {
        int fd = remora_lock(run_dir, false);
        int64_t begin;
        int pair[2];
        pid_t pid;

        assert(fd >= 0 && pipe(pair) == 0);
        pid = keep(fd, pair[0], pair[1], i % 2 == 0 ? 0 : 20); /* also longer than the first looks last */
        close(fd);
        begin = client_now_ms();
        close(pair[1]); /* the child ends while we wait */
        assert(remora_lock_wait(run_dir, 5000) == 0);
        assert(client_now_ms() - begin < 1000);
        assert(waitpid(pid, NULL, 0) == pid);
        close(pair[0]);
    }
}

static void test_a_removed_file_is_not_the_lock(void)
{
    int old = remora_lock(run_dir, false);
    int fd;

    assert(old >= 0);
    assert(unlink(path) == 0);
    assert(remora_lock_held(run_dir) == 0);
    assert(remora_lock_wait(run_dir, 0) == 0);
    fd = remora_lock(run_dir, false);
    assert(fd >= 0);
    assert(remora_lock_held(run_dir) == 1);
    close(old);
    assert(remora_lock_held(run_dir) == 1);
    close(fd);
}

static void test_a_waiter_gets_the_file_that_is_there(void)
{
    int old = remora_lock(run_dir, false);
    int pair[2];
    int status;
    pid_t pid;
    char byte;

    assert(old >= 0 && pipe(pair) == 0);
    pid = fork();
    if (pid == 0) {
        int fd;

        close(old);
        if (write(pair[1], "x", 1) != 1)
            _exit(2);
        fd = remora_lock(run_dir, true);
        _exit(fd < 0 || remora_lock_held(run_dir) != 1);
    }
    assert(read(pair[0], &byte, 1) == 1);
    assert(unlink(path) == 0);
    close(old);
    assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(pair[0]);
    close(pair[1]);
}

static void test_a_symlink_is_no_lock(void)
{
    assert(unlink(path) == 0 || errno == ENOENT);
    assert(symlink("/tmp/elsewhere", path) == 0);
    assert(remora_lock(run_dir, false) == -ELOOP);
    assert(unlink(path) == 0);
}

int main(void)
{
    assert(mkdtemp(folder) != NULL);
    snprintf(run_dir, sizeof(run_dir), "%s/a/b", folder);
    snprintf(path, sizeof(path), "%s/lock", run_dir);
    test_folders_are_made_private();
    test_only_one_holds_it();
    test_it_is_free_when_its_last_holder_is_killed();
    test_waiting_ends_soon_after_it_is_free();
    test_a_removed_file_is_not_the_lock();
    test_a_waiter_gets_the_file_that_is_there();
    test_a_symlink_is_no_lock();
    assert(remora_remove_tree(folder) == 0);
    return 0;
}
