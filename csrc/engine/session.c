/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/session.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "engine/client.h"
#include "engine/hub.h"
#include "engine/stream.h"
#include "remora.h"
#include "util/fd.h"

/* So many reads of a stream before others get their turn: about a millisecond at full speed. */
#define READS_PER_TURN 16
/* More than any pipe holds (1 MiB), but not for ever: a grandchild may write faster than we read. */
#define DRAIN_TURNS 32

static void out_ready(struct source *source, uint32_t events);
static void in_ready(struct source *source, uint32_t events);
static void drain_over(struct timer *timer);
static void update_senders(struct session *session);

void session_init(struct session *session, struct hub *hub, bool tty, void (*ended)(struct session *session))
{
    *session = (struct session){.hub = hub, .tty = tty, .ended = ended, .waiting = true};
    session->out = (struct stream){.session = session, .kind = LOG_STDOUT, .source.fd = -1};
    session->err = (struct stream){.session = session, .kind = LOG_STDERR, .source.fd = -1};
    session->in.fd = -1;
    session->process.pidfd.fd = -1;
}

static bool is_open(const struct stream *stream)
{
    return stream->source.loop != NULL;
}

/* Tell the end when both conditions hold. The callee may free the session. */
static void check_end(struct session *session)
{
    if (session->ended_told || !session->process_ended || is_open(&session->out) || is_open(&session->err))
        return;
    session->ended_told = true;
    timer_deinit(&session->drain_bound);
    session->ended(session);
}

static void out_ready(struct source *source, uint32_t events)
{
    struct stream *stream = container_of(source, struct stream, source);
    const struct session *session = stream->session;

    (void)events;
    if (session->out.bytes + session->err.bytes == 0 && session->hub->protocol->draining != NULL)
        session->hub->protocol->draining(session->hub);
    if (!stream_pump(stream, READS_PER_TURN)) {
        source_remove(source);
        check_end(stream->session);
    }
}

static void await_output(struct session *session)
{
    uint32_t events = session->blockers == 0 || session->draining ? EPOLLIN : 0;

    source_await(&session->out.source, events);
    source_await(&session->err.source, events);
}

void session_block(struct session *session)
{
    session->blockers++;
    await_output(session);
}

void session_unblock(struct session *session)
{
    session->blockers--;
    await_output(session);
}

static void drain(struct session *session)
{
    session->draining = true;
    if (session->hub->protocol->draining != NULL)
        session->hub->protocol->draining(session->hub);
    source_remove(&session->in);
    await_output(session);
    /* All that the process itself wrote is in the pipes by now: this takes it out. */
    if (is_open(&session->out) && !stream_pump(&session->out, DRAIN_TURNS))
        source_remove(&session->out.source);
    if (is_open(&session->err) && !stream_pump(&session->err, DRAIN_TURNS))
        source_remove(&session->err.source);
    if (is_open(&session->out) || is_open(&session->err)) {
        if (timer_init(&session->hub->loop, &session->drain_bound, drain_over) < 0)
            session_close_output(session, true, true);
        else
            timer_set(&session->drain_bound, DRAIN_BOUND_NS);
    }
    check_end(session);
}

static void drain_over(struct timer *timer)
{
    session_close_output(container_of(timer, struct session, drain_bound), true, true);
}

static void process_ended(struct child *child, const struct child_end *end)
{
    struct session *session = container_of(child, struct session, process);

    session->end = *end;
    session->process_ended = true;
    child->telling = false;
    drain(session);
}

/* A descriptor has two owners for a moment, rather than none (session_resume). */
static int take_stream(struct hub *hub, struct source *source, int *fd, uint32_t events, source_ready_fn ready)
{
    int r = *fd >= 0 ? source_add(&hub->loop, source, *fd, events, ready) : 0;

    *fd = -1;
    return r;
}

static int take_streams(struct session *session, struct stdio *stdio)
{
    struct hub *hub = session->hub;
    int r = take_stream(hub, &session->out.source, &stdio->out, EPOLLIN, out_ready);

    if (r == 0)
        r = take_stream(hub, &session->err.source, &stdio->err, EPOLLIN, out_ready);
    if (r == 0)
        r = take_stream(hub, &session->in, &stdio->in, 0, in_ready);
    return r;
}

int session_start(struct session *session, struct stdio *stdio, pid_t pid)
{
    struct hub *hub = session->hub;
    int r;

    /* A worker may have been killed half-way: what is done is not done again. */
    if (!session->started && session->process.children == NULL && !session->process.telling) {
        session->process_ended = session->ended_told = session->draining = session->input_ended = false;
        r = child_watch(&hub->loop, &hub->children, &session->process, pid, process_ended);
        if (r < 0)
            return r;
    }
    session->started = true;
    r = take_streams(session, stdio);
    if (r < 0)
        return r;
    await_output(session);
    session->waiting = false;
    update_senders(session);
    return 0;
}

void session_start_gone(struct session *session, struct stdio *stdio)
{
    const struct child_end unknown = {.known = false};

    take_streams(session, stdio);
    session->waiting = false;
    process_ended(&session->process, &unknown);
}

static void drop_pending(struct session *session)
{
    char *pending = session->pending;

    session->pending_at = session->pending_size = 0;
    session->pending = NULL;
    if (pending != NULL)
        pool_release(&session->hub->input_pool, pending);
}

void session_stop(struct session *session)
{
    source_remove(&session->out.source);
    source_remove(&session->err.source);
    source_remove(&session->in);
    timer_deinit(&session->drain_bound);
    child_forget(&session->process);
    drop_pending(session);
    session->started = false;
    session->waiting = true;
}

