/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why something could not be done, in words: what was being done, to what, and the reason as the kernel or the
 * runtime gave it. Fixed buffers: a failure can always be told, also without memory.
 */
#ifndef REMORA_ENGINE_FAILURE_H
#define REMORA_ENGINE_FAILURE_H

#include <stddef.h>

#include "util/msg.h"

struct failure {
    const char *phase; /* static text; NULL = no failure */
    char object[256];
    char text[1024];
    int error; /* errno, 0 = the text came from elsewhere */
    int status; /* exit status for the caller: 125, 126, 127 */
};

/* A failed system call. Returns `error` again (negative errno), so that callers can `return failure_errno(...)`. */
int failure_errno(struct failure *failure, const char *phase, const char *object, int error);

/* A request that can't be met: the text says why. */
void failure_text(struct failure *failure, const char *phase, const char *object, const char *text);

/*
 * A runtime call that failed: reads the runtime's JSON log (`log_name` in the folder `dir_fd`), else takes `output`
 * (what it said on stderr), and finds the exit status: 127 command not found, 126 not executable, 125 anything else.
 */
void failure_runtime(struct failure *failure, const char *phase, const char *object, int dir_fd, const char *log_name,
                     const char *output, size_t output_size, int wait_status);

/* A program that failed, and what it said last; its exit status or signal when it said nothing. */
void failure_program(struct failure *failure, const char *phase, const char *object, const char *output,
                     size_t output_size, int wait_status);

/* Put `phase`, `object`, `error`, `errno` and `status` (five keys) into a map. */
void failure_put(const struct failure *failure, struct msg_out *out);

#endif
