/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: what is written is what is read, and what a stranger sends never does harm. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/msg.h"

/* What a few bytes only announce must not be allocated: a sanitizer ends the test for such a wish. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=64";
}

static void what_is_put_in_comes_out(void)
{
    static const int64_t numbers[] = {0,         1,          -1,        127,       128,   -32,
                                      -33,       255,        256,       65535,     65536, INT32_MAX,
                                      INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN, -129,  -32769};
    char key[] = "number00";
    static char longest[70000];
    CLEANUP_MSG_OUT struct msg_out out = {0};
    CLEANUP_MSG struct msg msg = {0};
    size_t n = sizeof(numbers) / sizeof(numbers[0]);

    memset(longest, 'l', sizeof(longest) - 1);
    msg_out_init(&out, n + 5);
    for (size_t i = 0; i < n; i++) {
        key[6] = (char)('a' + i);
        msg_put_int(&out, key, numbers[i]);
    }
    msg_put_bool(&out, "yes", true);
    msg_put_bool(&out, "no", false);
    msg_put_text(&out, "empty", "");
    msg_put_text(&out, "text", "\xff not UTF-8 \x01");
    msg_put_text(&out, "longest", longest);
    assert(msg_parse(&msg, out.buffer.data, out.buffer.size) == 0);
    for (size_t i = 0; i < n; i++) {
        key[6] = (char)('a' + i);
        assert(msg_int(&msg.root, key, 4242) == numbers[i]);
    }
    assert(msg_bool(&msg.root, "yes", false) && !msg_bool(&msg.root, "no", true));
    assert(strcmp(msg_text(&msg, &msg.root, "empty", "x"), "") == 0);
    assert(strcmp(msg_text(&msg, &msg.root, "text", "x"), "\xff not UTF-8 \x01") == 0);
    assert(strcmp(msg_text(&msg, &msg.root, "longest", "x"), longest) == 0);
}

static void a_missing_or_odd_value_gives_the_default(void)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    CLEANUP_MSG struct msg msg = {0};

    msg_out_init(&out, 5);
    msg_put_text(&out, "text", "5");
    msg_put_int(&out, "int", 5);
    msg_put_key(&out, "nil");
    msgpack_pack_nil(&out.packer);
    msg_put_key(&out, "big");
    msgpack_pack_uint64(&out.packer, UINT64_MAX);
    msg_put_key(&out, "nul");
    msgpack_pack_str(&out.packer, 3);
    msgpack_pack_str_body(&out.packer, "a\0b", 3);
    assert(msg_parse(&msg, out.buffer.data, out.buffer.size) == 0);
    assert(msg_int(&msg.root, "text", 7) == 7 && msg_int(&msg.root, "gone", 7) == 7);
    assert(msg_int(&msg.root, "nil", 7) == 7 && msg_int(&msg.root, "big", 7) == 7);
    assert(msg_bool(&msg.root, "int", true) && msg_bool(&msg.root, "gone", true));
    assert(strcmp(msg_text(&msg, &msg.root, "int", "d"), "d") == 0);
    assert(strcmp(msg_text(&msg, &msg.root, "nul", "d"), "d") == 0);
    assert(msg_array(&msg.root, "int") == NULL && msg_get(&msg.root, "nil") == NULL);
    assert(msg_get(NULL, "text") == NULL && msg_int(NULL, "text", 3) == 3);
    assert(msg_get(msg_get(&msg.root, "int"), "text") == NULL);
    assert(msg_element(&msg, NULL) == NULL);
}

static int parse(const void *bytes, size_t size)
{
    struct msg msg = {0};
    int r = msg_parse(&msg, bytes, size);

    msg_deinit(&msg);
    msg_deinit(&msg);
    return r;
}

static void only_one_whole_map_is_a_message(void)
{
    char deep[4096];

    assert(parse("\x80", 1) == 0);
    assert(parse("", 0) == -EBADMSG);
    assert(parse("\x80\x80", 2) == -EBADMSG);
    assert(parse("\x81\xa1k", 3) == -EBADMSG);
    assert(parse("\x90", 1) == -EBADMSG);
    assert(parse("\xc1", 1) == -EBADMSG);
    memset(deep, '\x91', sizeof(deep));
    assert(parse(deep, sizeof(deep)) < 0);
    memset(deep, '\x81', sizeof(deep));
    assert(parse(deep, sizeof(deep)) < 0);
}

static void announced_sizes_are_not_believed(void)
{
    static const char *const liars[] = {"\xdf\xff\xff\xff\xff",
                                        "\xdf\x00\xff\xff\xff\xa1k",
                                        "\x81\xa1k\xdd\xff\xff\xff\xff",
                                        "\x81\xa1k\xdb\xff\xff\xff\xff",
                                        "\x81\xa1k\xc6\xff\xff\xff\xff",
                                        "\x81\xa1k\xc9\xff\xff\xff\xff\x01",
                                        "\x81\xa1k\xdc\x00\x02\x01",
                                        "\x81\xa1k\xd8\x00\x01",
                                        "\x81\xa1k\xc7",
                                        "\x81\xa1k\xcf\x00"};
    static const size_t sizes[] = {5, 7, 8, 8, 8, 9, 7, 6, 4, 5};

    for (size_t i = 0; i < sizeof(liars) / sizeof(liars[0]); i++)
        assert(parse(liars[i], sizes[i]) == -EBADMSG);
}

/* Every format of the specification, at the edges of its length: what the library packs is taken. */
static void every_format_is_taken(void)
{
    static const size_t lengths[] = {0, 1, 2, 4, 8, 15, 16, 17, 31, 32, 255, 256, 65535, 65536};
    static char bytes[65536];
    CLEANUP_MSG_OUT struct msg_out out = {0};
    CLEANUP_MSG struct msg msg = {0};
    size_t n = sizeof(lengths) / sizeof(lengths[0]);

    msg_out_init(&out, 1);
    msg_put_key(&out, "all");
    msgpack_pack_array(&out.packer, 6 * n + 5);
    for (size_t i = 0; i < n; i++) {
        msgpack_pack_str(&out.packer, lengths[i]);
        msgpack_pack_str_body(&out.packer, bytes, lengths[i]);
        msgpack_pack_bin(&out.packer, lengths[i]);
        msgpack_pack_bin_body(&out.packer, bytes, lengths[i]);
        msgpack_pack_ext(&out.packer, lengths[i], 5);
        msgpack_pack_ext_body(&out.packer, bytes, lengths[i]);
        msgpack_pack_uint64(&out.packer, UINT64_MAX >> (4 * i));
        msgpack_pack_array(&out.packer, lengths[i]);
        for (size_t j = 0; j < lengths[i]; j++)
            msgpack_pack_true(&out.packer);
        msgpack_pack_map(&out.packer, lengths[i]);
        for (size_t j = 0; j < 2 * lengths[i]; j++)
            msgpack_pack_int64(&out.packer, -(1LL << (j % 40)));
    }
    msgpack_pack_float(&out.packer, 1.5F);
    msgpack_pack_double(&out.packer, 1.5);
    msgpack_pack_false(&out.packer);
    msgpack_pack_nil(&out.packer);
    msgpack_pack_int64(&out.packer, INT64_MIN);
    assert(msg_parse(&msg, out.buffer.data, out.buffer.size) == 0);
    assert(msg_array(&msg.root, "all")->size == 6 * n + 5);
}

