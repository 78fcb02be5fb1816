/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/hub.h"
#include "engine/session.h"
#include "remora.h"
#include "util/fd.h"

#define RECEIVE_MAX (1 + REMORA_PAYLOAD_MAX)
#define UNTOUCHED ((char)0xff) /* no packet of the native protocol begins so */
/* So many clients that are gone are kept for the sake of input that the process does not take; it may never. */
#define HUNG_UP_MAX 16

struct packet {
    struct packet *next;
    size_t size;
    char bytes[];
};

static void client_ready(struct source *source, uint32_t events);

struct client *client_new(struct hub *hub, int fd)
{
    struct client *client = pool_take(&hub->client_pool);

    if (client == NULL) {
        fd_close(&fd);
        return NULL;
    }
    client->last = &client->first;
    if (source_add(&hub->loop, &client->source, fd, EPOLLIN, client_ready) < 0) {
        pool_release(&hub->client_pool, client);
        return NULL;
    }
    client->hub = hub;
    client->next = hub->clients;
    hub->clients = client;
    return client;
}

static void drop_queue(struct client *client)
{
    while (client->first != NULL) {
        struct packet *packet = client->first;

        client->first = packet->next;
        free(packet);
    }
    client->last = &client->first;
    client->queued = 0;
}

static void stop_throttling(struct client *client)
{
    if (!client->throttles)
        return;
    client->throttles = false;
    if (client->session != NULL)
        session_unblock(client->session);
}

void client_free(struct client *client)
{
    struct hub *hub = client->hub;

    for (struct client **at = &hub->clients; *at != NULL; at = &(*at)->next) {
        if (*at == client) {
            *at = client->next;
            break;
        }
    }
    drop_queue(client);
    stop_throttling(client);
    source_remove(&client->source);
    if (client->session != NULL)
        session_detach(client->session, client);
    hub->protocol->gone(client);
    client->hub = NULL;
    if (hub->flight.reader == client)
        hub->flight.reader = NULL;
    pool_release(&hub->client_pool, client);
    hub->protocol->check_done(hub);
}

static void await_events(struct client *client)
{
    bool stdin_full = client->gives_in && client->session != NULL && session_stdin_full(client->session);
    uint32_t events = client->first != NULL || client->closing ? EPOLLOUT : 0;

    /* One that asks and does not read has to wait with its next questions. */
    if (!stdin_full && client->queued <= CLIENT_QUEUE_MAX && !client->input_over)
        events |= EPOLLIN;
    /* Also one that has to wait with its input stays in the epoll set, or its hang-up would not be seen. */
    if (events == 0)
        events = EPOLLPRI;
    if (client->hung_up)
        events = 0;
    source_await(&client->source, events);
}

/* Never at once: the caller may be handling a packet of this very client. Writable, it is freed in the next round. */
void client_finish(struct client *client)
{
    client->closing = true;
    client->hung_up = false;
    await_events(client);
}

/* Read on from a peer that hung up while its input had to wait. */
void client_update_reading(struct client *client)
{
    if (client->hung_up && !session_stdin_full(client->session))
        client->hung_up = false;
    await_events(client);
}

static int send_now(struct client *client, const char *packet, size_t size)
{
    ssize_t n;

    do {
        n = send(client->source.fd, packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

void client_cut_off(struct client *client)
{
    drop_queue(client);
    stop_throttling(client);
    client->closing = true;
    client->hub->protocol->lagging(client);
    client->lagging = true; /* what it was told now is the last thing it gets */
}

static void enqueue(struct client *client, const char *bytes, size_t size)
{
    struct packet *packet = malloc(sizeof(*packet) + size);

    if (packet == NULL) {
        if (!client->closing)
            client_cut_off(client);
        return;
    }
    packet->next = NULL;
    packet->size = size;
    memcpy(packet->bytes, bytes, size);
    *client->last = packet;
    client->last = &packet->next;
    client->queued += size;
    await_events(client);
    if (client->block && client->session != NULL && !client->throttles) {
        client->throttles = true;
        session_block(client->session);
        if (client->hub->protocol->throttling != NULL)
            client->hub->protocol->throttling(client);
    }
    if (!client->block && client->queued > CLIENT_QUEUE_MAX)
        client_cut_off(client);
}

/*
 * The peer is gone, or takes nothing any more: the read side will tell. If it is there all the same, it shall see an
 * end rather than a hole.
 */
static void end_output(const struct client *client)
{
    shutdown(client->source.fd, SHUT_WR);
}

void client_send(struct client *client, const char *packet, size_t size)
{
    int r;

    if (client->lagging)
        return;
    r = client->first == NULL ? send_now(client, packet, size) : -EAGAIN;
    if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM)
        enqueue(client, packet, size);
    else if (r < 0)
        end_output(client);
}

static void flush_queue(struct client *client)
{
    while (client->first != NULL) {
        struct packet *packet = client->first;
        int r = send_now(client, packet->bytes, packet->size);

        if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM)
            return;
        if (r < 0) {
            end_output(client);
            drop_queue(client);
            break;
        }
        client->queued -= packet->size;
        client->first = packet->next;
        if (client->first == NULL)
            client->last = &client->first;
        free(packet);
    }
    await_events(client);
    stop_throttling(client);
}

static size_t take_descriptors(struct msghdr *message, int *fds, size_t capacity)
{
    size_t n = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
        size_t count;

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
            if (n < capacity)
                fds[n++] = fd;
            else
                fd_close(&fd);
        }
    }
    return n;
}

enum received {
    RECEIVED_NOTHING,
    RECEIVED_PACKET,
    RECEIVED_END, /* the client is freed */
};

