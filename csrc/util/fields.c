/* SPDX-License-Identifier: Apache-2.0 */
#include "util/fields.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int64_t get_number(const char *from, size_t size)
{
    int64_t value = 0;

    switch (size) {
    case 1:
        return *from;
    case 2:
        return *(const int16_t *)(const void *)from;
    case 4:
        return *(const int32_t *)(const void *)from;
    default:
        memcpy(&value, from, sizeof(value));
        return value;
    }
}

static void set_number(char *to, size_t size, int64_t value)
{
    switch (size) {
    case 1:
        *to = (char)value;
        break;
    case 2:
        *(int16_t *)(void *)to = (int16_t)value;
        break;
    case 4:
        *(int32_t *)(void *)to = (int32_t)value;
        break;
    default:
        memcpy(to, &value, sizeof(value));
    }
}

void fields_save(const struct field *fields, size_t n, const void *structure, struct msg_out *out)
{
    for (size_t i = 0; i < n; i++) {
        const char *from = (const char *)structure + fields[i].offset;
        const char *words;

        switch ((enum field_type)fields[i].type) {
        case FIELD_NUMBER:
        case FIELD_BOOL:
            msg_put_int(out, fields[i].name, get_number(from, fields[i].size));
            break;
        case FIELD_TEXT:
            msg_put_text(out, fields[i].name, from);
            break;
        case FIELD_WORDS:
            memcpy(&words, from, sizeof(words));
            msg_put_text(out, fields[i].name, words != NULL ? words : "");
            break;
        }
    }
}

int fields_load(const struct field *fields, size_t n, void *structure, struct msg *msg, const msgpack_object *map)
{
    for (size_t i = 0; i < n; i++) {
        char *to = (char *)structure + fields[i].offset;
        size_t size = fields[i].size;
        const char *text;
        char *words;

        switch ((enum field_type)fields[i].type) {
        case FIELD_NUMBER:
            set_number(to, size, msg_int(map, fields[i].name, get_number(to, size)));
            break;
        case FIELD_BOOL:
            set_number(to, size, msg_int(map, fields[i].name, get_number(to, size)) != 0);
            break;
        case FIELD_TEXT:
            text = msg_text(msg, map, fields[i].name, NULL);
            if (text == NULL)
                break;
            strncpy(to, text, size - 1);
            to[size - 1] = 0;
            break;
        case FIELD_WORDS:
            text = msg_text(msg, map, fields[i].name, NULL);
            if (text == NULL)
                break;
            words = text[0] != 0 ? strdup(text) : NULL;
            if (text[0] != 0 && words == NULL)
                return -ENOMEM;
            memcpy(to, &words, sizeof(words));
            break;
        }
    }
    return 0;
}
