/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a container's journal entries that are the same in each. Pure. */
#ifndef REMORA_LOG_JOURNAL_FIELDS_H
#define REMORA_LOG_JOURNAL_FIELDS_H

#include <sys/uio.h>

#include "log/log.h"

/* In the order of an entry; between `id` and `names` stands its priority. */
struct journal_fields {
    struct iovec id, names, labels;
};

/* A length as the binary form of a field has it. Returns its size, 8. */
size_t journal_put_length(char *to, uint64_t length);
/* Made in `to`, which must outlive the fields: 0 or -E2BIG. */
int journal_fields_make(struct journal_fields *fields, const struct log_options *options, char *to, size_t capacity);

#endif
