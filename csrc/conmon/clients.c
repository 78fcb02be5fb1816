/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of the attach socket: they get each piece of output as a packet whose first byte tells the stream, and what
 * they send is input, as it is.
 *
 * A client may hold up the container, as the reader of a pipe does, for its bytes are not to be lost; but only one that
 * was there before the process ran (`run`, `start -a`, `exec`: it is the process's terminal) may do so for ever. Any
 * other that takes nothing for a second is cut off.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conmon/conmon.h"
#include "conmon/files.h"
#include "engine/client.h"
#include "remora.h"

#define ATTACH_CHUNK 8192 /* bytes of output that clients make room for */
#define PATIENCE_NS SECOND_NS

_Static_assert((int)REMORA_PACKET_STDOUT == 2 && (int)REMORA_PACKET_STDERR == 3, "conmon's own numbers");

static bool packet(struct client *client, char *bytes, size_t size, int *fds, size_t n_fds)
{
    for (size_t i = 0; i < n_fds; i++)
        close(fds[i]);
    if (client->session != NULL && client->gives_in && size > 0)
        session_input(client->session, bytes, size);
    return true;
}

static void input_ended(struct client *client)
{
    const struct session *session = client->session;
    bool ends = client->gives_in && session != NULL && session->stdin_once && !session->tty;

    client->gives_in = false;
    if (ends)
        session_input_end(client->session);
}

static void lagging(struct client *client)
{
    const struct conmon *conmon = conmon_of(client->hub);

    /* It sees the end of the output; what it types still arrives. */
    message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to write to remote console socket");
    shutdown(client->source.fd, SHUT_WR);
    client->wants_out = client->wants_err = false;
    client->closing = false;
}

static void throttling(struct client *client)
{
    struct conmon *conmon = conmon_of(client->hub);

    client->queued_before = SIZE_MAX;
    if (!client->foreground && conmon->state == CONMON_RUNNING && !timer_is_set(&conmon->patience))
        timer_set(&conmon->patience, PATIENCE_NS);
}

static void lost(struct client *client, size_t bytes)
{
    message(&conmon_of(client->hub)->setup->messages, MESSAGE_WARNING,
            "%zu bytes that waited for a client were lost with a killed worker", bytes);
}

/* What it sent was input, which has arrived or not. */
static bool interrupted(struct client *client, const char *bytes)
{
    (void)client;
    (void)bytes;
    return true;
}

static void gone(struct client *client)
{
    (void)client;
}

static void check_done(struct hub *hub)
{
    conmon_check_done(conmon_of(hub));
}

static void idle(struct hub *hub, bool quiet)
{
    struct conmon *conmon = conmon_of(hub);

    source_await(&conmon->attach, EPOLLIN); /* it may have had to wait for resources */
    if (quiet)
        log_idle(&conmon->log);
}

/* true: some still take too little, look again. */
static bool cut_stalled(struct conmon *conmon)
{
    bool again = false;

    for (struct client *client = conmon->hub.clients; client != NULL; client = client->next) {
        if (!client->throttles || client->foreground)
            continue;
        if (client->queued >= client->queued_before) {
            client_cut_off(client);
            continue;
        }
        client->queued_before = client->queued;
        again = true;
    }
    return again;
}

void conmon_patience_due(struct timer *timer)
{
    struct conmon *conmon = container_of(timer, struct conmon, patience);

    if (conmon->state == CONMON_ENDED)
        conmon->hub.loop.quit = true; /* whoever has not read the last bytes by now won't */
    else if (cut_stalled(conmon))
        timer_set(timer, PATIENCE_NS);
}

/* Whether the process has not begun yet: a created one has the runtime's name until it is started. */
static bool is_before_start(struct conmon *conmon)
{
    char name[PROCESS_NAME_MAX];

    if (conmon->state == CONMON_CREATING)
        return true;
    if (!conmon->process_begun)
        conmon->process_begun =
            !file_read_name(conmon->session.process.pid, name) || strcmp(name, conmon->created_name) != 0;
    return !conmon->process_begun;
}

/* We are late, on a busy machine: the process has begun and has written, and nothing of that was read yet. */
static bool has_unread_beginning(const struct session *session)
{
    int waiting = 0;

    return session->out.bytes + session->err.bytes == 0 && session->out.source.fd >= 0 &&
           ioctl(session->out.source.fd, FIONREAD, &waiting) == 0 && waiting > 0;
}

/* Everybody who connects is attached. */
static void take_on(struct conmon *conmon, struct client *client)
{
    const struct conmon_options *options = &conmon->setup->options;

    client->wants_out = client->wants_err = client->owner = client->block = true;
    client->gives_in = options->gives_stdin || options->terminal;
    client->foreground = is_before_start(conmon) || has_unread_beginning(&conmon->session);
    session_attach(&conmon->session, client);
}

void clients_resumed(struct conmon *conmon)
{
    for (struct client *client = conmon->hub.clients; client != NULL; client = client->next)
        if (client->session == NULL)
            take_on(conmon, client);
}

/* true: there may be more of them. */
static bool accept_one(struct conmon *conmon)
{
    struct source *source = &conmon->attach;
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *client;

    if (fd < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return errno != EAGAIN;
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to accept client connection on attach socket");
        /* The idle timer looks again: descriptors or memory may come back. */
        source_await(source, 0);
        hub_watch_idle(&conmon->hub);
        return false;
    }
    client = client_new(&conmon->hub, fd);
    if (client == NULL)
        return false;
    take_on(conmon, client);
    return true;
}

void clients_accept(struct source *source, uint32_t events)
{
    (void)events;
    accept_one(container_of(source, struct conmon, attach));
}

static void draining(struct hub *hub)
{
    struct conmon *conmon = conmon_of(hub);

    while (conmon->attach.loop != NULL && accept_one(conmon))
        ;
}

const struct protocol conmon_protocol = {
    .chunk = ATTACH_CHUNK,
    .any_size = true,
    .packet = packet,
    .input_ended = input_ended,
    .throttling = throttling,
    .lagging = lagging,
    .lost = lost,
    .interrupted = interrupted,
    .draining = draining,
    .gone = gone,
    .check_done = check_done,
    .idle = idle,
};
