/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes are a message, and a configuration. Each is refused or read without harm; what is read
 * survives being asked for every key as every type.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "container/config.h"
#include "util/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Announced sizes may be huge: a sanitizer should refuse them as the kernel may, and not poison gigabytes. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=64:allocator_may_return_null=1";
}

static const char *const keys[] = {"op", "session", "signal", "runtime", "env", "attach", "log", "remove", "id"};

static void ask(struct msg *msg, size_t size)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const msgpack_object_array *array = msg_array(&msg->root, keys[i]);
        const char *text = msg_text(msg, &msg->root, keys[i], "");

        if (text == NULL || strlen(text) > size)
            abort(); /* reading it to its end is half of the point: a sanitizer sees what lies beyond */
        (void)msg_int(&msg->root, keys[i], -1);
        (void)msg_bool(&msg->root, keys[i], false);
        for (size_t j = 0; array != NULL && j < array->size; j++)
            (void)msg_element(msg, &array->ptr[j]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct msg msg;
    const char *what = NULL;
    char *copy = malloc(size + 1);

    if (msg_parse(&msg, data, size) == 0)
        ask(&msg, size);
    msg_deinit(&msg);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (config_init(&config, copy, size, &what) < 0 && what == NULL)
        abort(); /* a refusal names its reason */
    config_deinit(&config);
    return 0;
}
