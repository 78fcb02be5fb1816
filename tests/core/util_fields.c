/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a structure as a map: what was saved is loaded again, and what doesn't fit changes nothing. */
#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "util/fields.h"

/* What is loaded as words is never freed. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

enum colour { RED, GREEN, BLUE };

struct inner {
    char before;
    int64_t number;
};

struct thing {
    int8_t i8;
    uint8_t u8;
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    bool yes;
    enum colour colour;
    struct inner inner;
    char text[8], guard;
    const char *words;
};

static const struct field fields[] = {
    FIELD(struct thing, i8, FIELD_NUMBER),   FIELD(struct thing, u8, FIELD_NUMBER),
    FIELD(struct thing, i16, FIELD_NUMBER),  FIELD(struct thing, u16, FIELD_NUMBER),
    FIELD(struct thing, i32, FIELD_NUMBER),  FIELD(struct thing, u32, FIELD_NUMBER),
    FIELD(struct thing, i64, FIELD_NUMBER),  FIELD(struct thing, u64, FIELD_NUMBER),
    FIELD(struct thing, yes, FIELD_NUMBER),  FIELD(struct thing, colour, FIELD_NUMBER),
    FIELD(struct thing, text, FIELD_TEXT),   FIELD(struct thing, inner.number, FIELD_NUMBER),
    FIELD(struct thing, words, FIELD_WORDS),
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static void load(struct thing *thing, const struct msg_out *out)
{
    CLEANUP_MSG struct msg msg = {0};

    assert(msg_parse(&msg, out->buffer.data, out->buffer.size) == 0);
    assert(fields_load(fields, FIELDS, thing, &msg, &msg.root) == 0);
}

static void assert_equal(const struct thing *a, const struct thing *b)
{
    assert(a->i8 == b->i8 && a->u8 == b->u8 && a->i16 == b->i16 && a->u16 == b->u16);
    assert(a->i32 == b->i32 && a->u32 == b->u32 && a->i64 == b->i64 && a->u64 == b->u64);
    assert(a->yes == b->yes && a->colour == b->colour && a->inner.number == b->inner.number);
    assert(strcmp(a->text, b->text) == 0);
    assert((a->words == NULL) == (b->words == NULL) && (a->words == NULL || strcmp(a->words, b->words) == 0));
}

/* Unlike any of those that are saved. */
static struct thing another(void)
{
    struct thing thing;

    memset(&thing, 0x55, sizeof(thing));
    thing.yes = true;
    thing.words = "other words";
    thing.text[7] = 0;
    return thing;
}

static void assert_round_trip(const struct thing *thing)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    struct thing loaded = another();

    msg_out_init(&out, FIELDS);
    fields_save(fields, FIELDS, thing, &out);
    load(&loaded, &out);
    assert_equal(thing, &loaded);
    assert(loaded.guard == 0x55 && loaded.inner.before == 0x55);
}

static void every_width_and_sign_comes_back(void)
{
    struct thing lowest = {.i8 = INT8_MIN, .i16 = INT16_MIN, .i32 = INT32_MIN, .i64 = INT64_MIN};
    struct thing highest = {.i8 = INT8_MAX, .i16 = INT16_MAX, .i32 = INT32_MAX, .i64 = INT64_MAX};
    struct thing minus_one = {.i8 = -1, .i16 = -1, .i32 = -1, .i64 = -1, .inner.number = -1};
    struct thing between = {.i8 = 65, .i16 = 257, .i32 = 65537, .i64 = 1LL << 40, .inner.number = 1LL << 33};

    highest.u8 = UINT8_MAX;
    highest.u16 = UINT16_MAX;
    highest.u32 = UINT32_MAX;
    highest.u64 = UINT64_MAX;
    highest.yes = true;
    highest.colour = BLUE;
    between.u8 = 1U << 7;
    between.u16 = 1U << 15;
    between.u32 = 1U << 31;
    between.u64 = 1ULL << 63;
    assert_round_trip(&lowest);
    assert_round_trip(&highest);
    assert_round_trip(&minus_one);
    assert_round_trip(&between);
}

