/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes come through the ctl and winsz fifos, in pieces of any size. The same lines are found however
 * they were cut, none longer than the buffer, and a window that is accepted is one that a terminal can have.
 *
 * The input: a byte that says how large the pieces are, then what comes.
 */
#include "conmon/lines.h"

#include "fuzz.h"

enum {
    LINES_MAX = 512,
};

struct found {
    size_t n;
    bool dropped;
    char lines[LINES_MAX][LINE_BUFFER];
};

static void feed(struct lines *lines, const uint8_t *bytes, size_t size, struct found *found)
{
    const char *at = (const char *)bytes;
    char line[LINE_BUFFER];

    for (;;) {
        bool too_long = false, whole = lines_next(lines, &at, &size, line, &too_long);

        found->dropped |= too_long;
        if (!whole)
            break;
        if (memchr(line, 0, sizeof(line)) == NULL)
            abort();
        if (found->n < LINES_MAX)
            memcpy(found->lines[found->n++], line, sizeof(line));
    }
    if (size != 0)
        abort(); /* what is left over has been kept */
}

static void understand(const char *line)
{
    struct control_message message;
    enum control_line kind = control_line_parse(line, &message);

    if ((kind == CONTROL_LINE_RESIZE && message.type != 1) || (kind == CONTROL_LINE_REOPEN && message.type != 2))
        abort();
    for (int i = 0; i < 2; i++) {
        if (kind == CONTROL_LINE_RESIZE &&
            (message.height < 0 || message.height > WINDOW_MAX || message.width < 0 || message.width > WINDOW_MAX))
            abort();
        kind = window_line_parse(line, &message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct found whole, pieces;
    struct fuzz_input input = {data, size};
    struct lines lines = {0};
    size_t piece = 1 + fuzz_byte(&input);

    whole.n = pieces.n = 0;
    whole.dropped = pieces.dropped = false;
    feed(&lines, input.at, input.size, &whole);
    lines = (struct lines){0};
    for (size_t at = 0; at < input.size; at += piece)
        feed(&lines, input.at + at, input.size - at < piece ? input.size - at : piece, &pieces);
    if (whole.n != pieces.n || whole.dropped != pieces.dropped)
        abort();
    for (size_t i = 0; i < whole.n; i++) {
        if (strcmp(whole.lines[i], pieces.lines[i]) != 0)
            abort();
        understand(whole.lines[i]);
    }
    return 0;
}
