/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text that a call becomes in a file: a batch of whole records, as many as the scratch holds. A pure function of
 * the call and the target's cursor, so that it can be made again after a kill.
 */
#ifndef REMORA_LOG_BATCH_H
#define REMORA_LOG_BATCH_H

#include "log/cri.h"
#include "log/target.h"

/* What is the same in all batches of a call. */
struct batch_format {
    bool json;
    struct cri_prefix prefix[2]; /* by stream */
    struct json_tail tail[2];
};

struct batch {
    char *text; /* in the scratch */
    size_t size;
    size_t prelude; /* of it: what tells of a gap, and is only written with a record behind it */
    size_t from, next; /* the call's bytes in it */
    bool open; /* ends in a partial record */
    bool any; /* has records of the call */
    char held[JSON_HELD]; /* json-file: at its end */
    size_t n_held;
};

/* Takes the call's time, the labels and the tag; needs the scratch. */
void batch_format_init(struct batch_format *format, struct log *log, const struct log_target *target);
/* The next records after what the cursor says. */
void batch_make(struct log *log, const struct log_target *target, const struct batch_format *format,
                struct batch *batch);
/* Note in a step that the prelude is in the file. */
void batch_prelude_done(struct log_cursor *cursor);
/* How far the call is dealt with by the first `size` bytes of the batch, which end with a record. */
size_t batch_position(const struct log *log, const struct batch_format *format, const struct batch *batch, size_t size,
                      bool *open);
/* The end of the first record behind `from`. */
size_t batch_record_end(const struct batch *batch, size_t from);

#endif
