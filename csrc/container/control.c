/* SPDX-License-Identifier: Apache-2.0 */
#include "container/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "container/ending.h"
#include "container/helpers.h"
#include "container/monitor.h"
#include "container/reply.h"
#include "container/tell.h"
#include "engine/client.h"
#include "remora.h"
#include "util/fd.h"

#define BACKLOG 128

/* ---- listening ---- */

static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void listener_ready(struct source *source, uint32_t events)
{
    struct monitor *monitor = container_of(source, struct monitor, listener);

    (void)events;
    /* Without a descriptor or memory for it the connection would stay ready: look again later instead of at once. */
    if (!control_accept(monitor) && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
        source_await(source, 0);
        timer_set(&monitor->hub.idle, SECOND_NS);
    }
}

bool control_accept(struct monitor *monitor)
{
    int fd = accept4(monitor->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return false;
    if (is_allowed(fd))
        client_new(&monitor->hub, fd);
    else
        fd_close(&fd);
    return true;
}

int control_listen(struct monitor *monitor)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    /* Through the folder's descriptor the path fits into a socket address however long it is. */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/ctl", monitor->run_dir_fd);
    unlinkat(monitor->run_dir_fd, "ctl", 0);
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return source_add(&monitor->hub.loop, &monitor->listener, fd_take(&fd), EPOLLIN, listener_ready);
}

void control_bind(struct monitor *monitor)
{
    source_bind(&monitor->hub.loop, &monitor->listener, EPOLLIN, listener_ready);
}

/* ---- requests ---- */

/* The session a request names: "" is the container's own. NULL: no such. */
static struct session *find_session(struct monitor *monitor, struct msg *request)
{
    const char *id = msg_text(request, &request->root, "session", "");
    struct exec *exec;

    if (id[0] == 0)
        return &monitor->container.main;
    exec = exec_find(monitor, id);
    return exec != NULL ? &exec->session : NULL;
}

void control_attach(struct client *client, struct session *session, const msgpack_object *fields)
{
    unsigned rows = (unsigned)msg_int(fields, "rows", 0) & 0xffff;
    unsigned cols = (unsigned)msg_int(fields, "cols", 0) & 0xffff;

    client->wants_out = msg_bool(fields, "stdout", true);
    client->wants_err = msg_bool(fields, "stderr", true);
    client->gives_in = msg_bool(fields, "stdin", false);
    client->block = msg_bool(fields, "block", false);
    client->owner = msg_bool(fields, "owner", false);
    session_resize(session, rows, cols);
    session_attach(session, client);
}

static void fail(struct client *client, const char *op, const char *text)
{
    struct failure failure;

    failure_text(&failure, op, monitor_of(client->hub)->config->id, text);
    client_reply_failure(client, op, &failure);
}

static bool has_ended(const struct monitor *monitor)
{
    return monitor->container.has_outcome &&
           (monitor->container.state == CONTAINER_DONE || monitor->container.end_told);
}

static void handle_attach(struct client *client, struct msg *request)
{
    struct session *session = find_session(monitor_of(client->hub), request);
    CLEANUP_MSG_OUT struct msg_out reply = {0};

    msg_out_init(&reply, 5);
    if (session == NULL ||
        (session == &monitor_of(client->hub)->container.main && has_ended(monitor_of(client->hub)))) {
        fail(client, "attach", "the container is not running");
        return;
    }
    if (client->session != NULL) {
        fail(client, "attach", "this connection is attached already");
        return;
    }
    msg_put_text(&reply, "op", "attach");
    msg_put_bool(&reply, "ok", true);
    msg_put_bool(&reply, "tty", session->tty);
    msg_put_int(&reply, "stdout_bytes", (int64_t)session->out.bytes);
    msg_put_int(&reply, "stderr_bytes", (int64_t)session->err.bytes);
    client_send_map(client, REMORA_PACKET_CONTROL, &reply);
    control_attach(client, session, &request->root);
}