/* ---- input ---- */

static void update_senders(struct session *session)
{
    struct client *next;

    for (struct client *client = session->hub->clients; client != NULL; client = next) {
        next = client->next;
        if (client->session == session && client->gives_in)
            client_update_reading(client);
    }
}

bool session_stdin_full(const struct session *session)
{
    return session->waiting || session->pending_size > 0;
}

static void close_input(struct session *session)
{
    source_remove(&session->in);
    drop_pending(session);
    update_senders(session);
}

/* Write as much as goes: bytes taken, or -errno when the other end is gone. */
static ssize_t write_input(struct session *session, const char *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = write(session->in.fd, bytes + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static void in_ready(struct source *source, uint32_t events)
{
    struct session *session = container_of(source, struct session, in);
    ssize_t n = write_input(session, session->pending + session->pending_at, session->pending_size);

    (void)events;
    if (n < 0) {
        close_input(session);
        return;
    }
    session->pending_at += (size_t)n;
    session->pending_size -= (size_t)n;
    if (session->pending_size > 0)
        return;
    drop_pending(session);
    source_await(&session->in, 0);
    if (session->input_ended)
        close_input(session);
    else
        update_senders(session);
}

void session_input(struct session *session, const char *bytes, size_t size)
{
    ssize_t n = 0;

    if (session->in.loop == NULL || session->input_ended)
        return; /* the process closed its stdin, or never had one: what is typed goes nowhere */
    if (session->pending_size == 0) {
        n = write_input(session, bytes, size);
        if (n < 0) {
            close_input(session);
            return;
        }
        if ((size_t)n == size)
            return;
    }
    if (session->pending == NULL)
        session->pending = pool_take(&session->hub->input_pool);
    if (session->pending == NULL || session->pending_at + session->pending_size + size - (size_t)n > INPUT_SIZE)
        return;
    memcpy(session->pending + session->pending_at + session->pending_size, bytes + n, size - (size_t)n);
    session->pending_size += size - (size_t)n;
    source_await(&session->in, EPOLLOUT);
    update_senders(session);
}

void session_input_end(struct session *session)
{
    struct termios settings;
    char end_of_file = 4;

    if (session->in.loop == NULL || session->input_ended)
        return;
    if (session->tty) {
        /* A terminal can't be half closed: its end of input is a character, as long as it reads lines. */
        if (tcgetattr(session->in.fd, &settings) == 0 && (settings.c_lflag & ICANON)) {
            end_of_file = (char)settings.c_cc[VEOF];
            session_input(session, &end_of_file, 1);
        }
        return;
    }
    session->input_ended = true;
    if (session->pending_size == 0)
        close_input(session);
}

void session_resize(struct session *session, unsigned rows, unsigned cols)
{
    if (session->tty && session->out.source.loop != NULL)
        pty_resize(session->out.source.fd, rows, cols);
}

void session_close_output(struct session *session, bool out, bool err)
{
    if (out)
        source_remove(&session->out.source);
    if (err)
        source_remove(&session->err.source);
    check_end(session);
}

/* ---- clients ---- */

void session_attach(struct session *session, struct client *client)
{
    client->session = session;
    client_update_reading(client);
}

void session_detach(struct session *session, struct client *client)
{
    bool ends_input = client->owner && client->gives_in && session->stdin_once && !session->tty;

    client->session = NULL;
    client->gives_in = client->wants_out = client->wants_err = false;
    if (ends_input)
        session_input_end(session);
}

/* ---- a new worker ---- */

void session_resume(struct session *session, struct stdio *stdio)
{
    struct hub *hub = session->hub;

    /* Handed over already? */
    if (stdio->out >= 0 && stdio->out == session->out.source.fd && session->out.source.loop != NULL)
        stdio->out = -1;
    if (stdio->err >= 0 && stdio->err == session->err.source.fd && session->err.source.loop != NULL)
        stdio->err = -1;
    if (stdio->in >= 0 && stdio->in == session->in.fd && session->in.loop != NULL)
        stdio->in = -1;
    session->blockers = 0;
    source_resume(&session->out.source);
    source_resume(&session->err.source);
    source_resume(&session->in);
    if (session->pending_size == 0)
        drop_pending(session);
    loop_know(&hub->loop, stdio->in);
    loop_know(&hub->loop, stdio->out);
    loop_know(&hub->loop, stdio->err);
    timer_resume(&session->drain_bound);
    child_resume(&hub->children, &session->process);
}

void session_resumed(struct session *session)
{
    /* The news of the end were not taken to their end: all of it anew, which may free the session. */
    if (session->process.telling && session->process.children == NULL && !session->ended_told) {
        child_resumed(&session->process);
        return;
    }
    await_output(session);
    if (session->pending_size > 0)
        source_await(&session->in, EPOLLOUT);
    else if (session->input_ended)
        close_input(session);
    if (!session->process_ended)
        return;
    if (session->ended_told)
        session->ended(session);
    else
        drain(session);
}

void session_bind(struct session *session)
{
    struct hub *hub = session->hub;

    source_bind(&hub->loop, &session->out.source, EPOLLIN, out_ready);
    source_bind(&hub->loop, &session->err.source, EPOLLIN, out_ready);
    source_bind(&hub->loop, &session->in, 0, in_ready);
    if (session->drain_bound.deadline_ns != 0)
        timer_bind(&hub->loop, &session->drain_bound, drain_over);
    child_bind(&hub->loop, &hub->children, &session->process, process_ended);
}
