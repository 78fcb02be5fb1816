/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes are a runtime's log, or what it wrote to stderr. The failure told is one printable line with
 * one of the three statuses.
 */
#include "engine/failure.h"

#include "fuzz.h"

static const char name[] = "runtime.log";

static void check(const struct failure *failure)
{
    const char *end = memchr(failure->text, 0, sizeof(failure->text));

    if (end == NULL || failure->status < 125 || failure->status > 127)
        abort();
    for (const char *at = failure->text; at < end; at++)
        if ((unsigned char)*at < 32 || *at == 127)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct fuzz_input input = {data, size};
    unsigned wait_status = fuzz_byte(&input) | fuzz_byte(&input) << 8;
    const uint8_t *log = fuzz_stretch(&input, &size);
    struct failure failure;
    CLEANUP_MSG_OUT struct msg_out out = {0};

    if (fd < 0)
        fd = fuzz_file(name);
    fuzz_fill(fd, log, size);
    failure_runtime(&failure, "start container", "runc", AT_FDCWD, name, (const char *)input.at, input.size,
                    (int)wait_status);
    check(&failure);
    msg_out_init(&out, 5);
    failure_put(&failure, &out);
    return 0;
}
