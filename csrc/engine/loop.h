/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: one epoll set, sources embedded in their owners.
 *
 * A source owns its descriptor from source_add to source_remove, which closes it. A source may be removed, also
 * by another source's callback, at any moment of a round: an event that was already fetched for it is dropped.
 * Timers are timerfds, armed only while something is due, so that an idle loop makes no system call at all.
 *
 * Sources are in kept memory: a new worker takes them over (kept.h). So a descriptor is forgotten before it is closed.
 */
#ifndef REMORA_ENGINE_LOOP_H
#define REMORA_ENGINE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_ROUND 32 /* events fetched at once */

struct loop {
    int epoll_fd; /* owned */
    bool quit;
    int n_fetched;
    struct epoll_event fetched[LOOP_ROUND]; /* of the round that is being handled */
    struct known_fds *known; /* private: while a new worker takes over */
    bool incomplete; /* a source was not taken over for want of memory or descriptors: another worker has to try */
};

struct source;
typedef void (*source_ready_fn)(struct source *source, uint32_t events);

struct source {
    struct loop *loop; /* NULL when not in a loop */
    int fd; /* owned; -1 when not in a loop */
    uint32_t events; /* what it waits for; 0: out of the epoll set for now */
    source_ready_fn ready;
};

int loop_init(struct loop *loop);
void loop_deinit(struct loop *loop);
/*
 * Begin anew in a new worker: until loop_sweep, descriptors of sources are remembered, and those told by loop_know.
 * 0 or -errno.
 */
int loop_resume(struct loop *loop);
void loop_know(struct loop *loop, int fd);
/*
 * Close all descriptors but the known ones and stdio: what a killed worker had just opened or was about to close.
 * `claim`, if not NULL, may take one for itself (true).
 */
void loop_sweep(struct loop *loop, bool (*claim)(void *context, int fd), void *context);
/* Handle events until loop->quit. 0 or -errno. */
int loop_run(struct loop *loop);

/* Takes fd, on failure too. 0 or -errno. */
int source_add(struct loop *loop, struct source *source, int fd, uint32_t events, source_ready_fn ready);
/* Wait for other events. With 0 the source leaves the epoll set (a hang-up can't be masked otherwise). 0 or -errno. */
int source_await(struct source *source, uint32_t events);
/* Leave the loop and close; safe on a source that is not in a loop. */
void source_remove(struct source *source);
/*
 * In a new worker, with a fresh loop at the same address: wait again for what the source waited for, if it was in the
 * loop. A source that can't be is out of it then.
 */
void source_resume(struct source *source);
/* As if it were in the loop, when it has a descriptor: for source_resume, after its fields came from elsewhere. */
void source_bind(struct loop *loop, struct source *source, uint32_t events, source_ready_fn ready);

struct timer {
    struct source source;
    int64_t deadline_ns; /* CLOCK_MONOTONIC; 0: not set */
    bool firing; /* `due` is being called */
    void (*due)(struct timer *timer);
};

int timer_init(struct loop *loop, struct timer *timer, void (*due)(struct timer *timer));
/* Due once, after so many nanoseconds (at least 1). Replaces what was set. */
void timer_set(struct timer *timer, int64_t after_ns);
void timer_clear(struct timer *timer);
bool timer_is_set(const struct timer *timer);
void timer_deinit(struct timer *timer);
/* As source_resume; what was due while no worker lived, or was being handled, is due at once. */
void timer_resume(struct timer *timer);
/* As source_bind; the deadline counts. */
void timer_bind(struct loop *loop, struct timer *timer, void (*due)(struct timer *timer));

#define SECOND_NS 1000000000LL
#define MILLISECOND_NS 1000000LL

#define FOR_EVER_NS (INT64_MAX / 2) /* a time can be added to it */

/* Seconds as nanoseconds: what is too long is as good as for ever. */
static inline int64_t seconds_ns(int64_t seconds)
{
    return seconds > FOR_EVER_NS / SECOND_NS ? FOR_EVER_NS : seconds * SECOND_NS;
}

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
