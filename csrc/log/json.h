/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's json-file format, writing side:
 *
 *     {"log":"TEXT\n","stream":"stdout","attrs":{…},"time":"2019-01-01T11:11:11.111111111Z"}
 *
 * one object a line, the keys in this order. TEXT lacks its newline where more of the line follows. The time is in UTC,
 * zeros at the end of the fraction are dropped. Escaped as moby's jsonlog does it: \\ \" \n \r, other control
 * characters, < > & and U+2028/9 as \u00xx, each byte that is no UTF-8 as \ufffd. All functions are pure.
 *
 * No character is cut in two: a record ends before one that is not whole yet, and what has come of it is held until the
 * rest comes.
 */
#ifndef REMORA_LOG_JSON_H
#define REMORA_LOG_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "log/clock.h"

enum {
    JSON_PIECE = 16384, /* longer lines are cut */
    JSON_HELD = 3, /* bytes of a character that isn't whole */
    JSON_ATTRS_MAX = 8192, /* the text of the attributes */
    JSON_TAIL_MAX = JSON_ATTRS_MAX + 128,
    JSON_NOTE_MAX = 8 + 6 * 512 + JSON_TAIL_MAX, /* a record of 512 bytes */
    JSON_MARGIN = 8 + 6 * (JSON_PIECE + JSON_HELD + 64) + 2 * JSON_TAIL_MAX, /* room that json_format needs to go on */
};

/* What stands behind the text in each record of one call; `text` begins with the newline's escape. */
struct json_tail {
    size_t size;
    char text[JSON_TAIL_MAX];
};

/* The attributes as they stand in a record, `"attrs":{…},` or nothing: the size, or -1 when `capacity` is too small. */
long json_attributes(char *to, size_t capacity, const char *tag, const char *const *labels, size_t n_labels);
void json_tail_init(struct json_tail *tail, struct log_clock *clock, const char stream[6], const char *attributes,
                    size_t attributes_size, const struct timespec *time);

/* As cri_record_end. */
const char *json_record_end(const char *from, const char *end, bool *open);
/* How many bytes at the end of the text are the beginning of a character. */
size_t json_incomplete(const char *from, const char *end);
/* One record. Returns its end. */
char *json_record(char *to, const struct json_tail *tail, const char *text, size_t size, bool open);
/*
 * As cri_format. The call's first record begins with the *n_held bytes (0 to 3) of `held`; what begins a character at
 * its end is put there when `end` was reached, and maybe nothing is made then.
 */
const char *json_format(char *to, size_t capacity, const struct json_tail *tail, char held[JSON_HELD], size_t *n_held,
                        const char *from, const char *end, size_t *size, bool *open);

#endif
