/* SPDX-License-Identifier: Apache-2.0 */
/* Source of the keys: sd_notify(3). */
#include "conmon/notify.h"

#include <stdbool.h>
#include <string.h>

static bool is_allowed(const char *line, size_t size)
{
    static const char whole[][18] = {"READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1", "WATCHDOG=trigger"};
    static const char begins[][16] = {"STATUS=", "ERRNO=", "BUSERROR=", "MONOTONIC_USEC="};

    if (memchr(line, '\0', size) != NULL)
        return false;
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        if (strlen(whole[i]) == size && memcmp(line, whole[i], size) == 0)
            return true;
    for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        size_t length = strnlen(begins[i], sizeof(begins[i]));

        if (size >= length && memcmp(line, begins[i], length) == 0)
            return true;
    }
    return false;
}

size_t notify_filter(char *to, const char *from, size_t size)
{
    size_t kept = 0;

    while (size > 0) {
        const char *newline = memchr(from, '\n', size);
        size_t length = newline != NULL ? (size_t)(newline - from) : size;
        size_t taken = length + (newline != NULL);

        if (is_allowed(from, length)) {
            if (kept > 0)
                to[kept++] = '\n';
            memmove(to + kept, from, length);
            kept += length;
        }
        from += taken;
        size -= taken;
    }
    return kept;
}
