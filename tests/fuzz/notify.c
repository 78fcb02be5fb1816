/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a container sends any datagram to the notification socket. What goes on to the service manager are lines
 * of it that tell of the service, in their order, and nothing else; the same whether it is filtered in place or not.
 */
#include "conmon/notify.h"

#include "fuzz.h"

static bool begins(const uint8_t *line, size_t size, const char *with)
{
    return size >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

static bool is(const uint8_t *line, size_t size, const char *word)
{
    return size == strlen(word) && begins(line, size, word);
}

static bool is_allowed(const uint8_t *line, size_t size)
{
    if (memchr(line, 0, size) != NULL)
        return false;
    return is(line, size, "READY=1") || is(line, size, "RELOADING=1") || is(line, size, "STOPPING=1") ||
           is(line, size, "WATCHDOG=1") || is(line, size, "WATCHDOG=trigger") || begins(line, size, "STATUS=") ||
           begins(line, size, "ERRNO=") || begins(line, size, "BUSERROR=") || begins(line, size, "MONOTONIC_USEC=");
}

/* The same filter, a line at a time. */
static size_t expect(uint8_t *to, const uint8_t *from, size_t size)
{
    size_t kept = 0, end;

    for (size_t at = 0; at < size; at = end + 1) {
        for (end = at; end < size && from[end] != '\n'; end++)
            ;
        if (!is_allowed(from + at, end - at))
            continue;
        if (kept > 0)
            to[kept++] = '\n';
        memcpy(to + kept, from + at, end - at);
        kept += end - at;
    }
    return kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t expected[NOTIFY_MAX];
    char *result;
    size_t n;

    if (size > NOTIFY_MAX)
        size = NOTIFY_MAX;
    /* No more room than there is of input: a sanitizer sees what goes beyond. */
    result = malloc(size + (size == 0));
    if (result == NULL)
        return 0;
    n = notify_filter(result, (const char *)data, size);
    if (n != expect(expected, data, size) || memcmp(result, expected, n) != 0)
        abort();
    memcpy(result, data, size);
    if (notify_filter(result, result, size) != n || memcmp(result, expected, n) != 0)
        abort();
    free(result);
    return 0;
}
