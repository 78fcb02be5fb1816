/* SPDX-License-Identifier: Apache-2.0 */
#include "container/tell.h"

#include <errno.h>

#include "container/ending.h"
#include "container/monitor.h"
#include "container/reply.h"
#include "remora.h"

void reply_record(struct client *client, const char *op)
{
    struct monitor *monitor = monitor_of(client->hub);
    CLEANUP_MSG_OUT struct msg_out reply = {0}, record = {0};

    outcome_put(&monitor->container.outcome, monitor, "", &record);
    msg_out_init(&reply, 4);
    msg_put_text(&reply, "op", op);
    msg_put_bool(&reply, "ok", true);
    msg_put_bool(&reply, "killed", monitor->container.kill_sent);
    msg_put_key(&reply, "record");
    msgpack_sbuffer_write(&reply.buffer, record.buffer.data, record.buffer.size);
    client_send_map(client, REMORA_PACKET_CONTROL, &reply);
}

static void reply_waiters(struct monitor *monitor, enum client_wait wait)
{
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next) {
        if (client->wait != wait)
            continue;
        client->wait = WAIT_NOTHING;
        if (wait == WAIT_RUNNING)
            client_reply_ok(client, client->wait_op);
        else
            reply_record(client, client->wait_op);
    }
}

void control_tell_exited(struct monitor *monitor)
{
    struct failure failure;

    reply_waiters(monitor, WAIT_EXITED);
    /* It will not run any more: who waits for that has to know. */
    failure_text(&failure, "wait", monitor->config->id, "the container has ended");
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next) {
        if (client->wait != WAIT_RUNNING)
            continue;
        client->wait = WAIT_NOTHING;
        client_reply_failure(client, client->wait_op, &failure);
    }
}

void control_tell_started(struct monitor *monitor, pid_t pid)
{
    CLEANUP_MSG_OUT struct msg_out event = {0};

    msg_out_init(&event, 2);
    msg_put_text(&event, "event", "started");
    msg_put_int(&event, "pid", pid);
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        if (client->spawner)
            client_send_map(client, REMORA_PACKET_CONTROL, &event);
    reply_waiters(monitor, WAIT_RUNNING);
}

void control_tell_lagging(struct client *client)
{
    CLEANUP_MSG_OUT struct msg_out notice = {0};

    msg_out_init(&notice, 1);
    msg_put_text(&notice, "event", "lagging");
    client_send_map(client, REMORA_PACKET_CONTROL, &notice);
}

void control_tell_lost(struct client *client, size_t bytes)
{
    CLEANUP_MSG_OUT struct msg_out notice = {0};

    msg_out_init(&notice, 2);
    msg_put_text(&notice, "event", "lost");
    msg_put_int(&notice, "bytes", (int64_t)bytes);
    client_send_map(client, REMORA_PACKET_CONTROL, &notice);
}

bool control_interrupted(struct client *client, const char *packet)
{
    (void)client;
    return packet[0] != REMORA_PACKET_CONTROL;
}

void control_tell_failed(struct monitor *monitor, const struct failure *failure)
{
    CLEANUP_MSG_OUT struct msg_out event = {0};

    msg_out_init(&event, 6);
    msg_put_text(&event, "event", "failed");
    failure_put(failure, &event);
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        if (client->spawner)
            client_send_map(client, REMORA_PACKET_CONTROL, &event);
}

void control_tell_restarted(struct monitor *monitor, unsigned restarts)
{
    CLEANUP_MSG_OUT struct msg_out event = {0};

    msg_out_init(&event, 2);
    msg_put_text(&event, "event", "restarted");
    msg_put_int(&event, "restarts", restarts);
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        if (client->session == &monitor->container.main)
            client_send_map(client, REMORA_PACKET_CONTROL, &event);
    reply_waiters(monitor, WAIT_RUNNING);
}

void control_tell_end(struct monitor *monitor, const struct session *session, const struct msg_out *record)
{
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        if (client->session == session)
            client_send_map(client, REMORA_PACKET_EXIT, record);
}

void control_tell_removed(struct monitor *monitor, bool last_use)
{
    CLEANUP_MSG_OUT struct msg_out event = {0};

    msg_out_init(&event, 2);
    msg_put_text(&event, "event", "removed");
    msg_put_bool(&event, "last_use", last_use);
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        if (client->owner)
            client_send_map(client, REMORA_PACKET_CONTROL, &event);
    reply_waiters(monitor, WAIT_REMOVED);
}

void control_tell_upgraded(struct monitor *monitor)
{
    bool failed = monitor->upgrading;
    struct failure failure;

    monitor->upgrading = false;
    for (struct client *client = monitor->hub.clients; client != NULL; client = client->next) {
        if (client->wait != WAIT_UPGRADED)
            continue;
        client->wait = WAIT_NOTHING;
        if (!failed) {
            client_reply_ok(client, "upgrade");
            continue;
        }
        if (monitor->upgrade_error == ENOEXEC)
            failure_text(&failure, "upgrade", monitor->config->id,
                         "the program that is installed now does not take over this monitor");
        else
            failure_errno(&failure, "upgrade", monitor->config->id,
                          monitor->upgrade_error != 0 ? -monitor->upgrade_error : -EINTR);
        client_reply_failure(client, "upgrade", &failure);
    }
}

bool control_has_owner(const struct monitor *monitor)
{
    for (const struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        if (client->owner)
            return true;
    return false;
}
