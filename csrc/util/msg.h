/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: msgpack maps with text keys, read and written through msgpack-c.
 *
 * Reading never trusts the sender: a missing key or one of another type gives the caller's default.
 * Texts are length-counted in msgpack; msg_text gives a NUL-terminated copy that lives as long as the msg.
 */
#ifndef REMORA_UTIL_MSG_H
#define REMORA_UTIL_MSG_H

/* Most messages are some hundred bytes; the library's 8 KiB would stay in an idle monitor's heap. */
#define MSGPACK_SBUFFER_INIT_SIZE 512
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/fd.h"

struct msg {
    msgpack_zone zone; /* owns all that is below `root` */
    msgpack_object root; /* a map, but for msg_parse_any */
    bool live;
};

/* Parse one map that fills the buffer (which must outlive the msg). 0, -EBADMSG or -ENOMEM. */
int msg_parse(struct msg *msg, const void *bytes, size_t size);
/* The same for one element of any type. */
int msg_parse_any(struct msg *msg, const void *bytes, size_t size);
void msg_deinit(struct msg *msg);
#define CLEANUP_MSG CLEANUP(msg_deinit)

const msgpack_object *msg_get(const msgpack_object *map, const char *key); /* NULL when absent or nil */
bool msg_bool(const msgpack_object *map, const char *key, bool fallback);
int64_t msg_int(const msgpack_object *map, const char *key, int64_t fallback);
/* A NUL-terminated text; `fallback` when absent or with a NUL inside. Allocated in the message's zone. */
const char *msg_text(struct msg *msg, const msgpack_object *map, const char *key, const char *fallback);
/* An array, or NULL. */
const msgpack_object_array *msg_array(const msgpack_object *map, const char *key);
/* One array element as text in the message's zone, or NULL. */
const char *msg_element(struct msg *msg, const msgpack_object *element);

/* Writing: a growing buffer with the packer on it. */
struct msg_out {
    msgpack_sbuffer buffer; /* buffer.data, buffer.size */
    msgpack_packer packer;
};

void msg_out_init(struct msg_out *out, size_t n_keys); /* begins a map of that many keys */
void msg_out_deinit(struct msg_out *out);
#define CLEANUP_MSG_OUT CLEANUP(msg_out_deinit)

void msg_put_bool(struct msg_out *out, const char *key, bool value);
void msg_put_int(struct msg_out *out, const char *key, int64_t value);
void msg_put_text(struct msg_out *out, const char *key, const char *value);
void msg_put_key(struct msg_out *out, const char *key); /* the value follows through out->packer */

#endif
