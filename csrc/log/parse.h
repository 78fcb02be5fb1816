/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CRI log format, reading side: one record at a time, of our own writer or another's (zone as Z or +hh:mm, a
 * fraction of any length or none, several tags joined by colons of which only the first counts). Pure.
 */
#ifndef REMORA_LOG_PARSE_H
#define REMORA_LOG_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cri_record {
    int64_t time_ns; /* wall clock, since 1970 */
    size_t time_length; /* the time as text is the record's first time_length bytes */
    int stream; /* enum log_stream */
    bool partial; /* the line goes on in the stream's next record */
    const char *content; /* within the record */
    size_t size;
};

/* Parse one record without its newline. False: not a record. */
bool cri_parse(const char *line, size_t size, struct cri_record *record);

#endif
