/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "engine/client.h"
#include "engine/hub.h"
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

/* Send one piece to everybody who wants the stream; the byte before it becomes the packet's type. */
static void send_piece(struct stream *stream, char *piece, size_t size)
{
    struct session *session = stream->session;
    char before = piece[-1];
    struct client *next;

    piece[-1] = stream->kind == LOG_STDOUT ? REMORA_PACKET_STDOUT : REMORA_PACKET_STDERR;
    for (struct client *client = session->hub->clients; client != NULL; client = next) {
        next = client->next;
        if (client->session == session && (stream->kind == LOG_STDOUT ? client->wants_out : client->wants_err))
            client_send(client, piece - 1, size + 1);
    }
    piece[-1] = before;
}

static void output(struct stream *stream, char *bytes, size_t size)
{
    struct session *session = stream->session;
    size_t chunk = session->hub->protocol->chunk;
    struct timespec now;

    stream->bytes += size;
    if (session->log != NULL) {
        clock_gettime(CLOCK_REALTIME, &now);
        log_write(session->log, stream->kind, &now, bytes, size);
    }
    for (size_t at = 0; at < size; at += chunk)
        send_piece(stream, bytes + at, size - at < chunk ? size - at : chunk);
}

/*
 * A pty whose last user is gone says so for ever. As long as the process lives it may open its terminal again: only
 * what changes wakes us up from now on. false: there is nothing to wait for.
 */
static bool await_user(struct stream *stream)
{
    const struct session *session = stream->session;

    return session->tty && !session->draining && source_await(&stream->source, EPOLLIN | EPOLLET) == 0;
}

/* Read until there is nothing more for now. false: the stream has ended. */
static bool read_stream(struct stream *stream, int turns)
{
    struct session *session = stream->session;

    while (turns-- > 0 && (session->blockers == 0 || session->draining)) {
        char *packet = hub_scratch(session->hub);
        ssize_t n;

        if (packet == NULL)
            return true;
        n = read(stream->source.fd, packet + 1, REMORA_PAYLOAD_MAX);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EIO && await_user(stream);
        source_await(&stream->source, EPOLLIN); /* a pty has got a user again */
        output(stream, packet + 1, (size_t)n);
        /* A pipe gave less than asked for: it is empty. Saves a read that would only say so. */
        if (!session->tty && !session->draining && n < REMORA_PAYLOAD_MAX)
            return true;
    }
    return true;
}

static void out_ready(struct source *source, uint32_t events)
{
    struct stream *stream = container_of(source, struct stream, source);

    (void)events;
    if (!read_stream(stream, READS_PER_TURN)) {
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
    source_remove(&session->in);
    await_output(session);
    /* All that the process itself wrote is in the pipes by now: this takes it out. */
    if (is_open(&session->out) && !read_stream(&session->out, DRAIN_TURNS))
        source_remove(&session->out.source);
    if (is_open(&session->err) && !read_stream(&session->err, DRAIN_TURNS))
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

    session->process_ended = true;
    session->end = *end;
    drain(session);
}

static int take_streams(struct session *session, struct stdio *stdio)
{
    struct loop *loop = &session->hub->loop;
    int r = 0;

    session->process_ended = session->ended_told = session->draining = session->input_ended = false;
    stdio_close_theirs(stdio);
    if (stdio->out >= 0)
        r = source_add(loop, &session->out.source, fd_take(&stdio->out), EPOLLIN, out_ready);
    if (r == 0 && stdio->err >= 0)
        r = source_add(loop, &session->err.source, fd_take(&stdio->err), EPOLLIN, out_ready);
    if (r == 0 && stdio->in >= 0)
        r = source_add(loop, &session->in, fd_take(&stdio->in), 0, in_ready);
    return r;
}

int session_start(struct session *session, struct stdio *stdio, pid_t pid)
{
    struct hub *hub = session->hub;
    int r = child_watch(&hub->loop, &hub->children, &session->process, pid, process_ended);

    if (r == 0)
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

void session_stop(struct session *session)
{
    source_remove(&session->out.source);
    source_remove(&session->err.source);
    source_remove(&session->in);
    timer_deinit(&session->drain_bound);
    child_forget(&session->process);
    free(session->pending);
    session->pending = NULL;
    session->pending_at = session->pending_size = 0;
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

static void drop_pending(struct session *session)
{
    free(session->pending);
    session->pending = NULL;
    session->pending_at = session->pending_size = 0;
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
    char *grown;

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
    if (session->pending_at > 0) {
        memmove(session->pending, session->pending + session->pending_at, session->pending_size);
        session->pending_at = 0;
    }
    grown = realloc(session->pending, session->pending_size + size - (size_t)n);
    if (grown == NULL)
        return;
    memcpy(grown + session->pending_size, bytes + n, size - (size_t)n);
    session->pending = grown;
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