static void any_one_element_may_be_asked_for(void)
{
    CLEANUP_MSG struct msg msg = {0};

    assert(msg_parse_any(&msg, "\x92\xcd\x00\x18\x50", 5) == 0);
    assert(msg.root.type == MSGPACK_OBJECT_ARRAY && msg.root.via.array.ptr[1].via.u64 == 80);
    assert(parse("\x92\xcd\x00\x18\x50", 5) == -EBADMSG);
}

static void random_bytes_do_no_harm(void)
{
    unsigned seed = 3;

    for (int round = 0; round < 30000; round++) {
        size_t size = (size_t)rand_r(&seed) % 64;
        char *bytes = malloc(size + 1);
        struct msg msg = {0};

        assert(bytes != NULL);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (char)rand_r(&seed);
        /* Half of them begin as a small map, else few would come any further. */
        if (size > 4 && round % 2 == 0)
            memcpy(bytes, "\x82\xa2op", 4);
        if (msg_parse(&msg, bytes, size) == 0) {
            (void)msg_text(&msg, &msg.root, "op", "");
            (void)msg_int(&msg.root, "op", 0);
            (void)msg_array(&msg.root, "op");
        }
        msg_deinit(&msg);
        free(bytes);
    }
}

int main(void)
{
    what_is_put_in_comes_out();
    a_missing_or_odd_value_gives_the_default();
    only_one_whole_map_is_a_message();
    announced_sizes_are_not_believed();
    every_format_is_taken();
    any_one_element_may_be_asked_for();
    random_bytes_do_no_harm();
    return 0;
}