/* The peer sends nothing more; it may still read. */
static enum received end_input(struct client *client)
{
    if (client->hub->protocol->input_ended == NULL || client->input_over) {
        client_free(client);
        return RECEIVED_END;
    }
    client->input_over = true;
    await_events(client);
    client->hub->protocol->input_ended(client);
    return RECEIVED_NOTHING;
}

/* One packet that may be larger than the shared buffer. */
static enum received receive_large(struct client *client, size_t size)
{
    char *buffer = malloc(size);
    ssize_t n = buffer != NULL ? recv(client->source.fd, buffer, size, MSG_DONTWAIT) : 0;
    bool goes_on = n <= 0 || client->hub->protocol->packet(client, buffer, (size_t)n, NULL, 0);

    free(buffer);
    return goes_on ? RECEIVED_PACKET : RECEIVED_END;
}

/* Take and handle one packet, if there is one. */
static enum received receive_one(struct client *client)
{
    char *buffer = hub_scratch(client->hub);
    int waiting = 0;
    union {
        char space[CMSG_SPACE(sizeof(int) * REMORA_PACKET_FDS_MAX)];
        struct cmsghdr align;
    } ancillary;
    struct iovec data = {.iov_base = buffer, .iov_len = RECEIVE_MAX};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof(ancillary)};
    int fds[REMORA_PACKET_FDS_MAX];
    size_t n_fds;
    ssize_t n;

    /* All that is queued is the least size that surely takes the first of it. */
    if (client->hub->protocol->any_size && ioctl(client->source.fd, FIONREAD, &waiting) == 0 && waiting > RECEIVE_MAX)
        return receive_large(client, (size_t)waiting);
    buffer[0] = UNTOUCHED;
    client->hub->flight.reader = client;
    n = recvmsg(client->source.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        client->hub->flight.reader = NULL;
        return RECEIVED_NOTHING;
    }
    if (n == 0) {
        client->hub->flight.reader = NULL;
        return end_input(client);
    }
    if (n < 0) {
        client_free(client);
        return RECEIVED_END;
    }
    n_fds = take_descriptors(&message, fds, REMORA_PACKET_FDS_MAX);
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        n = 0; /* larger than any packet of the protocol: not for us */
    if (!client->hub->protocol->packet(client, buffer, (size_t)n, fds, n_fds))
        return RECEIVED_END;
    client->hub->flight.reader = NULL;
    return RECEIVED_PACKET;
}

/* What it asked while the container was ending gets its answer; then it goes, as soon as that is sent. */
static void answer_and_free(struct client *client)
{
    enum received received = client->lagging ? RECEIVED_NOTHING : receive_one(client);

    while (received == RECEIVED_PACKET)
        received = receive_one(client);
    if (received == RECEIVED_NOTHING && client->first == NULL)
        client_free(client);
}

void client_resume(struct hub *hub, struct client *client)
{
    size_t lost = client->queued;

    if (!hub->handed_over) {
        client->first = NULL;
        client->last = &client->first;
        client->queued = 0;
    }
    client->throttles = false;
    if (client->hub == NULL || client->source.loop == NULL) {
        client->hub = NULL;
        pool_release(&hub->client_pool, client);
        return;
    }
    client->next = hub->clients;
    hub->clients = client;
    client->source.events = EPOLLIN;
    source_resume(&client->source);
    if (lost > 0 && !hub->handed_over)
        hub->protocol->lost(client, lost);
}

void client_bind(struct hub *hub, struct client *client)
{
    client->hub = hub;
    client->last = &client->first;
    source_bind(&hub->loop, &client->source, EPOLLIN, client_ready);
}

int client_take_queued(struct client *client, const char *bytes, size_t size)
{
    struct packet *packet = malloc(sizeof(*packet) + size);

    if (packet == NULL)
        return -ENOMEM;
    *packet = (struct packet){.size = size};
    memcpy(packet->bytes, bytes, size);
    *client->last = packet;
    client->last = &packet->next;
    client->queued += size;
    return 0;
}

void client_each_queued(const struct client *client, void (*put)(void *context, const char *bytes, size_t size),
                        void *context)
{
    for (const struct packet *packet = client->first; packet != NULL; packet = packet->next)
        put(context, packet->bytes, packet->size);
}

void client_resumed(struct client *client)
{
    struct hub *hub = client->hub;

    if (client->source.loop == NULL) {
        client_free(client);
        return;
    }
    if (hub->flight.reader == client) {
        hub->flight.reader = NULL;
        if (!hub->handed_over && hub_scratch(hub)[0] != UNTOUCHED &&
            !hub->protocol->interrupted(client, hub_scratch(hub))) {
            client_free(client);
            return;
        }
    }
    if (client->first != NULL && client->block && client->session != NULL) {
        client->throttles = true;
        session_block(client->session);
    }
    await_events(client);
}

static unsigned count_hung_up(const struct hub *hub)
{
    unsigned n = 0;

    for (const struct client *client = hub->clients; client != NULL; client = client->next)
        n += client->hung_up;
    return n;
}

static void client_ready(struct source *source, uint32_t events)
{
    struct client *client = container_of(source, struct client, source);

    if (events & EPOLLOUT) {
        flush_queue(client);
        if (client->first == NULL && client->closing) {
            answer_and_free(client);
            return;
        }
    }
    if ((events & (EPOLLHUP | EPOLLERR)) && !(source->events & EPOLLIN)) {
        if (!client->gives_in || client->session == NULL || count_hung_up(client->hub) >= HUNG_UP_MAX) {
            client_free(client);
            return;
        }
        /* Gone, but what it sent still waits for room in stdin: out of the epoll set until there is some. */
        drop_queue(client);
        stop_throttling(client);
        client->hung_up = true;
        await_events(client);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive_one(client);
}
