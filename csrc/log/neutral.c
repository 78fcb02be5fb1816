/* SPDX-License-Identifier: Apache-2.0 */
#include "log/neutral.h"

#include <stdbool.h>
#include <string.h>

static char *put_hex(char *to, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";

    *to++ = '\\';
    *to++ = 'x';
    *to++ = hex[byte >> 4];
    *to++ = hex[byte & 15];
    return to;
}

static char *put_control(char *to, unsigned char byte)
{
    *to++ = '^';
    *to++ = (char)(byte ^ 64); /* 0x1b → [, 0x7f → ? */
    return to;
}

/* How many bytes a UTF-8 sequence has that begins so; 0: none does (RFC 3629). */
static size_t sequence_length(unsigned char first)
{
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    if (first >= 0xf0 && first <= 0xf4)
        return 4;
    return 0;
}

/* Whether a second byte may follow the first one: no overlong forms, surrogates or what is above U+10FFFF. */
static bool second_fits(unsigned char first, unsigned char second)
{
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

    return second >= low && second <= high;
}

static char *release(struct neutral *state, char *to)
{
    for (size_t i = 0; i < state->n_held; i++)
        to = state->held[i] == '\r' ? put_control(to, '\r') : put_hex(to, state->held[i]);
    state->n_held = 0;
    return to;
}

/* A byte with something held before it. False: it begins anew (and what was held is out). */
static bool continues(struct neutral *state, char **to, unsigned char byte)
{
    unsigned char first = state->held[0];

    if (first == '\r') {
        if (byte == '\n')
            *(*to)++ = '\r';
        else
            *to = put_control(*to, '\r');
        state->n_held = 0;
        return false;
    }
    if (!(state->n_held == 1 ? second_fits(first, byte) : byte >= 0x80 && byte <= 0xbf)) {
        *to = release(state, *to);
        return false;
    }
    state->held[state->n_held++] = byte;
    if (state->n_held < sequence_length(first))
        return true;
    if (first == 0xc2 && byte <= 0x9f) {
        *to = release(state, *to);
    } else {
        memcpy(*to, state->held, state->n_held);
        *to += state->n_held;
        state->n_held = 0;
    }
    return true;
}

size_t neutral_text(struct neutral *state, char *to, const char *from, size_t size)
{
    char *begin = to;

    for (const char *end = from + size; from < end; from++) {
        unsigned char byte = (unsigned char)*from;

        if (state->n_held > 0 && continues(state, &to, byte))
            continue;
        if ((byte >= 0x20 && byte < 0x7f) || byte == '\t' || byte == '\n')
            *to++ = (char)byte;
        else if (byte == '\r' || sequence_length(byte) > 0)
            state->held[state->n_held++] = byte;
        else if (byte < 0x80)
            to = put_control(to, byte);
        else
            to = put_hex(to, byte);
    }
    return (size_t)(to - begin);
}

size_t neutral_end(struct neutral *state, char *to, int newline)
{
    char *begin = to;

    if (newline && state->n_held == 1 && state->held[0] == '\r') {
        *to++ = '\r';
        state->n_held = 0;
    }
    return (size_t)(release(state, to) - begin);
}
