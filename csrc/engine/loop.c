/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
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

struct known_fds {
    size_t n, capacity;
    int fds[];
};

int loop_resume(struct loop *loop)
{
    size_t capacity = 64;
    int r = loop_init(loop);

    if (r < 0)
        return r;
    loop->known = malloc(sizeof(*loop->known) + capacity * sizeof(int));
    if (loop->known == NULL)
        return -ENOMEM;
    *loop->known = (struct known_fds){.capacity = capacity};
    loop_know(loop, loop->epoll_fd);
    return 0;
}

void loop_know(struct loop *loop, int fd)
{
    struct known_fds *known = loop->known;

    if (known == NULL || fd < 0)
        return;
    if (known->n == known->capacity) {
        known = realloc(known, sizeof(*known) + 2 * known->capacity * sizeof(int));
        /* Without memory for the list nothing is swept: rather a descriptor too many. */
        if (known == NULL) {
            free(loop->known);
            loop->known = NULL;
            return;
        }
        known->capacity *= 2;
        loop->known = known;
    }
    known->fds[known->n++] = fd;
}

static bool is_known(const struct known_fds *known, int fd)
{
    for (size_t i = 0; i < known->n; i++)
        if (known->fds[i] == fd)
            return true;
    return false;
}

void loop_sweep(struct loop *loop, bool (*claim)(void *context, int fd), void *context)
{
    DIR *dir = loop->known != NULL ? opendir("/proc/self/fd") : NULL;
    struct dirent *entry;
    bool again = true;

    while (dir != NULL) {
        int fd;

        errno = 0;
        entry = readdir(dir);
        if (entry == NULL && errno != 0 && again) {
            again = false;
            rewinddir(dir);
            continue;
        }
        if (entry == NULL)
            break;
        fd = atoi(entry->d_name);
        if (fd <= STDERR_FILENO || fd == dirfd(dir) || is_known(loop->known, fd))
            continue;
        if (claim == NULL || !claim(context, fd))
            fd_close(&fd);
    }
    if (dir != NULL)
        closedir(dir);
    free(loop->known);
    loop->known = NULL;
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
    loop_know(loop, fd);
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
    source->loop = NULL;
    source->events = 0;
    fd_close(&source->fd);
}

void source_resume(struct source *source)
{
    struct loop *loop = source->loop;
    int r = 0;

    if (loop == NULL)
        return;
    if (fcntl(source->fd, F_GETFD) < 0 && errno == EBADF)
        r = -EBADF;
    else if (source->events != 0)
        r = control(source, EPOLL_CTL_ADD, source->events);
    if (r == -EBADF || r == -EPERM) {
        source->loop = NULL;
        source->events = 0;
        source->fd = -1;
    } else if (r < 0) {
        loop->incomplete = true;
    }
    loop_know(loop, source->fd);
}

void source_bind(struct loop *loop, struct source *source, uint32_t events, source_ready_fn ready)
{
    source->ready = ready;
    source->events = source->fd >= 0 ? events : 0;
    source->loop = source->fd >= 0 ? loop : NULL;
}

static void timer_ready(struct source *source, uint32_t events)
{
    struct timer *timer = container_of(source, struct timer, source);
    uint64_t expirations;

    (void)events;
    /* Cleared or set anew since the event was fetched: then there is nothing to read. */
    if (read(source->fd, &expirations, sizeof(expirations)) != (ssize_t)sizeof(expirations))
        return;
    timer->firing = true;
    timer->deadline_ns = 0;
    timer->due(timer);
    timer->firing = false;
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

int timer_init(struct loop *loop, struct timer *timer, void (*due)(struct timer *timer))
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    *timer = (struct timer){.due = due, .source.fd = -1};
    if (fd < 0)
        return -errno;
    return source_add(loop, &timer->source, fd, EPOLLIN, timer_ready);
}

void timer_set(struct timer *timer, int64_t after_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = after_ns / SECOND_NS, .tv_nsec = after_ns % SECOND_NS}};

    if (after_ns <= 0)
        when.it_value.tv_nsec = 1;
    timer->deadline_ns = now_ns() + after_ns;
    /* Nothing else would ever come of it: what failed once may go a second time. */
    if (timerfd_settime(timer->source.fd, 0, &when, NULL) < 0)
        timerfd_settime(timer->source.fd, 0, &when, NULL);
}

void timer_clear(struct timer *timer)
{
    struct itimerspec never = {0};

    timer->deadline_ns = 0;
    if (timer->source.loop != NULL)
        timerfd_settime(timer->source.fd, 0, &never, NULL);
}

bool timer_is_set(const struct timer *timer)
{
    return timer->source.loop != NULL && timer->deadline_ns != 0;
}

void timer_deinit(struct timer *timer)
{
    source_remove(&timer->source);
}

void timer_resume(struct timer *timer)
{
    struct source *source = &timer->source;
    int64_t deadline_ns = timer->firing ? 1 : timer->deadline_ns;
    int fd;

    if (source->loop == NULL)
        return;
    /* The old descriptor may have been read, or not: it is swept away. */
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0) {
        source->loop->incomplete = true;
        return;
    }
    source->fd = fd;
    source_resume(source);
    if (deadline_ns != 0)
        timer_set(timer, deadline_ns - now_ns());
}

void timer_bind(struct loop *loop, struct timer *timer, void (*due)(struct timer *timer))
{
    timer->due = due;
    timer->source = (struct source){.loop = loop, .fd = -1, .events = EPOLLIN, .ready = timer_ready};
}
