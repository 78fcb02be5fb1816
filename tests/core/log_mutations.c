/* SPDX-License-Identifier: Apache-2.0 */
/* The fuzz target of the log reader (tests/fuzz/log_reader.c) over random damage to a valid log. */
#include "../fuzz/log_reader.c"

#include "log_help.h"

static const char *const PIECES[] = {
    "2026-11-21T21:30:02.030194562+00:00 stdout F full\n",
    "2026-11-21T21:30:02.03Z stdout P par\n",
    "2026-11-21T21:30:02Z stderr F \033[31merr\r\n",
    "2022-11-21T21:30:02.5+02:00 stderr P:x caf\303\n",
    "2027-11-21T21:30:02.5-05:30 stdout F \251\302\233\n",
    "rubbish\n",
    "\n",
};

int main(void)
{
    uint64_t state = random_seed();

    for (int round = 0; round < 6000; round++) {
        struct text text = {0};
        char options[2] = {(char)random_below(&state, 256), (char)random_below(&state, 6)};
        size_t changes = random_below(&state, 8);

        text_add(&text, options, 2);
        for (size_t i = random_below(&state, 12) + 1; i > 0; i--) {
            const char *piece = PIECES[random_below(&state, sizeof(PIECES) / sizeof(PIECES[0]))];

            text_add(&text, piece, strlen(piece));
        }
        for (size_t i = 0; i < changes; i++)
            text.bytes[2 + random_below(&state, text.size - 2)] = (char)random_below(&state, 256);
        if (round % 3 == 0)
            text.size -= random_below(&state, text.size - 1);
        assert(LLVMFuzzerTestOneInput((const uint8_t *)text.bytes, text.size) == 0);
        text_free(&text);
    }
    return 0;
}