static void texts_and_words_come_back(void)
{
    struct thing thing = {.text = "seven77", .words = "some words"};

    assert_round_trip(&thing);
    thing = (struct thing){.text = "", .words = NULL};
    assert_round_trip(&thing);
    thing = (struct thing){.text = "\xc3\xa9\xff\x01"};
    assert_round_trip(&thing);
}

static void missing_keys_change_nothing_and_unknown_ones_are_ignored(void)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    struct thing loaded = another(), expected = another();

    msg_out_init(&out, 4);
    msg_put_int(&out, "i32", -7);
    msg_put_text(&out, "of a later version", "x");
    msg_put_key(&out, "words");
    msgpack_pack_nil(&out.packer);
    msg_put_text(&out, "tex", "prefix");
    load(&loaded, &out);
    expected.i32 = -7;
    assert_equal(&loaded, &expected);
}

static void values_of_another_type_change_nothing(void)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    struct thing loaded = another(), expected = another();

    msg_out_init(&out, FIELDS);
    for (unsigned i = 0; i < FIELDS; i++) {
        if (fields[i].type == FIELD_TEXT) {
            msg_put_key(&out, fields[i].name);
            msgpack_pack_str(&out.packer, 3);
            msgpack_pack_str_body(&out.packer, "a\0b", 3);
        } else if (fields[i].type == FIELD_WORDS) {
            msg_put_int(&out, fields[i].name, 4096);
        } else if (i % 2) {
            msg_put_text(&out, fields[i].name, "12");
        } else {
            msg_put_key(&out, fields[i].name);
            msgpack_pack_uint64(&out.packer, UINT64_MAX);
        }
    }
    load(&loaded, &out);
    assert_equal(&loaded, &expected);
    assert(loaded.words == expected.words);
}

static void what_is_too_large_is_cut_and_touches_no_neighbour(void)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    struct thing loaded = another();
    bool representation;

    msg_out_init(&out, 5);
    msg_put_text(&out, "text", "much longer than there is room");
    msg_put_int(&out, "i8", 0x1234567890);
    msg_put_int(&out, "u16", -1);
    msg_put_int(&out, "yes", 0x700);
    msg_put_int(&out, "i32", INT64_MIN + 5);
    load(&loaded, &out);
    assert(strcmp(loaded.text, "much lo") == 0 && loaded.guard == 0x55);
    assert(loaded.i8 == (int8_t)0x90 && loaded.u8 == 0x55);
    assert(loaded.u16 == UINT16_MAX && loaded.i16 == 0x5555 && loaded.i32 == 5 && loaded.u32 == 0x55555555);
    /* A bool that is neither true nor false is none. */
    representation = true;
    assert(memcmp(&loaded.yes, &representation, sizeof(bool)) == 0);
}

static void what_is_no_map_changes_nothing(void)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    CLEANUP_MSG struct msg msg = {0};
    struct thing loaded = another(), expected = another();

    msg_out_init(&out, 1);
    msg_put_int(&out, "number", 5);
    assert(msg_parse(&msg, out.buffer.data, out.buffer.size) == 0);
    assert(fields_load(fields, FIELDS, &loaded, &msg, msg_get(&msg.root, "number")) == 0);
    assert(fields_load(fields, FIELDS, &loaded, &msg, NULL) == 0);
    assert_equal(&loaded, &expected);
}

int main(void)
{
    every_width_and_sign_comes_back();
    texts_and_words_come_back();
    missing_keys_change_nothing_and_unknown_ones_are_ignored();
    values_of_another_type_change_nothing();
    what_is_too_large_is_cut_and_touches_no_neighbour();
    what_is_no_map_changes_nothing();
    return 0;
}