static void handle_wait(struct client *client, struct msg *request)
{
    const char *condition = msg_text(request, &request->root, "condition", "exited");
    enum container_state state = monitor_of(client->hub)->container.state;

    client->wait_op = "wait";
    if (strcmp(condition, "running") == 0) {
        if (state == CONTAINER_RUNNING)
            client_reply_ok(client, "wait");
        else if (has_ended(monitor_of(client->hub)))
            fail(client, "wait", "the container has ended");
        else
            client->wait = WAIT_RUNNING;
    } else if (strcmp(condition, "removed") == 0 || strcmp(condition, "exited") == 0) {
        bool removed = condition[0] == 'r';

        if (removed ? state == CONTAINER_DONE : has_ended(monitor_of(client->hub)))
            reply_record(client, "wait");
        else
            client->wait = removed ? WAIT_REMOVED : WAIT_EXITED;
    } else {
        fail(client, "wait", "unknown condition: exited, removed or running");
    }
}

static void handle_signal(struct client *client, struct msg *request)
{
    struct monitor *monitor = monitor_of(client->hub);
    struct session *session = find_session(monitor, request);
    int64_t number = msg_int(&request->root, "signal", 0);
    struct failure failure;
    int r = -ESRCH;

    if (number < 1 || number > 64)
        r = -EINVAL;
    else if (session == &monitor->container.main)
        r = container_signal(&monitor->container, (int)number);
    else if (session != NULL)
        r = child_signal(&session->process, (int)number);
    if (r == 0) {
        client_reply_ok(client, "signal");
        return;
    }
    failure_errno(&failure, "signal", monitor->config->id, r);
    client_reply_failure(client, "signal", &failure);
}

static void handle_stop(struct client *client, struct msg *request)
{
    struct monitor *monitor = monitor_of(client->hub);
    int64_t number = msg_int(&request->root, "signal", 0);
    int64_t timeout = msg_int(&request->root, "timeout", monitor->config->stop_timeout);

    if (number < 1 || number > 64)
        number = monitor->config->stop_signal;
    if (has_ended(monitor)) {
        reply_record(client, "stop");
        return;
    }
    client->wait = WAIT_EXITED;
    client->wait_op = "stop";
    monitor->container.keep = msg_bool(&request->root, "keep", false);
    container_stop(&monitor->container, (int)number, timeout);
}

static void handle_rename(struct client *client, struct msg *request)
{
    struct monitor *monitor = monitor_of(client->hub);
    const char *name = msg_text(request, &request->root, "name", "");

    if (name[0] == 0 || strchr(name, '/') != NULL || strlen(name) > CONTAINER_NAME_MAX) {
        fail(client, "rename", "not a name");
        return;
    }
    snprintf(monitor->name, sizeof(monitor->name), "%s", name);
    if (monitor->container.state == CONTAINER_RUNNING)
        ending_write_state(&monitor->container, monitor->container.paused ? "paused" : "running");
    client_reply_ok(client, "rename");
}

static void handle_resize(struct client *client, struct msg *request)
{
    struct session *session = find_session(monitor_of(client->hub), request);

    if (session == NULL) {
        fail(client, "resize", "no such session");
        return;
    }
    session_resize(session, (unsigned)msg_int(&request->root, "rows", 0) & 0xffff,
                   (unsigned)msg_int(&request->root, "cols", 0) & 0xffff);
    client_reply_ok(client, "resize");
}

static void handle_close_output(struct client *client, struct msg *request)
{
    struct session *session = find_session(monitor_of(client->hub), request);
    const char *stream = msg_text(request, &request->root, "stream", "");

    client_reply_ok(client, "close_output");
    if (session != NULL && !session->tty)
        session_close_output(session, strcmp(stream, "stderr") != 0, strcmp(stream, "stdout") != 0);
}

static void handle_status(struct client *client, struct msg *request)
{
    static const char *const names[] = {
        [CONTAINER_STARTING] = "starting",  [CONTAINER_RUNNING] = "running", [CONTAINER_DELETING] = "exited",
        [CONTAINER_BACKOFF] = "restarting", [CONTAINER_DONE] = "exited",     [CONTAINER_CLEANING] = "exited",
    };
    struct monitor *monitor = monitor_of(client->hub);
    const struct container *container = &monitor->container;
    const struct board *board = monitor->hub.children.board;
    CLEANUP_MSG_OUT struct msg_out reply = {0}, state = {0};

    (void)request;
    ending_put_state(container, container->paused ? "paused" : names[container->state], &state);
    msg_out_init(&reply, 11);
    msg_put_text(&reply, "op", "status");
    msg_put_bool(&reply, "ok", true);
    msg_put_text(&reply, "version", remora_version());
    msg_put_int(&reply, "since_ns", monitor->since_ns);
    msg_put_int(&reply, "keeper_pid", board->keeper);
    msg_put_int(&reply, "worker_pid", getpid());
    msg_put_int(&reply, "workers", board->workers);
    log_put_counters(&monitor->log, &reply);
    msg_put_key(&reply, "state");
    msgpack_sbuffer_write(&reply.buffer, state.buffer.data, state.buffer.size);
    exec_put_list(monitor_of(client->hub), &reply);
    helpers_put(monitor, &reply);
    client_send_map(client, REMORA_PACKET_CONTROL, &reply);
}

