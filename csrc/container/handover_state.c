/* SPDX-License-Identifier: Apache-2.0 */
/* What a monitor's state is made of. A field may be added; none may change its meaning (handover.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "container/control.h"
#include "container/handover.h"
#include "container/helpers.h"
#include "container/monitor.h"
#include "container/work.h"
#include "util/fields.h"

#define STATE_VERSION 1
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct field monitor_fields[] = {
    FIELD(struct monitor, name, FIELD_TEXT),
    FIELD(struct monitor, n_calls, FIELD_NUMBER),
    FIELD(struct monitor, held_gone, FIELD_NUMBER),
    FIELD(struct monitor, begun, FIELD_NUMBER),
    FIELD(struct monitor, since_ns, FIELD_NUMBER),
    FIELD(struct monitor, lock_fd, FIELD_NUMBER),
    FIELD(struct monitor, run_dir_fd, FIELD_NUMBER),
    FIELD(struct monitor, listener.fd, FIELD_NUMBER),
    FIELD(struct monitor, exec_results.n, FIELD_NUMBER),
};

#define OUTCOME_FIELDS(structure)                                                                                      \
    FIELD(structure, outcome.known, FIELD_NUMBER), FIELD(structure, outcome.core, FIELD_NUMBER),                       \
        FIELD(structure, outcome.oom, FIELD_NUMBER), FIELD(structure, outcome.code, FIELD_NUMBER),                     \
        FIELD(structure, outcome.signal, FIELD_NUMBER), FIELD(structure, outcome.status, FIELD_NUMBER),                \
        FIELD(structure, outcome.why, FIELD_WORDS), FIELD(structure, outcome.error, FIELD_TEXT),                       \
        FIELD(structure, outcome.started_ns, FIELD_NUMBER), FIELD(structure, outcome.finished_ns, FIELD_NUMBER),       \
        FIELD(structure, outcome.started_mono_ns, FIELD_NUMBER),                                                       \
        FIELD(structure, outcome.finished_mono_ns, FIELD_NUMBER), FIELD(structure, outcome.cpu_ns, FIELD_NUMBER),      \
        FIELD(structure, outcome.peak_bytes, FIELD_NUMBER), FIELD(structure, outcome.stdout_bytes, FIELD_NUMBER),      \
        FIELD(structure, outcome.stderr_bytes, FIELD_NUMBER)

#define STDIO_FIELDS(structure)                                                                                        \
    FIELD(structure, stdio.in, FIELD_NUMBER), FIELD(structure, stdio.out, FIELD_NUMBER),                               \
        FIELD(structure, stdio.err, FIELD_NUMBER), FIELD(structure, console, FIELD_NUMBER)

static const struct field container_fields[] = {
    FIELD(struct container, state, FIELD_NUMBER),
    STDIO_FIELDS(struct container),
    FIELD(struct container, failure.phase, FIELD_WORDS),
    FIELD(struct container, failure.object, FIELD_TEXT),
    FIELD(struct container, failure.text, FIELD_TEXT),
    FIELD(struct container, failure.error, FIELD_NUMBER),
    FIELD(struct container, failure.status, FIELD_NUMBER),
    FIELD(struct container, cgroup.version, FIELD_NUMBER),
    FIELD(struct container, cgroup.event_fd, FIELD_NUMBER),
    FIELD(struct container, cgroup.oom_fd, FIELD_NUMBER),
    FIELD(struct container, cgroup.cpu_fd, FIELD_NUMBER),
    FIELD(struct container, cgroup.peak_fd, FIELD_NUMBER),
    FIELD(struct container, cgroup.oom_kills_before, FIELD_NUMBER),
    FIELD(struct container, cgroup.oom, FIELD_NUMBER),
    FIELD(struct container, cgroup.cpu_ns, FIELD_NUMBER),
    FIELD(struct container, cgroup.peak_bytes, FIELD_NUMBER),
    FIELD(struct container, oom.fd, FIELD_NUMBER),
    FIELD(struct container, record.fd, FIELD_NUMBER),
    FIELD(struct container, record.sequence, FIELD_NUMBER),
    OUTCOME_FIELDS(struct container),
    FIELD(struct container, has_outcome, FIELD_NUMBER),
    FIELD(struct container, paused, FIELD_NUMBER),
    FIELD(struct container, stop_requested, FIELD_NUMBER),
    FIELD(struct container, keep, FIELD_NUMBER),
    FIELD(struct container, kill_sent, FIELD_NUMBER),
    FIELD(struct container, timed_out, FIELD_NUMBER),
    FIELD(struct container, gone, FIELD_NUMBER),
    FIELD(struct container, last_use, FIELD_NUMBER),
    FIELD(struct container, prepared, FIELD_NUMBER),
    FIELD(struct container, first_start_over, FIELD_NUMBER),
    FIELD(struct container, start_told, FIELD_NUMBER),
    FIELD(struct container, end_told, FIELD_NUMBER),
    FIELD(struct container, rows, FIELD_NUMBER),
    FIELD(struct container, cols, FIELD_NUMBER),
    FIELD(struct container, stop_signal, FIELD_NUMBER),
    FIELD(struct container, early_signals, FIELD_NUMBER),
    FIELD(struct container, early_tries, FIELD_NUMBER),
    FIELD(struct container, stop_bound.deadline_ns, FIELD_NUMBER),
    FIELD(struct container, time_limit.deadline_ns, FIELD_NUMBER),
    FIELD(struct container, backoff.deadline_ns, FIELD_NUMBER),
    FIELD(struct container, early.deadline_ns, FIELD_NUMBER),
    FIELD(struct container, backoff_ns, FIELD_NUMBER),
    FIELD(struct container, restarts, FIELD_NUMBER),
    FIELD(struct container, delete_tries, FIELD_NUMBER),
    FIELD(struct container, cleaned, FIELD_NUMBER),
    FIELD(struct container, cleanup_left, FIELD_NUMBER),
    FIELD(struct container, helpers_over, FIELD_NUMBER),
};

static const struct field exec_fields[] = {
    FIELD(struct exec, id, FIELD_TEXT),          STDIO_FIELDS(struct exec),
    FIELD(struct exec, detached, FIELD_NUMBER),  FIELD(struct exec, running, FIELD_NUMBER),
    FIELD(struct exec, unwatched, FIELD_NUMBER), FIELD(struct exec, rows, FIELD_NUMBER),
    FIELD(struct exec, cols, FIELD_NUMBER),      OUTCOME_FIELDS(struct exec),
};

static const struct field session_fields[] = {
    FIELD(struct session, tty, FIELD_NUMBER),           FIELD(struct session, stdin_once, FIELD_NUMBER),
    FIELD(struct session, out.source.fd, FIELD_NUMBER), FIELD(struct session, out.bytes, FIELD_NUMBER),
    FIELD(struct session, err.source.fd, FIELD_NUMBER), FIELD(struct session, err.bytes, FIELD_NUMBER),
    FIELD(struct session, in.fd, FIELD_NUMBER),         FIELD(struct session, input_ended, FIELD_NUMBER),
    FIELD(struct session, started, FIELD_NUMBER),       FIELD(struct session, waiting, FIELD_NUMBER),
    FIELD(struct session, draining, FIELD_NUMBER),      FIELD(struct session, drain_bound.deadline_ns, FIELD_NUMBER),
    FIELD(struct session, process.pid, FIELD_NUMBER),   FIELD(struct session, process.pidfd.fd, FIELD_NUMBER),
    FIELD(struct session, process_ended, FIELD_NUMBER), FIELD(struct session, ended_told, FIELD_NUMBER),
    FIELD(struct session, end.known, FIELD_NUMBER),     FIELD(struct session, end.status, FIELD_NUMBER),
    FIELD(struct session, end.cpu_ns, FIELD_NUMBER),    FIELD(struct session, end.peak_bytes, FIELD_NUMBER),
};

static const struct field call_fields[] = {
    FIELD(struct runtime_call, state, FIELD_NUMBER),       FIELD(struct runtime_call, kind, FIELD_NUMBER),
    FIELD(struct runtime_call, words, FIELD_NUMBER),       FIELD(struct runtime_call, number, FIELD_NUMBER),
    FIELD(struct runtime_call, item, FIELD_NUMBER),        FIELD(struct runtime_call, phase, FIELD_WORDS),
    FIELD(struct runtime_call, unlogged, FIELD_NUMBER),    FIELD(struct runtime_call, tty, FIELD_NUMBER),
    FIELD(struct runtime_call, passthrough, FIELD_NUMBER), FIELD(struct runtime_call, with_stdin, FIELD_NUMBER),
    FIELD(struct runtime_call, uid, FIELD_NUMBER),         FIELD(struct runtime_call, gid, FIELD_NUMBER),
    FIELD(struct runtime_call, child.pid, FIELD_NUMBER),   FIELD(struct runtime_call, child.pidfd.fd, FIELD_NUMBER),
    FIELD(struct runtime_call, end.known, FIELD_NUMBER),   FIELD(struct runtime_call, end.status, FIELD_NUMBER),
};

static const struct field client_fields[] = {
    FIELD(struct client, source.fd, FIELD_NUMBER),  FIELD(struct client, wants_out, FIELD_NUMBER),
    FIELD(struct client, wants_err, FIELD_NUMBER),  FIELD(struct client, gives_in, FIELD_NUMBER),
    FIELD(struct client, block, FIELD_NUMBER),      FIELD(struct client, owner, FIELD_NUMBER),
    FIELD(struct client, spawner, FIELD_NUMBER),    FIELD(struct client, lagging, FIELD_NUMBER),
    FIELD(struct client, closing, FIELD_NUMBER),    FIELD(struct client, hung_up, FIELD_NUMBER),
    FIELD(struct client, input_over, FIELD_NUMBER), FIELD(struct client, wait, FIELD_NUMBER),
    FIELD(struct client, wait_op, FIELD_WORDS),     FIELD(struct client, killed, FIELD_NUMBER),
};

static const struct field helper_fields[] = {
    FIELD(struct helper, state, FIELD_NUMBER),
    FIELD(struct helper, late, FIELD_NUMBER),
    FIELD(struct helper, starts, FIELD_NUMBER),
    FIELD(struct helper, started_mono_ns, FIELD_NUMBER),
    FIELD(struct helper, backoff_ns, FIELD_NUMBER),
    FIELD(struct helper, error, FIELD_TEXT),
    FIELD(struct helper, process.pid, FIELD_NUMBER),
    FIELD(struct helper, process.pidfd.fd, FIELD_NUMBER),
    FIELD(struct helper, timer.deadline_ns, FIELD_NUMBER),
};

/* ---- saving ---- */

