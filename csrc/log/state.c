/* SPDX-License-Identifier: Apache-2.0 */
/* What the log tells of itself: counters for those who ask, and its whole state for the next version of the program. */
#include <errno.h>
#include <string.h>

#include "log/target.h"
#include "util/msg.h"

uint64_t log_written(const struct log *log)
{
    const struct log_cursor *cursor = target_cursor(&log->targets[0]);

    return log->n_targets == 0 ? 0 : cursor->written[LOG_STDOUT] + cursor->written[LOG_STDERR];
}

static uint64_t dropped_most(const struct log *log, unsigned streams)
{
    uint64_t most = 0;

    for (size_t i = 0; i < log->n_targets; i++) {
        const struct log_cursor *cursor = target_cursor(&log->targets[i]);
        uint64_t dropped =
            (streams & 1 ? cursor->dropped[LOG_STDOUT] : 0) + (streams & 2 ? cursor->dropped[LOG_STDERR] : 0);

        most = most > dropped ? most : dropped;
    }
    return most;
}

uint64_t log_dropped(const struct log *log)
{
    return dropped_most(log, 3);
}

static const char *driver_name(enum log_driver driver)
{
    switch (driver) {
    case LOG_K8S_FILE:
        return "k8s-file";
    case LOG_JSON_FILE:
        return "json-file";
    case LOG_JOURNALD:
        return "journald";
    case LOG_PASSTHROUGH:
        return "passthrough";
    case LOG_NONE:
        break;
    }
    return "none";
}

static void put_target(const struct log_target *target, struct msg_out *out)
{
    const struct log_cursor *cursor = target_cursor(target);
    bool file = target->driver != LOG_JOURNALD;

    msgpack_pack_map(&out->packer, file ? 9 : 5);
    msg_put_text(out, "driver", driver_name(target->driver));
    msg_put_int(out, "written", (int64_t)(cursor->written[LOG_STDOUT] + cursor->written[LOG_STDERR]));
    msg_put_int(out, "dropped", (int64_t)(cursor->dropped[LOG_STDOUT] + cursor->dropped[LOG_STDERR]));
    msg_put_int(out, "gaps", (int64_t)cursor->gaps);
    msg_put_text(out, "error", cursor->last_error != 0 ? strerror(cursor->last_error) : "");
    if (!file)
        return;
    msg_put_text(out, "path", target->options->path);
    msg_put_int(out, "size", cursor->size);
    msg_put_int(out, "rotations", (int64_t)cursor->rotations);
    msg_put_int(out, "failed_rotations", (int64_t)cursor->failed_rotations);
}

void log_put_counters(const struct log *log, struct msg_out *out)
{
    const struct log_cursor *first = target_cursor(&log->targets[0]);

    msg_put_key(out, "log");
    msgpack_pack_map(&out->packer, 3);
    for (unsigned stream = 0; stream < 2; stream++) {
        msg_put_key(out, log_stream_names[stream]);
        msgpack_pack_map(&out->packer, 2);
        msg_put_int(out, "written", log->n_targets > 0 ? (int64_t)first->written[stream] : 0);
        msg_put_int(out, "dropped", (int64_t)dropped_most(log, 1U << stream));
    }
    msg_put_key(out, "drivers");
    msgpack_pack_array(&out->packer, log->n_targets);
    for (size_t i = 0; i < log->n_targets; i++)
        put_target(&log->targets[i], out);
}

/* ---- the whole state ---- */

/* The numbers of a cursor, for both directions. */
#define N_NUMBERS 28

static void cursor_numbers(struct log_cursor *c, int64_t *numbers, bool load)
{
    size_t n = 0;

#define NUMBER(field, type)                                                                                            \
    do {                                                                                                               \
        if (load)                                                                                                      \
            (field) = (type)numbers[n];                                                                                \
        else                                                                                                           \
            numbers[n] = (int64_t)(field);                                                                             \
        n++;                                                                                                           \
    } while (0)
    NUMBER(c->size, int64_t);
    NUMBER(c->total, int64_t);
    NUMBER(c->device, uint64_t);
    NUMBER(c->inode, uint64_t);
    NUMBER(c->gaps, uint64_t);
    NUMBER(c->rotations, uint64_t);
    NUMBER(c->failed_rotations, uint64_t);
    NUMBER(c->last_error, int);
    NUMBER(c->torn, bool);
    NUMBER(c->batch, uint64_t);
    for (int i = 0; i < 2; i++) {
        NUMBER(c->written[i], uint64_t);
        NUMBER(c->dropped[i], uint64_t);
        NUMBER(c->gap[i], uint64_t);
        NUMBER(c->joined[i], unsigned);
        NUMBER(c->priority[i], signed char);
        NUMBER(c->held_size[i], unsigned char);
        NUMBER(c->open_line[i], bool);
    }
    NUMBER(c->call, uint64_t);
    NUMBER(c->done, uint64_t);
    _Static_assert(N_NUMBERS >= 26, "all numbers have a place");
#undef NUMBER
}

static void put_bytes(struct msg_out *out, const void *bytes, size_t size)
{
    msgpack_pack_bin(&out->packer, size);
    msgpack_pack_bin_body(&out->packer, bytes, size);
}

