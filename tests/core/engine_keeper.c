/* SPDX-License-Identifier: Apache-2.0 */
/* Keeper and worker: each end is told once, as it was; strangers are reaped, but not while held; nothing leaks. */
#include "keeper_stage.h"

#include <dirent.h>

/* ---- ends ---- */

static const struct {
    int code, signal;
} ways[] = {{0, 0}, {1, 0}, {7, 0}, {255, 0}, {0, SIGTERM}, {0, SIGKILL}, {0, 64}};

enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static int start_all(bool resumed)
{
    must(!resumed);
    begin();
    children_release(&stage->children);
    for (unsigned i = 0; i < stage->n; i++)
        start(i);
    open_gate(stage->gate, stage->n);
    return run_and_finish();
}

static void codes_and_signals_are_told_apart(void)
{
    static const struct play all = {.work = start_all};

    set_stage(&all, WAYS);
    for (int i = 0; i < WAYS; i++) {
        stage->processes[i].code = ways[i].code;
        stage->processes[i].signal = ways[i].signal;
    }
    await_curtain(raise_curtain());
    for (int i = 0; i < WAYS; i++)
        assert(ended_with(&stage->processes[i], ways[i].code, ways[i].signal));
    assert(stage->processes[0].end.peak_bytes > 0);
}

static void a_hundred_that_end_at_once_are_all_told_with_their_own_code(void)
{
    static const struct play all = {.work = start_all};

    set_stage(&all, PROCESSES);
    for (int i = 0; i < PROCESSES; i++)
        stage->processes[i].code = i;
    await_curtain(raise_curtain());
    for (int i = 0; i < PROCESSES; i++)
        assert(ended_with(&stage->processes[i], i, 0));
    assert(stage->board.workers == 1);
}

/* ---- strangers ---- */

static int hold_then_release(bool resumed)
{
    pid_t late, stranger;

    must(!resumed);
    begin();
    /* It begins held. */
    late = start_unwatched(STAGE_STRANGER, 0);
    open_gate(stage->gate, 1);
    await_death(late);
    await_keeper_round();
    must(is_there(late) && stage->board.strangers);
    /* The one whose pid is known only now: it had ended meanwhile, and its code is there. */
    must(watch(0, late) == 0);
    must(loop_run(&stage->loop) == 0 && !is_there(late));
    children_hold(&stage->children);
    children_release(&stage->children);
    stranger = start_unwatched(STAGE_STRANGER, 1);
    open_gate(stage->gate, 1);
    await_death(stranger);
    await_keeper_round();
    must(is_there(stranger));
    children_release(&stage->children);
    await_keeper_round();
    must(!is_there(stranger));
    return finish();
}

static void strangers_are_reaped_but_not_while_held_and_an_end_before_the_watch_began_is_told(void)
{
    static const struct play held = {.work = hold_then_release};

    set_stage(&held, 1);
    stage->processes[0].code = 23;
    await_curtain(raise_curtain());
    assert(ended_with(&stage->processes[0], 23, 0));
}

static int mix_with_strangers(bool resumed)
{
    pid_t strangers[PROCESSES];

    must(!resumed);
    begin();
    children_release(&stage->children);
    for (unsigned i = 0; i < stage->n; i++) {
        start(i);
        strangers[i] = start_unwatched(STAGE_STRANGER, i);
    }
    open_gate(stage->gate, 2 * stage->n);
    for (unsigned i = 0; i < stage->n; i++)
        await_death(stage->processes[i].child.pid);
    for (unsigned i = 0; i < stage->n; i++)
        while (is_there(strangers[i]))
            await_keeper_round();
    must(stage->left == stage->n);
    return run_and_finish();
}

static void reaping_strangers_leaves_the_watched_to_their_owner(void)
{
    static const struct play mixed = {.work = mix_with_strangers};

    set_stage(&mixed, 20);
    for (int i = 0; i < 20; i++)
        stage->processes[i].code = 100 + i;
    await_curtain(raise_curtain());
    for (int i = 0; i < 20; i++)
        assert(ended_with(&stage->processes[i], 100 + i, 0));
}