static void put_map(struct msg_out *out, const char *key, size_t n)
{
    msg_put_key(out, key);
    msgpack_pack_map(&out->packer, n);
}

static void put_bytes(struct msg_out *out, const char *bytes, size_t size)
{
    msgpack_pack_bin(&out->packer, size);
    msgpack_pack_bin_body(&out->packer, bytes, size);
}

static void put_session(struct msg_out *out, const struct session *session)
{
    put_map(out, "session", COUNT(session_fields) + 1);
    fields_save(session_fields, COUNT(session_fields), session, out);
    msg_put_key(out, "pending");
    put_bytes(out, session->pending != NULL ? session->pending + session->pending_at : "", session->pending_size);
}

static void put_call(struct msg_out *out, const char *key, const struct runtime_call *call)
{
    put_map(out, key, COUNT(call_fields));
    fields_save(call_fields, COUNT(call_fields), call, out);
}

/* Clients are referred to by their descriptors. */
static int client_number(const struct client *client)
{
    return client != NULL ? client->source.fd : -1;
}

static void put_exec(struct msg_out *out, const struct exec *exec)
{
    msgpack_pack_map(&out->packer, COUNT(exec_fields) + 3);
    fields_save(exec_fields, COUNT(exec_fields), exec, out);
    msg_put_int(out, "requester", client_number(exec->requester));
    put_call(out, "call", &exec->call);
    put_session(out, &exec->session);
}

