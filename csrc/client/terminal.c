/* SPDX-License-Identifier: Apache-2.0 */
#include "client/terminal.h"

#include <errno.h>
#include <unistd.h>

void terminal_init(struct terminal *terminal, int fd)
{
    terminal->fd = fd >= 0 && isatty(fd) ? fd : -1;
    terminal->raw = false;
    terminal->known = false;
}

int terminal_raw_again(struct terminal *terminal)
{
    if (!terminal->known)
        return 0;
    terminal->raw = false;
    return terminal_raw(terminal);
}

int terminal_raw(struct terminal *terminal)
{
    struct termios settings;

    if (terminal->fd < 0 || terminal->raw)
        return 0;
    if (!terminal->known && tcgetattr(terminal->fd, &terminal->saved) < 0)
        return -errno;
    terminal->known = true;
    settings = terminal->saved;
    cfmakeraw(&settings);
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    /* At once: what was typed ahead is kept and goes to the session. */
    while (tcsetattr(terminal->fd, TCSANOW, &settings) < 0)
        if (errno != EINTR)
            return -errno;
    terminal->raw = true;
    return 0;
}

void terminal_restore(struct terminal *terminal)
{
    pid_t foreground;

    if (!terminal->raw)
        return;
    terminal->raw = false;
    /* -1: not our controlling terminal, so there is no background. */
    foreground = tcgetpgrp(terminal->fd);
    if (foreground > 0 && foreground != getpgrp())
        return;
    /* At once: waiting for the output to drain may take for ever (ctrl-s, a hung line). */
    (void)tcsetattr(terminal->fd, TCSANOW, &terminal->saved);
}
