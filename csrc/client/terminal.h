/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw mode of the caller's terminal, and back.
 *
 * A process in the background leaves the terminal alone: it belongs to whoever is in the foreground.
 */
#ifndef REMORA_CLIENT_TERMINAL_H
#define REMORA_CLIENT_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

struct terminal {
    int fd; /* borrowed; -1 when there is none */
    bool raw; /* set by us and not put back */
    bool known; /* `saved` is the terminal as it was found */
    struct termios saved;
};

/* `fd` may be anything; what is no terminal is left alone. */
void terminal_init(struct terminal *terminal, int fd);
/* Into raw mode. In the background this stops the process until it is brought to the foreground (SIGTTOU). */
int terminal_raw(struct terminal *terminal);
/* After a stop: a shell has most likely put its own settings in the meantime. */
int terminal_raw_again(struct terminal *terminal);
/* Put the settings back, if raw. */
void terminal_restore(struct terminal *terminal);

#endif
