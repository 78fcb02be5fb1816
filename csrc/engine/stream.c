/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "engine/client.h"
#include "engine/hub.h"
#include "remora.h"

#define UNTOUCHED ((char)0xff) /* a byte that no text has */
#define TERMINAL_READ 4096 /* more is never in a terminal's buffer */
#define MARK 16

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

/* Log and send what is in the scratch buffer, from wherever a killed worker left off. */
static void deliver(struct hub *hub)
{
    struct flight *flight = &hub->flight;
    struct session *session = flight->stream->session;
    char *bytes = hub_scratch(hub) + 1;
    size_t chunk = hub->protocol->chunk;
    struct timespec now;

    flight->stream->bytes = flight->bytes_before + flight->size;
    if (session->log != NULL && !flight->logged) {
        flight->log_calls = log_calls(session->log);
        flight->logging = true;
        clock_gettime(CLOCK_REALTIME, &now);
        log_write(session->log, flight->stream->kind, &now, bytes, flight->size);
    }
    flight->logged = true;
    while (flight->sent < flight->size) {
        size_t left = flight->size - flight->sent;

        send_piece(flight->stream, bytes + flight->sent, left < chunk ? left : chunk);
        flight->sent += left < chunk ? left : chunk;
    }
    flight->stream = NULL;
}

/*
 * A worker that is killed during read(2) has taken the bytes and can't tell how many. So that the next one can: from a
 * pipe no more is asked for than is there, and comes whole.
 */
static size_t prepare_read(struct stream *stream, char *buffer)
{
    int available = 0;

    if (ioctl(stream->source.fd, FIONREAD, &available) < 0 || available < 0)
        available = 0;
    memset(buffer, UNTOUCHED, MARK);
    return available < REMORA_PAYLOAD_MAX ? (size_t)available : REMORA_PAYLOAD_MAX;
}

/* How many bytes a read took that nobody lived to hear of. */
static size_t bytes_taken(const struct flight *flight, const char *buffer)
{
    bool tty = flight->stream->session->tty;
    size_t least = tty ? flight->gathered : 0;
    size_t size = tty ? least + TERMINAL_READ : MARK < flight->size ? MARK : flight->size;
    int available;

    while (size > least && buffer[size - 1] == UNTOUCHED)
        size--;
    if (tty || size > 0)
        return tty ? size : flight->size;
    /* Not written to, it seems; but if less is there than was, it was taken, and looks like that. */
    return ioctl(flight->stream->source.fd, FIONREAD, &available) == 0 && (size_t)available < flight->there
               ? flight->size
               : 0;
}

void stream_finish_flight(struct hub *hub)
{
    struct flight *flight = &hub->flight;

    if (flight->stream == NULL)
        return;
    if (!flight->read)
        flight->size = bytes_taken(flight, hub_scratch(hub) + 1);
    /* What the log had begun to write it has brought to an end by itself (log_resume). */
    if (flight->logging && log_calls(flight->stream->session->log) != flight->log_calls)
        flight->logged = true;
    if (flight->size > 0)
        deliver(hub);
    flight->stream = NULL;
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

/*
 * A terminal gives a few kilobytes at a time, and each call of the log costs a write: what is there is gathered first.
 * How much a killed worker's read gave is found by what it overwrites. Bytes gathered, or as read(2) when there are
 * none.
 */
static ssize_t read_terminal(struct stream *stream, char *bytes)
{
    struct flight *flight = &stream->session->hub->flight;
    size_t gathered = 0;
    ssize_t n = 0;

    do {
        memset(bytes + gathered, UNTOUCHED, TERMINAL_READ);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        flight->gathered = gathered;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        n = read(stream->source.fd, bytes + gathered, TERMINAL_READ);
        if (n > 0)
            gathered += (size_t)n;
    } while (n > 0 && gathered + TERMINAL_READ <= REMORA_PAYLOAD_MAX);
    return gathered > 0 ? (ssize_t)gathered : n;
}

bool stream_pump(struct stream *stream, int turns)
{
    struct session *session = stream->session;
    struct hub *hub = session->hub;

    while (turns-- > 0 && (session->blockers == 0 || session->draining)) {
        char *bytes = hub_scratch(hub) + 1;
        size_t there = session->tty ? 0 : prepare_read(stream, bytes);
        size_t size = session->tty ? TERMINAL_READ : there > 0 ? there : 1; /* nothing there: the end, most likely */
        ssize_t n;

        if (session->tty)
            memset(bytes, UNTOUCHED, TERMINAL_READ);
        hub->flight =
            (struct flight){.size = size, .there = there, .bytes_before = stream->bytes, .reader = hub->flight.reader};
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        hub->flight.stream = stream;
        n = session->tty ? read_terminal(stream, bytes) : read(stream->source.fd, bytes, size);
        if (n <= 0) {
            hub->flight.stream = NULL;
            if (n < 0 && errno == EAGAIN)
                return true;
            if (n < 0 && errno == EINTR)
                continue;
            return n < 0 && errno == EIO && await_user(stream);
        }
        hub->flight.size = (size_t)n;
        hub->flight.read = true;
        source_await(&stream->source, EPOLLIN); /* a pty has got a user again */
        deliver(hub);
        /* All that was there. Saves a read that would only say so. */
        if (!session->draining && n <= REMORA_PAYLOAD_MAX - (session->tty ? TERMINAL_READ : 1))
            return true;
    }
    return true;
}
