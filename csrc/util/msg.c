/* SPDX-License-Identifier: Apache-2.0 */
#include "util/msg.h"

#include <errno.h>
#include <string.h>

/* Below this no allocation is made ahead; a control message is some hundred bytes. */
#define ZONE_CHUNK 1024

int msg_parse(struct msg *msg, const void *bytes, size_t size)
{
    size_t offset = 0;
    msgpack_unpack_return result;

    *msg = (struct msg){0};
    if (!msgpack_zone_init(&msg->zone, ZONE_CHUNK))
        return -ENOMEM;
    msg->live = true;
    result = msgpack_unpack(bytes, size, &offset, &msg->zone, &msg->root);
    if (result == MSGPACK_UNPACK_NOMEM_ERROR)
        return -ENOMEM;
    if ((result != MSGPACK_UNPACK_SUCCESS && result != MSGPACK_UNPACK_EXTRA_BYTES) || offset != size ||
        msg->root.type != MSGPACK_OBJECT_MAP)
        return -EBADMSG;
    return 0;
}

void msg_deinit(struct msg *msg)
{
    if (msg->live)
        msgpack_zone_destroy(&msg->zone);
    msg->live = false;
}

const msgpack_object *msg_get(const msgpack_object *map, const char *key)
{
    size_t length = strlen(key);

    if (map == NULL || map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];

        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == length &&
            memcmp(kv->key.via.str.ptr, key, length) == 0)
            return kv->val.type == MSGPACK_OBJECT_NIL ? NULL : &kv->val;
    }
    return NULL;
}

bool msg_bool(const msgpack_object *map, const char *key, bool fallback)
{
    const msgpack_object *value = msg_get(map, key);

    return value != NULL && value->type == MSGPACK_OBJECT_BOOLEAN ? value->via.boolean : fallback;
}

int64_t msg_int(const msgpack_object *map, const char *key, int64_t fallback)
{
    const msgpack_object *value = msg_get(map, key);

    if (value == NULL)
        return fallback;
    if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return value->via.i64;
    if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER && value->via.u64 <= INT64_MAX)
        return (int64_t)value->via.u64;
    return fallback;
}

const char *msg_element(struct msg *msg, const msgpack_object *element)
{
    char *text;

    if (element == NULL || element->type != MSGPACK_OBJECT_STR)
        return NULL;
    if (element->via.str.size > 0 && memchr(element->via.str.ptr, 0, element->via.str.size) != NULL)
        return NULL;
    text = msgpack_zone_malloc(&msg->zone, (size_t)element->via.str.size + 1);
    if (text == NULL)
        return NULL;
    if (element->via.str.size > 0)
        memcpy(text, element->via.str.ptr, element->via.str.size);
    text[element->via.str.size] = 0;
    return text;
}

const char *msg_text(struct msg *msg, const msgpack_object *map, const char *key, const char *fallback)
{
    const char *text = msg_element(msg, msg_get(map, key));

    return text != NULL ? text : fallback;
}

const msgpack_object_array *msg_array(const msgpack_object *map, const char *key)
{
    const msgpack_object *value = msg_get(map, key);

    return value != NULL && value->type == MSGPACK_OBJECT_ARRAY ? &value->via.array : NULL;
}

void msg_out_init(struct msg_out *out, size_t n_keys)
{
    msgpack_sbuffer_init(&out->buffer);
    msgpack_packer_init(&out->packer, &out->buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&out->packer, n_keys);
}

void msg_out_deinit(struct msg_out *out)
{
    msgpack_sbuffer_destroy(&out->buffer);
}

static void put_str(struct msg_out *out, const char *text)
{
    size_t length = strlen(text);

    msgpack_pack_str(&out->packer, length);
    msgpack_pack_str_body(&out->packer, text, length);
}

void msg_put_key(struct msg_out *out, const char *key)
{
    put_str(out, key);
}

void msg_put_bool(struct msg_out *out, const char *key, bool value)
{
    put_str(out, key);
    if (value)
        msgpack_pack_true(&out->packer);
    else
        msgpack_pack_false(&out->packer);
}

void msg_put_int(struct msg_out *out, const char *key, int64_t value)
{
    put_str(out, key);
    msgpack_pack_int64(&out->packer, value);
}

void msg_put_text(struct msg_out *out, const char *key, const char *value)
{
    put_str(out, key);
    put_str(out, value);
}
