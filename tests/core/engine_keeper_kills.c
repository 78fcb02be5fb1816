/* SPDX-License-Identifier: Apache-2.0 */
/* Keeper and worker when one of them is killed: a worker has a successor that misses nothing, a keeper has none. */
#include "keeper_stage.h"

#include <time.h>

enum {
    MONITORS = 12,
    KILLS = 18, /* of one monitor's workers: fewer than make the keeper pause */
    QUICK_DEATHS = 20, /* of keeper.c */
    PAUSE_MS = 50,
    WORKERS = 30, /* one more than die at once */
    REQUESTS = 18,
};

/* ---- a worker's successor ---- */

/* The answer that the killed one did not live to take, if there is one. */
static void take_answer(struct process *process)
{
    const struct task *answer = &stage->board.task;

    if (answer->owner != process || answer->state != TASK_ANSWERED || answer->result < 0) {
        process->state = PROCESS_NONE;
        return;
    }
    must(child_watch_task(&stage->loop, &stage->children, &process->child, answer, note_end) == 0);
    process->state = PROCESS_WATCHED;
}

static void resume(void)
{
    int *const pairs[] = {stage->gate, stage->second_gate, stage->report};

    must(loop_resume(&stage->loop) == 0);
    must(children_init(&stage->children, &stage->loop, &stage->board, note_signal) == 0);
    loop_know(&stage->loop, stage->board.answer_fd);
    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        loop_know(&stage->loop, pairs[i][0]);
        loop_know(&stage->loop, pairs[i][1]);
    }
    loop_know(&stage->loop, stage->order[1]);
    source_resume(&stage->orders);
    stage->left = stage->n;
    for (unsigned i = 0; i < stage->n; i++) {
        struct process *process = &stage->processes[i];

        if (process->state == PROCESS_ASKED)
            take_answer(process);
        else
            child_resume(&stage->children, &process->child);
        stage->left -= process->state == PROCESS_ENDED;
    }
}

static void resumed_all(void)
{
    loop_sweep(&stage->loop, NULL, NULL);
    for (unsigned i = 0; i < stage->n; i++)
        child_resumed(&stage->processes[i].child);
    children_release(&stage->children);
}

/* Begin or go on; what a worker had begun when it was killed is begun anew. */
static void set_up(bool resumed)
{
    if (resumed && stage->numbers[0] != 0) {
        resume();
        resumed_all();
        return;
    }
    begin();
    stage->numbers[0] = 1;
    children_release(&stage->children);
}

/* ---- a worker is killed ---- */

static int start_and_watch(bool resumed)
{
    set_up(resumed);
    for (unsigned i = 0; i < stage->n; i++) {
        if (stage->processes[i].state != PROCESS_NONE)
            continue;
        start(i);
        stage->board.task.owner = NULL;
    }
    return run_and_finish();
}

static void check_ends(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct process *process = &stage->processes[i];

        assert(process->starts == 1);
        assert(process->state == PROCESS_ENDED && !process->child.telling && process->too_many == 0);
        assert(process->end.known && WIFEXITED(process->end.status));
        assert(WEXITSTATUS(process->end.status) == process->code);
    }
}

static void a_worker_killed_at_any_point_is_followed_by_one_that_gets_all_ends_once(void)
{
    static const struct play started = {.work = start_and_watch};
    const unsigned n = 40;

    srand(1);
    for (int round = 0; round < MONITORS; round++) {
        unsigned killed = 0;
        pid_t keeper, last = 0;

        set_stage(&started, n);
        for (unsigned i = 0; i < n; i++)
            stage->processes[i].code = 1 + (int)i;
        keeper = raise_curtain();
        while (killed < KILLS) {
            struct timespec moment = {.tv_nsec = rand() % (round < MONITORS / 2 ? 300000 : 3000000)};
            pid_t worker = stage->worker;

            nanosleep(&moment, NULL);
            if (worker == last)
                continue;
            kill(worker, SIGKILL);
            last = worker;
            open_gate(stage->gate, ++killed % 4 ? 1 : 2);
        }
        open_gate(stage->gate, n - killed - killed / 4);
        await_curtain(keeper);
        check_ends(n);
        assert(stage->board.workers == KILLS + 1);
    }
}

/* Killed right after the request, which the keeper is not told of: it goes round for other reasons, looking for ends.
 */
static int ask_and_die(bool resumed)
{
    struct task task = {.kind = STAGE_PROGRAM, .kept = {stage->gate[0]}, .n_kept = 1};

    set_up(resumed);
    for (unsigned i = 0; i < stage->n; i++) {
        if (stage->processes[i].state != PROCESS_NONE)
            continue;
        task.number = i;
        task.owner = &stage->processes[i];
        stage->processes[i].state = PROCESS_ASKED;
        memcpy(&stage->board.task, &task, sizeof(task));
        for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
            kill(stage->board.keeper, signal);
        stage->board.task.state = TASK_ASKED;
        kill(getpid(), SIGKILL);
    }
    return run_and_finish();
}

