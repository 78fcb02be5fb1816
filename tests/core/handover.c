/* SPDX-License-Identifier: Apache-2.0 */
/* Live upgrade: a monitor with a value in every field that is saved comes back equal, also after a second one. */
#include "handover_filled.h"

static void assert_same(const struct field *fields, size_t n, const void *old, const void *new)
{
    for (size_t i = 0; i < n; i++) {
        const char *a = (const char *)old + fields[i].offset, *b = (const char *)new + fields[i].offset;
        bool same;

        if (fields[i].type == FIELD_WORDS) {
            memcpy(&a, a, sizeof(a));
            memcpy(&b, b, sizeof(b));
            same = a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
        } else {
            same = fields[i].type == FIELD_TEXT ? strcmp(a, b) == 0 : memcmp(a, b, fields[i].size) == 0;
        }
        if (!same)
            fprintf(stderr, "%s differs\n", fields[i].name);
        assert(same);
    }
}

static void collect(void *context, const char *bytes, size_t size)
{
    struct msg_out *out = context;

    msgpack_pack_bin(&out->packer, size);
    msgpack_pack_bin_body(&out->packer, bytes, size);
}

static const char *attached_to(const struct monitor *monitor, const struct client *client)
{
    for (const struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        if (client->session == &exec->session)
            return exec->id;
    return client->session == NULL ? "nothing" : client->session == &monitor->container.main ? "main" : "dangling";
}

static void assert_same_client(const struct monitor *monitor, const struct client *old, const struct monitor *monitor2,
                               const struct client *new)
{
    CLEANUP_MSG_OUT struct msg_out a = {0}, b = {0};

    assert_same(client_fields, COUNT(client_fields), old, new);
    assert(new->hub == &monitor2->hub &&new->queued == old->queued &&new->source.loop == &monitor2->hub.loop);
    assert(strcmp(attached_to(monitor, old), attached_to(monitor2, new)) == 0);
    msg_out_init(&a, 0);
    msg_out_init(&b, 0);
    client_each_queued(old, collect, &a);
    client_each_queued(new, collect, &b);
    assert(a.buffer.size == b.buffer.size && memcmp(a.buffer.data, b.buffer.data, a.buffer.size) == 0);
}

static void assert_same_session(const struct session *old, const struct session *new)
{
    assert_same(session_fields, COUNT(session_fields), old, new);
    assert(old->pending_size == new->pending_size && (new->pending_size > 0 || new->pending == NULL));
    assert(old->pending_size == 0 ||
           memcmp(old->pending + old->pending_at, new->pending + new->pending_at, old->pending_size) == 0);
}

static void assert_same_log(const struct log *old, const struct log *new)
{
    assert(new->n_targets == old->n_targets &&new->call.sequence == old->call.sequence);
    assert(memcmp(old->buckets, new->buckets, sizeof(old->buckets)) == 0);
    for (unsigned i = 0; i < old->n_targets; i++) {
        const struct log_target *a = &old->targets[i], *b = &new->targets[i];
        const struct log_cursor *c = target_cursor(a);

        assert(a->driver == b->driver && a->fd == b->fd && a->regular == b->regular && a->stalled == b->stalled);
        assert(memcmp(c, target_cursor(b), sizeof(*c)) == 0);
        for (int stream = 0; stream < 2; stream++)
            assert(memcmp(old->joined[stream], new->joined[stream], c->joined[stream]) == 0);
    }
}

static struct exec *find_exec(const struct monitor *monitor, const char *id)
{
    for (struct exec *exec = monitor->execs; exec != NULL; exec = exec->next)
        if (strcmp(exec->id, id) == 0)
            return exec;
    return NULL;
}

static int number_of(const struct client *client)
{
    return client == NULL ? -1 : client->source.fd;
}

static void assert_same_monitor(const struct monitor *old, const struct monitor *new)
{
    const struct container *a = &old->container, *b = &new->container;
    unsigned n = 0;

    assert_same(monitor_fields, COUNT(monitor_fields), old, new);
    assert(memcmp(&old->exec_results, &new->exec_results, sizeof(old->exec_results)) == 0);
    assert_same(container_fields, COUNT(container_fields), a, b);
    assert_same(call_fields, COUNT(call_fields), &a->call, &b->call);
    assert_same(call_fields, COUNT(call_fields), &a->pausing, &b->pausing);
    assert_same_session(&a->main, &b->main);
    assert(number_of(a->pauser) == number_of(b->pauser) && b->monitor == new && b->call.monitor == new);
    for (const struct exec *exec = old->execs; exec != NULL; exec = exec->next, n++) {
        const struct exec *other = find_exec(new, exec->id);

        assert(other != NULL && number_of(exec->requester) == number_of(other->requester));
        assert_same(exec_fields, COUNT(exec_fields), exec, other);
        assert_same(call_fields, COUNT(call_fields), &exec->call, &other->call);
        assert_same_session(&exec->session, &other->session);
    }
    assert(n == N_EXECS && new->exec_pool.n_used == N_EXECS &&new->hub.client_pool.n_used == N_CLIENTS);
    for (const struct client *client = old->hub.clients; client != NULL; client = client->next) {
        const struct client *other = new->hub.clients;

        while (other != NULL && other->source.fd != client->source.fd)
            other = other->next;
        assert(other != NULL);
        assert_same_client(old, client, new, other);
    }
    for (int i = 0; i < N_HELPERS; i++) {
        const struct helper *helper = &new->helpers[i];

        assert(helper->monitor == (i < N_HELPERS - 1 ? new : NULL));
        assert_same(helper_fields, COUNT(helper_fields), &old->helpers[i], helper);
        assert_same(call_fields, COUNT(call_fields), &old->helpers[i].call, &helper->call);
    }
    assert_same_log(&old->log, &new->log);
}

static void assert_same_ends(const struct board *new)
{
    unsigned n = 0;

    assert(new->workers == 7);
    for (unsigned i = 0; i < new->end_top; i++) {
        const struct end_entry *entry = &new->ends[i];

        assert(entry->pid % 2 && entry->ended == entry->pid && entry->status == entry->pid << 8);
        assert(entry->cpu_ns == entry->pid * 1000LL && entry->peak_bytes == entry->pid * 4096LL);
        n++;
    }
    assert(n == 5);
}

static void all_that_is_saved_comes_back(void)
{
    for (int i = 0; i < 4; i++) {
        struct native old, new = {.run_dir_fd = -1}, newer = {.run_dir_fd = -1};
        struct state state = make_state(&old), again;

        assert(handover_load(&new, state.bytes, state.size) == 0);
        assert_same_monitor(old.monitor, new.monitor);
        assert_same_ends(new.board);
        assert(new.config.size == old.config.size);
        assert(memcmp(new.config.bytes, old.config.bytes, new.config.size) == 0);
        again = save(&new);
        assert(again.size == state.size);
        assert(handover_load(&newer, again.bytes, again.size) == 0);
        assert_same_monitor(old.monitor, newer.monitor);
        free(state.bytes);
        free(again.bytes);
        throw_away(&old);
        throw_away(&new);
        throw_away(&newer);
    }
}

int main(void)
{
    all_that_is_saved_comes_back();
    return 0;
}
