/* SPDX-License-Identifier: Apache-2.0 */
#include "util/msg.h"

#include <errno.h>
#include <string.h>

/* Below this no allocation is made ahead; a control message is some hundred bytes. */
#define ZONE_CHUNK 1024

/* A big-endian number of 1, 2 or 4 bytes at *at, which moves on. UINT64_MAX: the bytes end before it. */
static uint64_t number(const unsigned char **at, const unsigned char *end, size_t width)
{
    uint64_t value = 0;

    if ((size_t)(end - *at) < width)
        return UINT64_MAX;
    while (width-- > 0)
        value = value << 8 | *(*at)++;
    return value;
}

/*
 * One element at *at, which moves on (reference: MessagePack specification, "Formats"): how many elements it announces
 * to come after it, within it; -1: none of the format, or it ends beyond the bytes.
 */
static int64_t element(const unsigned char **at, const unsigned char *end)
{
    static const unsigned char widths[] = {1, 2, 4};
    static const unsigned char fixed[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17}; /* 0xca to 0xd8 */
    unsigned type = *(*at)++;
    uint64_t skip = 0, within = 0;

    if (type < 0x80 || type >= 0xe0 || type == 0xc0 || type == 0xc2 || type == 0xc3)
        return 0;
    if (type < 0x90)
        return 2 * (type & 15);
    if (type < 0xa0)
        return type & 15;
    if (type < 0xc0)
        skip = type & 31;
    else if (type >= 0xc4 && type <= 0xc6)
        skip = number(at, end, widths[type - 0xc4]);
    else if (type >= 0xc7 && type <= 0xc9)
        skip = number(at, end, widths[type - 0xc7]);
    else if (type >= 0xca && type <= 0xd8)
        skip = fixed[type - 0xca];
    else if (type >= 0xd9 && type <= 0xdb)
        skip = number(at, end, widths[type - 0xd9]);
    else if (type == 0xdc || type == 0xdd)
        within = number(at, end, widths[type - 0xdb]);
    else if (type == 0xde || type == 0xdf)
        within = 2 * number(at, end, widths[type - 0xdd]);
    else
        return -1;
    if (type >= 0xc7 && type <= 0xc9 && skip != UINT64_MAX)
        skip++; /* the type of an extension */
    if (skip > (size_t)(end - *at) || within > (size_t)(end - *at))
        return -1;
    *at += skip;
    return (int64_t)within;
}

/*
 * Whether every element that is announced is there. The library allocates what an array or a map announces before it
 * has seen it: five bytes would make it ask for 64 GiB.
 */
static bool is_complete(const void *bytes, size_t size)
{
    const unsigned char *at = bytes, *end = at + size;
    int64_t missing = 1;

    while (missing > 0) {
        int64_t within = missing <= end - at ? element(&at, end) : -1;

        if (within < 0)
            return false;
        missing += within - 1;
    }
    return true;
}

int msg_parse(struct msg *msg, const void *bytes, size_t size)
{
    int r = msg_parse_any(msg, bytes, size);

    return r == 0 && msg->root.type != MSGPACK_OBJECT_MAP ? -EBADMSG : r;
}

int msg_parse_any(struct msg *msg, const void *bytes, size_t size)
{
    size_t offset = 0;
    msgpack_unpack_return result;

    *msg = (struct msg){0};
    if (!is_complete(bytes, size))
        return -EBADMSG;
    if (!msgpack_zone_init(&msg->zone, ZONE_CHUNK))
        return -ENOMEM;
    msg->live = true;
    result = msgpack_unpack(bytes, size, &offset, &msg->zone, &msg->root);
    if (result == MSGPACK_UNPACK_NOMEM_ERROR)
        return -ENOMEM;
    if ((result != MSGPACK_UNPACK_SUCCESS && result != MSGPACK_UNPACK_EXTRA_BYTES) || offset != size)
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
