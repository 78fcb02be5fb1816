/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sync pipe: lines of JSON to whoever called, `{"KEY": N}` or `{"KEY": N, "message": "TEXT"}`.
 */
#ifndef REMORA_CONMON_SYNCPIPE_H
#define REMORA_CONMON_SYNCPIPE_H

#include <stddef.h>

#define SYNC_MESSAGE_MAX 8191 /* bytes of a message before escaping */
#define SYNC_LINE_MAX (6 * SYNC_MESSAGE_MAX + 64)

/*
 * Write the line, at most `capacity` bytes (SYNC_LINE_MAX is always enough); the text is cut after SYNC_MESSAGE_MAX
 * bytes; NULL: a line without a message. Returns its size. Bytes of no valid UTF-8 pass unchanged, as conmon lets them.
 */
size_t sync_line(char *to, size_t capacity, const char *key, int number, const char *message, size_t size);

/*
 * A descriptor that the environment names: its number, with close-on-exec set; -1 when there is no such variable, or it
 * says 0 or less; -EINVAL (not a number) or -EBADF, with a text in `refusal`.
 */
int pipe_from_environment(const char *variable, char *refusal, size_t capacity);

#endif
