/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines from the ctl and winsz fifos: cut out of what was read, and understood. Pure; anybody who may open the fifo can
 * write anything.
 */
#ifndef REMORA_CONMON_LINES_H
#define REMORA_CONMON_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define LINE_BUFFER 200 /* bytes; a line with its newline must be shorter */
#define WINDOW_MAX 65535 /* what the kernel can hold */

/* An unfinished line waits here for the rest. Zeroed: empty. */
struct lines {
    char bytes[LINE_BUFFER];
    size_t size;
    bool skipping; /* in the middle of a line that is too long */
};

/*
 * Take the next whole line out of [*bytes, +*size), which move on, as a NUL-terminated text in `line`. false: there is
 * none; what is left has been kept. *too_long is set when a line had to be dropped, else left alone.
 */
bool lines_next(struct lines *lines, const char **bytes, size_t *size, char line[LINE_BUFFER], bool *too_long);

enum control_line {
    CONTROL_LINE_BAD, /* not three numbers */
    CONTROL_LINE_UNKNOWN, /* another type */
    CONTROL_LINE_WINDOW_INVALID,
    CONTROL_LINE_RESIZE,
    CONTROL_LINE_REOPEN,
};

struct control_message {
    int type, height, width;
};

/* `TYPE HEIGHT WIDTH`, with anything behind. */
enum control_line control_line_parse(const char *line, struct control_message *message);
/* `HEIGHT WIDTH`, with anything behind. */
enum control_line window_line_parse(const char *line, struct control_message *message);

#endif
