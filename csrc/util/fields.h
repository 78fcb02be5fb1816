/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain members of a structure as a msgpack map and back: for state that goes from one version of the program to the
 * next. What a reader doesn't know is ignored; what is missing, or of another type, stays as it was.
 */
#ifndef REMORA_UTIL_FIELDS_H
#define REMORA_UTIL_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/msg.h"

enum field_type {
    FIELD_NUMBER, /* integers and enums of 1, 2, 4 or 8 bytes, and bools */
    FIELD_BOOL, /* what FIELD makes of a bool: a number, too, but only 0 and 1 come back */
    FIELD_TEXT, /* an array of char with a NUL in it */
    FIELD_WORDS, /* const char *, of words that nobody frees: loaded into memory that is never freed either */
};

/* Names stand in the table itself, so that it needs no relocations. */
struct field {
    char name[32];
    uint32_t offset, size;
    uint8_t type;
};

#define FIELD(structure, member, field_type)                                                                           \
    {                                                                                                                  \
        .name = #member, .offset = offsetof(structure, member), .size = sizeof(((structure *)0)->member),              \
        .type = __builtin_types_compatible_p(__typeof__(((structure *)0)->member), bool) ? FIELD_BOOL : (field_type)   \
    }

/* Put the fields into a map that has been begun. */
void fields_save(const struct field *fields, size_t n, const void *structure, struct msg_out *out);
/* 0 or -ENOMEM. */
int fields_load(const struct field *fields, size_t n, void *structure, struct msg *msg, const msgpack_object *map);

#endif
