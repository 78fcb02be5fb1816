/* SPDX-License-Identifier: Apache-2.0 */
#include "container/exec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container/control.h"
#include "container/ending.h"
#include "container/monitor.h"
#include "container/perform.h"
#include "container/reply.h"
#include "container/tell.h"
#include "engine/client.h"
#include "remora.h"
#include "util/fd.h"

struct exec *exec_find(struct monitor *monitor, const char *id)
{
    for (struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        if (strcmp(exec->id, id) == 0)
            return exec;
    return NULL;
}

/* Scratch files of the start; the second pid file is what runc leaves of one that it couldn't write. */
static void forget_start(struct exec *exec)
{
    int dir_fd = monitor_of(exec->session.hub)->run_dir_fd;
    char name[PERFORM_NAME_MAX + 1];

    fd_close(&exec->console);
    perform_console_name(name, exec->call.number);
    unlinkat(dir_fd, name, 0);
    name[0] = '.';
    perform_pid_name(name + 1, exec->call.number);
    unlinkat(dir_fd, name, 0);
    unlinkat(dir_fd, name + 1, 0);
}

static void exec_free(struct exec *exec)
{
    struct hub *hub = exec->session.hub;
    struct monitor *monitor = monitor_of(hub);

    for (struct exec **at = &monitor->execs; *at != NULL; at = &(*at)->next) {
        if (*at == exec) {
            *at = exec->next;
            break;
        }
    }
    for (struct client *client = hub->clients; client != NULL; client = client->next)
        if (client->session == &exec->session)
            session_detach(&exec->session, client);
    session_stop(&exec->session);
    stdio_deinit(&exec->stdio);
    forget_start(exec);
    exec->session.hub = NULL;
    pool_release(&monitor->exec_pool, exec);
    monitor_check_done(monitor);
}

static void remember(struct exec *exec)
{
    struct exec_results *results = &monitor_of(exec->session.hub)->exec_results;
    struct exec_result *result = &results->last[results->n++ % EXEC_RESULTS];

    memcpy(result->id, exec->id, sizeof(result->id));
    result->code = exec->outcome.code;
    result->known = exec->outcome.known;
}

static void exec_ended(struct session *session)
{
    struct exec *exec = container_of(session, struct exec, session);
    CLEANUP_MSG_OUT struct msg_out record = {0};

    exec->outcome.finished_ns = wall_ns();
    exec->outcome.finished_mono_ns = monotonic_ns();
    outcome_from_end(&exec->outcome, &session->end);
    exec->outcome.stdout_bytes = session->out.bytes;
    exec->outcome.stderr_bytes = session->err.bytes;
    remember(exec);
    outcome_put(&exec->outcome, monitor_of(session->hub), exec->id, &record);
    control_tell_end(monitor_of(session->hub), session, &record);
    exec_free(exec);
}

static void reply_failure(struct exec *exec, const struct failure *failure)
{
    if (exec->requester != NULL)
        client_reply_failure(exec->requester, "exec", failure);
}

static void reply_started(struct exec *exec, pid_t pid)
{
    CLEANUP_MSG_OUT struct msg_out reply = {0};

    if (exec->requester == NULL)
        return;
    msg_out_init(&reply, 3);
    msg_put_text(&reply, "op", "exec");
    msg_put_bool(&reply, "ok", true);
    msg_put_int(&reply, "pid", pid);
    client_send_map(exec->requester, 0, &reply);
    exec->requester = NULL;
}

/* Its client may have gone away while the runtime was at work. */
static bool is_attached(const struct exec *exec)
{
    for (const struct client *client = exec->session.hub->clients; client != NULL; client = client->next)
        if (client->session == &exec->session)
            return true;
    return false;
}

static int adopt(struct exec *exec, struct failure *failure)
{
    char name[PERFORM_NAME_MAX];
    pid_t pid;
    int r;

    perform_pid_name(name, exec->call.number);
    pid = runtime_read_pid(monitor_of(exec->session.hub)->run_dir_fd, name);
    if (pid < 0)
        return failure_errno(failure, "read pid file", name, pid);
    if (exec->session.tty && exec->session.out.source.loop == NULL) {
        if (exec->stdio.out < 0)
            exec->stdio.out = console_receive(exec->console);
        r = exec->stdio.out < 0 ? exec->stdio.out : stdio_pty(&exec->stdio, exec->rows, exec->cols);
        if (r < 0)
            return failure_errno(failure, "receive terminal", exec->id, r);
    }
    exec->outcome.started_ns = wall_ns();
    exec->outcome.started_mono_ns = monotonic_ns();
    /* Answer first: the process's output must not overtake the reply. */
    reply_started(exec, pid);
    /* It was told to run: if it can't be watched, what is told next is an end that nobody knows the code of. */
    exec->unwatched = session_start(&exec->session, &exec->stdio, pid) < 0;
    if (!exec->detached && !is_attached(exec))
        session_input_end(&exec->session);
    return 0;
}

static void exec_done(struct runtime_call *call, const struct failure *failure)
{
    struct exec *exec = container_of(call, struct exec, call);
    struct failure own;

    if (failure == NULL && adopt(exec, &own) < 0)
        failure = &own;
    if (failure != NULL) {
        reply_failure(exec, failure);
        exec_free(exec);
        return;
    }
    exec->running = true;
    forget_start(exec);
    if (exec->unwatched)
        exec_ended(&exec->session);
}

static int start(struct exec *exec, const msgpack_object *fields, const int *fds, size_t n_fds, struct failure *failure)
{
    struct monitor *monitor = monitor_of(exec->session.hub);
    struct runtime_call *call = &exec->call;
    int kept[REMORA_PACKET_FDS_MAX];
    char name[PERFORM_NAME_MAX];
    int r;

    runtime_prepare(call, monitor, TASK_EXEC, "exec", exec_done);
    call->tty = exec->session.tty;
    call->with_stdin = msg_bool(fields, "stdin", false);
    call->uid = (uid_t)msg_int(fields, "uid", 0);
    call->gid = (gid_t)msg_int(fields, "gid", 0);
    call->asker = exec->requester->source.fd;
    call->stdio = &exec->stdio;
    if (call->tty) {
        perform_console_name(name, monitor->n_calls);
        exec->console = console_listen(monitor->run_dir_fd, name);
        if (exec->console < 0)
            return failure_errno(failure, "make console socket", exec->id, exec->console);
    }
    /* The process object comes first in the packet, and last for the runtime (perform.c). */
    memcpy(kept, fds + 1, (n_fds - 1) * sizeof(*fds));
    kept[n_fds - 1] = fds[0];
    r = runtime_start(call, kept, n_fds);
    return r < 0 ? failure_errno(failure, "execute runtime", monitor->config->runtime[0], r) : 0;
}

static bool is_exec_id(const char *id)
{
    size_t length = strlen(id);

    return length > 0 && length <= EXEC_ID_MAX && strspn(id, "0123456789abcdef") == length;
}

static struct exec *exec_new(struct monitor *monitor, struct client *client, const char *id,
                             const msgpack_object *fields)
{
    struct exec *exec = pool_take(&monitor->exec_pool);

    if (exec == NULL)
        return NULL;
    stdio_init(&exec->stdio);
    exec->requester = client;
    exec->console = -1;
    exec->detached = msg_bool(fields, "detach", false);
    exec->rows = (unsigned)msg_int(fields, "rows", 0) & 0xffff;
    exec->cols = (unsigned)msg_int(fields, "cols", 0) & 0xffff;
    snprintf(exec->id, sizeof(exec->id), "%s", id);
    session_init(&exec->session, &monitor->hub, msg_bool(fields, "tty", false), exec_ended);
    exec->session.stdin_once = true;
    exec->next = monitor->execs;
    monitor->execs = exec;
    return exec;
}

void exec_request(struct monitor *monitor, struct client *client, struct msg *request, int *fds, size_t n_fds)
{
    const msgpack_object *fields = &request->root;
    const char *id = msg_text(request, fields, "session", "");
    struct failure failure = {0};
    struct exec *exec = NULL;

    if (monitor->container.state != CONTAINER_RUNNING)
        failure_text(&failure, "exec", monitor->config->id, "the container is not running");
    else if (monitor->container.paused)
        failure_text(&failure, "exec", monitor->config->id, "the container is paused: unpause it first");
    else if (n_fds < 1 || !is_exec_id(id) || exec_find(monitor, id) != NULL)
        failure_errno(&failure, "exec", id, -EINVAL);
    else if ((exec = exec_new(monitor, client, id, fields)) == NULL)
        failure_errno(&failure, "exec", id, -ENOMEM);
    if (failure.phase != NULL) {
        client_reply_failure(client, "exec", &failure);
    } else {
        if (!exec->detached)
            control_attach(client, &exec->session, fields);
        if (start(exec, fields, fds, n_fds, &failure) < 0) {
            reply_failure(exec, &failure);
            exec_free(exec);
        }
    }
    for (size_t i = 0; i < n_fds; i++)
        fd_close(&fds[i]);
}

void exec_forget_client(struct monitor *monitor, struct client *client)
{
    for (struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        if (exec->requester == client)
            exec->requester = NULL;
}

void exec_put_list(const struct monitor *monitor, struct msg_out *out)
{
    const struct exec_results *results = &monitor->exec_results;
    unsigned n_results = results->n < EXEC_RESULTS ? results->n : EXEC_RESULTS;
    size_t n = 0;

    for (const struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        n++;
    msg_put_key(out, "execs");
    msgpack_pack_array(&out->packer, n + n_results);
    for (const struct exec *exec = monitor->execs; exec != NULL; exec = exec->next) {
        msgpack_pack_map(&out->packer, 3);
        msg_put_text(out, "session", exec->id);
        msg_put_bool(out, "running", true);
        msg_put_int(out, "pid", exec->running ? exec->session.process.pid : 0);
    }
    for (unsigned i = results->n - n_results; i != results->n; i++) {
        const struct exec_result *result = &results->last[i % EXEC_RESULTS];

        msgpack_pack_map(&out->packer, 4);
        msg_put_text(out, "session", result->id);
        msg_put_bool(out, "running", false);
        msg_put_bool(out, "known", result->known);
        msg_put_int(out, "code", result->code);
    }
}

void exec_free_all(struct monitor *monitor)
{
    while (monitor->execs != NULL)
        exec_free(monitor->execs);
}

void exec_resume_all(struct monitor *monitor)
{
    monitor->execs = NULL;
    pool_resume(&monitor->exec_pool);
    for (struct exec *exec = pool_each(&monitor->exec_pool, NULL), *next; exec != NULL; exec = next) {
        next = pool_each(&monitor->exec_pool, exec);
        if (exec->session.hub == NULL) {
            pool_release(&monitor->exec_pool, exec);
            continue;
        }
        exec->next = monitor->execs;
        monitor->execs = exec;
        loop_know(&monitor->hub.loop, exec->console);
        session_resume(&exec->session, &exec->stdio);
        runtime_know(&exec->call);
    }
}

/* It was not even started: what it needed went with the killed worker. Who asked for it may ask again. */
static void give_up(struct exec *exec)
{
    struct client *requester = exec->requester;

    exec_free(exec);
    if (requester != NULL)
        client_free(requester);
}

void exec_resumed_all(struct monitor *monitor)
{
    for (struct exec *exec = monitor->execs, *next; exec != NULL; exec = next) {
        next = exec->next;
        if (exec->running) {
            exec->call.state = CALL_IDLE;
            forget_start(exec);
            session_resumed(&exec->session);
        } else if (!runtime_resume(&exec->call)) {
            give_up(exec);
        }
    }
}

void exec_bind(struct monitor *monitor, struct exec *exec)
{
    stdio_init(&exec->stdio);
    exec->console = -1;
    session_init(&exec->session, &monitor->hub, false, exec_ended);
}

void exec_bind_call(struct exec *exec)
{
    exec->call.stdio = &exec->stdio;
    runtime_bind(&exec->call, exec_done);
}
