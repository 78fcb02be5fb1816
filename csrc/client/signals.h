/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals of this process while it relays: blocked and read from a signalfd, so that none ends it with the terminal
 * in raw mode. What the caller ignores (nohup, a job in the background of a script) stays ignored.
 */
#ifndef REMORA_CLIENT_SIGNALS_H
#define REMORA_CLIENT_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

struct signals {
    int fd; /* owned, -1 */
    bool blocked; /* `saved` is to be put back */
    sigset_t saved;
};

/* 0 or -errno. */
int signals_init(struct signals *signals);
/* Put the mask back; a SIGPIPE of our own writing is taken away first. */
void signals_deinit(struct signals *signals);
/* The next signal that came, 0: none. */
int signals_take(struct signals *signals);
/* Whether this is a request to end, or to be passed on; others are about the terminal. */
bool signals_is_passed(int number);

#endif