static void what_a_worker_asked_for_last_is_done_once_and_its_successor_gets_the_answer(void)
{
    static const struct play asked = {.work = ask_and_die};
    pid_t keeper;

    set_stage(&asked, REQUESTS);
    /* Looking takes long: all these are no children of the keeper. */
    for (unsigned i = 0; i < ENDS_MAX - REQUESTS; i++)
        assert(board_expect(&stage->board, getpid()) != NULL);
    for (int i = 0; i < REQUESTS; i++)
        stage->processes[i].code = 1 + i;
    keeper = raise_curtain();
    open_gate(stage->gate, REQUESTS);
    await_curtain(keeper);
    check_ends(REQUESTS);
    assert(stage->board.workers == REQUESTS + 1);
}

static void die_over_end(struct child *child, const struct child_end *end)
{
    if (stage->numbers[1]++ % 2 == 0)
        kill(getpid(), SIGKILL);
    note_end(child, end);
}

static int watch_and_die(bool resumed)
{
    set_up(resumed);
    for (unsigned i = 0; i < stage->n; i++) {
        if (stage->processes[i].state != PROCESS_NONE)
            continue;
        start(i);
        stage->processes[i].child.ended = die_over_end;
        stage->board.task.owner = NULL;
    }
    tell('w');
    return run_and_finish();
}

static void an_end_that_a_killed_worker_did_not_live_to_note_is_told_again(void)
{
    static const struct play dying = {.work = watch_and_die};
    const unsigned n = 5;
    pid_t keeper;

    set_stage(&dying, n);
    for (unsigned i = 0; i < n; i++)
        stage->processes[i].code = 30 + (int)i;
    keeper = raise_curtain();
    assert(await_report() == 'w');
    open_gate(stage->gate, n);
    await_curtain(keeper);
    check_ends(n);
    for (unsigned i = 0; i < n; i++)
        assert(stage->processes[i].ends == 1);
    assert(stage->numbers[1] == 2 * n && stage->board.workers == n + 1);
}

static int leave_descriptors(bool resumed)
{
    int keep[2], stray[2];

    if (!resumed) {
        begin();
        must(pipe2(keep, O_CLOEXEC) == 0 && pipe2(stray, O_CLOEXEC) == 0 && write(keep[1], "k", 1) == 1);
        stage->numbers[0] = 1;
        stage->numbers[1] = (unsigned)keep[0];
        stage->numbers[2] = (unsigned)stray[0];
        kill(getpid(), SIGKILL);
    }
    resume();
    loop_know(&stage->loop, (int)stage->numbers[1]);
    resumed_all();
    must(read((int)stage->numbers[1], &stage->numbers[3], 1) == 1);
    must(fcntl((int)stage->numbers[2], F_GETFD) < 0);
    return finish();
}

static void a_killed_worker_loses_no_descriptor_and_those_that_nobody_knows_are_closed(void)
{
    static const struct play left = {.work = leave_descriptors};

    perform_play(&left, 0);
    assert(stage->numbers[3] == 'k');
}

/* ---- signals ---- */

static void answer_or_quit(char order)
{
    if (order == 'p')
        tell(order);
    else
        stage->loop.quit = true;
}

static int listen_to_signals(bool resumed)
{
    set_up(resumed);
    tell('b');
    must(loop_run(&stage->loop) == 0);
    return finish();
}

static void signals_sent_to_the_keeper_are_passed_on(void)
{
    static const struct play listening = {.work = listen_to_signals, .ordered = answer_or_quit};
    const int passed[] = {SIGTERM, SIGINT, SIGQUIT};
    uint64_t expected = 0;
    pid_t keeper;

    set_stage(&listening, 0);
    keeper = raise_curtain();
    assert(await_report() == 'b');
    kill(keeper, SIGHUP);
    kill(keeper, SIGUSR2);
    for (int i = 0; i < 3; i++) {
        kill(keeper, passed[i]);
        assert(await_report() == 's');
        expected |= 1ULL << (passed[i] - 1);
    }
    order('q');
    await_curtain(keeper);
    assert(stage->signals == expected);
}

