/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the journal as `journalctl --output=export` tells them (systemd.io/JOURNAL_EXPORT_FORMATS): fields as
 * KEY=value, or KEY, a newline, the length in eight bytes (little endian) and the value; an empty line ends the entry.
 *
 * A container's line is MESSAGE: with its newline (conmon, and our own monitor) or without (Docker); with
 * CONTAINER_PARTIAL_MESSAGE=true it goes on in the next entry. PRIORITY 3 is stderr, and so is 4, with which our
 * monitor tells of output that is missing. Pure.
 */
#ifndef REMORA_LOG_ENTRY_H
#define REMORA_LOG_ENTRY_H

#include <stddef.h>
#include <sys/types.h>

#include "log/parse.h"

struct journal_entry {
    struct log_record record; /* within the bytes; time_ns and time are when the journal took it in */
    const char *cursor; /* the entry's place in the journal, within the bytes */
    size_t cursor_length;
    char time_text[40]; /* what record.time is in: RFC 3339, local time, nine digits */
};

/* Parse one entry: the bytes it takes, 0 when it is not whole, -EBADMSG when it is none. */
ssize_t journal_entry_parse(const char *bytes, size_t size, struct journal_entry *entry);

#endif
