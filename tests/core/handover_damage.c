/* SPDX-License-Identifier: Apache-2.0 */
/* Live upgrade: a state that is truncated or damaged, or holds any value anywhere, is refused or loaded without harm.
 */
#include "handover_filled.h"

enum { DAMAGES = 4000, HOWS = 7 };

/* Load; what was taken is whole, and can be saved in its turn. */
static bool load(const char *bytes, size_t size)
{
    struct native native = {.run_dir_fd = -1};
    CLEANUP_MSG_OUT struct msg_out out = {0}, list = {0};
    char *exact = malloc(size); /* a sanitizer sees where it ends */
    bool loaded;

    assert(size == 0 || exact != NULL);
    if (size > 0)
        memcpy(exact, bytes, size);
    loaded = handover_load(&native, exact, size) == 0;
    free(exact);
    if (loaded) {
        unsigned n = 0;

        assert(memchr(native.monitor->name, 0, sizeof(native.monitor->name)) != NULL);
        for (const struct exec *exec = native.monitor->execs; exec != NULL; exec = exec->next, n++)
            assert(n < EXECS_MAX && memchr(exec->id, 0, sizeof(exec->id)) != NULL);
        for (int i = 0; i < EXEC_RESULTS; i++)
            assert(memchr(native.monitor->exec_results.last[i].id, 0, EXEC_ID_MAX + 1) != NULL);
        msg_out_init(&list, 1);
        exec_put_list(native.monitor, &list);
        handover_put(native.monitor, &out);
        assert(out.buffer.size > 0);
    }
    throw_away(&native);
    return loaded;
}

static struct state small_state(void)
{
    struct native native;
    struct board *board;
    struct state state;

    configure(&native);
    assert(start_lay_out(&native, &board) == 0);
    fill_monitor(&native);
    fill_ends(board);
    /* The largest ones say nothing more. */
    native.monitor->container.main.pending_size = 3;
    for (struct exec *exec = native.monitor->execs; exec != NULL; exec = exec->next)
        exec->session.pending_size = exec->session.pending_size > 0 ? 2 : 0;
    state = save(&native);
    throw_away(&native);
    return state;
}

static void a_truncated_state_is_refused(void)
{
    struct state state = small_state();

    assert(load(state.bytes, state.size));
    for (size_t size = 0; size < state.size; size += size < 300 || state.size - size < 300 ? 1 : 13)
        assert(!load(state.bytes, size));
    free(state.bytes);
}

static void a_damaged_state_is_refused_or_loaded_without_harm(void)
{
    struct state state = small_state();
    char *damaged = malloc(state.size);
    unsigned n_loaded = 0;

    assert(damaged != NULL);
    for (int i = 0; i < DAMAGES; i++) {
        memcpy(damaged, state.bytes, state.size);
        for (int n = i % 3; n >= 0; n--)
            damaged[next_value() % state.size] = (char)next_value();
        n_loaded += load(damaged, state.size);
    }
    assert(n_loaded > 0 && n_loaded < DAMAGES);
    free(damaged);
    free(state.bytes);
}

/* The object again, with another value in one place. */
static void put_with(struct msg_out *out, const msgpack_object *object, unsigned *place, unsigned victim, unsigned how)
{
    bool is_map = object->type == MSGPACK_OBJECT_MAP;

    if ((*place)++ == victim) {
        switch (how) {
        case 0:
            msgpack_pack_nil(&out->packer);
            break;
        case 1:
            msgpack_pack_int64(&out->packer, -1);
            break;
        case 2:
            msgpack_pack_uint64(&out->packer, UINT64_MAX);
            break;
        case 3:
            msg_put_key(out, "x");
            break;
        case 4:
            msgpack_pack_bin(&out->packer, 1);
            msgpack_pack_bin_body(&out->packer, "\xff", 1);
            break;
        case 5:
            msgpack_pack_map(&out->packer, 0);
            break;
        default:
            msgpack_pack_array(&out->packer, 1);
            msgpack_pack_int64(&out->packer, INT64_MIN);
        }
    } else if (is_map || object->type == MSGPACK_OBJECT_ARRAY) {
        uint32_t n = is_map ? object->via.map.size : object->via.array.size;

        is_map ? msgpack_pack_map(&out->packer, n) : msgpack_pack_array(&out->packer, n);
        for (uint32_t i = 0; i < n; i++) {
            if (is_map)
                msgpack_pack_object(&out->packer, object->via.map.ptr[i].key);
            put_with(out, is_map ? &object->via.map.ptr[i].val : &object->via.array.ptr[i], place, victim, how);
        }
    } else {
        msgpack_pack_object(&out->packer, *object);
    }
}

static bool load_both(const struct msg_out *first, const struct state *state)
{
    size_t second = sizeof(uint64_t) + state->first;
    uint64_t size = first->buffer.size;
    msgpack_sbuffer whole;
    bool loaded;

    msgpack_sbuffer_init(&whole);
    msgpack_sbuffer_write(&whole, (const char *)&size, sizeof(size));
    msgpack_sbuffer_write(&whole, first->buffer.data, first->buffer.size);
    msgpack_sbuffer_write(&whole, state->bytes + second, state->size - second);
    loaded = load(whole.data, whole.size);
    msgpack_sbuffer_destroy(&whole);
    return loaded;
}

static void a_value_of_another_type_anywhere_is_refused_or_loaded_without_harm(void)
{
    struct state state = small_state();
    CLEANUP_MSG struct msg msg = {0};
    unsigned places = 1, n_loaded = 0;

    assert(msg_parse(&msg, state.bytes + sizeof(uint64_t), state.first) == 0);
    /* The first one is the whole map. */
    for (unsigned victim = 0; victim < places || victim == 1; victim++) {
        for (unsigned how = 0; how < HOWS; how++) {
            struct msg_out out;

            msgpack_sbuffer_init(&out.buffer);
            msgpack_packer_init(&out.packer, &out.buffer, msgpack_sbuffer_write);
            places = 0;
            put_with(&out, &msg.root, &places, victim, how);
            n_loaded += load_both(&out, &state);
            msg_out_deinit(&out);
        }
    }
    assert(places > 500 && n_loaded > places);
    free(state.bytes);
}

/* A hostile worker's: no text ends, no bool is one. */
static void bytes_that_are_taken_as_they_are_become_texts_and_bools(void)
{
    struct native native;
    struct board *board;
    struct state state;

    configure(&native);
    assert(start_lay_out(&native, &board) == 0);
    fill_monitor(&native);
    memset(native.monitor->exec_results.last, 0xff, sizeof(native.monitor->exec_results.last));
    state = save(&native);
    throw_away(&native);
    assert(load(state.bytes, state.size));
    free(state.bytes);
}

int main(void)
{
    a_truncated_state_is_refused();
    a_damaged_state_is_refused_or_loaded_without_harm();
    a_value_of_another_type_anywhere_is_refused_or_loaded_without_harm();
    bytes_that_are_taken_as_they_are_become_texts_and_bools();
    return 0;
}
