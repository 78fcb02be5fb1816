/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text made harmless for a terminal: control characters are shown, not obeyed.
 *
 * C0 controls and DEL become ^X; C1 controls (U+0080 to U+009F) and bytes that are no UTF-8 become \xNN, for a terminal
 * may take a bare 0x9b as the beginning of a control sequence. Tabs and newlines pass, and a CR right before a newline.
 * The text may come in pieces of any size: what can't be judged yet is held in the state.
 */
#ifndef REMORA_LOG_NEUTRAL_H
#define REMORA_LOG_NEUTRAL_H

#include <stddef.h>

struct neutral {
    unsigned char held[4];
    size_t n_held;
};

enum {
    NEUTRAL_GROWTH = 4, /* output bytes for one of input, at most; and as much for each byte held */
};

/* `to` has room for NEUTRAL_GROWTH * (size + 4) bytes. Returns the bytes made. */
size_t neutral_text(struct neutral *state, char *to, const char *from, size_t size);
/* The line (with `newline`, which is not written) or the text ends: what is held comes out. As above. */
size_t neutral_end(struct neutral *state, char *to, int newline);

#endif
