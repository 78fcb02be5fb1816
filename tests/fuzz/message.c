/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes are a message. It is refused or read without harm; what is read survives being asked for every
 * key as every type.
 */
#include "fuzz.h"
#include "util/msg.h"

FUZZ_BOUNDED_ALLOCATIONS

static const char *const keys[] = {"op", "session", "signal", "runtime", "env", "attach", "log", "remove", "id"};

static void ask(struct msg *msg, const msgpack_object *map, size_t size)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const msgpack_object_array *array = msg_array(map, keys[i]);
        const char *text = msg_text(msg, map, keys[i], "");

        if (text == NULL || strlen(text) > size)
            abort(); /* reading it to its end is half of the point: a sanitizer sees what lies beyond */
        (void)msg_int(map, keys[i], -1);
        (void)msg_bool(map, keys[i], false);
        for (size_t j = 0; array != NULL && j < array->size; j++)
            (void)msg_element(msg, &array->ptr[j]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct msg msg;

    if (msg_parse(&msg, data, size) == 0) {
        ask(&msg, &msg.root, size);
        ask(&msg, msg_get(&msg.root, "log"), size);
    }
    msg_deinit(&msg);
    return 0;
}
