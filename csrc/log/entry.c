/* SPDX-License-Identifier: Apache-2.0 */
#include "log/entry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log/log.h"

struct field {
    const char *key, *value;
    size_t key_size, size;
};

/* The bytes of one field, 0 when it is not whole. */
static size_t parse_field(const char *bytes, size_t size, struct field *field)
{
    const char *newline = memchr(bytes, '\n', size);
    size_t line = newline != NULL ? (size_t)(newline - bytes) : 0;
    const char *equals = memchr(bytes, '=', line);
    uint64_t length = 0;

    if (newline == NULL)
        return 0;
    field->key = bytes;
    if (equals != NULL) {
        field->key_size = (size_t)(equals - bytes);
        field->value = equals + 1;
        field->size = line - field->key_size - 1;
        return line + 1;
    }
    field->key_size = line;
    if (size - line - 1 < 8)
        return 0;
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)(unsigned char)newline[1 + i] << (8 * i);
    if (size - line - 9 < 1 || length > size - line - 10)
        return 0;
    field->value = newline + 9;
    field->size = (size_t)length;
    return line + 9 + (size_t)length + 1;
}

static bool is(const struct field *field, const char *key)
{
    return field->key_size == strlen(key) && memcmp(field->key, key, field->key_size) == 0;
}

static bool has_value(const struct field *field, const char *value)
{
    return field->size == strlen(value) && memcmp(field->value, value, field->size) == 0;
}

static void take_time(struct journal_entry *entry, const struct field *field)
{
    int64_t microseconds = 0;

    for (size_t i = 0; i < field->size && i < 16 && field->value[i] >= '0' && field->value[i] <= '9'; i++)
        microseconds = microseconds * 10 + (field->value[i] - '0');
    entry->record.time_ns = (microseconds < INT64_MAX / 1000 ? microseconds : INT64_MAX / 1000) * 1000;
}

static void write_time(struct journal_entry *entry)
{
    time_t second = entry->record.time_ns / 1000000000;
    struct tm tm = {0};
    long offset;
    int size;

    if (localtime_r(&second, &tm) == NULL)
        memset(&tm, 0, sizeof(tm));
    offset = tm.tm_gmtoff < 0 ? -tm.tm_gmtoff : tm.tm_gmtoff;
    size = snprintf(entry->time_text, sizeof(entry->time_text), "%04d-%02d-%02dT%02d:%02d:%02d.%09lld%c%02ld:%02ld",
                    (tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                    (long long)(entry->record.time_ns % 1000000000), tm.tm_gmtoff < 0 ? '-' : '+', offset / 3600 % 100,
                    offset / 60 % 60);
    entry->record.time = entry->time_text;
    entry->record.time_length = (size_t)size < sizeof(entry->time_text) ? (size_t)size : sizeof(entry->time_text) - 1;
}

static void take_field(struct journal_entry *entry, const struct field *field)
{
    struct log_record *record = &entry->record;

    if (is(field, "MESSAGE")) {
        record->content = field->value;
        record->size = field->size;
    } else if (is(field, "PRIORITY")) {
        record->stream = has_value(field, "3") || has_value(field, "4") ? LOG_STDERR : LOG_STDOUT;
    } else if (is(field, "CONTAINER_PARTIAL_MESSAGE")) {
        record->partial = has_value(field, "true");
    } else if (is(field, "__CURSOR")) {
        entry->cursor = field->value;
        entry->cursor_length = field->size;
    } else if (is(field, "__REALTIME_TIMESTAMP")) {
        take_time(entry, field);
    }
}

ssize_t journal_entry_parse(const char *bytes, size_t size, struct journal_entry *entry)
{
    struct log_record *record = &entry->record;
    struct field field;
    size_t at = 0;

    *entry = (struct journal_entry){.record = {.stream = LOG_STDOUT, .content = bytes}, .cursor = bytes};
    while (at < size && bytes[at] != '\n') {
        size_t used = parse_field(bytes + at, size - at, &field);

        if (used == 0)
            return 0;
        if (field.key_size == 0 || (field.value[field.size] != '\n'))
            return -EBADMSG;
        take_field(entry, &field);
        at += used;
    }
    if (at == size)
        return 0;
    if (!record->partial && record->size > 0 && record->content[record->size - 1] == '\n')
        record->size--;
    write_time(entry);
    return (ssize_t)at + 1;
}
