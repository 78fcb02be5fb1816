/* SPDX-License-Identifier: Apache-2.0 */
/* Docker's json-file: {"log":"text\n","stream":"stdout","attrs":{…},"time":"…Z"} (moby, daemon/logger/jsonfilelog). */
#include <string.h>

#include "log/log.h"
#include "log/parse.h"

enum {
    DEPTH_MAX = 32, /* of values that are passed over */
};

struct cursor {
    const char *at, *end;
};

struct string {
    const char *begin; /* behind the quote */
    size_t size;
    bool newline; /* it ends in the escape \n */
};

static bool take(struct cursor *cursor, char byte)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t' || *cursor->at == '\r'))
        cursor->at++;
    if (cursor->at == cursor->end || *cursor->at != byte)
        return false;
    cursor->at++;
    return true;
}

/* Whatever an escape is, its second byte is no end of the text. */
static bool take_string(struct cursor *cursor, struct string *string)
{
    const char *escape = NULL;

    if (!take(cursor, '"'))
        return false;
    string->begin = cursor->at;
    for (const char *at = cursor->at; at < cursor->end; at++) {
        if (*at == '\\') {
            escape = at++;
        } else if (*at == '"') {
            string->size = (size_t)(at - string->begin);
            string->newline = escape != NULL && escape + 2 == at && escape[1] == 'n';
            cursor->at = at + 1;
            return true;
        }
    }
    return false;
}

static bool is(const struct string *string, const char *text)
{
    return string->size == strlen(text) && memcmp(string->begin, text, string->size) == 0;
}

/* Any value. What is no JSON may pass, too, as long as its end can be told. */
static bool skip_value(struct cursor *cursor)
{
    struct string string;
    int depth = 0;

    do {
        if (take(cursor, '{') || take(cursor, '[')) {
            if (++depth > DEPTH_MAX)
                return false;
        } else if (take(cursor, '}') || take(cursor, ']')) {
            if (--depth < 0)
                return false;
        } else if (take(cursor, '"')) {
            cursor->at--;
            if (!take_string(cursor, &string))
                return false;
        } else if (depth > 0 && (take(cursor, ',') || take(cursor, ':'))) {
            continue;
        } else {
            const char *begin = cursor->at;

            while (cursor->at < cursor->end && strchr(",:{}[]\"", *cursor->at) == NULL)
                cursor->at++;
            if (cursor->at == begin)
                return false;
        }
    } while (depth > 0);
    return true;
}

bool json_parse(const char *line, size_t size, struct log_record *record)
{
    struct cursor cursor = {line, line + size};
    struct string key, value;

    *record = (struct log_record){.stream = -1, .partial = true, .escaped = true, .content = line};
    if (!take(&cursor, '{'))
        return false;
    do {
        if (!take_string(&cursor, &key) || !take(&cursor, ':'))
            return false;
        if (is(&key, "log")) {
            if (!take_string(&cursor, &value))
                return false;
            record->content = value.begin;
            record->size = value.newline ? value.size - 2 : value.size;
            record->partial = !value.newline;
        } else if (is(&key, "stream")) {
            if (!take_string(&cursor, &value))
                return false;
            record->stream = is(&value, "stdout") ? LOG_STDOUT : is(&value, "stderr") ? LOG_STDERR : -1;
        } else if (is(&key, "time")) {
            if (!take_string(&cursor, &value) || parse_time(value.begin, value.size, &record->time_ns) != value.size)
                return false;
            record->time = value.begin;
            record->time_length = value.size;
        } else if (!skip_value(&cursor)) {
            return false;
        }
    } while (take(&cursor, ','));
    return take(&cursor, '}') && record->stream >= 0 && record->time_length > 0;
}

/* Four hex digits, or -1. */
static int hex4(const char *text, const char *end)
{
    int value = 0;

    if (end - text < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int byte = (unsigned char)text[i];
        int lower = byte | 0x20;

        if (byte >= '0' && byte <= '9')
            value = value << 4 | (byte - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value << 4 | (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* The character of \uXXXX, or of two that are a surrogate pair; half a pair is U+FFFD. `*from` is behind the \u. */
static int64_t take_unicode(const char **from, const char *end)
{
    int first = hex4(*from, end);
    int second;

    if (first < 0)
        return -1;
    *from += 4;
    if (first < 0xd800 || first > 0xdfff)
        return first;
    if (first > 0xdbff || end - *from < 6 || (*from)[0] != '\\' || (*from)[1] != 'u')
        return 0xfffd;
    second = hex4(*from + 2, end);
    if (second < 0xdc00 || second > 0xdfff)
        return 0xfffd;
    *from += 6;
    return 0x10000 + ((int64_t)(first - 0xd800) << 10) + (second - 0xdc00);
}

void record_unescape(struct log_record *record, char *to)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    const char *from = record->content;
    const char *end = from + record->size;
    char *begin = to;

    while (from < end) {
        const char *escape = memchr(from, '\\', (size_t)(end - from));
        size_t plain = (size_t)((escape != NULL ? escape : end) - from);
        const char *name;
        int64_t code;

        memmove(to, from, plain);
        to += plain;
        from += plain;
        if (end - from < 2)
            break; /* at the end: a text never ends in half an escape */
        from += 2;
        if (from[-1] == 'u') {
            code = take_unicode(&from, end);
            if (code >= 0)
                to = put_utf8(to, (uint32_t)code);
            continue;
        }
        name = memchr(names, from[-1], sizeof(names) - 1);
        if (name != NULL)
            *to++ = meant[name - names];
    }
    record->escaped = false;
    record->content = begin;
    record->size = (size_t)(to - begin);
}
