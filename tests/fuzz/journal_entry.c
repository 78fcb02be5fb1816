/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes are what journalctl tells. An entry lies within the bytes it takes, what more follows changes
 * nothing about it, and its time is text.
 */
#include "fuzz.h"
#include "log/entry.h"

static bool within(const char *part, size_t size, const char *bytes, size_t whole)
{
    return part >= bytes && size <= whole && (size_t)(part - bytes) <= whole - size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    size_t at = 0;

    while (at < size) {
        struct journal_entry entry, again;
        ssize_t used = journal_entry_parse(bytes + at, size - at, &entry);

        if (used <= 0)
            break;
        if ((size_t)used > size - at || !within(entry.record.content, entry.record.size, bytes + at, (size_t)used) ||
            !within(entry.cursor, entry.cursor_length, bytes + at, (size_t)used) || entry.record.stream < 0 ||
            entry.record.stream > 1 || entry.record.time != entry.time_text || entry.record.time_length != 35)
            abort();
        if (journal_entry_parse(bytes + at, (size_t)used, &again) != used || again.record.size != entry.record.size)
            abort();
        /* Cut off anywhere, it waits for more. */
        if (used < 256 && journal_entry_parse(bytes + at, (size_t)used - 1, &again) != 0)
            abort();
        at += (size_t)used;
    }
    return 0;
}
