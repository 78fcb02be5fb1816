/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/fd.h"

#define CONTROL_TRIES 3

int loop_init(struct loop *loop)
{
    *loop = (struct loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_deinit(struct loop *loop)
{
    fd_close(&loop->epoll_fd);
}

int loop_run(struct loop *loop)
{
    while (!loop->quit) {
        int n = epoll_wait(loop->epoll_fd, loop->fetched, LOOP_ROUND, -1);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        loop->n_fetched = n;
        for (int i = 0; i < loop->n_fetched; i++) {
            struct source *source = loop->fetched[i].data.ptr;

            /* An earlier callback of this round may have removed it or may have narrowed what it waits for. */
            if (source == NULL)
                continue;
            loop->fetched[i].data.ptr = NULL;
            source->ready(source, loop->fetched[i].events);
        }
        loop->n_fetched = 0;
    }
    return 0;
}

static void forget_fetched(struct source *source)
{
    for (int i = 0; i < source->loop->n_fetched; i++)
        if (source->loop->fetched[i].data.ptr == source)
            source->loop->fetched[i].data.ptr = NULL;
}

static int control(struct source *source, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    int r;

    /* Whoever stops waiting for something has no second chance to begin anew: a passing lack of memory is sat out. */
    for (int i = 0; i < CONTROL_TRIES; i++) {
        r = epoll_ctl(source->loop->epoll_fd, operation, source->fd, &event) < 0 ? -errno : 0;
        if (r != -ENOMEM)
            break;
    }
    return r;
}

int source_add(struct loop *loop, struct source *source, int fd, uint32_t events, source_ready_fn ready)
{
    int r;

    *source = (struct source){.loop = loop, .fd = fd, .events = events, .ready = ready};
    if (events == 0)
        return 0;
    r = control(source, EPOLL_CTL_ADD, events);
    if (r < 0) {
        fd_close(&source->fd);
        source->loop = NULL;
    }
    return r;
}

int source_await(struct source *source, uint32_t events)
{
    int operation = source->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    int r;

    if (source->loop == NULL || source->events == events)
        return 0;
    r = control(source, operation, events);
    if (r < 0)
        return r;
    source->events = events;
    if (events == 0)
        forget_fetched(source);
    return 0;
}

void source_remove(struct source *source)
{
    if (source->loop == NULL)
        return;
    forget_fetched(source);
    if (source->events != 0)
        control(source, EPOLL_CTL_DEL, 0);
    fd_close(&source->fd);
    source->loop = NULL;
    source->events = 0;
}

static void timer_ready(struct source *source, uint32_t events)
{
    struct timer *timer = container_of(source, struct timer, source);
    uint64_t expirations;

    (void)events;
    /* Cleared or set anew since the event was fetched: then there is nothing to read. */
    if (read(source->fd, &expirations, sizeof(expirations)) == (ssize_t)sizeof(expirations))
        timer->due(timer);
}

int timer_init(struct loop *loop, struct timer *timer, void (*due)(struct timer *timer))
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    timer->due = due;
    timer->source = (struct source){.fd = -1};
    if (fd < 0)
        return -errno;
    return source_add(loop, &timer->source, fd, EPOLLIN, timer_ready);
}

void timer_set(struct timer *timer, int64_t after_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = after_ns / SECOND_NS, .tv_nsec = after_ns % SECOND_NS}};

    if (after_ns <= 0)
        when.it_value.tv_nsec = 1;
    timerfd_settime(timer->source.fd, 0, &when, NULL);
}

void timer_clear(struct timer *timer)
{
    struct itimerspec never = {0};

    if (timer->source.loop != NULL)
        timerfd_settime(timer->source.fd, 0, &never, NULL);
}

bool timer_is_set(const struct timer *timer)
{
    struct itimerspec when;

    if (timer->source.loop == NULL || timerfd_gettime(timer->source.fd, &when) < 0)
        return false;
    return when.it_value.tv_sec != 0 || when.it_value.tv_nsec != 0;
}

void timer_deinit(struct timer *timer)
{
    source_remove(&timer->source);
}
