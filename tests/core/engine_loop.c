/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: what a callback does to other sources of the same round, timers, and who closes what. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/loop.h"

enum { SOURCES = LOOP_ROUND + 8 };

struct peer {
    struct source source;
    int other; /* the far end of its socket pair */
    unsigned calls;
    uint32_t events; /* of the last call */
};

static struct loop loop;
static struct peer peers[SOURCES];
static struct timer timer;
static unsigned total, due;

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void swallow(struct source *source, uint32_t events)
{
    struct peer *peer = container_of(source, struct peer, source);
    char byte;

    peer->calls++;
    peer->events = events;
    total++;
    if (events & EPOLLIN)
        assert(read(source->fd, &byte, 1) >= 0);
}

static void add_peers(int n, source_ready_fn ready)
{
    total = due = 0;
    assert(loop_init(&loop) == 0);
    for (int i = 0; i < n; i++) {
        int ends[2];

        assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        peers[i] = (struct peer){.other = ends[1]};
        assert(source_add(&loop, &peers[i].source, ends[0], EPOLLIN, ready) == 0);
        assert(write(ends[1], "x", 1) == 1);
    }
}

static void remove_peers(int n)
{
    for (int i = 0; i < n; i++) {
        int fd = peers[i].source.fd;
        bool was_there = peers[i].source.loop != NULL;

        source_remove(&peers[i].source);
        source_remove(&peers[i].source);
        assert(peers[i].source.fd == -1 && (!was_there || !is_open(fd)));
        close(peers[i].other);
    }
    loop_deinit(&loop);
    assert(loop.epoll_fd == -1);
}

static void quit_due(struct timer *expired)
{
    (void)expired;
    due++;
    loop.quit = true;
}

static void run_for(int64_t nanoseconds)
{
    assert(timer_init(&loop, &timer, quit_due) == 0);
    timer_set(&timer, nanoseconds);
    assert(loop_run(&loop) == 0);
    timer_deinit(&timer);
    timer_deinit(&timer);
}

/* ---- removal within a round ---- */

static void remove_all_others(struct source *source, uint32_t events)
{
    (void)events;
    total++;
    for (int i = 0; i < SOURCES; i++)
        if (&peers[i].source != source)
            source_remove(&peers[i].source);
    source_remove(source);
    loop.quit = true;
}

static void a_source_removed_by_another_callback_is_not_called(void)
{
    add_peers(SOURCES, remove_all_others);
    assert(loop_run(&loop) == 0);
    assert(total == 1);
    remove_peers(SOURCES);
}

static void replace_next(struct source *source, uint32_t events)
{
    struct peer *peer = container_of(source, struct peer, source);
    struct peer *next = &peers[(peer - peers + 1) % 2];
    int ends[2];

    (void)events;
    total++;
    loop.quit = true;
    /* Removed and added anew in one round, most likely with the same number: the old event is not the new one's. */
    source_remove(&next->source);
    close(next->other);
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    next->other = ends[1];
    assert(source_add(&loop, &next->source, ends[0], EPOLLIN, swallow) == 0);
}

static void an_event_of_a_removed_source_does_not_reach_its_successor(void)
{
    add_peers(2, replace_next);
    assert(loop_run(&loop) == 0);
    assert(total == 1 && peers[0].calls == 0 && peers[1].calls == 0);
    remove_peers(2);
}

static void silence_others(struct source *source, uint32_t events)
{
    swallow(source, events);
    for (int i = 0; i < SOURCES; i++)
        if (&peers[i].source != source)
            assert(source_await(&peers[i].source, 0) == 0);
    loop.quit = true;
}

static void a_source_silenced_by_another_callback_is_called_only_once_it_waits_again(void)
{
    add_peers(SOURCES, silence_others);
    assert(loop_run(&loop) == 0);
    assert(total == 1);
    for (int i = 0; i < SOURCES; i++) {
        peers[i].source.ready = swallow;
        assert(source_await(&peers[i].source, EPOLLIN) == 0);
    }
    loop.quit = false;
    run_for(50 * MILLISECOND_NS);
    for (int i = 0; i < SOURCES; i++)
        assert(peers[i].calls == 1);
    remove_peers(SOURCES);
}

