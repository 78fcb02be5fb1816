/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detach keys: a table of cases, and all ways of cutting inputs into pieces against a plain search.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/detach.h"

struct session {
    struct detach detach;
    unsigned char out[512];
    size_t size;
    bool found;
};

static void feed(struct session *session, const char *in, size_t size)
{
    if (!session->found)
        session->size += detach_feed(&session->detach, (const unsigned char *)in, size, session->out + session->size,
                                     &session->found);
}

static void begin(struct session *session, const char *keys)
{
    memset(session, 0, sizeof(*session));
    detach_init(&session->detach, (const unsigned char *)keys, strlen(keys));
}

/* What must come out of `in` as a whole: all before the first occurrence, or all but a held end. */
static void check(const char *keys, const char *in, struct session *session)
{
    const char *at = strlen(keys) > 0 ? strstr(in, keys) : NULL;
    size_t expected = at != NULL ? (size_t)(at - in) : strlen(in);

    assert(session->found == (at != NULL));
    if (!session->found)
        session->size += detach_flush(&session->detach, session->out + session->size);
    assert(session->size == expected);
    assert(memcmp(session->out, in, expected) == 0);
    assert(session->detach.held == 0);
}

static void test_every_cut(void)
{
    static const char *const keys[] = {"ab", "aab", "aa", "a", "abab", "abaabaab", ""};
    struct session session;
    char in[11];

    for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
        for (unsigned int bits = 0; bits < 1024; bits++) {
            for (int i = 0; i < 10; i++)
                in[i] = bits & (1u << i) ? 'a' : 'b';
            in[10] = 0;
            for (size_t cut = 0; cut <= 10; cut++) {
                begin(&session, keys[k]);
                feed(&session, in, cut);
                feed(&session, in + cut, 10 - cut);
                check(keys[k], in, &session);
            }
            begin(&session, keys[k]);
            for (size_t i = 0; i < 10; i++)
                feed(&session, in + i, 1);
            check(keys[k], in, &session);
        }
    }
}

static void test_a_flushed_prefix_no_longer_counts(void)
{
    struct session session;

    begin(&session, "ab");
    feed(&session, "xa", 2);
    assert(session.size == 1 && session.detach.held == 1);
    assert(detach_flush(&session.detach, session.out + 1) == 1);
    session.size = 2;
    feed(&session, "b", 1);
    assert(!session.found && session.size == 3 && memcmp(session.out, "xab", 3) == 0);
}

static void test_keys_that_are_too_long_are_off(void)
{
    unsigned char keys[DETACH_KEYS_MAX + 1] = {0};
    struct detach detach;

    detach_init(&detach, keys, sizeof(keys));
    assert(detach.length == 0);
    detach_init(&detach, keys, DETACH_KEYS_MAX);
    assert(detach.length == DETACH_KEYS_MAX);
    detach_init(&detach, NULL, 0);
    assert(detach_flush(&detach, keys) == 0);
}

int main(void)
{
    test_every_cut();
    test_a_flushed_prefix_no_longer_counts();
    test_keys_that_are_too_long_are_off();
    return 0;
}