/* By their numbers; one that was never started is an empty map. */
static void put_helpers(struct msg_out *out, const struct monitor *monitor)
{
    msg_put_key(out, "helpers");
    msgpack_pack_array(&out->packer, monitor->config->n_helpers);
    for (unsigned i = 0; i < monitor->config->n_helpers; i++) {
        const struct helper *helper = &monitor->helpers[i];

        msgpack_pack_map(&out->packer, helper->monitor != NULL ? COUNT(helper_fields) + 1 : 0);
        if (helper->monitor == NULL)
            continue;
        fields_save(helper_fields, COUNT(helper_fields), helper, out);
        put_call(out, "call", &helper->call);
    }
}

static void put_packet(void *context, const char *bytes, size_t size)
{
    put_bytes(context, bytes, size);
}

static void count_packet(void *context, const char *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    ++*(size_t *)context;
}

static void put_client(struct msg_out *out, struct monitor *monitor, const struct client *client)
{
    const char *session = "-";
    size_t n_queued = 0;

    if (client->session == &monitor->container.main)
        session = "";
    for (const struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        if (client->session == &exec->session)
            session = exec->id;
    client_each_queued(client, count_packet, &n_queued);
    msgpack_pack_map(&out->packer, COUNT(client_fields) + 2);
    fields_save(client_fields, COUNT(client_fields), client, out);
    msg_put_text(out, "attached", session);
    msg_put_key(out, "queue");
    msgpack_pack_array(&out->packer, n_queued);
    client_each_queued(client, put_packet, out);
}

void handover_put(struct monitor *monitor, struct msg_out *out)
{
    const struct container *container = &monitor->container;
    size_t n_execs = 0, n_clients = 0;

    msg_out_init(out, 7 + COUNT(monitor_fields));
    msg_put_int(out, "version", STATE_VERSION);
    fields_save(monitor_fields, COUNT(monitor_fields), monitor, out);
    log_save(&monitor->log, out);
    put_map(out, "container", COUNT(container_fields) + 4);
    fields_save(container_fields, COUNT(container_fields), container, out);
    msg_put_int(out, "pauser", client_number(container->pauser));
    put_call(out, "call", &container->call);
    put_call(out, "pausing", &container->pausing);
    put_session(out, &container->main);
    for (const struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        n_execs++;
    put_helpers(out, monitor);
    msg_put_key(out, "execs");
    msgpack_pack_array(&out->packer, n_execs);
    for (const struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        put_exec(out, exec);
    for (const struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        n_clients++;
    msg_put_key(out, "clients");
    msgpack_pack_array(&out->packer, n_clients);
    for (const struct client *client = monitor->hub.clients; client != NULL; client = client->next)
        put_client(out, monitor, client);
    msg_put_key(out, "exec_results");
    put_bytes(out, (const char *)monitor->exec_results.last, sizeof(monitor->exec_results.last));
}

/* ---- loading ---- */

static const msgpack_object *get_bytes(const msgpack_object *map, const char *key, size_t *size)
{
    const msgpack_object *object = msg_get(map, key);

    *size = object != NULL && object->type == MSGPACK_OBJECT_BIN ? object->via.bin.size : 0;
    return *size > 0 ? object : NULL;
}

static int get_session(struct session *session, struct msg *msg, const msgpack_object *owner)
{
    const msgpack_object *map = msg_get(owner, "session");
    const msgpack_object *pending;
    size_t size;
    int r;

    if (map == NULL)
        return -EBADMSG;
    r = fields_load(session_fields, COUNT(session_fields), session, msg, map);
    pending = get_bytes(map, "pending", &size);
    if (pending != NULL && size <= INPUT_SIZE) {
        session->pending = pool_take(&session->hub->input_pool);
        if (session->pending == NULL)
            return -ENOMEM;
        memcpy(session->pending, pending->via.bin.ptr, size);
        session->pending_size = size;
    }
    session_bind(session);
    return r;
}

static int get_call(struct runtime_call *call, struct monitor *monitor, struct msg *msg, const msgpack_object *map)
{
    call->monitor = monitor;
    call->child.pidfd.fd = call->words = -1;
    return map == NULL ? -EBADMSG : fields_load(call_fields, COUNT(call_fields), call, msg, map);
}

static struct client *find_client(const struct monitor *monitor, const msgpack_object *map, const char *key)
{
    int64_t fd = msg_int(map, key, -1);

    for (struct client *client = monitor->hub.clients; client != NULL && fd >= 0; client = client->next)
        if (client->source.fd == fd)
            return client;
    return NULL;
}

static int get_client(struct monitor *monitor, struct msg *msg, const msgpack_object *map)
{
    struct client *client = pool_take(&monitor->hub.client_pool);
    const msgpack_object_array *queue = msg_array(map, "queue");
    const char *session = msg_text(msg, map, "attached", "-");
    struct exec *exec;
    int r;

    if (client == NULL)
        return -ENOMEM;
    client->source.fd = -1;
    r = fields_load(client_fields, COUNT(client_fields), client, msg, map);
    client_bind(&monitor->hub, client);
    if (session[0] == 0)
        client->session = &monitor->container.main;
    else if ((exec = exec_find(monitor, session)) != NULL)
        client->session = &exec->session;
    for (uint32_t i = 0; r == 0 && queue != NULL && i < queue->size; i++)
        if (queue->ptr[i].type == MSGPACK_OBJECT_BIN)
            r = client_take_queued(client, queue->ptr[i].via.bin.ptr, queue->ptr[i].via.bin.size);
    client->next = monitor->hub.clients;
    monitor->hub.clients = client;
    return r;
}

static int get_exec(struct monitor *monitor, struct msg *msg, const msgpack_object *map)
{
    struct exec *exec = pool_take(&monitor->exec_pool);
    int r;

    if (exec == NULL)
        return -ENOMEM;
    exec_bind(monitor, exec);
    r = fields_load(exec_fields, COUNT(exec_fields), exec, msg, map);
    if (r == 0)
        r = get_call(&exec->call, monitor, msg, msg_get(map, "call"));
    if (r == 0)
        r = get_session(&exec->session, msg, map);
    if (r < 0)
        return r;
    exec_bind_call(exec);
    exec->next = monitor->execs;
    monitor->execs = exec;
    return r;
}

static int get_helpers(struct monitor *monitor, struct msg *msg, const msgpack_object_array *helpers)
{
    int r = 0;

    for (uint32_t i = 0; r == 0 && helpers != NULL && i < helpers->size && i < monitor->config->n_helpers; i++) {
        struct helper *helper = &monitor->helpers[i];

        if (msg_get(&helpers->ptr[i], "state") == NULL)
            continue;
        helper->process.pidfd.fd = -1;
        r = fields_load(helper_fields, COUNT(helper_fields), helper, msg, &helpers->ptr[i]);
        if (r == 0)
            r = get_call(&helper->call, monitor, msg, msg_get(&helpers->ptr[i], "call"));
        if (r == 0)
            helper_bind(monitor, helper);
    }
    return r;
}

static int get_container(struct monitor *monitor, struct msg *msg, const msgpack_object *map)
{
    struct container *container = &monitor->container;
    int r = map == NULL ? -EBADMSG : 0;

    container_bind(container, monitor);
    if (r == 0)
        r = fields_load(container_fields, COUNT(container_fields), container, msg, map);
    if (r == 0)
        r = get_call(&container->call, monitor, msg, msg_get(map, "call"));
    if (r == 0)
        r = get_call(&container->pausing, monitor, msg, msg_get(map, "pausing"));
    if (r == 0)
        r = get_session(&container->main, msg, map);
    if (r == 0)
        container_bind_calls(container);
    return r;
}

int handover_get_config(struct native *native, struct msg *msg, const char **what)
{
    const msgpack_object *config;
    size_t size;
    char *bytes;

    *what = "config";
    config = get_bytes(&msg->root, "config", &size);
    bytes = config != NULL ? malloc(size) : NULL;
    if (bytes == NULL)
        return config != NULL ? -ENOMEM : -EBADMSG;
    memcpy(bytes, config->via.bin.ptr, size);
    return config_init(&native->config, bytes, size, what);
}

static void get_exec_results(struct exec_results *results, const char *bytes)
{
    memcpy(results->last, bytes, sizeof(results->last));
    for (int i = 0; i < EXEC_RESULTS; i++) {
        struct exec_result *result = &results->last[i];

        result->id[EXEC_ID_MAX] = 0;
        result->known = *(const char *)&result->known != 0;
    }
}

int handover_get(struct monitor *monitor, struct msg *msg, const char **what)
{
    const msgpack_object *root = &msg->root, *results;
    const msgpack_object_array *execs = msg_array(root, "execs"), *clients = msg_array(root, "clients");
    size_t size;
    int r;

    *what = "version";
    if (msg_int(&msg->root, "version", 0) != STATE_VERSION)
        return -EPROTONOSUPPORT;
    *what = "monitor";
    r = fields_load(monitor_fields, COUNT(monitor_fields), monitor, msg, root);
    work_bind(monitor);
    results = get_bytes(root, "exec_results", &size);
    if (results != NULL && size == sizeof(monitor->exec_results.last))
        get_exec_results(&monitor->exec_results, results->via.bin.ptr);
    *what = "container";
    if (r == 0)
        r = get_container(monitor, msg, msg_get(root, "container"));
    *what = "helpers";
    if (r == 0)
        r = get_helpers(monitor, msg, msg_array(root, "helpers"));
    *what = "log";
    if (r == 0 && monitor->container.prepared)
        r = log_load(&monitor->log, msg_get(root, "log"), &monitor->config->log);
    *what = "exec";
    for (uint32_t i = 0; r == 0 && execs != NULL && i < execs->size; i++)
        r = get_exec(monitor, msg, &execs->ptr[i]);
    *what = "client";
    for (uint32_t i = 0; r == 0 && clients != NULL && i < clients->size; i++)
        r = get_client(monitor, msg, &clients->ptr[i]);
    if (r < 0)
        return r;
    monitor->container.pauser = find_client(monitor, msg_get(root, "container"), "pauser");
    for (struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        for (uint32_t i = 0; execs != NULL && i < execs->size; i++)
            if (strcmp(msg_text(msg, &execs->ptr[i], "id", ""), exec->id) == 0)
                exec->requester = find_client(monitor, &execs->ptr[i], "requester");
    return 0;
}