static void all_sources_get_their_turn_when_more_are_ready_than_a_round_takes(void)
{
    add_peers(SOURCES, swallow);
    run_for(50 * MILLISECOND_NS);
    assert(total == SOURCES);
    remove_peers(SOURCES);
}

/* ---- what is waited for ---- */

static void a_source_without_events_does_not_even_see_a_hang_up(void)
{
    add_peers(1, swallow);
    assert(source_await(&peers[0].source, 0) == 0);
    assert(source_await(&peers[0].source, 0) == 0);
    close(peers[0].other);
    peers[0].other = -1;
    run_for(20 * MILLISECOND_NS);
    assert(peers[0].calls == 0);
    remove_peers(1);
}

static void stop_after_first(struct source *source, uint32_t events)
{
    swallow(source, events);
    loop.quit = true;
}

static void what_is_waited_for_can_be_changed(void)
{
    add_peers(1, stop_after_first);
    assert(source_await(&peers[0].source, EPOLLOUT) == 0);
    assert(loop_run(&loop) == 0);
    assert(peers[0].events == EPOLLOUT);
    loop.quit = false;
    assert(source_await(&peers[0].source, EPOLLIN) == 0);
    assert(loop_run(&loop) == 0);
    assert(peers[0].events == EPOLLIN && total == 2);
    remove_peers(1);
}

static void a_descriptor_that_cannot_be_watched_is_closed_and_told(void)
{
    struct source source;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int plain = open("plain", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert(loop_init(&loop) == 0 && fd >= 0 && plain >= 0);
    assert(source_add(&loop, &source, plain, EPOLLIN, swallow) == -EPERM);
    assert(source.loop == NULL && source.fd == -1 && !is_open(plain));
    source_remove(&source);
    assert(source_await(&source, EPOLLIN) == 0);
    close(fd);
    unlink("plain");
    loop_deinit(&loop);
}

/* ---- timers ---- */

static void rearm(struct timer *expired)
{
    if (++due == 5)
        loop.quit = true;
    else
        timer_set(expired, 0);
    assert(timer_is_set(expired) == (due < 5) || due < 5);
}

static void a_timer_may_be_set_again_by_its_own_callback_and_is_due_once_each_time(void)
{
    add_peers(0, swallow);
    assert(timer_init(&loop, &timer, rearm) == 0);
    assert(!timer_is_set(&timer));
    timer_set(&timer, MILLISECOND_NS);
    assert(timer_is_set(&timer));
    assert(loop_run(&loop) == 0);
    assert(due == 5 && !timer_is_set(&timer));
    timer_deinit(&timer);
    remove_peers(0);
}

static struct timer victim;

static void count_due(struct timer *expired)
{
    (void)expired;
    due++;
}

static void clear_victim(struct source *source, uint32_t events)
{
    swallow(source, events);
    /* Both are ready in this round, or the victim's turn was first: then it is set far away, once more. */
    timer_set(&victim, 100 * SECOND_NS);
    timer_clear(&victim);
}

static void a_timer_cleared_in_the_round_it_is_due_in_is_not_called(void)
{
    add_peers(1, clear_victim);
    assert(timer_init(&loop, &victim, count_due) == 0);
    timer_set(&victim, -5);
    usleep(2000); /* due before the first round begins; the peer was ready even before that */
    run_for(20 * MILLISECOND_NS);
    assert(total == 1 && due == 1);
    timer_deinit(&victim);
    assert(!timer_is_set(&victim));
    timer_clear(&victim);
    remove_peers(1);
}

int main(void)
{
    a_source_removed_by_another_callback_is_not_called();
    an_event_of_a_removed_source_does_not_reach_its_successor();
    a_source_silenced_by_another_callback_is_called_only_once_it_waits_again();
    all_sources_get_their_turn_when_more_are_ready_than_a_round_takes();
    a_source_without_events_does_not_even_see_a_hang_up();
    what_is_waited_for_can_be_changed();
    a_descriptor_that_cannot_be_watched_is_closed_and_told();
    a_timer_may_be_set_again_by_its_own_callback_and_is_due_once_each_time();
    a_timer_cleared_in_the_round_it_is_due_in_is_not_called();
    return 0;
}
