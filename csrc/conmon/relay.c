/* SPDX-License-Identifier: Apache-2.0 */
/* Passes the container's notifications on to the service manager, one datagram at a time, in their order. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "conmon/attach.h"
#include "conmon/conmon.h"
#include "util/fd.h"

#define RELAY_MODE 0777 /* whatever user the container's process is */
#define AGAIN_NS (100 * MILLISECOND_NS)

static struct conmon *owner_of(struct relay *relay)
{
    return container_of(relay, struct conmon, relay);
}

/* A leading @ stands for the NUL of an abstract name (sd_notify(3)). */
static socklen_t host_address(struct sockaddr_un *address, const char *path)
{
    size_t length = strlen(path);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (length == 0 || length >= sizeof(address->sun_path))
        return 0;
    memcpy(address->sun_path, path, length);
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* Send what is pending. The service manager's queue may be full for a while: then nothing more is taken in. */
static void forward(struct relay *relay)
{
    const struct conmon *conmon = owner_of(relay);
    struct sockaddr_un address;
    socklen_t length = host_address(&address, conmon->setup->options.sdnotify_socket);
    ssize_t n = sendto(relay->host, conmon->datagram, relay->pending, MSG_DONTWAIT | MSG_NOSIGNAL,
                       (struct sockaddr *)&address, length);

    if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)) {
        source_await(&relay->source, 0);
        timer_set(&relay->again, AGAIN_NS);
        return;
    }
    if (n < 0)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to write to host notify socket %s", strerror(errno));
    relay->pending = 0;
    source_await(&relay->source, EPOLLIN);
}

static void again_due(struct timer *timer)
{
    forward(container_of(timer, struct relay, again));
}

static void relay_ready(struct source *source, uint32_t events)
{
    struct relay *relay = container_of(source, struct relay, source);
    char *datagram = owner_of(relay)->datagram;
    /* Without room for ancillary data the kernel drops descriptors that come along. */
    ssize_t n = recv(source->fd, datagram, NOTIFY_MAX, MSG_DONTWAIT);

    (void)events;
    if (n <= 0)
        return;
    relay->pending = notify_filter(datagram, datagram, (size_t)n);
    if (relay->pending > 0)
        forward(relay);
}

int relay_init(struct relay *relay, struct conmon *conmon, const char **what)
{
    const struct conmon_options *options = &conmon->setup->options;
    struct sockaddr_un address;
    int fd, r;

    *what = "Failed to create notify socket";
    if (options->bundle == NULL || host_address(&address, options->sdnotify_socket) == 0)
        return -EINVAL;
    relay->host = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (relay->host < 0)
        return -errno;
    r = timer_init(&conmon->hub.loop, &relay->again, again_due);
    if (r < 0)
        return r;
    fd = socket_bind_in(options->bundle, "notify/notify.sock", SOCK_DGRAM, RELAY_MODE);
    return fd < 0 ? fd : source_add(&conmon->hub.loop, &relay->source, fd, EPOLLIN, relay_ready);
}

void relay_resume(struct relay *relay)
{
    source_resume(&relay->source);
    timer_resume(&relay->again);
    if (relay->host < 0)
        return;
    loop_know(&owner_of(relay)->hub.loop, relay->host);
    if (relay->pending > 0)
        forward(relay);
}

void relay_deinit(struct relay *relay)
{
    source_remove(&relay->source);
    timer_deinit(&relay->again);
    fd_close(&relay->host);
}