/* As crun does it: the process has ended, its parent has not yet, and will not reap it. */
static int watch_orphan(bool resumed)
{
    must(!resumed);
    begin();
    must(watch(0, start_unwatched(STAGE_ORPHAN, 0)) == 0);
    open_gate(stage->gate, 1);
    await_death(stage->processes[0].child.pid);
    /* The loop turns until another one has ended: meanwhile nobody could tell how the first did. */
    start(1);
    open_gate(stage->gate, 1);
    stage->left = 1;
    must(loop_run(&stage->loop) == 0);
    must(stage->processes[0].ends == 0 && stage->processes[1].ends == 1);
    open_gate(stage->second_gate, 1);
    stage->left = 1;
    stage->loop.quit = false;
    children_release(&stage->children);
    return run_and_finish();
}

static void an_end_under_a_dying_parent_is_told_when_that_is_gone(void)
{
    static const struct play orphan = {.work = watch_orphan};

    set_stage(&orphan, 2);
    stage->processes[0].code = 23;
    await_curtain(raise_curtain());
    assert(ended_with(&stage->processes[0], 23, 0));
}

/* ---- one that is no child of the keeper ---- */

static int watch_foreigner(bool resumed)
{
    must(!resumed);
    begin();
    children_release(&stage->children);
    must(watch(0, (pid_t)stage->numbers[0]) == 0);
    tell('w');
    return run_and_finish();
}

static void ignore_order(char byte)
{
    (void)byte;
    tell('o');
}

static void a_process_that_is_no_child_of_the_keeper_is_seen_through_its_pidfd(void)
{
    static const struct play foreign = {.work = watch_foreigner, .ordered = ignore_order};
    pid_t foreigner, keeper;

    set_stage(&foreign, 1);
    foreigner = fork_stranger(17);
    stage->numbers[0] = (unsigned)foreigner;
    keeper = raise_curtain();
    assert(await_report() == 'w');
    /* Ended, but not reaped: nobody can tell, so nothing is told. */
    open_gate(stage->gate, 1);
    await_death(foreigner);
    order('o');
    assert(await_report() == 'o' && stage->left == 1);
    assert(waitpid(foreigner, NULL, 0) == foreigner);
    await_curtain(keeper);
    assert(stage->processes[0].ends == 1);
    assert(stage->processes[0].end.known == kernel_tells_ends());
    assert(!stage->processes[0].end.known || ended_with(&stage->processes[0], 17, 0));
}

/* ---- a full board ---- */