static void a_signal_is_passed_on_by_the_next_worker_when_one_is_killed_over_it(void)
{
    static const struct play listening = {.work = listen_to_signals, .ordered = answer_or_quit};
    pid_t keeper;

    srand(2);
    set_stage(&listening, 0);
    keeper = raise_curtain();
    for (int i = 0; i < KILLS; i++) {
        struct timespec moment = {.tv_nsec = rand() % 200000};
        pid_t worker;

        order('p');
        while (await_report() != 'p')
            ;
        worker = stage->worker;
        kill(keeper, SIGTERM);
        nanosleep(&moment, NULL);
        kill(worker, SIGKILL);
        await_death(worker);
        /* Told by the one or by the other, or by both. */
        while (await_report() != 's')
            ;
    }
    order('q');
    await_curtain(keeper);
    assert(stage->signals == 1ULL << (SIGTERM - 1));
}

/* ---- the keeper is killed ---- */

static void block_for_ever(struct task *task)
{
    (void)task;
    tell('p');
    wait_at(stage->second_gate[0]);
}

static void ask_without_keeper(char order)
{
    struct task task;

    (void)order;
    stage->numbers[1] = (unsigned)-ask(STAGE_NOTHING, 0, &task);
    stage->numbers[2] = (unsigned)-ask(STAGE_PROGRAM, 0, &task);
    tell('a');
}

static int outlive_keeper(bool resumed)
{
    must(!resumed);
    begin();
    children_release(&stage->children);
    start(0);
    tell('b');
    return run_and_finish();
}

static void a_worker_whose_keeper_is_killed_goes_on_and_learns_ends_from_the_kernel(void)
{
    static const struct play alone = {.work = outlive_keeper, .ordered = ask_without_keeper};
    pid_t keeper, worker;
    int status;

    set_stage(&alone, 1);
    stage->processes[0].code = 19;
    keeper = raise_curtain();
    assert(await_report() == 'b');
    worker = stage->worker;
    kill(keeper, SIGKILL);
    assert(WIFSIGNALED(await_end(keeper)));
    order('a');
    assert(await_report() == 'a');
    assert(stage->numbers[1] == EOWNERDEAD && stage->numbers[2] == EOWNERDEAD);
    /* It is ours now. */
    open_gate(stage->gate, 1);
    await_end(stage->processes[0].child.pid);
    status = await_end(worker);
    assert(WIFEXITED(status) && WEXITSTATUS(status) == 0 && stage->board.keeper == 0);
    assert(stage->processes[0].ends == 1 && stage->board.finished);
    assert(stage->processes[0].end.known == kernel_tells_ends());
    assert(!stage->processes[0].end.known || ended_with(&stage->processes[0], 19, 0));
    close_stage();
}

static int ask_for_ever(bool resumed)
{
    struct task task;

    must(!resumed);
    begin();
    must(ask(STAGE_OWN, 0, &task) == -EOWNERDEAD);
    return finish();
}

static void a_worker_does_not_wait_for_the_answer_of_a_killed_keeper(void)
{
    static const struct play waiting = {.work = ask_for_ever, .own = block_for_ever};
    pid_t keeper;

    set_stage(&waiting, 0);
    keeper = raise_curtain();
    assert(await_report() == 'p');
    kill(keeper, SIGKILL);
    assert(WIFSIGNALED(await_end(keeper)));
    assert(await_end(stage->worker) == 0);
    close_stage();
}

/* ---- workers that die at once ---- */

static int die_at_once(bool resumed)
{
    unsigned before = stage->numbers[0]++;

    must(resumed == (before > 0));
    if (before + 1 < WORKERS)
        _exit(before % 2 || kill(getpid(), SIGKILL));
    return finish();
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void workers_that_die_at_once_again_and_again_are_followed_slowly(void)
{
    static const struct play dying = {.work = die_at_once};
    int64_t before = now_ms();

    perform_play(&dying, 0);
    assert(stage->board.workers == WORKERS);
    assert(now_ms() - before >= (WORKERS - QUICK_DEATHS - 1) * PAUSE_MS);
}

int main(int argc, char **argv)
{
    stage_main(argc, argv);
    a_worker_killed_at_any_point_is_followed_by_one_that_gets_all_ends_once();
    what_a_worker_asked_for_last_is_done_once_and_its_successor_gets_the_answer();
    an_end_that_a_killed_worker_did_not_live_to_note_is_told_again();
    a_killed_worker_loses_no_descriptor_and_those_that_nobody_knows_are_closed();
    signals_sent_to_the_keeper_are_passed_on();
    a_signal_is_passed_on_by_the_next_worker_when_one_is_killed_over_it();
    a_worker_whose_keeper_is_killed_goes_on_and_learns_ends_from_the_kernel();
    a_worker_does_not_wait_for_the_answer_of_a_killed_keeper();
    workers_that_die_at_once_again_and_again_are_followed_slowly();
    return 0;
}
