/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log records, reading side: one line of a log file is one record, of our own writer or another's. Pure.
 *
 * CRI (what engines call k8s-file): zone as Z or +hh:mm, a fraction of any length or none, several tags joined by
 * colons of which only the first counts. json-file (Docker's): one object with `log`, `stream` and `time`, among others
 * that are passed over. The first byte tells which it is, so that nobody has to know a file's format.
 */
#ifndef REMORA_LOG_PARSE_H
#define REMORA_LOG_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RECORD_HEAD = 256, /* bytes of a CRI record that hold its time, stream and first tag */
};

struct log_record {
    int64_t time_ns; /* wall clock, since 1970 */
    const char *time; /* as text, within the record */
    size_t time_length;
    int stream; /* enum log_stream */
    bool partial; /* the line goes on in the stream's next record */
    bool escaped; /* `content` is the inside of a JSON text: record_unescape */
    const char *content; /* within the record; without the newline that ends the line */
    size_t size;
};

/* Parse one record without its newline. False: not a record. */
bool record_parse(const char *line, size_t size, struct log_record *record);

/* The same for one format. A CRI record may be cut off anywhere behind RECORD_HEAD: then its content is what there is.
 */
bool cri_parse(const char *line, size_t size, struct log_record *record);
bool json_parse(const char *line, size_t size, struct log_record *record);

/* Resolve the escapes of JSON, for which no more room is needed than they take: `to` may be record->content itself. */
void record_unescape(struct log_record *record, char *to);

/* RFC 3339, "2026-11-21T21:30:02[.digits](Z|+hh:mm|-hh:mm)". Returns its length, 0 when it is none. */
size_t parse_time(const char *text, size_t size, int64_t *time_ns);

#endif
