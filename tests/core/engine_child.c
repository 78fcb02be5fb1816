/* SPDX-License-Identifier: Apache-2.0 */
/* Children: each end is collected through its pidfd, exactly once; strangers are reaped, but not while held. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/child.h"

enum { MANY = 100 };

struct watched {
    struct child child;
    struct child_end end;
    unsigned ends;
};

static struct loop loop;
static struct children children;
static struct watched watched[MANY];
static unsigned left;

static void note_end(struct child *child, const struct child_end *end)
{
    struct watched *one = container_of(child, struct watched, child);

    one->end = *end;
    one->ends++;
    if (--left == 0)
        loop.quit = true;
}

/* A child that waits until it is let go, then ends in the given way. */
static pid_t start(int *release, int code, int signal)
{
    int ends[2];
    pid_t pid;

    assert(pipe2(ends, O_CLOEXEC) == 0);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        char byte;

        close(ends[1]);
        if (read(ends[0], &byte, 1) < 0)
            _exit(99);
        if (signal != 0)
            raise(signal);
        _exit(code);
    }
    close(ends[0]);
    *release = ends[1];
    return pid;
}

/* A byte, not the end of the pipe: children forked later hold its other end, too. */
static void let_go(int release)
{
    assert(write(release, "x", 1) == 1);
    close(release);
}

static void begin(unsigned n)
{
    assert(loop_init(&loop) == 0);
    children = (struct children){0};
    memset(watched, 0, sizeof(watched));
    left = n;
}

static void watch(struct watched *one, pid_t pid)
{
    assert(child_watch(&loop, &children, &one->child, pid, note_end) == 0);
}

