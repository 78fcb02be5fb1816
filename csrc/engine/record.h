/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exit record on disk: a file of two slots of REMORA_RECORD_MAX bytes, so that a new record never overwrites the last good one.
 *
 * A slot is: magic "RMX1", u32 sequence, u32 size, u32 CRC-32 of the payload (all little-endian), payload (msgpack).
 * The valid slot with the highest sequence counts. Both slots are allocated and written at the start, so that a full
 * disk can't lose an exit code; a record is written in place and made durable by fdatasync.
 */
#ifndef REMORA_ENGINE_RECORD_H
#define REMORA_ENGINE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct record_file {
    int fd; /* owned, -1 */
    uint32_t sequence; /* of the last record in the file, 0 = none */
};

/*
 * Open or make the file and reserve its space; with `fresh`, records of earlier runs are made invalid.
 * 0 or -errno (-ENOSPC).
 */
int record_open(struct record_file *file, const char *path, bool fresh);
/* Write the next record; durable on return if `sync`. 0 or -errno. */
int record_write(struct record_file *file, const void *payload, size_t size, bool sync);
void record_deinit(struct record_file *file);

#endif
