/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any file is a log. The reader neither crashes nor loops nor writes more than it read can explain, a tail
 * is part of the whole, and what was neutralised holds nothing that a terminal obeys.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "include/remora.h"

static char *print(const char *path, struct remora_log_options *options, size_t *size)
{
    int fd = memfd_create("out", MFD_CLOEXEC);
    struct stat status;
    char *text;

    options->out = options->err = fd;
    if (fd < 0 || remora_log_print(path, options) != 0 || fstat(fd, &status) < 0)
        abort();
    *size = (size_t)status.st_size;
    text = calloc(1, *size + 1);
    if (text == NULL || pread(fd, text, *size, 0) != (ssize_t)*size)
        abort();
    close(fd);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct remora_log_options options = {.since_ns = INT64_MIN, .until_ns = INT64_MAX, .tail = -1};
    int fd = memfd_create("log", MFD_CLOEXEC);
    size_t all_size, tail_size;
    char path[32];
    char *all, *tail;

    if (size < 2 || fd < 0 || write(fd, data + 2, size - 2) != (ssize_t)size - 2) {
        close(fd);
        return 0;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    options.timestamps = (data[0] & 1) != 0;
    options.neutralise = (data[0] & 2) != 0;
    options.prefix = (data[0] & 4) != 0 ? "c1 " : NULL;
    if ((data[0] & 8) != 0)
        options.since_ns = 1700000000000000000;
    if ((data[0] & 16) != 0)
        options.until_ns = 1800000000000000000;
    all = print(path, &options, &all_size);
    for (size_t i = 0; options.neutralise && i < all_size; i++) {
        unsigned char byte = (unsigned char)all[i];

        if (byte == 0x7f || (byte < 0x20 && byte != '\t' && byte != '\n' && (byte != '\r' || all[i + 1] != '\n')))
            abort();
    }
    /* Each byte of content comes out as at most four, and each record brings a prefix and a time. */
    if (all_size > 8 * size)
        abort();
    options.tail = data[1];
    tail = print(path, &options, &tail_size);
    if (tail_size > all_size)
        abort();
    free(all);
    free(tail);
    close(fd);
    return 0;
}