/* Ended, but not reaped by anybody. */
static void await_zombie(pid_t pid)
{
    siginfo_t info;

    assert(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
}

static bool is_there(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void codes_and_signals_are_told_apart(void)
{
    static const struct {
        int code, signal;
    } ways[] = {{0, 0}, {1, 0}, {7, 0}, {255, 0}, {0, SIGTERM}, {0, SIGKILL}, {0, 64}};
    enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

    begin(WAYS);
    for (int i = 0; i < WAYS; i++) {
        int release;

        watch(&watched[i], start(&release, ways[i].code, ways[i].signal));
        let_go(release);
    }
    assert(loop_run(&loop) == 0);
    for (int i = 0; i < WAYS; i++) {
        int status = watched[i].end.status;

        assert(watched[i].ends == 1 && watched[i].end.known);
        if (ways[i].signal != 0)
            assert(WIFSIGNALED(status) && WTERMSIG(status) == ways[i].signal);
        else
            assert(WIFEXITED(status) && WEXITSTATUS(status) == ways[i].code);
        assert(!is_there(watched[i].child.pid));
    }
    assert(children.first == NULL);
    loop_deinit(&loop);
}

static void a_hundred_that_end_at_once_are_all_told_with_their_own_code(void)
{
    int releases[MANY];

    begin(MANY);
    for (int i = 0; i < MANY; i++)
        watch(&watched[i], start(&releases[i], i, 0));
    for (int i = 0; i < MANY; i++)
        let_go(releases[i]);
    assert(loop_run(&loop) == 0);
    for (int i = 0; i < MANY; i++)
        assert(watched[i].ends == 1 && watched[i].end.known && WEXITSTATUS(watched[i].end.status) == i);
    assert(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    loop_deinit(&loop);
}

static void an_end_before_the_watch_began_is_told_too(void)
{
    int release;
    pid_t pid = start(&release, 42, 0);

    begin(1);
    let_go(release);
    await_zombie(pid);
    watch(&watched[0], pid);
    assert(loop_run(&loop) == 0);
    assert(watched[0].end.known && WEXITSTATUS(watched[0].end.status) == 42);
    loop_deinit(&loop);
}

static void strangers_are_reaped_but_not_while_held(void)
{
    int release, other;
    pid_t stranger, late;

    begin(1);
    stranger = start(&release, 3, 0);
    let_go(release);
    await_zombie(stranger);
    children.hold = 1;
    children_reap(&children);
    assert(is_there(stranger));
    /* The one whose pid is known only now: it had ended meanwhile, and its code is there. */
    watch(&watched[0], stranger);
    children.hold = 0;
    assert(loop_run(&loop) == 0);
    assert(watched[0].end.known && WEXITSTATUS(watched[0].end.status) == 3);
    late = start(&other, 0, 0);
    children_reap(&children);
    assert(is_there(late)); /* alive */
    let_go(other);
    await_zombie(late);
    children_reap(&children);
    assert(!is_there(late));
    loop_deinit(&loop);
}

static void reaping_strangers_leaves_the_watched_to_their_owner(void)
{
    int release, other;
    pid_t mine, stranger;

    begin(1);
    mine = start(&release, 9, 0);
    stranger = start(&other, 0, 0);
    watch(&watched[0], mine);
    let_go(release);
    await_zombie(mine);
    let_go(other);
    await_zombie(stranger);
    for (int i = 0; i < 3; i++)
        children_reap(&children);
    assert(is_there(mine));
    assert(loop_run(&loop) == 0);
    assert(watched[0].end.known && WEXITSTATUS(watched[0].end.status) == 9);
    /* The owner's turn takes the strangers that stood behind it in the line. */
    assert(!is_there(stranger));
    loop_deinit(&loop);
}

static void a_forgotten_child_is_told_of_no_more_and_is_a_stranger_then(void)
{
    int release;
    pid_t pid = start(&release, 0, 0);
    int fd;

    begin(1);
    watch(&watched[0], pid);
    fd = watched[0].child.pidfd.fd;
    child_forget(&watched[0].child);
    child_forget(&watched[0].child);
    assert(children.first == NULL && fcntl(fd, F_GETFD) < 0);
    assert(child_signal(&watched[0].child, SIGKILL) == -ESRCH);
    let_go(release);
    await_zombie(pid);
    children_reap(&children);
    assert(!is_there(pid) && watched[0].ends == 0);
    loop_deinit(&loop);
}

static void signals_go_through_the_pidfd(void)
{
    int release;
    pid_t pid = start(&release, 0, 0);

    begin(1);
    watch(&watched[0], pid);
    assert(child_signal(&watched[0].child, 0) == 0);
    assert(child_signal(&watched[0].child, 1000) == -EINVAL);
    assert(child_signal(&watched[0].child, SIGUSR1) == 0);
    assert(loop_run(&loop) == 0);
    assert(WIFSIGNALED(watched[0].end.status) && WTERMSIG(watched[0].end.status) == SIGUSR1);
    assert(child_signal(&watched[0].child, SIGUSR1) == -ESRCH);
    close(release);
    loop_deinit(&loop);
}

static void a_process_that_is_not_there_is_refused(void)
{
    int release;
    pid_t pid = start(&release, 0, 0);

    begin(0);
    let_go(release);
    assert(waitpid(pid, NULL, 0) == pid);
    assert(child_watch(&loop, &children, &watched[0].child, pid, note_end) == -ESRCH);
    assert(children.first == NULL && watched[0].child.children == NULL);
    child_forget(&watched[0].child);
    assert(child_signal(&watched[0].child, SIGTERM) == -ESRCH);
    loop_deinit(&loop);
}

/* Somebody else reaped it: the kernel can still tell (6.15 and later); where it can't, the end is not known. */
static void an_end_that_another_collected_is_right_or_unknown_never_wrong(void)
{
    int release;
    pid_t pid = start(&release, 17, 0);

    begin(1);
    watch(&watched[0], pid);
    let_go(release);
    assert(waitpid(pid, NULL, 0) == pid);
    assert(loop_run(&loop) == 0);
    assert(watched[0].ends == 1);
    if (watched[0].end.known)
        assert(WIFEXITED(watched[0].end.status) && WEXITSTATUS(watched[0].end.status) == 17);
    loop_deinit(&loop);
}

/* As crun does it: the process has ended, its parent has not yet, and will not reap it. */
static void an_end_under_a_dying_parent_is_told_when_that_is_gone(void)
{
    int other, ends[2], gate[2];
    pid_t parent, pid;

    assert(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    assert(pipe2(ends, O_CLOEXEC) == 0 && pipe2(gate, O_CLOEXEC) == 0);
    begin(1);
    parent = fork();
    assert(parent >= 0);
    if (parent == 0) {
        char byte;

        pid = fork();
        if (pid == 0)
            _exit(23);
        await_zombie(pid);
        if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid) || read(gate[0], &byte, 1) < 0)
            _exit(99);
        _exit(0);
    }
    close(gate[0]);
    assert(read(ends[0], &pid, sizeof(pid)) == sizeof(pid));
    close(ends[0]);
    close(ends[1]);
    watch(&watched[0], pid);
    /* The loop turns until another one has ended: meanwhile nobody could tell how the first did. */
    watch(&watched[1], start(&other, 0, 0));
    let_go(other);
    assert(loop_run(&loop) == 0);
    assert(watched[0].ends == 0 && watched[1].ends == 1);
    let_go(gate[1]);
    assert(waitpid(parent, NULL, 0) == parent);
    left = 1;
    children_reap(&children);
    assert(watched[0].ends == 1 && watched[0].end.known && WEXITSTATUS(watched[0].end.status) == 23);
    assert(children.first == NULL && waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    loop_deinit(&loop);
}

int main(void)
{
    codes_and_signals_are_told_apart();
    a_hundred_that_end_at_once_are_all_told_with_their_own_code();
    an_end_before_the_watch_began_is_told_too();
    strangers_are_reaped_but_not_while_held();
    reaping_strangers_leaves_the_watched_to_their_owner();
    a_forgotten_child_is_told_of_no_more_and_is_a_stranger_then();
    signals_go_through_the_pidfd();
    a_process_that_is_not_there_is_refused();
    an_end_that_another_collected_is_right_or_unknown_never_wrong();
    an_end_under_a_dying_parent_is_told_when_that_is_gone();
    return 0;
}
