/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A monitor with a value in every field that is saved for a live upgrade. The tables of fields are taken from the
 * source itself, so that new ones are tested, too.
 */
#ifndef REMORA_TESTS_HANDOVER_FILLED_H
#define REMORA_TESTS_HANDOVER_FILLED_H

#include "container/handover_state.c"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/start.h"
#include "engine/keeper.h"
#include "log/target.h"

/* Words are kept for a monitor's life, and queues are freed only by a loop. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=64:detect_leaks=0";
}

enum {
    KEPT_SIZE = 64 << 20, /* of start.c */
    N_EXECS = 5,
    N_CLIENTS = 7,
    N_HELPERS = 3, /* the last one was never started */
};

/* ---- a configuration ---- */

static inline void put_texts(struct msg_out *out, const char *key, const char *text)
{
    msg_put_key(out, key);
    msgpack_pack_array(&out->packer, 1);
    msg_put_key(out, text);
}

static inline void put_driver(struct msg_out *out, const char *driver, const char *path)
{
    msgpack_pack_map(&out->packer, 2);
    msg_put_text(out, "driver", driver);
    msg_put_text(out, "path", path);
}

static inline void configure(struct native *native)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    const char *what;
    char *bytes;

    msg_out_init(&out, 9);
    msg_put_int(&out, "version", 1);
    msg_put_text(&out, "id", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    msg_put_text(&out, "name", "web");
    msg_put_text(&out, "data_dir", "/x");
    msg_put_text(&out, "run_dir", "/x");
    put_texts(&out, "runtime", "runc");
    put_texts(&out, "env", "PATH=/bin");
    msg_put_key(&out, "log");
    msgpack_pack_map(&out.packer, 1);
    msg_put_key(&out, "drivers");
    msgpack_pack_array(&out.packer, 3);
    put_driver(&out, "k8s-file", "/log");
    put_driver(&out, "json-file", "/log.json");
    put_driver(&out, "journald", "");
    msg_put_key(&out, "helpers");
    msgpack_pack_array(&out.packer, N_HELPERS);
    for (int i = 0; i < N_HELPERS; i++) {
        msgpack_pack_map(&out.packer, 3);
        msg_put_text(&out, "name", "pasta");
        put_texts(&out, "argv", "/bin/pasta");
        msg_put_text(&out, "pidfile", "/x/pasta.pid");
    }
    bytes = malloc(out.buffer.size);
    assert(bytes != NULL);
    memcpy(bytes, out.buffer.data, out.buffer.size);
    *native = (struct native){.run_dir_fd = -1};
    assert(config_init(&native->config, bytes, out.buffer.size, &what) == 0);
}

/* ---- values everywhere ---- */