static unsigned count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    must(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int fill_board(bool resumed)
{
    struct process *process = &stage->processes[0];
    struct task task;
    unsigned before;

    must(!resumed);
    begin();
    children_release(&stage->children);
    /* The test's own pid: alive, and no child of the keeper. */
    for (unsigned i = 0; i < ENDS_MAX; i++)
        must(board_expect(&stage->board, (pid_t)stage->numbers[0]) == &stage->board.ends[i]);
    must(board_expect(&stage->board, getpid()) == NULL);
    before = count_descriptors();
    must(ask(STAGE_PROGRAM, 0, &task) == -EAGAIN);
    must(task.pidfd == -1 && task.in == -1 && task.out == -1 && task.err == -1);
    await_death(task.pid);
    task = (struct task){.kind = STAGE_PROGRAM, .pipes = true, .with_stdin = true, .uid = getuid(), .gid = getgid()};
    must(children_ask(&stage->children, &task) == -EAGAIN);
    await_death(task.pid);
    await_keeper_round();
    must(watch(0, stage->board.keeper) == -EAGAIN);
    must(process->child.children == NULL && stage->children.first == NULL);
    must(child_signal(&process->child, SIGTERM) == -ESRCH);
    must(count_descriptors() == before);
    /* One place free again is enough. */
    stage->board.ends[ENDS_MAX / 2].pid = 0;
    start(0);
    must(process->child.entry == &stage->board.ends[ENDS_MAX / 2]);
    open_gate(stage->gate, 1);
    return run_and_finish();
}

static void with_a_full_board_nothing_is_started_and_nothing_leaks(void)
{
    static const struct play full = {.work = fill_board};

    set_stage(&full, 1);
    stage->numbers[0] = (unsigned)getpid();
    stage->processes[0].code = 5;
    await_curtain(raise_curtain());
    assert(ended_with(&stage->processes[0], 5, 0));
    assert(stage->processes[0].starts == 3);
}

/* ---- what is watched, and what not any more ---- */

static int forget_and_signal(bool resumed)
{
    struct process *first = &stage->processes[0], *second = &stage->processes[1];
    pid_t pid;
    int fd;

    must(!resumed);
    begin();
    children_release(&stage->children);
    start(0);
    pid = first->child.pid;
    fd = first->child.pidfd.fd;
    child_forget(&first->child);
    child_forget(&first->child);
    must(stage->children.first == NULL && fcntl(fd, F_GETFD) < 0);
    must(child_signal(&first->child, SIGKILL) == -ESRCH);
    open_gate(stage->gate, 1);
    await_death(pid);
    await_keeper_round();
    must(!is_there(pid));
    must(watch(0, pid) == -ESRCH && first->child.children == NULL);
    start(1);
    must(child_signal(&second->child, 0) == 0);
    must(child_signal(&second->child, 1000) == -EINVAL);
    must(child_signal(&second->child, SIGUSR1) == 0);
    must(loop_run(&stage->loop) == 0);
    must(child_signal(&second->child, SIGUSR1) == -ESRCH);
    return finish();
}

static void a_forgotten_one_is_a_stranger_and_signals_go_through_the_pidfd(void)
{
    static const struct play forgotten = {.work = forget_and_signal};

    perform_play(&forgotten, 1);
    assert(stage->processes[0].ends == 0);
    assert(ended_with(&stage->processes[1], 0, SIGUSR1));
}

/* ---- one table of descriptors ---- */

static void share_descriptors(struct task *task)
{
    int ends[2];
    char text[4] = "";

    if (read(task->kept[1], text, 3) != 3 || strcmp(text, "abc") != 0 || pipe2(ends, O_CLOEXEC) < 0)
        return;
    close(task->kept[1]);
    task->in = ends[1];
    task->out = ends[0];
    task->result = 7;
}

static int see_descriptors(bool resumed)
{
    struct task task = {.kind = STAGE_OWN, .n_kept = 2};
    char byte = 0;
    int ends[2];

    must(!resumed);
    begin();
    must(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], "abc", 3) == 3);
    task.kept[1] = ends[0];
    must(children_ask(&stage->children, &task) == 7);
    must(fcntl(ends[0], F_GETFD) < 0);
    must(write(task.in, "y", 1) == 1 && read(task.out, &byte, 1) == 1 && byte == 'y');
    return finish();
}

static void a_descriptor_that_one_opens_or_closes_is_open_or_closed_for_the_other(void)
{
    static const struct play shared = {.work = see_descriptors, .own = share_descriptors};

    perform_play(&shared, 0);
}

int main(int argc, char **argv)
{
    stage_main(argc, argv);
    codes_and_signals_are_told_apart();
    a_hundred_that_end_at_once_are_all_told_with_their_own_code();
    strangers_are_reaped_but_not_while_held_and_an_end_before_the_watch_began_is_told();
    reaping_strangers_leaves_the_watched_to_their_owner();
    an_end_under_a_dying_parent_is_told_when_that_is_gone();
    a_process_that_is_no_child_of_the_keeper_is_seen_through_its_pidfd();
    with_a_full_board_nothing_is_started_and_nothing_leaks();
    a_forgotten_one_is_a_stranger_and_signals_go_through_the_pidfd();
    a_descriptor_that_one_opens_or_closes_is_open_or_closed_for_the_other();
    return 0;
}