/* [driver, fd, regular, stalled, cause, held, numbers, joined, joined] */
static void save_target(const struct log *log, const struct log_target *target, struct msg_out *out)
{
    struct log_cursor cursor = *target_cursor(target);
    int64_t numbers[N_NUMBERS] = {0};

    cursor_numbers(&cursor, numbers, false);
    msgpack_pack_array(&out->packer, 9);
    msgpack_pack_int64(&out->packer, target->driver);
    msgpack_pack_int64(&out->packer, target->fd);
    msgpack_pack_int64(&out->packer, target->regular);
    msgpack_pack_int64(&out->packer, target->stalled);
    put_bytes(out, cursor.cause, sizeof(cursor.cause));
    put_bytes(out, cursor.held, sizeof(cursor.held));
    msgpack_pack_array(&out->packer, N_NUMBERS);
    for (size_t i = 0; i < N_NUMBERS; i++)
        msgpack_pack_int64(&out->packer, numbers[i]);
    put_bytes(out, log->joined[LOG_STDOUT], cursor.joined[LOG_STDOUT]);
    put_bytes(out, log->joined[LOG_STDERR], cursor.joined[LOG_STDERR]);
}

void log_save(const struct log *log, struct msg_out *out)
{
    msg_put_key(out, "log");
    msgpack_pack_map(&out->packer, 3);
    msg_put_int(out, "sequence", (int64_t)log->call.sequence);
    msg_put_key(out, "buckets");
    msgpack_pack_array(&out->packer, 6);
    for (int i = 0; i < 2; i++) {
        msgpack_pack_int64(&out->packer, log->buckets[i].tokens);
        msgpack_pack_int64(&out->packer, log->buckets[i].at);
        msgpack_pack_int64(&out->packer, log->buckets[i].skipping);
    }
    msg_put_key(out, "targets");
    msgpack_pack_array(&out->packer, log->n_targets);
    for (size_t i = 0; i < log->n_targets; i++)
        save_target(log, &log->targets[i], out);
}

static bool get_int(const msgpack_object *object, int64_t *value)
{
    if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && object->via.u64 <= INT64_MAX)
        *value = (int64_t)object->via.u64;
    else if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *value = object->via.i64;
    else
        return false;
    return true;
}

static bool get_bytes(const msgpack_object *object, void *to, size_t size)
{
    if (object->type != MSGPACK_OBJECT_BIN || object->via.bin.size != size)
        return false;
    if (size > 0)
        memcpy(to, object->via.bin.ptr, size);
    return true;
}

static bool load_numbers(const msgpack_object *object, struct log_cursor *cursor)
{
    int64_t numbers[N_NUMBERS];

    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != N_NUMBERS)
        return false;
    for (size_t i = 0; i < N_NUMBERS; i++)
        if (!get_int(&object->via.array.ptr[i], &numbers[i]))
            return false;
    cursor_numbers(cursor, numbers, true);
    return cursor->joined[LOG_STDOUT] <= LOG_LINE_MAX && cursor->joined[LOG_STDERR] <= LOG_LINE_MAX &&
           cursor->held_size[LOG_STDOUT] <= JSON_HELD && cursor->held_size[LOG_STDERR] <= JSON_HELD;
}

static bool load_target(struct log *log, struct log_target *target, const msgpack_object *object)
{
    struct log_cursor *cursor = &target->cursors[0];
    const msgpack_object *part = object->via.array.ptr;
    int64_t values[4];

    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != 9)
        return false;
    for (int i = 0; i < 4; i++)
        if (!get_int(&part[i], &values[i]))
            return false;
    target->regular = values[2] != 0;
    target->stalled = values[3] != 0;
    if (values[0] != (int64_t)target->driver || values[1] < 0 || values[1] > INT32_MAX ||
        !get_bytes(&part[4], cursor->cause, sizeof(cursor->cause)) ||
        !get_bytes(&part[5], cursor->held, sizeof(cursor->held)) || !load_numbers(&part[6], cursor) ||
        !get_bytes(&part[7], log->joined[LOG_STDOUT], cursor->joined[LOG_STDOUT]) ||
        !get_bytes(&part[8], log->joined[LOG_STDERR], cursor->joined[LOG_STDERR]))
        return false;
    cursor->cause[sizeof(cursor->cause) - 1] = '\0';
    target->fd = (int)values[1];
    return true;
}

int log_load(struct log *log, const msgpack_object *map, const struct log_options *options)
{
    const msgpack_object_array *targets = msg_array(map, "targets"), *buckets = msg_array(map, "buckets");
    int64_t values[6];

    log_init(log, options);
    log->call.sequence = (uint64_t)msg_int(map, "sequence", 0);
    if (targets == NULL || buckets == NULL || buckets->size != 6 || targets->size != log->n_targets)
        goto bad;
    for (int i = 0; i < 6; i++)
        if (!get_int(&buckets->ptr[i], &values[i]))
            goto bad;
    for (int i = 0; i < 2; i++)
        log->buckets[i] = (struct log_bucket){values[3 * i], values[3 * i + 1], values[3 * i + 2] != 0};
    for (size_t i = 0; i < log->n_targets; i++)
        if (!load_target(log, &log->targets[i], &targets->ptr[i]))
            goto bad;
    return 0;
bad:
    log->n_targets = 0;
    return -EBADMSG;
}