static inline uint64_t next_value(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static inline void fill(const struct field *fields, size_t n, void *structure)
{
    static const char *const words[] = {NULL, "start container", "exited", "stop"};

    for (size_t i = 0; i < n; i++) {
        char *to = (char *)structure + fields[i].offset;
        uint64_t value = next_value();

        switch ((enum field_type)fields[i].type) {
        case FIELD_NUMBER:
            memcpy(to, &value, fields[i].size);
            break;
        case FIELD_BOOL:
            *(bool *)to = value & 1;
            break;
        case FIELD_TEXT:
            snprintf(to, fields[i].size, "%s %016llx", fields[i].name, (unsigned long long)value);
            break;
        case FIELD_WORDS:
            memcpy(to, (const void *)&words[value % 4], fields[i].size);
            break;
        }
    }
}

static inline void fill_session(struct session *session, struct hub *hub, size_t pending)
{
    session->hub = hub;
    fill(session_fields, COUNT(session_fields), session);
    if (pending == 0)
        return;
    session->pending = pool_take(&hub->input_pool);
    assert(session->pending != NULL);
    session->pending_at = INPUT_SIZE - pending;
    session->pending_size = pending;
    for (size_t i = 0; i < pending; i++)
        session->pending[session->pending_at + i] = (char)next_value();
}

static inline struct client *fill_client(struct monitor *monitor, int fd)
{
    struct client *client = pool_take(&monitor->hub.client_pool);
    char bytes[3000];

    assert(client != NULL);
    fill(client_fields, COUNT(client_fields), client);
    client->hub = &monitor->hub;
    client->source.fd = fd;
    client->last = &client->first;
    for (int i = 0; i < fd % 4; i++) {
        memset(bytes, fd + i, sizeof(bytes));
        assert(client_take_queued(client, bytes, i == 0 ? 0 : (size_t)i * 1000) == 0);
    }
    client->next = monitor->hub.clients;
    return monitor->hub.clients = client;
}

static inline void fill_log(struct log *log, const struct log_options *options)
{
    log_init(log, options);
    assert(log->n_targets == 3);
    log->call.sequence = 2 * (next_value() >> 8);
    for (int i = 0; i < 2; i++) {
        log->buckets[i] = (struct log_bucket){(int64_t)next_value(), (int64_t)next_value(), i == 1};
        memset(log->joined[i], 'j' + i, sizeof(log->joined[i]));
    }
    for (unsigned i = 0; i < 3; i++) {
        struct log_target *target = &log->targets[i];
        struct log_cursor *c = &target->cursors[i % 2];

        target->current = i % 2;
        target->fd = 50 + (int)i;
        target->regular = i != 2;
        target->stalled = i == 2;
        c->size = (int64_t)next_value();
        c->total = (int64_t)next_value();
        c->device = next_value();
        c->inode = next_value();
        c->gaps = next_value();
        c->rotations = next_value();
        c->failed_rotations = next_value();
        c->last_error = 28;
        c->torn = i == 1;
        c->batch = next_value();
        c->call = next_value();
        c->done = next_value();
        for (int stream = 0; stream < 2; stream++) {
            c->written[stream] = next_value();
            c->dropped[stream] = next_value();
            c->gap[stream] = next_value();
            c->joined[stream] = i == 2 ? 100 + (unsigned)stream : 0;
            c->priority[stream] = (signed char)(stream - 1);
            c->held_size[stream] = (unsigned char)(stream + 1);
            c->open_line[stream] = stream == 0;
            memcpy(c->held[stream], "\xe2\x82\xac", 3);
        }
        snprintf(c->cause, sizeof(c->cause), "the disk is full %u", i);
    }
}

static inline void fill_monitor(struct native *native)
{
    struct monitor *monitor = native->monitor;
    struct container *container = &monitor->container;
    struct client *clients[N_CLIENTS];

    fill(monitor_fields, COUNT(monitor_fields), monitor);
    for (int i = 0; i < EXEC_RESULTS; i++)
        monitor->exec_results.last[i] = (struct exec_result){.id = {(char)('a' + i)}, .code = i, .known = i % 2};
    for (int i = 0; i < N_CLIENTS; i++)
        clients[i] = fill_client(monitor, 20 + i);
    fill(container_fields, COUNT(container_fields), container);
    fill(call_fields, COUNT(call_fields), &container->call);
    fill(call_fields, COUNT(call_fields), &container->pausing);
    container->prepared = true;
    container->pauser = clients[3];
    fill_session(&container->main, &monitor->hub, 5000);
    clients[0]->session = clients[1]->session = &container->main;
    for (int i = 0; i < N_EXECS; i++) {
        struct exec *exec = pool_take(&monitor->exec_pool);

        assert(exec != NULL);
        fill(exec_fields, COUNT(exec_fields), exec);
        fill(call_fields, COUNT(call_fields), &exec->call);
        fill_session(&exec->session, &monitor->hub, i == 2 ? INPUT_SIZE : 0);
        exec->requester = i % 2 ? clients[i] : NULL;
        exec->next = monitor->execs;
        monitor->execs = exec;
    }
    clients[5]->session = &monitor->execs->session;
    for (int i = 0; i < N_HELPERS - 1; i++) {
        fill(helper_fields, COUNT(helper_fields), &monitor->helpers[i]);
        fill(call_fields, COUNT(call_fields), &monitor->helpers[i].call);
        monitor->helpers[i].call.item = (unsigned)i;
        monitor->helpers[i].monitor = monitor;
    }
    fill_log(&monitor->log, &native->config.log);
}

static inline void fill_ends(struct board *board)
{
    board->workers = 7;
    for (pid_t pid = 100; pid < 110; pid++) {
        struct end_entry *entry = board_expect(board, pid);

        entry->status = pid << 8;
        entry->cpu_ns = pid * 1000LL;
        entry->peak_bytes = pid * 4096LL;
        entry->ended = pid % 2 ? pid : 0;
    }
}

/* ---- a state ---- */

struct state {
    char *bytes;
    size_t size, first; /* with its number; of the first map, without */
};

/* As a worker and its keeper make it, when the new program can't be executed then. */
static inline struct state save(struct native *native)
{
    struct state state;
    struct stat status;
    int fd = handover_save(native->monitor), again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    uint64_t first;

    native->program = (char *)(uintptr_t) "/nowhere/at-all";
    handover_execute(native, fd);
    assert(native->monitor->upgrade_error == ENOENT);
    assert(fd >= 0 && fcntl(fd, F_GETFD) < 0 && fcntl(again, F_GETFD) == FD_CLOEXEC);
    assert(fstat(again, &status) == 0);
    state.size = (size_t)status.st_size;
    state.bytes = malloc(state.size);
    assert(state.bytes != NULL && pread(again, state.bytes, state.size, 0) == status.st_size);
    memcpy(&first, state.bytes, sizeof(first));
    state.first = first;
    close(again);
    return state;
}

static inline void throw_away(struct native *native)
{
    config_deinit(&native->config);
    if (native->monitor == NULL)
        return;
    close(native->board->keeper_fd);
    close(native->board->ends_fd);
    close(native->board->answer_fd);
    munmap(native->monitor, KEPT_SIZE);
}

static inline struct state make_state(struct native *native)
{
    struct board *board;

    configure(native);
    assert(start_lay_out(native, &board) == 0);
    fill_monitor(native);
    fill_ends(board);
    return save(native);
}

#endif