static void handle_upgrade(struct client *client, struct msg *request)
{
    struct monitor *monitor = monitor_of(client->hub);

    (void)request;
    client->wait = WAIT_UPGRADED;
    client->wait_op = "upgrade";
    /* Between two rounds of the loop nothing is half done. */
    monitor->upgrading = true;
    monitor->hub.loop.quit = true;
}

static void handle_log_reopen(struct client *client, struct msg *request)
{
    struct monitor *monitor = monitor_of(client->hub);
    struct failure failure;
    int r = log_reopen(&monitor->log);

    (void)request;
    if (r == 0) {
        client_reply_ok(client, "log_reopen");
        return;
    }
    failure_errno(&failure, "reopen log", monitor->config->id, r);
    client_reply_failure(client, "log_reopen", &failure);
}

static void handle_pause(struct client *client, struct msg *request)
{
    (void)request;
    container_pause(&monitor_of(client->hub)->container, client, true);
}

static void handle_unpause(struct client *client, struct msg *request)
{
    (void)request;
    container_pause(&monitor_of(client->hub)->container, client, false);
}

static void handle_control(struct client *client, struct msg *request, int *fds, size_t n_fds)
{
    static const struct {
        const char *op;
        void (*handle)(struct client *client, struct msg *request);
    } operations[] = {
        {"attach", handle_attach},
        {"wait", handle_wait},
        {"signal", handle_signal},
        {"stop", handle_stop},
        {"pause", handle_pause},
        {"unpause", handle_unpause},
        {"resize", handle_resize},
        {"rename", handle_rename},
        {"close_output", handle_close_output},
        {"status", handle_status},
        {"log_reopen", handle_log_reopen},
        {"upgrade", handle_upgrade},
    };
    const char *op = msg_text(request, &request->root, "op", "");

    if (strcmp(op, "exec") == 0) {
        exec_request(monitor_of(client->hub), client, request, fds, n_fds);
        return;
    }
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (strcmp(op, operations[i].op) == 0) {
            operations[i].handle(client, request);
            return;
        }
    }
    fail(client, op, "no such request: this monitor may be older than the command");
}

static void handle_resize_packet(struct client *client, const char *payload, size_t size)
{
    CLEANUP_MSG struct msg pair = {0};
    const msgpack_object *numbers;

    if (client->session == NULL || msg_parse_any(&pair, payload, size) < 0 || pair.root.type != MSGPACK_OBJECT_ARRAY ||
        pair.root.via.array.size != 2)
        return;
    numbers = pair.root.via.array.ptr;
    if (numbers[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER && numbers[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        session_resize(client->session, (unsigned)numbers[0].via.u64 & 0xffff, (unsigned)numbers[1].via.u64 & 0xffff);
}

bool control_packet(struct client *client, char *packet, size_t size, int *fds, size_t n_fds)
{
    CLEANUP_MSG struct msg request = {0};
    bool valid = size > 0;

    if (valid && packet[0] == REMORA_PACKET_STDIN) {
        if (client->gives_in && client->session != NULL) {
            if (size > 1)
                session_input(client->session, packet + 1, size - 1);
            else
                session_input_end(client->session);
        }
    } else if (valid && packet[0] == REMORA_PACKET_RESIZE) {
        handle_resize_packet(client, packet + 1, size - 1);
    } else if (valid && packet[0] == REMORA_PACKET_CONTROL && msg_parse(&request, packet + 1, size - 1) == 0) {
        handle_control(client, &request, fds, n_fds);
    } else {
        valid = false;
    }
    for (size_t i = 0; i < n_fds; i++)
        fd_close(&fds[i]);
    if (!valid)
        client_free(client);
    return valid;
}
