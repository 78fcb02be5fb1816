/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exit record on disk: a file of two slots, so that a new record never overwrites the last good one.
 *
 * A slot is at most REMORA_RECORD_MAX bytes: magic "RMX1", u32 sequence, u32 size, u32 CRC-32 of sequence, size and
 * payload (all little-endian), payload (msgpack). The slots begin at 0 and RECORD_STRIDE, so that they share no device
 * sector. The valid slot with the highest sequence counts. Both slots are allocated and written at the start, so that a
 * full disk can't lose an exit code; a record is written in place and made durable by fdatasync.
 *
 * The reader is remora_record_read (include/remora.h).
 */
#ifndef REMORA_CONTAINER_RECORD_H
#define REMORA_CONTAINER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    RECORD_STRIDE = 4096, /* bytes between the beginnings of the two slots */
    RECORD_HEADER = 16, /* bytes before the payload */
};

struct record_file {
    int fd; /* owned, -1 */
    uint32_t sequence; /* of the last record in the file, 0 = none */
};

/*
 * Open or make the file and reserve its space; with `fresh`, records of earlier runs are made invalid (durably: a crash
 * of the machine must not bring an old exit code back). `file` may be uninitialised; it is empty after a failure. 0 or
 * -errno (-ENOSPC, -EINVAL: not a regular file).
 */
int record_open(struct record_file *file, const char *path, bool fresh);
/*
 * Write the next record; durable on return if `sync`. 0 or -errno (-EMSGSIZE: more than REMORA_RECORD_MAX -
 * RECORD_HEADER bytes). After a failure the last good record still counts.
 */
int record_write(struct record_file *file, const void *payload, size_t size, bool sync);
/* Safe on {-1, 0} and twice. */
void record_deinit(struct record_file *file);

#endif
