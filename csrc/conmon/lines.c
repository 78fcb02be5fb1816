/* SPDX-License-Identifier: Apache-2.0 */
#include "conmon/lines.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

bool lines_next(struct lines *lines, const char **bytes, size_t *size, char line[LINE_BUFFER], bool *too_long)
{
    while (*size > 0) {
        const char *newline = memchr(*bytes, '\n', *size);
        size_t part = newline != NULL ? (size_t)(newline - *bytes) : *size;
        bool dropped = lines->skipping;

        if (!dropped && lines->size + part >= LINE_BUFFER - 1)
            dropped = *too_long = true;
        if (!dropped) {
            memcpy(lines->bytes + lines->size, *bytes, part);
            lines->size += part;
        } else {
            lines->size = 0;
        }
        lines->skipping = dropped && newline == NULL;
        part += newline != NULL;
        *bytes += part;
        *size -= part;
        if (newline == NULL || dropped)
            continue;
        memcpy(line, lines->bytes, lines->size);
        line[lines->size] = '\0';
        lines->size = 0;
        return true;
    }
    return false;
}

/* As %d of scanf: blanks, a sign, decimal digits; what is too large stays at the limits. */
static bool take_number(const char **text, int *number)
{
    const char *at = *text + strspn(*text, " \t\n\v\f\r");
    bool negative = *at == '-';
    int64_t value = 0;

    at += *at == '-' || *at == '+';
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++)
        if (value <= INT_MAX)
            value = value * 10 + (*at - '0');
    if (value > INT_MAX)
        value = INT_MAX;
    *number = negative ? (int)-value : (int)value;
    *text = at;
    return true;
}

static bool is_window(const struct control_message *message)
{
    return message->height >= 0 && message->height <= WINDOW_MAX && message->width >= 0 && message->width <= WINDOW_MAX;
}

enum control_line window_line_parse(const char *line, struct control_message *message)
{
    *message = (struct control_message){.type = 1};
    if (!take_number(&line, &message->height) || !take_number(&line, &message->width))
        return CONTROL_LINE_BAD;
    return is_window(message) ? CONTROL_LINE_RESIZE : CONTROL_LINE_WINDOW_INVALID;
}

enum control_line control_line_parse(const char *line, struct control_message *message)
{
    enum control_line window;
    int type;

    *message = (struct control_message){0};
    if (!take_number(&line, &type))
        return CONTROL_LINE_BAD;
    window = window_line_parse(line, message);
    message->type = type;
    if (window == CONTROL_LINE_BAD)
        return CONTROL_LINE_BAD;
    switch (type) {
    case 1:
        return window;
    case 2:
        return CONTROL_LINE_REOPEN;
    default:
        return CONTROL_LINE_UNKNOWN;
    }
}
