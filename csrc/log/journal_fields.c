/* SPDX-License-Identifier: Apache-2.0 */
#include "log/journal_fields.h"

#include <errno.h>
#include <string.h>

#define KEY_MAX 64

/* A label's key as a field's name: A-Z, 0-9 and _, no digit or _ first. Its size. */
static size_t field_name(char to[KEY_MAX], const char *key, const char *end)
{
    size_t size = 0;

    for (; key < end && size < KEY_MAX; key++) {
        char c = *key >= 'a' && *key <= 'z' ? (char)(*key - 'a' + 'A') : *key;
        bool digit = c >= '0' && c <= '9', letter = c >= 'A' && c <= 'Z';

        if (!letter && !digit)
            c = '_';
        if (size > 0 || letter)
            to[size++] = c;
    }
    return size;
}

size_t journal_put_length(char *to, uint64_t length)
{
    for (int i = 0; i < 8; i++)
        to[i] = (char)(length >> (8 * i));
    return 8;
}

/* `KEY=value\n`, or the binary form. Returns the end, or NULL when it doesn't fit. */
static char *put_field(char *to, const char *end, const char *key, size_t key_size, const char *value, size_t size)
{
    if (to == NULL || (size_t)(end - to) < key_size + size + 16)
        return NULL;
    memcpy(to, key, key_size);
    to += key_size;
    if (memchr(value, '\n', size) != NULL) {
        *to++ = '\n';
        to += journal_put_length(to, size);
    } else {
        *to++ = '=';
    }
    memcpy(to, value, size);
    to += size;
    *to++ = '\n';
    return to;
}

static char *put_text(char *to, const char *end, const char *key, const char *value)
{
    return put_field(to, end, key, strlen(key), value, strlen(value));
}

int journal_fields_make(struct journal_fields *fields, const struct log_options *options, char *to, size_t capacity)
{
    const char *end = to + capacity, *id = options->id != NULL ? options->id : "";
    bool tagged = options->tag != NULL && options->tag[0] != '\0';
    bool named = options->name != NULL && options->name[0] != '\0';
    char *at = to, brief[13] = "", key[KEY_MAX];

    strncat(brief, id, sizeof(brief) - 1);
    fields->id.iov_base = at;
    at = put_text(at, end, "CONTAINER_ID_FULL", id);
    fields->names.iov_base = at;
    at = put_text(at, end, "CONTAINER_ID", brief);
    if (tagged)
        at = put_text(at, end, "CONTAINER_TAG", options->tag);
    if (named)
        at = put_text(at, end, "CONTAINER_NAME", options->name);
    at = put_text(at, end, "SYSLOG_IDENTIFIER", tagged ? options->tag : named ? options->name : brief);
    fields->labels.iov_base = at;
    for (size_t i = 0; i < options->n_labels; i++) {
        const char *value = strchrnul(options->labels[i], '=');
        size_t size = field_name(key, options->labels[i], value);

        value += *value == '=';
        if (size > 0)
            at = put_field(at, end, key, size, value, strlen(value));
    }
    if (at == NULL)
        return -E2BIG;
    fields->id.iov_len = (size_t)((char *)fields->names.iov_base - (char *)fields->id.iov_base);
    fields->names.iov_len = (size_t)((char *)fields->labels.iov_base - (char *)fields->names.iov_base);
    fields->labels.iov_len = (size_t)(at - (char *)fields->labels.iov_base);
    return 0;
}
